"""Quiet hours: windows of a week in a time zone, as people there read the clock. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

MONDAY_TO_SUNDAY = range(7)
MOST_WINDOWS = 4
LONGEST = timedelta(days=8)
"""After that somebody is told, whatever the windows say."""


@dataclass(frozen=True)
class Window:
    """On each of `days` (0 = Monday) from `begins` until `ends`, of the next day where that is not later. The same: a whole day."""

    days: frozenset[int]
    begins: time
    ends: time

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Window:
        return cls(frozenset(stored["days"]), time.fromisoformat(stored["begins"]), time.fromisoformat(stored["ends"]))

    @property
    def stored(self) -> dict[str, Any]:
        return {"days": sorted(self.days), "begins": f"{self.begins:%H:%M}", "ends": f"{self.ends:%H:%M}"}

    def end_at(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When the one that `now` falls into ends; None: it falls into none."""
        today = now.astimezone(zone).date()
        for day in (today - timedelta(days=1), today):
            if day.weekday() not in self.days:
                continue
            last = day if self.ends > self.begins else day + timedelta(days=1)
            begins = datetime.combine(day, self.begins, zone).astimezone(UTC)
            ends = datetime.combine(last, self.ends, zone).astimezone(UTC)
            if begins <= now < ends:
                return ends
        return None


def windows_of(stored: Iterable[Mapping[str, Any]]) -> tuple[Window, ...]:
    return tuple(Window.of(one) for one in stored)


def quiet_until(windows: Sequence[Window], zone: ZoneInfo, now: datetime) -> datetime | None:
    """When it is loud again, past windows that follow each other; None: it is loud now."""
    until = now
    while until - now < LONGEST:
        following = max((end for window in windows if (end := window.end_at(until, zone))), default=None)
        if following is None:
            return until if until > now else None
        until = following
    return now + LONGEST


def is_ever_loud(windows: Sequence[Window], zone: ZoneInfo, now: datetime) -> bool:
    return (quiet_until(windows, zone, now) or now) < now + LONGEST
