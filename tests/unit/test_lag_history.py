"""The primary's remembered positions."""

import pytest

from monitor.history import COARSE_SECONDS, FINE_SECONDS, KEPT_SECONDS, History, Position


def test_an_idle_hour_takes_two_places() -> None:
    history = History()
    for second in range(3600):
        history.add(Position(float(second), 77))
    assert len(history) == 2
    assert history.idle_since() == 0.0
    assert history.last == Position(3599.0, 77)


def test_memory_stays_bounded_over_two_days_of_writing() -> None:
    history = History()
    for second in range(2 * 24 * 3600):
        history.add(Position(float(second), second * 100))
    assert len(history) < FINE_SECONDS + KEPT_SECONDS / COARSE_SECONDS + 400


def test_thinned_memory_still_knows_when_a_position_was_passed() -> None:
    history = History()
    for second in range(2 * 3600):
        history.add(Position(float(second), second * 100))
    passed = history.passed(360_000)
    assert passed is not None
    assert passed.at == pytest.approx(3600, abs=0.5)


def test_a_burst_after_an_idle_stretch_is_dated_to_the_burst() -> None:
    history = History()
    for second in range(100):
        history.add(Position(float(second), 10))
    history.add(Position(100.0, 1010))
    passed = history.passed(510)
    assert passed is not None
    assert passed.at == pytest.approx(99.5)


def test_a_position_that_the_primary_has_not_passed_is_none() -> None:
    history = History()
    history.add(Position(1.0, 10))
    assert history.passed(10) is None
    assert history.passed(11) is None


def test_a_new_timeline_that_begins_earlier_forgets_the_old_end() -> None:
    history = History()
    for second in range(10):
        history.add(Position(float(second), second * 100, 1))
    history.add(Position(10.0, 650, 2))
    assert history.last == Position(10.0, 650, 2)
    assert history.lsn_at(9.5) == 600
    assert history.passed(700) is None


def test_a_position_that_falls_on_the_same_timeline_begins_a_new_memory() -> None:
    history = History()
    history.add(Position(1.0, 500, 3))
    history.add(Position(2.0, 100, 3))
    assert len(history) == 1


def test_a_look_that_arrives_late_is_ignored() -> None:
    history = History()
    history.add(Position(2.0, 500))
    history.add(Position(1.0, 600))
    assert history.last == Position(2.0, 500)


def test_before_memory_begins_nothing_is_known() -> None:
    history = History()
    assert (history.last, history.idle_since(), history.lsn_at(5.0), history.passed(1)) == (None, None, None, None)
    history.add(Position(10.0, 5))
    assert history.lsn_at(9.0) is None
