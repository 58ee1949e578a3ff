"""Pure: what is dangerous in a running replication that somebody built by hand. Read from facts, nothing is changed.

Each rule is a function of one server (and the whole, where it must); `RULES` lists them. A danger names its reason and its mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext as _

from clusters.findings import Seen
from remote.config import parse_settings, setting_bytes
from remote.facts import Postgres

LEAST_KEPT_BYTES = 1 << 30
RECOVERY_SETTINGS = ("trigger_file", "promote_trigger_file", "primary_conninfo", "restore_command", "archive_cleanup_command")
LOCAL_ADDRESSES = ("127.0.0.1/32", "::1/128", "localhost", "samehost")


@dataclass(frozen=True)
class Danger:
    """level: "grave" loses data or lets strangers in; "warning" will hurt one day; "note" is good to know."""

    key: str
    name: str
    level: Literal["grave", "warning", "note"]
    title: str
    reason: str
    mend: str


@dataclass(frozen=True)
class HbaLine:
    """One line of pg_hba.conf; `address` has its mask in it, and is empty for `local`."""

    line: int
    kind: str
    database: str
    user: str
    address: str
    method: str


def hba_lines(text: str) -> list[HbaLine]:
    """https://www.postgresql.org/docs/current/auth-pg-hba-conf.html; an address may be followed by a mask of its own."""
    found = []
    for number, text_line in enumerate(text.splitlines(), start=1):
        words = text_line.partition("#")[0].split()
        if len(words) >= 4 and words[0] == "local":
            found.append(HbaLine(number, "local", words[1], words[2], "", words[3]))
        elif len(words) >= 5 and words[0].startswith("host"):
            has_mask = len(words) >= 6 and re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:]+", words[4]) and not words[4].isalpha()
            address = f"{words[3]}/{words[4]}" if has_mask else words[3]
            found.append(HbaLine(number, words[0], words[1], words[2], address, words[5] if has_mask else words[4]))
    return found


@dataclass(frozen=True)
class Server:
    """One server as the rules look at it."""

    name: str
    seen: Seen
    postgres: Postgres
    hba: Sequence[HbaLine]
    recovery: Mapping[str, str]

    def setting(self, name: str) -> str:
        found = self.postgres.settings.get(name)
        return found.value if found else ""


@dataclass(frozen=True)
class Group:
    """The same danger on several servers, said once. `danger.name` is the first one's."""

    danger: Danger
    names: tuple[str, ...]


def grouped(found: Sequence[Danger]) -> list[Group]:
    groups: dict[tuple[str, str, str], list[Danger]] = {}
    for danger in found:
        groups.setdefault((danger.key, danger.title, danger.reason), []).append(danger)
    return [Group(members[0], tuple(member.name for member in members)) for members in groups.values()]


Rule = Callable[[Server], Iterator[Danger]]


def dangers(seen: Sequence[Seen]) -> list[Danger]:
    """Worst first, then in the order of the hosts."""
    found = [danger for each in seen if each.postgres for rule in RULES for danger in rule(_server(each, each.postgres))]
    order = ("grave", "warning", "note")
    return sorted(found, key=lambda danger: order.index(danger.level))


def _server(seen: Seen, postgres: Postgres) -> Server:
    recovery = dict(parse_settings(postgres.recovery_text))
    for name in RECOVERY_SETTINGS:
        setting = postgres.settings.get(name)
        if setting and setting.value:
            recovery.setdefault(name, setting.value)
    return Server(seen.name, seen, postgres, hba_lines(postgres.hba_text), recovery)


# -- who gets in ------------------------------------------------------------------------------------------------------------------


def trust(server: Server) -> Iterator[Danger]:
    """https://www.postgresql.org/docs/current/auth-trust.html"""
    listens = server.setting("listen_addresses")
    is_open = listens not in ("", "localhost", "127.0.0.1", "::1")
    for line in server.hba:
        if line.method != "trust" or line.kind == "local" or line.address in LOCAL_ADDRESSES:
            continue
        yield Danger(
            "hba.trust", server.name, "grave" if is_open else "warning",
            _("pg_hba.conf lets %(address)s in without a password") % {"address": line.address},
            _("Line %(line)d trusts every account there as %(user)s on %(database)s; listen_addresses is “%(listens)s”.")
            % {"line": line.line, "user": line.user, "database": line.database, "listens": listens},
            _("Setup writes /32 lines with a password for the nodes; then take this line out."),
        )  # fmt: skip


def weak_passwords(server: Server) -> Iterator[Danger]:
    if server.setting("password_encryption") not in ("md5", "on") or not any(line.method == "md5" for line in server.hba):
        return
    can_scram = server.setting("password_encryption") == "md5"  # up to 9.6 it is a boolean
    yield Danger(
        "hba.md5", server.name, "warning" if can_scram else "note", _("Passwords are kept and checked as MD5"),
        _("Whoever reads the stored MD5 hash can log in with it, without knowing the password."),
        _("Set password_encryption to scram-sha-256 and set the passwords anew; pgpanel's own roles do.")
        if can_scram else _("This version has nothing better: keep the pg_hba.conf lines narrow (/32)."),
    )  # fmt: skip


def password_readable(server: Server) -> Iterator[Danger]:
    """In the data directory only its owner gets (else the server does not start); a configuration file elsewhere may be open."""
    if "password" not in server.recovery.get("primary_conninfo", ""):
        return
    setting = server.postgres.settings.get("primary_conninfo")
    file = (setting.source_file if setting else "") or f"{server.postgres.data_directory}/recovery.conf"
    known = server.seen.facts.paths.get(file)
    is_inside = file.startswith(server.postgres.data_directory.rstrip("/") + "/")
    if not is_inside and known and known.mode and int(known.mode, 8) & 0o044:
        yield Danger(
            "conninfo.readable", server.name, "grave", _("Others on the host may read the replication password"),
            _("It stands in %(file)s, whose mode is %(mode)s.") % {"file": file, "mode": known.mode}, f"chmod 600 {file}",
        )  # fmt: skip
    else:
        yield Danger(
            "conninfo.password", server.name, "note", _("The replication password stands in %(file)s") % {"file": file},
            _("It must be somewhere; it is only as safe as that file's mode."), _("Setup keeps it in a file of mode 0600."),
        )  # fmt: skip


def trigger_for_everybody(server: Server) -> Iterator[Danger]:
    path = server.recovery.get("trigger_file") or server.recovery.get("promote_trigger_file") or ""
    if path.startswith(("/tmp/", "/var/tmp/", "/dev/shm/")):  # noqa: S108 — named to warn of them
        yield Danger(
            "trigger.tmp", server.name, "grave", _("Any account on this host can promote it"),
            _("The trigger file is %(path)s, and everybody may make a file there: two primaries, then.") % {"path": path},
            _("Setup moves it into the data directory; promotion goes through pg_ctl anyway."),
        )  # fmt: skip


# -- what fills or stops ----------------------------------------------------------------------------------------------------------


def archive_target(server: Server) -> Iterator[Danger]:
    """The source page's command: one rsync to one standby. While that is away, nothing is archived and pg_wal grows."""
    command = server.setting("archive_command")
    if server.postgres.role != "primary" or server.setting("archive_mode") not in ("on", "always") or not command:
        return
    targets = sorted(set(re.findall(r"(?:[\w.-]+@)?([\w.-]+|\[[0-9A-Fa-f:]+\]):/", command)))
    if len(targets) == 1 and not re.search(r"\|\||;\s*true|exit 0", command):
        yield Danger(
            "archive.one_target", server.name, "grave", _("One dead standby fills this primary's disk"),
            _("archive_command copies to %(host)s only; while that is away, PostgreSQL keeps every WAL file. %(count)d wait now.")
            % {"host": targets[0], "count": server.postgres.archive_ready_count},
            _("Setup writes a command that bounds this and is watched."),
        )  # fmt: skip
    if targets and not re.search(r"\btest\b|\[ |--ignore-existing|pgpanel", command):
        yield Danger(
            "archive.overwrites", server.name, "warning", _("The archive command overwrites what is there"),
            _("A returned old primary could replace WAL files that the standby still needs, and nothing is flushed to disk."),
            _("Setup's command flushes a temporary file, renames it, and refuses a different one of the same name."),
        )  # fmt: skip


def archiver_fails(server: Server) -> Iterator[Danger]:
    archiver = server.postgres.archiver
    if archiver and archiver.last_failed_wal and archiver.last_failed_at > archiver.last_archived_at:
        yield Danger(
            "archive.fails", server.name, "grave", _("Archiving fails now"),
            _("%(wal)s could not be archived at %(at)s; %(count)d WAL files wait.")
            % {"wal": archiver.last_failed_wal, "at": archiver.last_failed_at, "count": server.postgres.archive_ready_count},
            _("Run the archive command by hand as %(owner)s to see why.") % {"owner": server.postgres.owner},
        )  # fmt: skip


def slot_without_end(server: Server) -> Iterator[Danger]:
    limit = server.setting("max_slot_wal_keep_size")
    for slot in server.postgres.slots:
        if not slot.is_active and limit in ("", "-1"):
            yield Danger(
                "slot.unused", server.name, "grave",
                _("Slot %(name)s is used by nobody and keeps WAL without end") % {"name": slot.name},
                _("It holds %(held)d MB now.") % {"held": slot.held_bytes >> 20},
                _("If its standby will not come back: SELECT pg_drop_replication_slot('%(name)s');") % {"name": slot.name},
            )  # fmt: skip


def keeps_too_little(server: Server) -> Iterator[Danger]:
    """Without slots the primary may remove WAL that a standby still needs."""
    if server.postgres.role != "primary" or server.postgres.slots:
        return
    kept = _kept_bytes(server)
    if kept is None or kept >= LEAST_KEPT_BYTES:
        return
    yield Danger(
        "wal.keeps_little", server.name, "warning", _("A standby that is away for a while is lost"),
        _("Only %(kept)d MB of WAL are kept and there is no replication slot.") % {"kept": kept >> 20},
        _("Setup gives each standby a slot (with a limit from 13 on) or keeps more WAL."),
    )  # fmt: skip


def _kept_bytes(server: Server) -> int | None:
    size, segments = server.postgres.settings.get("wal_keep_size"), server.postgres.settings.get("wal_keep_segments")
    if size:
        return setting_bytes(size.value, size.unit or "MB")
    segment_bytes = server.postgres.control.wal_segment_bytes if server.postgres.control else 16 << 20
    return int(segments.value) * segment_bytes if segments else None


# -- what will be missing on the day ----------------------------------------------------------------------------------------------


def cannot_rewind(server: Server) -> Iterator[Danger]:
    control = server.postgres.control
    if control and not control.has_checksums and not control.wal_log_hints:
        yield Danger(
            "rewind.impossible", server.name, "warning", _("After a failover the old primary cannot be rewound"),
            _("Neither data checksums nor wal_log_hints are on: it would need a whole new copy."),
            _("Setup sets wal_log_hints (needs one restart): afterwards it is too late."),
        )  # fmt: skip


def not_hot(server: Server) -> Iterator[Danger]:
    if server.setting("hot_standby") == "off":
        yield Danger(
            "standby.not_hot", server.name, "warning", _("hot_standby is off"),
            _("As a standby it answers no query, so nobody can ask it how far it is."),
            _("Turn it on: a primary ignores it, and the next swap needs it."),
        )  # fmt: skip


def old_timeline(server: Server) -> Iterator[Danger]:
    """Up to 11 the default is the backup's timeline: after a promotion elsewhere the standby would not follow."""
    if server.postgres.role != "standby" or not server.postgres.recovery_text:
        return
    if server.recovery.get("recovery_target_timeline") != "latest":
        yield Danger(
            "standby.old_timeline", server.name, "warning", _("It will not follow another standby that is promoted"),
            _("recovery.conf lacks recovery_target_timeline = 'latest'."), _("Setup writes it."),
        )  # fmt: skip


def never_pruned(server: Server) -> Iterator[Danger]:
    restores = "restore_command" in server.recovery
    if server.postgres.role == "standby" and restores and "archive_cleanup_command" not in server.recovery:
        yield Danger(
            "archive.never_pruned", server.name, "warning", _("The archive on the standby is never pruned"),
            _("There is a restore_command, but no archive_cleanup_command."), _("Setup prunes it on every node."),
        )  # fmt: skip


RULES: tuple[Rule, ...] = (
    trust, password_readable, trigger_for_everybody, archive_target, archiver_fails, slot_without_end, weak_passwords,
    keeps_too_little, cannot_rewind, not_hot, old_timeline, never_pruned,
)  # fmt: skip
