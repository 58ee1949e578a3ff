"""Where the primary was, and when: the memory that lag is measured against. Pure; times are the panel's own clock, epoch seconds.

The primary's position is remembered with its time, so that bytes and seconds stay right when the primary is idle, gone, or too
old to measure lag itself (pg_stat_replication has seconds from 10 on only).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

FINE_SECONDS = 600.0
"""Positions younger than this are all kept; older ones one per `COARSE_SECONDS`, until `KEPT_SECONDS`."""
COARSE_SECONDS = 15.0
KEPT_SECONDS = 24 * 3600.0
THIN_EVERY = 300


@dataclass(frozen=True)
class Position:
    """The end of the primary's WAL at one moment. `timeline` 0 = not known."""

    at: float
    lsn: int
    timeline: int = 0


@dataclass(frozen=True)
class Passed:
    """Since when the primary has been past an LSN. `is_bound`: since then at least; it was past it already when memory begins."""

    at: float
    is_bound: bool = False


class History:
    """Positions of one primary, by time; LSNs never fall within it. Bounded: a day, thinned beyond ten minutes."""

    def __init__(self) -> None:
        self._at = array("d")
        self._lsn = array("q")
        self._timeline = 0
        self._added = 0

    def __len__(self) -> int:
        return len(self._at)

    @property
    def last(self) -> Position | None:
        return Position(self._at[-1], self._lsn[-1], self._timeline) if self._at else None

    def add(self, position: Position) -> None:
        """Later than all before (an earlier one is ignored). A new timeline forgets what lay beyond its beginning."""
        if self._at and position.at <= self._at[-1]:
            return
        if self._at and position.lsn < self._lsn[-1]:
            self._cut_back(position)
        self._timeline = position.timeline or self._timeline
        if len(self._lsn) >= 2 and self._lsn[-1] == self._lsn[-2] == position.lsn:
            self._at[-1] = position.at  # of an idle stretch its two ends say all
            return
        self._at.append(position.at)
        self._lsn.append(position.lsn)
        self._added += 1
        if self._added % THIN_EVERY == 0:
            self._thin(position.at)

    def _cut_back(self, position: Position) -> None:
        """After a failover the new primary may begin before the old one's end; anything else that falls is another history."""
        keep = bisect_right(self._lsn, position.lsn) if position.timeline > self._timeline else 0
        del self._at[keep:], self._lsn[keep:]

    def _thin(self, now: float) -> None:
        kept_at, kept_lsn = array("d"), array("q")
        for at, lsn in zip(self._at, self._lsn, strict=True):
            age = now - at
            if age > KEPT_SECONDS or (age > FINE_SECONDS and kept_at and at - kept_at[-1] < COARSE_SECONDS):
                continue
            kept_at.append(at)
            kept_lsn.append(lsn)
        self._at, self._lsn = kept_at, kept_lsn

    def passed(self, lsn: int) -> Passed | None:
        """Since when the primary has been past `lsn`; None if, as far as is remembered, it is not."""
        after = bisect_right(self._lsn, lsn)
        if after == len(self._lsn):
            return None
        if after == 0:
            return Passed(self._at[0], is_bound=True)
        at, lsn_before = self._at[after - 1], self._lsn[after - 1]
        share = (lsn - lsn_before) / (self._lsn[after] - lsn_before)
        return Passed(at + share * (self._at[after] - at))

    def lsn_at(self, at: float) -> int | None:
        """The newest position known at that time; None before memory begins."""
        known = bisect_right(self._at, at)
        return self._lsn[known - 1] if known else None

    def idle_since(self) -> float | None:
        """When the position that still stands was first seen; None without memory."""
        return self._at[bisect_left(self._lsn, self._lsn[-1])] if self._lsn else None
