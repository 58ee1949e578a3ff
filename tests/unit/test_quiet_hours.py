"""Quiet hours as people read the clock: over midnight, by weekday, through a change to summer time, one window behind another."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitor.quiet import LONGEST, Window, is_ever_loud, quiet_until

BERLIN, AUCKLAND = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Auckland")
ALL_DAYS = frozenset(range(7))
NIGHT = Window(ALL_DAYS, time(22), time(7))


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-23T21:59:59", None),
        ("2026-11-23T22:00:00", "2026-11-24T07:00:00"),
        ("2026-11-24T03:00:00", "2026-11-24T07:00:00"),
        ("2026-11-24T07:00:00", None),
        ("2026-11-24T12:00:00", None),
    ],
)
def test_a_night_ends_on_the_next_morning(now: str, until: str | None) -> None:
    assert quiet_until([NIGHT], BERLIN, at(now)) == (until and at(until))


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = Window(frozenset({4}), time(22), time(7))
    assert quiet_until([friday_night], BERLIN, at("2026-11-28T03:00")) == at("2026-11-28T07:00")  # Saturday
    assert quiet_until([friday_night], BERLIN, at("2026-11-27T03:00")) is None  # Friday


def test_a_whole_weekend_is_one_quiet_time_with_the_nights_beside_it() -> None:
    weekend = Window(frozenset({5, 6}), time(0), time(0))
    assert quiet_until([NIGHT, weekend], BERLIN, at("2026-11-27T23:00")) == at("2026-11-30T07:00")


@pytest.mark.parametrize(("night", "hours"), [("2026-03-28", 8), ("2026-10-24", 10), ("2026-11-23", 9)])
def test_the_clock_on_the_wall_counts_when_it_is_changed(night: str, hours: int) -> None:
    begins = at(f"{night}T22:00")
    until = quiet_until([NIGHT], BERLIN, begins)
    assert until is not None
    assert until - begins == timedelta(hours=hours)
    assert until.astimezone(BERLIN).hour == 7


def test_the_same_moment_is_night_in_one_place_and_day_in_another() -> None:
    now = at("2026-11-24T03:00", BERLIN)
    assert quiet_until([NIGHT], BERLIN, now) is not None
    assert quiet_until([NIGHT], AUCKLAND, now) is None


def test_what_is_never_loud_is_known_and_still_ends_some_day() -> None:
    always = [Window(ALL_DAYS, time(0), time(0))]
    now = at("2026-11-23T12:00")
    assert not is_ever_loud(always, BERLIN, now)
    assert quiet_until(always, BERLIN, now) == now + LONGEST
    assert is_ever_loud([NIGHT], BERLIN, now)


def test_a_window_is_stored_as_it_is_read() -> None:
    assert Window.of(NIGHT.stored) == NIGHT
