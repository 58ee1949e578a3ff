"""What only the host can say: room on its disks, WAL that waits for the archive, the managed blocks, the certificate, history.

One short read-only script through SSH, as the owner of the data directory; its answer is read by a pure function.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography import x509

from monitor.forecast import Room
from monitor.sight import Unseen
from monitor.watch import NodeTarget
from remote import config, lsn
from remote.command import Command, script
from remote.errors import HostError
from remote.host import Host
from remote.rows import number
from remote.visible import storable

CONNECT_SECONDS = 5.0
WITHIN_SECONDS = 20.0
MOST_CERTIFICATE = 20_000
_DF = re.compile(r"(\S.*?)\s+(\d{1,15})\s+\d+\s+(\d{1,15})\s+\d+%\s", re.ASCII)

# $1 data directory, $2 configuration directory, $3 certificate ("" = none), relative to the data directory;
# $4 timeline, $5 and $6 the halves of the LSN up to where the primary has written (0 = not known: then no file is counted)
_SCRIPT = (
    r"""
data=$1
wal=$data/pg_wal; [ -d "$wal" ] || wal=$data/pg_xlog
[ -d "$wal" ] || { echo "there is no WAL directory in $data" >&2; exit 3; }
echo "data $(df -Pk -- "$data" | tail -n 1)"
echo "wal $(df -Pk -- "$wal" | tail -n 1)"
echo "ready $(ls "$wal/archive_status" 2>/dev/null | grep -c '\.ready$')"
any=$(ls "$wal" | grep -E '^[0-9A-F]{24}$' | head -n 1)
if [ "$4" -gt 0 ] && [ -n "$any" ]; then
  size=$(wc -c < "$wal/$any")
  now=$(awk -v t="$4" -v high="$5" -v low="$6" -v size="$size" 'BEGIN { printf "%08X%08X%08X", t, high, int(low / size) }')
  left=$(awk -v low="$6" -v size="$size" 'BEGIN { printf "%.0f", size - low % size }')
  echo "files $(ls "$wal" | grep -E '^[0-9A-F]{24}$' | awk -v now="$now" '($1 "") > (now "")' | wc -l) $size $left"
fi
for name in postgresql.conf pg_hba.conf; do
  [ -r "$2/$name" ] || continue
  block=$(sed -n '/^"""
    + config.BLOCK_START
    + r"""/,/^"""
    + config.BLOCK_END
    + r"""/p' "$2/$name")
  [ -z "$block" ] && echo "block $name -" || echo "block $name $(printf %s "$block" | cksum | tr ' ' -)"
done
history=$(ls "$wal" | grep -E '^[0-9A-F]{8}\.history$' | tail -n 1)
if [ -n "$history" ]; then echo "history $history"; sed 's/^/switch /' "$wal/$history"; echo; fi
case $3 in '') ;; /*) certificate=$3 ;; *) certificate=$data/$3 ;; esac
[ -z "$3" ] || sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p;/-END CERTIFICATE-/q' "$certificate" 2>/dev/null
exit 0
"""
)


@dataclass(frozen=True)
class Space:
    """device: tells whether two directories share a file system. free_bytes: for the server's account."""

    device: str
    size_bytes: int
    free_bytes: int

    @property
    def free_share(self) -> float:
        return self.free_bytes / self.size_bytes if self.size_bytes else 0.0


@dataclass(frozen=True)
class HostSight:
    """at: the panel's clock. ready_count: WAL files that wait for the archive.

    spare_bytes: in WAL files that stand ready to be written, and in the one that is.
    blocks: checksum of the managed block by file, "-" = it has none.
    history_of, switches: the newest timeline that the host has a history of, and (timeline, LSN where it was left) before it.
    """

    at: float
    data: Space | None = None
    wal: Space | None = None
    ready_count: int = 0
    spare_bytes: int = 0
    segment_bytes: int = 0
    blocks: dict[str, str] = field(default_factory=dict)
    certificate_until: float | None = None
    history_of: int = 0
    switches: tuple[tuple[int, int], ...] = ()

    @property
    def room(self) -> Room | None:
        return Room(self.at, self.wal.free_bytes, self.spare_bytes, self.segment_bytes) if self.wal else None


@dataclass(frozen=True)
class Asked:
    """What a look starts from. timeline, lsn: up to where a primary has written, 0 = not known, or it is none."""

    certificate_file: str = ""
    timeline: int = 0
    lsn: int = 0


def command(target: NodeTarget, asked: Asked) -> Command:
    position = (asked.timeline, asked.lsn >> 32, asked.lsn & 0xFFFFFFFF)
    return script(
        _SCRIPT, target.data_directory, target.config_directory or target.data_directory, asked.certificate_file,
        *map(str, position),
        user=target.owner, environment=(("LC_ALL", "C"),), timeout_seconds=WITHIN_SECONDS, mutates=False,
    )  # fmt: skip


def look(target: NodeTarget, asked: Asked) -> HostSight | Unseen:
    """Opens a connection and closes it again: it is a look a minute, and a host has few sessions to give."""
    try:
        with Host(target.access, target.name, connect_timeout_seconds=CONNECT_SECONDS) as host:
            begun = time.time()
            result = host.run(command(target, asked), check=False)
    except HostError as error:
        return Unseen(time.time(), f"ssh-{error.cause}", str(error))
    if result.exit_code != 0:
        return Unseen(time.time(), "other", result.stderr[:300])
    return sight_of(result.stdout, (begun + time.time()) / 2)


def sight_of(text: str, at: float) -> HostSight:
    """What does not read is left out."""
    rows = [storable(line).split(" ") for line in text[:200_000].splitlines()]
    by_tag: dict[str, list[list[str]]] = {}
    for row in rows:
        by_tag.setdefault(row[0], []).append(row[1:])
    files = [number(value) for value in next((row for row in by_tag.get("files", []) if len(row) == 3), ("0", "0", "0"))]
    history = next((row[0] for row in by_tag.get("history", []) if row), "")
    return HostSight(
        at, _space(by_tag.get("data")), _space(by_tag.get("wal")),
        ready_count=number(next((row[0] for row in by_tag.get("ready", []) if row), "0")),
        spare_bytes=files[0] * files[1] + files[2], segment_bytes=files[1],
        blocks={row[0]: row[1] for row in by_tag.get("block", []) if len(row) == 2},
        certificate_until=certificate_until(text),
        history_of=lsn.history_file_timeline(history) if history else 0,
        switches=tuple(_switches(" ".join(row) for row in by_tag.get("switch", []))),
    )  # fmt: skip


def _space(rows: list[list[str]] | None) -> Space | None:
    """A line of `df -Pk`. The names of device and mount point may hold spaces."""
    found = _DF.match(" ".join(rows[0])) if rows else None
    return Space(found[1], number(found[2]) * 1024, number(found[3]) * 1024) if found else None


def _switches(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    with suppress(ValueError):
        for switch in lsn.parse_history("\n".join(lines)):
            yield switch.timeline, switch.lsn


def certificate_until(text: str) -> float | None:
    """When the first certificate in the text expires, epoch seconds."""
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if begin < 0 or end < begin or end - begin > MOST_CERTIFICATE:
        return None
    try:
        found = x509.load_pem_x509_certificate((text[begin:end] + "-----END CERTIFICATE-----\n").encode())
    except ValueError:
        return None
    return found.not_valid_after_utc.timestamp()
