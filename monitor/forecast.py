"""When a slot's WAL fills the disk at this rate, and how much a standby may still miss before it is lost. Pure.

A slot that nobody reads holds all WAL from its position on, so its file system fills at the rate at which that grows. What is free
is seen on the host, less often: what the slot has taken since then is counted off. WAL files that stand ready for use
(recycled ones) are room too: until they are used up, nothing is taken from the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression
from typing import Literal

POINT_SECONDS = 5.0
"""Points are remembered no closer than this."""
POINTS_KEPT = 120
"""Ten minutes: WAL comes in waves, one a checkpoint, and a wave is no rate."""
LEAST_SECONDS = 20.0
"""Over less than this no rate is told."""
LEAST_POINTS = 5
STEADY_BYTES_PER_SECOND = 1024.0
"""Slower than this is what an idle server writes by itself; no disk fills by it before somebody looks."""
RECENT_SECONDS, RECENT_TIMES = 60.0, 3.0
"""A load that began in the last minute counts as soon as it is so many times the rate before."""
BREAK_SECONDS = 120.0
"""Without a look for so long, what was before says nothing about the rate now."""

Ends = Literal["disk", "slot"]


@dataclass(frozen=True)
class Room:
    """On the WAL's file system, at the panel's time `at`: free for the server's account, and in WAL files that stand ready.

    segment_bytes: a WAL file is made whole or not at all, so that what is less than one is no room (0 = not known).
    """

    at: float
    free_bytes: int
    spare_bytes: int = 0
    segment_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        whole = self.free_bytes - self.free_bytes % self.segment_bytes if self.segment_bytes else self.free_bytes
        return whole + self.spare_bytes


@dataclass(frozen=True)
class Forecast:
    """Of one slot. word: "unknown" (too little seen, or nobody has looked at the disk), "steady", "filling".

    ends: what comes first: the disk is full (the primary stops), or the slot is let go (its standby is lost).
    """

    word: Literal["unknown", "steady", "filling"]
    bytes_per_second: float | None = None
    seconds_left: float | None = None
    room_bytes: int | None = None
    ends: Ends = "disk"
    measured_seconds: float = 0.0


@dataclass
class SlotMemory:
    """What one slot held, by time: enough for a rate. A slot that was read on in between begins anew."""

    points: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=POINTS_KEPT))

    def add(self, at: float, held_bytes: int) -> None:
        if self.points:
            last_at, last_held = self.points[-1]
            if held_bytes < last_held or at - last_at > BREAK_SECONDS:
                self.points.clear()
            elif at - last_at < POINT_SECONDS:
                return
        self.points.append((at, held_bytes))

    def held_at(self, at: float) -> int | None:
        """What it held then, between two points; None before the first one."""
        return _between(self.points, at)


def forecast(memory: SlotMemory, room: Room | None, safe_wal_bytes: int | None = None) -> Forecast:
    """safe_wal_bytes: what may still be written before the server lets the slot go (None: it never does)."""
    points = memory.points
    measured = points[-1][0] - points[0][0] if points else 0.0
    if measured < LEAST_SECONDS or len(points) < LEAST_POINTS:
        return Forecast("unknown", measured_seconds=measured)
    rate = _rate(points)
    free = _room_now(memory, room)
    ends: Ends = "disk"
    left = free
    if safe_wal_bytes is not None and (free is None or safe_wal_bytes < free):
        left, ends = max(0, safe_wal_bytes), "slot"
    if rate < STEADY_BYTES_PER_SECOND:
        return Forecast("steady", rate, None, left, ends, measured)
    if left is None:
        return Forecast("unknown", rate, measured_seconds=measured)
    return Forecast("filling", rate, left / rate, left, ends, measured)


def _rate(points: Sequence[tuple[float, int]]) -> float:
    rate = _slope(points)
    recent = [point for point in points if points[-1][0] - point[0] <= RECENT_SECONDS]
    if len(recent) >= LEAST_POINTS and (now := _slope(recent)) > RECENT_TIMES * rate:
        return now
    return rate


def _slope(points: Sequence[tuple[float, int]]) -> float:
    return max(0.0, linear_regression([at - points[0][0] for at, _held in points], [held for _at, held in points]).slope)


def _room_now(memory: SlotMemory, room: Room | None) -> int | None:
    """The room that was seen, less what the slot has taken since."""
    if room is None:
        return None
    now, before = memory.points[-1][1], memory.held_at(room.at)
    return max(0, room.total_bytes - max(0, now - before)) if before is not None else room.total_bytes


def _between(points: Sequence[tuple[float, int]], at: float) -> int | None:
    if not points or at < points[0][0]:
        return None
    for (early_at, early), (late_at, late) in zip(points, list(points)[1:], strict=False):
        if early_at <= at <= late_at:
            return round(early + (late - early) * (at - early_at) / (late_at - early_at))
    return points[-1][1]


@dataclass(frozen=True)
class Left:
    """How much the primary may still write before a standby that hears nothing cannot go on from there.

    by: "slot" (it holds all: until the disk is full, or max_slot_wal_keep_size lets it go), "kept" (without a slot, as much as
    wal_keep_size says), "lost" (the server says that it is gone). bytes None: as much as the disk takes.
    """

    by: Literal["slot", "kept", "lost"]
    bytes: int | None = None
    seconds: float | None = None


def left_of(
    behind_bytes: int | None,
    wal_bytes_per_second: float | None,
    *,
    slot_status: str | None,
    safe_wal_bytes: int | None = None,
    wal_keep_bytes: int | None = None,
) -> Left | None:
    """slot_status: of its slot on the primary, "" where the version has none; None: it has no slot. None: not known.

    Without a slot the primary may keep more than it has to, and the archive may have the rest: so it is a bound, not the end.
    """
    if slot_status == "lost":
        return Left("lost", 0)
    if slot_status is not None:
        return Left("slot", safe_wal_bytes, _seconds(safe_wal_bytes, wal_bytes_per_second))
    if wal_keep_bytes is None or behind_bytes is None:
        return None
    left = max(0, wal_keep_bytes - behind_bytes)
    return Left("kept", left, _seconds(left, wal_bytes_per_second))


def _seconds(left: int | None, bytes_per_second: float | None) -> float | None:
    return left / bytes_per_second if left is not None and bytes_per_second else None
