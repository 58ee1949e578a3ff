"""Pure: what looks at hosts mean for a new or an imported cluster. Facts in, proposals, peers and problems out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from django.utils.translation import gettext as _

from remote.facts import Facts, Mount, Postgres
from remote.layouts import LAYOUTS, detect, overrides_of

MAX_SKEW_SECONDS = 2.0
NOT_DISKS = ("tmpfs", "devtmpfs", "ramfs", "squashfs", "efivarfs", "iso9660")
NOT_STANDBYS = ("pg_basebackup", "pg_receivewal", "pg_receivexlog", "barman", "pgbackrest")


def said(name: str, *texts: str) -> str:
    """What is wrong with a host, and its mend, in one line. The last may be a command to paste, so it gets no full stop."""
    told = [text for text in texts if text]
    first = "" if told and told[0].startswith((f"{name} ", f"{name}:")) else f"{name}: "
    return first + " ".join([text if text.endswith((".", "?", "!", ":")) else f"{text}." for text in told[:-1]] + told[-1:])


@dataclass(frozen=True)
class Seen:
    """A host of a draft with its facts, and which of its database clusters was chosen ("" = none there yet)."""

    name: str
    facts: Facts
    address: str
    port: int = 5432
    data_directory: str = ""
    is_primary: bool = False

    @property
    def postgres(self) -> Postgres | None:
        return self.facts.postgres(self.data_directory) if self.data_directory else None


@dataclass(frozen=True)
class Place:
    """Where a node's things lie: a layout's name and what differs from it."""

    layout: str
    major: str
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """Another server of the same replication, known only from what a server said of it."""

    address: str
    port: int
    name: str
    relation: Literal["standby", "upstream"]
    of: str


@dataclass(frozen=True)
class Problem:
    """level "refused": the draft cannot be left so."""

    name: str
    level: Literal["refused", "warning"]
    reason: str
    mend: str
    command: str = ""


def proposed_cluster(facts: Facts, port: int) -> Postgres | None:
    """The database cluster on this host that is most likely meant: the one on that port, else a running one, else the only one."""
    found = sorted(facts.clusters, key=lambda each: (each.port != port, not each.is_running, -each.size_bytes))
    return found[0] if found else None


def proposed_primary(seen: Sequence[Seen]) -> str:
    """The host that is the primary: has standbys, else holds the most data; "" where nothing runs as a primary."""
    running = [each for each in seen if each.postgres and each.postgres.role == "primary"]
    best = max(running, key=lambda each: _weight(each.postgres), default=None)
    return best.name if best else ""


def _weight(postgres: Postgres | None) -> tuple[int, int]:
    return (len(postgres.senders), postgres.size_bytes) if postgres else (0, 0)


def place_of(seen: Seen, layout: str = "") -> Place | None:
    """Where the chosen database cluster lies, told against `layout` (default: the one detected); None for a bare host."""
    postgres = seen.postgres
    if postgres is None:
        return None
    layout = layout or detect(seen.facts, postgres)
    return Place(layout, postgres.major, overrides_of(LAYOUTS[layout], postgres))


def place_of_bare(seen: Seen, primary: Place) -> Place:
    """A bare host takes the primary's layout; its own binaries of that major if they lie elsewhere."""
    overrides = dict(primary.overrides)
    own = LAYOUTS[primary.layout].paths(primary.major, overrides)
    binaries = [each.bin_directory for each in seen.facts.installations if each.major == primary.major]
    if binaries and own.bin_directory not in binaries:
        overrides["bin_directory"] = binaries[0]
    return Place(primary.layout, primary.major, overrides)


def disks_of(facts: Facts) -> list[Mount]:
    """The mounts that hold files for longer than until the next boot."""
    return [mount for mount in facts.mounts if mount.filesystem not in NOT_DISKS and mount.size_bytes]


# -- the other servers of a running replication -----------------------------------------------------------------------------------


def peers(seen: Sequence[Seen]) -> list[Peer]:
    """Servers that the ones looked at name, and that are not among them: standbys that stream, and what a standby follows."""
    known = {address for each in seen for address in (each.address, *each.facts.addresses)}
    found: dict[str, Peer] = {}
    for each in seen:
        for peer in _named_by(each):
            if peer.address not in known:
                found.setdefault(peer.address, peer)
    return list(found.values())


def _named_by(seen: Seen) -> Iterator[Peer]:
    postgres = seen.postgres
    if postgres is None:
        return
    for sender in postgres.senders:
        if sender.client_address and sender.state != "backup" and not sender.application_name.startswith(NOT_STANDBYS):
            yield Peer(sender.client_address, postgres.port, sender.application_name, "standby", seen.name)
    if postgres.role == "standby":
        host, port = upstream_of(postgres)
        if host and not host.startswith("/"):
            yield Peer(host, port, "", "upstream", seen.name)


def upstream_of(postgres: Postgres) -> tuple[str, int]:
    """(host, port) that a standby follows: its receiver's word, else its primary_conninfo; ("", 0) if neither says."""
    if postgres.receiver and postgres.receiver.sender_host:
        return postgres.receiver.sender_host, postgres.receiver.sender_port or 5432
    conninfo = conninfo_of(postgres)
    host = re.search(r"\b(?:host|hostaddr)\s*=\s*'?([^\s']+)", conninfo)
    port = re.search(r"\bport\s*=\s*'?(\d+)", conninfo)
    return (host.group(1), int(port.group(1)) if port else 5432) if host else ("", 0)


def conninfo_of(postgres: Postgres) -> str:
    setting = postgres.settings.get("primary_conninfo")
    if setting and setting.value:
        return setting.value
    if postgres.receiver and postgres.receiver.conninfo:
        return postgres.receiver.conninfo
    line = re.search(r"^\s*primary_conninfo\s*=?\s*'((?:[^']|'')*)'", postgres.recovery_text, re.MULTILINE)
    return line.group(1).replace("''", "'") if line else ""


# -- what is in the way -----------------------------------------------------------------------------------------------------------


def problems(seen: Sequence[Seen], *, is_import: bool) -> list[Problem]:
    """What must or should be mended before these hosts become a cluster; the setup job's own preflight looks deeper."""
    found = [problem for each in seen for problem in _problems_of_host(each)]
    found += _same_machine(seen)
    primary = next((each for each in seen if each.is_primary), None)
    if primary is None:
        return [*found, _no_primary(seen)]
    found += _problems_of_primary(primary)
    for each in seen:
        if each is not primary and primary.postgres:
            found += _imported(each, primary.postgres) if is_import else _beside(each, primary.postgres)
    return sorted(found, key=lambda problem: problem.level)


def _problems_of_host(seen: Seen) -> Iterator[Problem]:
    facts = seen.facts
    if facts.become_error:
        yield Problem(
            seen.name, "refused", facts.become_error,
            _("Log in as root, as the owner of the data directory, or as an account that sudo lets become it."),
        )  # fmt: skip
    if abs(facts.clock_skew_seconds) > MAX_SKEW_SECONDS:
        yield Problem(
            seen.name, "warning",
            _("Its clock is %(seconds).1f s away from the panel's: lag in seconds would lie.")
            % {"seconds": facts.clock_skew_seconds},
            _("Let both follow the same time server."), "timedatectl set-ntp true",
        )  # fmt: skip
    postgres = seen.postgres
    if postgres and postgres.is_running and not postgres.answers_sql:
        yield Problem(
            seen.name, "refused",
            _("PostgreSQL runs there, but gives the panel no answer: %(error)s") % {"error": postgres.sql_error},
            _("Let its owner (%(owner)s) connect over the local socket: a line “local all all peer” in pg_hba.conf.")
            % {"owner": postgres.owner},
        )  # fmt: skip


def _problems_of_primary(primary: Seen) -> Iterator[Problem]:
    postgres = primary.postgres
    if postgres is None:
        yield Problem(
            primary.name, "refused", _("There is no PostgreSQL data on it, so it cannot be the primary."), _("Choose another.")
        )
    elif not postgres.is_running:
        yield Problem(
            primary.name, "refused", _("Its PostgreSQL in %(path)s is not running.") % {"path": postgres.data_directory},
            _("Start it, then look again."),
        )  # fmt: skip
    elif postgres.role == "standby":
        yield Problem(
            primary.name, "refused", _("It is a standby: it follows %(host)s.") % {"host": upstream_of(postgres)[0] or "?"},
            _("Name the host that it follows, too, and choose that one as primary."),
        )  # fmt: skip


def _no_primary(seen: Sequence[Seen]) -> Problem:
    name = seen[0].name if seen else ""
    return Problem(name, "refused", _("No host is chosen as the primary."), _("Choose the one that holds the data."))


def _beside(standby: Seen, primary: Postgres) -> Iterator[Problem]:
    """A host that is to become a standby."""
    majors = {each.major for each in standby.facts.installations}
    if primary.major not in majors:
        yield Problem(
            standby.name, "refused",
            _("PostgreSQL %(major)s, the primary's version, is not installed there (found: %(found)s).")
            % {"major": primary.major, "found": ", ".join(sorted(majors)) or _("none")},
            _("Install it, then look again."),
            f"apt-get install postgresql-{primary.major}" if standby.facts.os_id in ("debian", "ubuntu") else "",
        )  # fmt: skip
    target = standby.data_directory or primary.data_directory
    mount = standby.facts.mount_of(target)
    needed = primary.size_bytes + primary.wal_bytes
    if mount and mount.free_bytes < needed:
        yield Problem(
            standby.name, "refused",
            _("%(path)s has %(free)d MB free; the copy needs about %(needed)d MB.")
            % {"path": mount.path, "free": mount.free_bytes >> 20, "needed": needed >> 20},
            _("Free some space or choose a data directory on another disk."),
        )  # fmt: skip


def _imported(standby: Seen, primary: Postgres) -> Iterator[Problem]:
    postgres = standby.postgres
    if postgres is None:
        yield Problem(
            standby.name, "warning", _("No PostgreSQL data was found on it."), _("Leave it out, or make it a standby later.")
        )
    elif postgres.system_identifier and postgres.system_identifier != primary.system_identifier:
        yield Problem(
            standby.name, "refused",
            _("Its databases are of another origin (system identifier): it is no standby of this primary."),
            _("Leave this host out, or choose another database cluster on it."),
        )  # fmt: skip
    elif postgres.role == "primary":
        yield Problem(
            standby.name, "warning", _("It has the same origin as the primary but runs as a primary itself: two writable copies."),
            _("Find out which one is used, and stop the other before anything else."),
        )  # fmt: skip


def _same_machine(seen: Sequence[Seen]) -> Iterator[Problem]:
    """Two names of one machine: a mistake if they name one database cluster, and no protection in any case."""
    first: dict[str, Seen] = {}
    for each in seen:
        machine = each.facts.machine_id or each.facts.hostname
        other = first.setdefault(machine, each)
        if other is not each:
            is_same = each.data_directory == other.data_directory and each.port == other.port
            yield Problem(
                each.name, "refused" if is_same else "warning", _("It is the same machine as %(other)s.") % {"other": other.name},
                _("A standby beside its primary does not outlive that machine: name another host."),
            )  # fmt: skip


def worst(found: Iterable[Problem]) -> str:
    levels = {problem.level for problem in found}
    return "refused" if "refused" in levels else "warning" if levels else ""
