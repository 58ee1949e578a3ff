"""Lag that cannot lie: bytes against the primary's remembered position, seconds against its history."""

import pytest

from monitor.history import History, Position
from monitor.lag import Lag, StandbyLook, lag_of

MB = 1 << 20
T = 1_000_000.0


def writing(seconds: int, rate: int = MB, until: float = T, timeline: int = 1, start: int = 0) -> History:
    """A primary that wrote `rate` bytes each second, looked at once a second, the last time at `until`."""
    history = History()
    for n in range(seconds + 1):
        history.add(Position(until - seconds + n, start + rate * n, timeline))
    return history


def idle(seconds: int, lsn: int, until: float = T) -> History:
    return writing(seconds, rate=0, until=until, start=lsn)


def standing(lsn: int, seconds: int, until: float = T, **more: object) -> list[StandbyLook]:
    """A standby whose positions have not moved for that long."""
    common = {"timeline": 1, "write_lsn": lsn, "flush_lsn": lsn, "replay_lsn": lsn, "is_receiving": True} | more
    return [StandbyLook(at=until - seconds + n, **common) for n in range(seconds + 1)]


def following(history: History, behind_bytes: int, seconds: int = 10, until: float = T, **more: object) -> list[StandbyLook]:
    """A standby that keeps the same distance to the primary."""
    looks = []
    for n in range(seconds + 1):
        at = until - seconds + n
        lsn = (history.lsn_at(at) or 0) - behind_bytes
        common = {"timeline": 1, "write_lsn": lsn, "flush_lsn": lsn, "replay_lsn": lsn, "is_receiving": True} | more
        looks.append(StandbyLook(at=at, **common))
    return looks


def test_a_standby_at_the_writing_primary_s_position_is_streaming_with_nothing_behind() -> None:
    history = writing(20)
    lag = lag_of(history, following(history, 0), T)
    assert (lag.state, lag.write_bytes, lag.replay_bytes, lag.replay_seconds) == ("streaming", 0, 0, 0.0)


def test_an_idle_primary_means_caught_up_idle_and_zero_seconds_however_long_ago_it_wrote() -> None:
    """PostgreSQL's own `now() - pg_last_xact_replay_timestamp()` would say an hour."""
    lag = lag_of(idle(3600, 5 * MB), standing(5 * MB, 60), T)
    assert (lag.state, lag.replay_bytes, lag.replay_seconds) == ("idle", 0, 0.0)


def test_a_primary_that_wrote_a_second_ago_is_not_idle() -> None:
    history = idle(60, 5 * MB, until=T - 1)
    history.add(Position(T, 6 * MB, 1))
    assert lag_of(history, standing(6 * MB, 0), T).state == "streaming"


def test_seconds_are_the_time_since_the_primary_passed_what_is_replayed() -> None:
    history = writing(60, rate=MB)
    lag = lag_of(history, following(history, 5 * MB, seconds=10), T)
    assert lag.replay_bytes == 5 * MB
    assert lag.replay_seconds == pytest.approx(5.0)
    assert lag.state == "catching-up"


def test_seconds_between_two_looks_at_the_primary_are_interpolated() -> None:
    history = writing(60, rate=MB)
    lag = lag_of(history, following(history, MB // 2), T)
    assert lag.replay_seconds == pytest.approx(0.5)
    assert lag.state == "streaming"


def test_what_the_primary_measured_itself_counts_below_our_own_resolution() -> None:
    history = writing(60, rate=MB)
    assert lag_of(history, following(history, 0), T, measured_seconds=0.004).replay_seconds == 0.004
    assert lag_of(history, following(history, 4096), T, measured_seconds=0.004).replay_seconds == 0.004


def test_what_the_primary_measured_while_replay_was_paused_is_not_the_lag_of_now() -> None:
    history = writing(60, rate=MB)
    assert lag_of(history, following(history, 0), T, measured_seconds=1.2).replay_seconds == 0.0


def test_what_the_primary_measured_long_ago_does_not_hide_a_lag_that_grew_since() -> None:
    history = writing(60, rate=MB)
    lag = lag_of(history, standing((history.lsn_at(T - 30) or 0), 30), T, measured_seconds=0.004)
    assert lag.replay_seconds == pytest.approx(30.0)


def test_write_flush_and_replay_are_told_apart() -> None:
    look = StandbyLook(T, 1, write_lsn=9 * MB, flush_lsn=8 * MB, replay_lsn=7 * MB, is_receiving=True)
    lag = lag_of(idle(1, 10 * MB), [look], T)
    assert (lag.write_bytes, lag.flush_bytes, lag.replay_bytes) == (MB, 2 * MB, 3 * MB)


def test_what_would_be_lost_is_what_is_not_on_the_standby_s_disk_not_what_is_not_replayed() -> None:
    history = writing(60, rate=MB)
    look = StandbyLook(T, 1, write_lsn=58 * MB, flush_lsn=58 * MB, replay_lsn=20 * MB, is_receiving=True)
    lag = lag_of(history, [look], T)
    assert (lag.flush_bytes, lag.flush_seconds) == (2 * MB, pytest.approx(2.0))
    assert (lag.replay_bytes, lag.replay_seconds) == (40 * MB, pytest.approx(40.0))


def test_a_standby_looked_at_after_the_primary_is_not_ahead_of_it() -> None:
    lag = lag_of(idle(1, 10 * MB), [StandbyLook(T, 1, 11 * MB, 11 * MB, 11 * MB, is_receiving=True)], T)
    assert (lag.replay_bytes, lag.replay_seconds) == (0, 0.0)


def test_a_cut_link_is_disconnected_though_both_ends_still_say_streaming() -> None:
    history = writing(60, rate=MB)
    looks = standing(history.lsn_at(T - 4) or 0, 4, heard_seconds=4.0)
    lag = lag_of(history, looks, T)
    assert (lag.state, lag.reason) == ("disconnected", "link-silent")
    assert lag.replay_bytes == 4 * MB
    assert lag.replay_seconds == pytest.approx(4.0)


def test_a_link_that_fell_silent_a_second_ago_is_not_yet_called_cut() -> None:
    history = writing(60, rate=MB)
    assert lag_of(history, standing(history.lsn_at(T - 1) or 0, 1, heard_seconds=1.0), T).state == "streaming"


def test_a_receiver_that_hears_its_primary_and_writes_nothing_is_stalled() -> None:
    history = writing(60, rate=MB)
    lag = lag_of(history, standing(history.lsn_at(T - 5) or 0, 5, heard_seconds=0.2), T)
    assert lag.state == "stalled"


def test_a_frozen_receiver_whose_link_is_proven_open_is_stalled_and_never_zero_seconds() -> None:
    """receive = replay: repmgr's formula says 0 here."""
    history = writing(60, rate=MB)
    lag = lag_of(history, standing(history.lsn_at(T - 5) or 0, 5, heard_seconds=5.0, is_link_open=True), T)
    assert (lag.state, lag.replay_seconds) == ("stalled", pytest.approx(5.0))


def test_replay_that_stands_while_wal_arrives_is_stalled() -> None:
    history = writing(60, rate=MB)
    looks = [
        StandbyLook(T - n, 1, history.lsn_at(T - n), history.lsn_at(T - n), 50 * MB, is_receiving=True) for n in range(5, -1, -1)
    ]
    lag = lag_of(history, looks, T)
    assert (lag.state, lag.write_bytes, lag.replay_bytes) == ("stalled", 0, 10 * MB)
    assert lag.replay_seconds == pytest.approx(10.0)


def test_paused_replay_says_so_and_keeps_counting() -> None:
    history = writing(60, rate=MB)
    looks = [
        StandbyLook(T - n, 1, history.lsn_at(T - n), history.lsn_at(T - n), 40 * MB, is_receiving=True, is_paused=True)
        for n in range(20, -1, -1)
    ]
    lag = lag_of(history, looks, T)
    assert (lag.state, lag.replay_bytes) == ("paused", 20 * MB)
    assert lag.replay_seconds == pytest.approx(20.0)


def test_a_standby_without_a_receiver_is_disconnected_even_with_nothing_missing() -> None:
    lag = lag_of(idle(60, 5 * MB), standing(5 * MB, 10, is_receiving=False), T)
    assert (lag.state, lag.reason, lag.replay_bytes) == ("disconnected", "no-receiver", 0)


def test_disconnected_weighs_more_than_paused() -> None:
    assert lag_of(idle(60, 5 * MB), standing(4 * MB, 10, is_receiving=False, is_paused=True), T).state == "disconnected"


def test_a_standby_that_was_not_seen_for_a_while_is_stale_and_its_bytes_grow_with_the_primary() -> None:
    history = writing(60, rate=MB)
    looks = following(history, 0, seconds=5, until=T - 10)
    lag = lag_of(history, looks, T)
    assert (lag.state, lag.reason, lag.replay_bytes) == ("stale", "not-seen", 10 * MB)
    assert lag.age_seconds(T) == pytest.approx(10.0)


def test_a_slow_interval_does_not_make_fresh_looks_stale() -> None:
    history = idle(60, MB)
    looks = standing(MB, 0, until=T - 20)
    assert lag_of(history, looks, T, interval_seconds=1).state == "stale"
    assert lag_of(history, looks, T, interval_seconds=10).state == "idle"


def test_a_standby_never_seen_is_unknown_without_any_number() -> None:
    assert lag_of(writing(5), [], T) == Lag("unknown", "never-seen")


def test_without_any_memory_of_a_primary_there_are_no_numbers() -> None:
    lag = lag_of(History(), standing(5 * MB, 10), T)
    assert (lag.state, lag.reason) == ("unknown", "primary-unknown")
    assert (lag.write_bytes, lag.flush_bytes, lag.replay_bytes, lag.replay_seconds) == (None, None, None, None)


def test_a_primary_that_is_gone_is_remembered_and_the_lag_against_it_does_not_grow() -> None:
    """What would be lost is what it had written when it was last seen."""
    history = writing(60, rate=MB, until=T - 30)
    behind = (history.last.lsn if history.last else 0) - 3 * MB
    lag = lag_of(history, standing(behind, 30, is_receiving=False), T)
    assert (lag.state, lag.replay_bytes) == ("disconnected", 3 * MB)
    assert lag.replay_seconds == pytest.approx(3.0)
    assert lag.age_seconds(T) == pytest.approx(30.0)


def test_a_standby_that_had_everything_of_a_primary_not_seen_since_is_stale_not_idle() -> None:
    history = writing(60, rate=MB, until=T - 30)
    lag = lag_of(history, standing(history.last.lsn if history.last else 0, 30), T)
    assert (lag.state, lag.reason, lag.replay_bytes) == ("stale", "primary-unseen", 0)


def test_a_primary_that_only_the_panel_cannot_see_leaves_its_standby_streaming() -> None:
    history = writing(60, rate=MB, until=T - 30)
    beyond = [StandbyLook(T - n, 1, 100 * MB - n, 100 * MB - n, 100 * MB - n, is_receiving=True) for n in range(10, -1, -1)]
    lag = lag_of(history, beyond, T)
    assert (lag.state, lag.reason) == ("streaming", "primary-unseen")
    assert (lag.replay_bytes, lag.replay_seconds) == (None, None)


def test_positions_on_different_timelines_are_not_compared() -> None:
    history = writing(60, timeline=7)
    lag = lag_of(history, standing(5 * MB, 10, timeline=6), T)
    assert (lag.state, lag.reason) == ("disconnected", "other-timeline")
    assert (lag.replay_bytes, lag.replay_seconds) == (None, None)


def test_an_unknown_timeline_is_no_mismatch() -> None:
    assert lag_of(idle(60, MB), standing(MB, 10, timeline=0), T).state == "idle"


def test_catching_up_tells_when_it_ends() -> None:
    """40 MB behind, replaying 3 MB each second while the primary writes 1 MB."""
    history = writing(120, rate=MB)
    looks = [
        StandbyLook(T - n, 1, history.lsn_at(T - n), history.lsn_at(T - n), 80 * MB - 3 * MB * n, is_receiving=True)
        for n in range(8, -1, -1)
    ]
    lag = lag_of(history, looks, T)
    assert (lag.state, lag.replay_bytes) == ("catching-up", 40 * MB)
    assert lag.eta_seconds == pytest.approx(20.0)


def test_a_standby_slower_than_its_primary_has_no_end_in_sight() -> None:
    history = writing(120, rate=2 * MB)
    looks = [
        StandbyLook(T - n, 1, history.lsn_at(T - n), history.lsn_at(T - n), 200 * MB - MB * n, is_receiving=True)
        for n in range(8, -1, -1)
    ]
    lag = lag_of(history, looks, T)
    assert (lag.state, lag.reason, lag.eta_seconds) == ("catching-up", "falling-behind", None)


def test_a_lag_older_than_memory_is_a_lower_bound() -> None:
    history = writing(60, rate=MB, start=500 * MB)
    lag = lag_of(history, standing(100 * MB, 1), T)
    assert lag.is_bound
    assert lag.replay_seconds == pytest.approx(60.0)


def test_a_standby_that_never_said_where_it_is_has_no_numbers() -> None:
    lag = lag_of(writing(60), [StandbyLook(T, 1, is_receiving=True)], T)
    assert (lag.state, lag.write_bytes, lag.replay_bytes, lag.replay_seconds) == ("unknown", None, None, None)


def test_a_standby_fed_from_the_archive_only_has_no_write_position_but_a_replay_lag() -> None:
    look = StandbyLook(T, 1, None, None, 9 * MB, is_receiving=False)
    lag = lag_of(idle(60, 10 * MB), [look], T)
    assert (lag.state, lag.write_bytes, lag.replay_bytes) == ("disconnected", None, MB)
