"""How far a long command is, told by its own output lines; and the pace at which it gets on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """total_bytes: 0 when the line does not say (`Detached.total_bytes` may). detail: what is being copied, where it is told."""

    done_bytes: int
    total_bytes: int = 0
    detail: str = ""


Reader = Callable[[str], Progress | None]
"""One line → how far it is, or None for a line that tells something else."""


def lines_of(text: str) -> tuple[list[str], str]:
    """Whole lines and the rest. A carriage return ends one too: that is how a terminal's progress line is drawn over.

    >>> lines_of("10%\\r20%\\r\\ndone\\n30")
    (['10%', '20%', 'done'], '30')
    """
    *lines, rest = re.split(r"\r\n|\r|\n", text)
    if text.endswith("\r"):  # it may be the first half of \r\n
        rest = "\r"
    return [line for line in lines if line], rest


# 9.1:  "  1030/19340 kB (5%) 0/1 tablespaces (base/1/2608)"     9.2–18:  " 23520/23520 kB (100%), 1/1 tablespace"
# 13+ with --no-estimate-size:  "  23520 kB, 0/1 tablespace (/srv/data/base/5/2608)"; kB as of 1024
BASE_BACKUP = re.compile(r"\s*(\d{1,16})(?:/(\d{1,16}))? kB(?: \(\d{1,9}%\))?,? \d+/\d+ tablespaces?(?: \((.*)\))?\s*$")


def read_pg_basebackup(line: str) -> Progress | None:
    """`pg_basebackup -P`, every version (bin/pg_basebackup/pg_basebackup.c, progress_report)."""
    found = BASE_BACKUP.match(line)
    if not found:
        return None
    done, total = int(found[1]) * 1024, int(found[2] or 0) * 1024
    return Progress(done, max(total, done) if total else 0, (found[3] or "").rstrip())


# "    1,234,567  45%   12.34MB/s    0:00:12 (xfr#5, to-chk=10/20)"; with -h "1.23G"; without commas in other locales
RSYNC = re.compile(r"\s*(\d[\d,.]{0,25})([KMGTP]?)\s+(\d{1,3})%\s+[\d.,]+[kKMGTP]?B/s\s+[\d:?]+(?:\s+\(.*\))?\s*$", re.ASCII)
UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "P": 1000**5}


def read_rsync(line: str) -> Progress | None:
    """`rsync --info=progress2`: the whole transfer. What it calls 100 % is only what it has listed so far, so it tells no total."""
    found = RSYNC.match(line)
    if not found:
        return None
    number, unit = found[1].replace(",", ""), found[2]
    if not unit:
        return Progress(int(number.replace(".", "")[:19]))
    return Progress(round(float(number) * UNITS[unit])) if number.count(".") < 2 else None


BYTES = re.compile(r"(\d{1,19}) of (\d{1,19}) bytes(?:[,:] (.*))?\s*$")


def read_bytes(line: str) -> Progress | None:
    """What our own scripts print: "1048576 of 73400320 bytes", then if they like ": what"."""
    found = BYTES.match(line)
    return Progress(int(found[1]), int(found[2]), found[3] or "") if found else None


REWIND = re.compile(r"\s*(\d{1,16})/(\d{1,16}) kB \(\d{1,9}%\) copied\s*$")


def read_pg_rewind(line: str) -> Progress | None:
    """`pg_rewind -P`: kB as of 1024 (bin/pg_rewind/pg_rewind.c, progress_report)."""
    found = REWIND.match(line)
    return Progress(int(found[1]) * 1024, int(found[2]) * 1024) if found else None


class RsyncFiles:
    """`rsync --progress`: each file counts from 0, so the files that are done are added up. One reader per transfer."""

    def __init__(self) -> None:
        self._before_bytes = 0

    def __call__(self, line: str) -> Progress | None:
        found = read_rsync(line)
        if found is None:
            return None
        done_bytes = self._before_bytes + found.done_bytes
        if "xfr#" in line or "xfer#" in line:  # only the last line of a file has its number
            self._before_bytes = done_bytes
        return Progress(done_bytes)


READERS: Mapping[str, Reader] = {
    "pg_basebackup": read_pg_basebackup,
    "rsync": read_rsync,
    "bytes": read_bytes,
    "pg_rewind": read_pg_rewind,
}

SMOOTH_SECONDS = 10.0


@dataclass
class Pace:
    """Bytes per second, smoothed over about `SMOOTH_SECONDS`, and from it how long the rest will take.

    Seconds are of any clock that only goes forward. A start again from 0 (another attempt) forgets the pace.
    """

    bytes_per_second: float = 0.0
    _last: tuple[float, int] | None = field(default=None, repr=False)
    _seconds: float = field(default=0.0, repr=False)

    def seen(self, at_seconds: float, done_bytes: int) -> float:
        if self._last is None or done_bytes < self._last[1]:
            self.bytes_per_second, self._seconds = 0.0, 0.0
        elif (elapsed := at_seconds - self._last[0]) <= 0:
            return self.bytes_per_second
        else:
            # until there is more to look back on, it is the plain mean: the first seconds must not count for too much
            self._seconds += elapsed
            weight = min(1.0, elapsed / min(self._seconds, SMOOTH_SECONDS))
            self.bytes_per_second += weight * ((done_bytes - self._last[1]) / elapsed - self.bytes_per_second)
        self._last = (at_seconds, done_bytes)
        return self.bytes_per_second

    def eta_seconds(self, total_bytes: int) -> float | None:
        """None while it cannot be told: no total, no pace yet, or standing still."""
        if not total_bytes or self._last is None or self.bytes_per_second < 1:
            return None
        return max(0, total_bytes - self._last[1]) / self.bytes_per_second
