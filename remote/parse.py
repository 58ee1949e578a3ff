"""What the facts script printed → `Facts`. Pure, and patient: a truncated or odd answer gives what it holds, and a warning."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from remote import config, lsn, versions
from remote.facts import (
    Account,
    Archiver,
    Control,
    DatabaseRole,
    Facts,
    Installation,
    Mount,
    PathFact,
    Postgres,
    Reach,
    Role,
    Setting,
    Slot,
    Tablespace,
    WalReceiver,
    WalSender,
)

RECORD, FIELD, LIST = "\x1e", "\x1f", "\x1d"
_LAST_SYSTEM_UID = 999
_RHEL_FAMILY = frozenset({"rhel", "centos", "rocky", "almalinux", "ol", "fedora", "amzn"})
_IN_RECOVERY = frozenset({"in archive recovery", "shut down in recovery"})
_SHUT_DOWN_PRIMARY = frozenset({"in production", "shut down", "shutting down", "in crash recovery"})
Row = Sequence[str]
Value = TypeVar("Value")


def parse(output: str, round_trip: tuple[float, float] | None) -> Facts:
    """The facts in one answer. round_trip: panel epoch seconds when it was sent and received, for the clock's skew."""
    lines = list(_lines(output))
    kinds = {key for key, _ in lines}
    warnings = _Warnings()
    if "begin" not in kinds:
        warnings.add("The host's answer holds no facts: its login shell may print or run something of its own.")
    elif "end" not in kinds:
        warnings.add("The host's answer is incomplete: what is missing here may exist.")
    host = _Host(lines)
    clusters = tuple(_cluster(rows, warnings) for rows in _clusters(lines))
    facts = host.facts()
    return replace(
        facts,
        clock_skew_seconds=_skew(facts.epoch_seconds + facts.elapsed_ms / 2000, round_trip) if facts.epoch_seconds else 0.0,
        clusters=clusters,
        warnings=tuple(warnings.texts),
    )


@dataclass
class _Warnings:
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


def _lines(output: str) -> Iterator[tuple[str, Row]]:
    """`key TAB :text TAB +base64` → (key, fields). Lines of another form (a login banner) are passed over."""
    for line in output.split("\n"):
        key, *words = line.split("\t")
        if words and re.fullmatch(r"[a-z_]+", key) and all(word[:1] in ":+" for word in words):
            yield key, tuple(_decoded(word) for word in words)


def _decoded(word: str) -> str:
    if word[:1] == ":" or not word:
        return word[1:]
    body = word[1:]
    try:
        raw = bytes.fromhex(body[2:]) if body.startswith("0x") else base64.b64decode(body[: len(body) // 4 * 4])
    except (ValueError, binascii.Error):
        return ""
    return raw.decode(errors="replace")


def _skew(epoch_seconds: float, round_trip: tuple[float, float] | None) -> float:
    """Host minus panel, the middle of the look against the middle of the round trip."""
    return round(epoch_seconds - sum(round_trip) / 2, 3) if round_trip else 0.0


def _number(text: str, default: int = 0) -> int:
    found = re.match(r"\s*(-?\d+)", text)
    return int(found[1]) if found else default


def _epoch(text: str) -> float | None:
    """`date +%s.%N`; a date that knows no nanoseconds leaves `.%N` or nothing behind the seconds."""
    found = re.match(r"\d+(\.\d+)?", text)
    return float(found[0]) if found else None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# --- the host ------------------------------------------------------------------------------------------------------


class _Host:
    def __init__(self, lines: Sequence[tuple[str, Row]]) -> None:
        self.lines = lines

    def all(self, key: str) -> list[Row]:
        return [row for found, row in self.lines if found == key]

    def first(self, key: str, position: int = 0) -> str:
        rows = self.all(key)
        return rows[0][position] if rows and len(rows[0]) > position else ""

    def facts(self) -> Facts:
        system = dict(row[0].partition("=")[::2] for row in self.all("os"))
        os_id = system.get("ID", "").strip("\"'")
        began, ended = _epoch(self.first("begin", 2)), _epoch(self.first("end"))
        return Facts(
            hostname=self.first("hostname"),
            machine_id=self.first("machine_id"),
            boot_id=self.first("boot_id"),
            os_id=os_id,
            os_version=system.get("VERSION_ID", "").strip("\"'"),
            kernel=self.first("uname"),
            architecture=self.first("uname", 1),
            cpu_count=_number(self.first("cpus")),
            memory_bytes=_number(self.first("memory_kb")) * 1024,
            addresses=tuple(item for item in self.first("addresses").split() if not item.startswith(("127.", "::1", "fe80:"))),
            login_user=self.first("login"),
            can_become_root=self.first("login", 1) == "yes",
            can_become_owner=self.first("login", 2) == "yes",
            become_error=self.first("login", 3).strip(),
            epoch_seconds=began or 0.0,
            elapsed_ms=round((ended - began) * 1000) if began and ended else 0,
            selinux=self._selinux(),
            is_systemd=bool(self.all("systemd")),
            systemd_removes_ipc=self._removes_ipc(os_id),
            glibc_version=self.first("libc").removeprefix("glibc").strip(),
            icu_version=self._icu(),
            tools=dict(line.partition("=")[::2] for line in self.first("tools").splitlines()),
            accounts=self._accounts(),
            mounts=_mounts(self.first("mounts")),
            installations=tuple(_installation(row) for row in self.all("installation")),
            paths=self._paths(),
            reach={f"{row[0]}:{row[1]}": _reach(row) for row in self.all("reach") if len(row) >= 4},
        )

    def _selinux(self) -> str:
        return {"1": "enforcing", "0": "permissive"}.get(self.first("selinux"), "absent")

    def _removes_ipc(self, os_id: str) -> bool:
        """logind's RemoveIPC: yes unless configured, but the Red Hat family builds it with no."""
        if not self.all("systemd"):
            return False
        said = self.all("remove_ipc")
        if said:
            return said[-1][0].strip().lower() in ("yes", "true", "1", "on")
        return os_id not in _RHEL_FAMILY

    def _icu(self) -> str:
        found = re.findall(r"libicui18n\.so\.(\d+)", self.first("icu"))
        return max(found, key=int) if found else ""

    def _accounts(self) -> dict[str, Account]:
        locked = {row[0]: row[1] == "yes" for row in self.all("locked") if len(row) > 1}
        accounts = {}
        for row in self.all("passwd"):
            parts = row[0].split(":")
            if len(parts) >= 7:
                name, uid = parts[0], _number(parts[2])
                accounts[name] = Account(name, uid, parts[5], parts[6], locked.get(name, False), uid <= _LAST_SYSTEM_UID)
        return accounts

    def _paths(self) -> dict[str, PathFact]:
        digests = {row[0]: row[1].split()[0] for row in self.all("digest") if len(row) > 1 and row[1].split()}
        texts = {row[0]: config.without_passwords(row[-1]) for row in self.all("path_text") if len(row) > 1}
        return {row[0]: _path(row, texts.get(row[0]), digests.get(row[0], "")) for row in self.all("path") if len(row) > 1}


def _path(row: Row, text: str | None, digest: str) -> PathFact:
    if row[1] in ("missing", "denied") or len(row) < 4:
        return PathFact(row[1] if row[1] in ("missing", "denied") else "other")
    described, entries, target = row[1:4]
    what, owner, group, mode, size = ([*described.split(":"), "", "", "", ""])[:5]
    kinds = {"directory": "directory", "symbolic link": "link"}
    kind = "file" if "regular" in what else kinds.get(what, "other")
    return PathFact(
        kind=kind, owner=owner, group=group, mode=mode.zfill(4) if mode else "", size_bytes=_number(size), entries=_number(entries),
        text=text, digest=digest, target=target,
    )  # fmt: skip


def _reach(row: Row) -> Reach:
    if row[2] == "0":
        return Reach(is_open=True)
    if row[2] in ("124", "143"):
        return Reach(is_open=False, error="no answer within 2 s")
    words = row[3].strip().splitlines()
    return Reach(is_open=False, error=words[-1].rpartition(": ")[2] if words else "not reached")


def _mounts(text: str) -> tuple[Mount, ...]:
    """`df -P -k -T`; without the type where df has no -T."""
    found = []
    for line in text.splitlines()[1:]:
        match = re.fullmatch(r"(\S.*?)(?:\s+([a-z][\w.]*))?\s+(\d+)\s+(\d+)\s+(-?\d+)\s+\S+\s+(/.*)", line)
        if match:
            free = max(0, int(match[5]))
            found.append(Mount(match[6], match[1], match[2] or "", int(match[3]) * 1024, free * 1024))
    return tuple(found)


def _installation(row: Row) -> Installation:
    directory, said, library, tools = (*row, "", "", "", "")[:4]
    found = re.search(r"\d+(?:\.\d+)*\S*", said)
    version = found[0] if found else ""
    return Installation(directory, versions.major_of(version) if version else "", version, library, tuple(tools.split()))


# --- the clusters --------------------------------------------------------------------------------------------------

_CLUSTER_KEYS = frozenset(
    ["real_path", "postmaster", "stray", "binaries", "pidfile", "auto_conf", "recovery_conf", "present", "job_marker",
     "archive_ready", "control", "tablespace", "size_kb", "wal_link", "sql", "unseen_database",
     "socket", "config_file", "hba_file", "included_file", "log_file", "at_boot"]
)  # fmt: skip


def _clusters(lines: Sequence[tuple[str, Row]]) -> Iterator[Mapping[str, list[Row]]]:
    """The rows of each cluster by key: those between its `cluster` row and the next."""
    current: dict[str, list[Row]] | None = None
    for key, row in lines:
        if key in ("cluster", "denied"):
            if current is not None:
                yield current
            current = {key: [row]}
        elif current is not None and key in _CLUSTER_KEYS:
            current.setdefault(key, []).append(row)
    if current is not None:
        yield current


def _cluster(rows: Mapping[str, list[Row]], warnings: _Warnings) -> Postgres:
    if "denied" in rows:
        directory = rows["denied"][0][0]
        warnings.add(f"{directory} cannot be read by this login: let it become root or the owner of the directory.")
        return Postgres(data_directory=directory, owner="", major="", is_denied=True)
    directory, major, owner, debian = (*rows["cluster"][0], "", "", "")[:4]
    known = _with_files(Postgres(data_directory=directory, major=major, owner=owner, debian_cluster=debian), rows)
    sql = _sql_rows("".join(row[0] for row in rows.get("sql", ())))
    for row in rows.get("unseen_database", ()):
        warnings.add(f"{directory}: the libraries of the database {row[0]!r} were not looked for: its name is unusual.")
    known = _with_sql(known, sql, warnings)
    return replace(known, **_role_and_timeline(known, sql))  # type: ignore[arg-type]


def _one(rows: Mapping[str, list[Row]], key: str, position: int = 0) -> str:
    """A field of the last row with that key; "" without one."""
    found = rows.get(key)
    return found[-1][position] if found and len(found[-1]) > position else ""


def _with_files(known: Postgres, rows: Mapping[str, list[Row]]) -> Postgres:
    pid_lines = [*_one(rows, "pidfile", 1).splitlines(), "", "", "", "", ""]
    sizes = [_number(_one(rows, "size_kb")), _number(_one(rows, "size_kb", 1))]
    present = tuple(row[0] for row in rows.get("present", ()))
    config_text = config.without_passwords(_one(rows, "config_file", 1))
    included = {row[0]: config.without_passwords(row[1]) for row in rows.get("included_file", ()) if len(row) > 1}
    on_disk = config.parse_settings(config_text + "".join("\n" + text for text in included.values()))
    control = _one(rows, "control")
    return replace(
        known,
        real_path=_one(rows, "real_path"),
        bin_directory=_one(rows, "postmaster", 1) or _one(rows, "binaries"),
        is_running="postmaster" in rows,
        postmaster_pid=_number(_one(rows, "postmaster")),
        stray_pids=tuple(_number(row[0]) for row in rows.get("stray", ())),
        port=_number(_one(rows, "socket")) or _number(pid_lines[3]) or _number(on_disk.get("port", ""), 5432),
        socket_directory=_one(rows, "socket", 1) or pid_lines[4].strip(),
        config_file=_one(rows, "config_file"),
        config_text=config_text,
        hba_file=_one(rows, "hba_file"),
        hba_text=_one(rows, "hba_file", 1),
        included_texts=included,
        auto_config_text=config.without_passwords(_one(rows, "auto_conf", 1)),
        recovery_text=config.without_passwords(_one(rows, "recovery_conf", 1)),
        log_file=_one(rows, "log_file"),
        at_boot=_one(rows, "at_boot").strip(),
        wal_link=_one(rows, "wal_link"),
        signal_files=tuple(name for name in present if name.endswith(".signal") or name.startswith("recovery.")),
        has_backup_label="backup_label" in present,
        job_marker=_one(rows, "job_marker", 1).strip(),
        archive_ready_count=_number(_one(rows, "archive_ready")),
        size_bytes=max(0, sizes[0] - (0 if "wal_link" in rows else sizes[1])) * 1024,
        wal_bytes=sizes[1] * 1024,
        control=parse_controldata(control),
        tablespaces=tuple(
            Tablespace(name="", oid=_number(row[0]), location=row[1], size_bytes=_number(row[2] if len(row) > 2 else "") * 1024)
            for row in rows.get("tablespace", ())
            if len(row) > 1
        ),
        version=_one(rows, "version"),
    )


def parse_controldata(text: str) -> Control | None:
    """pg_controldata under LC_ALL=C, any version from 9.0; None when it holds no system identifier."""
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    if not said.get("Database system identifier"):
        return None

    def setting(name: str, *older: str) -> str:
        """`wal_level setting` (9.5+) or `Current wal_level setting` before."""
        for label in (name, *older):
            for found in (f"{label} setting", f"Current {label} setting"):
                if found in said:
                    return said[found]
        return ""

    return Control(
        system_identifier=said["Database system identifier"],
        state=said.get("Database cluster state", ""),
        timeline=_number(said.get("Latest checkpoint's TimeLineID", "")),
        checkpoint_lsn=lsn.parse_or_zero(said.get("Latest checkpoint location", "")),
        redo_lsn=lsn.parse_or_zero(said.get("Latest checkpoint's REDO location", "")),
        redo_wal_file=said.get("Latest checkpoint's REDO WAL file", ""),
        minimum_recovery_lsn=lsn.parse_or_zero(said.get("Minimum recovery ending location", "")),
        minimum_recovery_timeline=_number(said.get("Min recovery ending loc's timeline", "")),
        wal_segment_bytes=_number(said.get("Bytes per WAL segment", ""), lsn.DEFAULT_SEGMENT_BYTES),
        has_checksums=_number(said.get("Data page checksum version", "")) > 0,
        wal_log_hints=setting("wal_log_hints") == "on",
        wal_level=setting("wal_level"),
        max_connections=_number(setting("max_connections")),
        max_worker_processes=_number(setting("max_worker_processes")),
        max_wal_senders=_number(setting("max_wal_senders")),
        max_prepared_transactions=_number(setting("max_prepared_xacts")),
        max_locks_per_transaction=_number(setting("max_locks_per_xact")),
        control_version=_number(said.get("pg_control version number", "")),
        catalog_version=_number(said.get("Catalog version number", "")),
    )


# --- what the server itself says -----------------------------------------------------------------------------------

SqlRows = Mapping[str, list[Row]]


def _sql_rows(text: str) -> SqlRows:
    """psql's rows by key. Each begins with a record separator; its last value ends with psql's own line break."""
    found: dict[str, list[Row]] = {}
    for chunk in text.split(RECORD)[1:]:
        key, *values = chunk.removesuffix("\n").split(FIELD)
        found.setdefault(key, []).append(tuple(values))
    return found


def _with_sql(known: Postgres, rows: SqlRows, warnings: _Warnings) -> Postgres:
    errors = "\n".join(row[0] for row in rows.get("error", ()) if row).strip()
    if "files" not in rows:
        return replace(known, sql_error=_with_mend(errors, known)) if errors else known
    if errors:
        warnings.add(f"{known.data_directory}: a query was refused: {errors.splitlines()[0]}")
    if "done" not in rows:
        warnings.add(f"{known.data_directory}: the server's answer is incomplete.")
    state = _padded(rows["state"][0] if "state" in rows else ())
    settings = {_padded(row)[0]: _setting(_padded(row)) for row in rows.get("setting", ())}
    return replace(
        known,
        answers_sql=True,
        version=_padded(rows["files"][0])[3].split(" ")[0],
        current_lsn=lsn.parse_or_zero(state[1]),
        receive_lsn=lsn.parse_or_zero(state[3]),
        replay_lsn=lsn.parse_or_zero(state[4]),
        is_replay_paused=state[5] == "t",
        last_replayed_at=state[6],
        is_backup_running=state[7] == "t" or any(row[2:3] == ("backup",) for row in rows.get("sender", ())),
        connection_count=_number(state[8]),
        settings=settings,
        roles=_read(rows, "role", _role),
        slots=_read(rows, "slot", _slot),
        senders=_read(rows, "sender", _sender),
        receiver=next(iter(_read(rows, "receiver", _receiver)), None),
        archiver=next(iter(_read(rows, "archiver", _archiver)), None),
        hba_errors=_read(rows, "hba_error", _hba_error),
        tablespaces=_tablespaces(known.tablespaces, rows.get("tablespace", [])),
        libraries=_libraries(rows, settings),
        extensions={row[0]: row[1] for row in map(_padded, rows.get("extension", ()))},
        databases=tuple(row[0] for row in rows.get("database", ())),
        collations=_collations(rows),
    )


def _read(rows: SqlRows, key: str, reader: Callable[[Row], Value]) -> tuple[Value, ...]:
    return tuple(reader(_padded(row)) for row in rows.get(key, ()))


def _with_mend(error: str, known: Postgres) -> str:
    lowered = error.lower()
    if "password" in lowered or "pg_hba.conf" in lowered or "peer" in lowered:
        return (
            f"{error.strip()}\nThe superuser {known.owner!r} has no way in over the local socket."
            f" Put this line first in pg_hba.conf and reload:\nlocal  all  {known.owner}  peer"
        )
    return error.strip()


def _padded(row: Row, width: int = 13) -> Row:
    return (*row, *[""] * (width - len(row)))


def _setting(row: Row) -> Setting:
    return Setting(
        value=config.without_passwords(row[1]), unit=row[2], context=row[3], source=row[4], source_file=row[5],
        source_line=_number(row[6]), pending_restart=row[7] == "t", boot_value=row[8],
    )  # fmt: skip


def _slot(row: Row) -> Slot:
    return Slot(
        name=row[0], kind=row[1], is_active=row[2] == "t", restart_lsn=lsn.parse_or_zero(row[3]), held_bytes=_number(row[4]),
        wal_status=row[5], is_temporary=row[6] == "t", safe_wal_bytes=_number(row[7]) if row[7] else None,
    )  # fmt: skip


def _sender(row: Row) -> WalSender:
    sent, write, flush, replay = (lsn.parse_or_zero(text) for text in row[6:10])
    return WalSender(
        application_name=row[0], client_address=row[1], state=row[2], sync_state=row[3], user=row[4], pid=_number(row[5]),
        sent_lsn=sent, write_lsn=write, flush_lsn=flush, replay_lsn=replay,
        write_lag_seconds=_float(row[10]), flush_lag_seconds=_float(row[11]), replay_lag_seconds=_float(row[12]),
    )  # fmt: skip


def _role(row: Row) -> DatabaseRole:
    return DatabaseRole(
        name=row[0], is_superuser=row[1] == "t", can_login=row[2] == "t", can_replicate=row[3] == "t",
        password_kind=row[4] or "unknown", member_of=tuple(row[5].split(LIST)) if row[5] else (),
    )  # fmt: skip


def _receiver(row: Row) -> WalReceiver:
    return WalReceiver(
        status=row[0], sender_host=row[1], sender_port=_number(row[2]), slot_name=row[3], received_timeline=_number(row[4]),
        conninfo=config.without_passwords(row[5]),
    )  # fmt: skip


def _archiver(row: Row) -> Archiver:
    return Archiver(_number(row[0]), _number(row[1]), row[2], row[3], row[4], row[5])


def _hba_error(row: Row) -> str:
    return f"line {row[0]}: {row[1]}"


def _tablespaces(on_disk: Sequence[Tablespace], rows: Sequence[Row]) -> tuple[Tablespace, ...]:
    sizes = {space.oid: space.size_bytes for space in on_disk}
    padded = [_padded(row) for row in rows]
    return tuple(Tablespace(row[0], _number(row[1]), row[2], sizes.get(_number(row[1]), 0)) for row in padded)


def _libraries(rows: SqlRows, settings: Mapping[str, Setting]) -> tuple[str, ...]:
    """Shared libraries that a standby needs too: of functions, and preloaded ones."""
    found = {row[0] for row in rows.get("library", ()) if row and row[0]}
    for name in ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries"):
        value = settings[name].value if name in settings else ""
        found |= {part.strip().strip('"') for part in value.split(",") if part.strip()}
    return tuple(sorted(found))


def _collations(rows: SqlRows) -> dict[str, str]:
    """What the databases and collations in use were made with: `database registry` → "2.36"."""
    found = {f"database {row[0]}": row[2] for row in map(_padded, rows.get("database", ())) if row[2]}
    return found | {row[0]: row[1] for row in map(_padded, rows.get("collation", ())) if row[1]}


def _role_and_timeline(known: Postgres, rows: SqlRows) -> dict[str, Role | int]:
    """A running server knows its role itself; of a stopped one the control file and the signal files tell it."""
    control = known.control
    if "state" in rows:
        state = _padded(rows["state"][0])
        if state[0] == "f":
            wal_file = lsn.parse_wal_file_name(state[2])
            return {"role": "primary", "timeline": wal_file.timeline if wal_file else control.timeline if control else 0}
        return {"role": "standby", "timeline": _standby_timeline(known)}
    if control is None:
        return {}
    is_standby = control.state in _IN_RECOVERY or _is_told_to_stand_by(known)
    role: Role = "standby" if is_standby else "primary" if control.state in _SHUT_DOWN_PRIMARY else "unknown"
    return {"role": role, "timeline": _standby_timeline(known) if is_standby else control.timeline}


def _is_told_to_stand_by(known: Postgres) -> bool:
    if "standby.signal" in known.signal_files:
        return True
    return config.parse_settings(known.recovery_text).get("standby_mode", "off").lower() in ("on", "true", "yes", "1")


def _standby_timeline(known: Postgres) -> int:
    """What it receives, else how far the control file says that it has come."""
    if known.receiver and known.receiver.received_timeline:
        return known.receiver.received_timeline
    control = known.control
    return max(control.minimum_recovery_timeline, control.timeline) if control else 0
