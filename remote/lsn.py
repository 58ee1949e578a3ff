"""Positions in the WAL as plain integers, names of WAL files, and timeline histories."""

from __future__ import annotations

import re
from dataclasses import dataclass

from remote import versions

DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_WAL_FILE = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial|\.[0-9A-F]{8}\.backup)?")
_HISTORY_FILE = re.compile(r"([0-9A-F]{8})\.history")
_HISTORY_LINE = re.compile(r"\s*(\d+)\s+(\S+)\s*(.*)")


def parse(text: str) -> int:
    """`7/4A8F2160` → the position as one 64-bit integer; ValueError for anything else."""
    found = _LSN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"not a WAL position: {text!r}")
    return int(found[1], 16) << 32 | int(found[2], 16)


def parse_or_zero(text: str) -> int:
    """0 where a server gave nothing (null) or something else, such as a position behind the 8 EiB that a column holds."""
    found = parse(text) if _LSN.fullmatch(text.strip()) else 0
    return found if found < 1 << 63 else 0


def timeline_or_zero(number: int) -> int:
    """0 for one that no database's column holds: a host may say anything."""
    return number if 0 < number < 1 << 31 else 0


def shown(lsn: int) -> str:
    """The way PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def diff_bytes(later: int, earlier: int, version: versions.Version) -> int:
    """Bytes of WAL between two positions. Up to 9.2 the last 16 MB of each 4 GB (files ending FF) are never used."""
    if version.has_linear_wal:
        return later - earlier
    high = (later >> 32) - (earlier >> 32)
    return high * 0xFF000000 + (later & 0xFFFFFFFF) - (earlier & 0xFFFFFFFF)


@dataclass(frozen=True)
class WalFile:
    """What the name of a file in pg_wal says. kind: "segment" | "partial" | "backup"."""

    timeline: int
    segment: int
    kind: str = "segment"

    def start_lsn(self, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> int:
        return self.segment * segment_bytes


def wal_file_name(timeline: int, lsn: int, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> str:
    """The file that holds the byte at `lsn` (at a boundary pg_walfile_name names the one before)."""
    return segment_name(timeline, lsn // segment_bytes, segment_bytes)


def segment_name(timeline: int, segment: int, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> str:
    per_log = 0x100000000 // segment_bytes
    return f"{timeline:08X}{segment // per_log:08X}{segment % per_log:08X}"


def parse_wal_file_name(name: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> WalFile | None:
    """None for what is no WAL file (a `.history` file, say: `history_file_timeline`)."""
    found = _WAL_FILE.fullmatch(name)
    if not found:
        return None
    per_log = 0x100000000 // segment_bytes
    suffix = found[4] or ""
    kind = "partial" if suffix == ".partial" else "backup" if suffix else "segment"
    return WalFile(int(found[1], 16), int(found[2], 16) * per_log + int(found[3], 16), kind)


def history_file_name(timeline: int) -> str:
    return f"{timeline:08X}.history"


def history_file_timeline(name: str) -> int:
    """0 for what is no history file."""
    found = _HISTORY_FILE.fullmatch(name)
    return int(found[1], 16) if found else 0


@dataclass(frozen=True)
class Switch:
    """A line of a history file: `timeline` was left at `lsn`. Up to 9.2 the file names a WAL segment: then `lsn` is its start."""

    timeline: int
    lsn: int
    reason: str = ""
    wal_file: str = ""


def parse_history(text: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> tuple[Switch, ...]:
    """The lines of a `.history` file, oldest first. ValueError for a line that is none."""
    switches = []
    for line in text.splitlines():
        bare = line.split("#", 1)[0]
        if not bare.strip():
            continue
        found = _HISTORY_LINE.fullmatch(bare)
        if not found:
            raise ValueError(f"not a line of a timeline history: {line!r}")
        switches.append(_switch(int(found[1]), found[2], found[3].strip(), segment_bytes))
    return tuple(switches)


def _switch(timeline: int, where: str, reason: str, segment_bytes: int) -> Switch:
    file = parse_wal_file_name(where, segment_bytes)
    if file:
        return Switch(timeline, file.start_lsn(segment_bytes), reason, where)
    return Switch(timeline, parse(where), reason)


def left_at(history: tuple[Switch, ...], timeline: int) -> int | None:
    """Where this history leaves `timeline`; None if it never was on it (or still is)."""
    return next((switch.lsn for switch in history if switch.timeline == timeline), None)
