"""The half of the parser that reads database clusters: their files, their control data, and what the servers say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from remote import config, layouts, lsn, versions
from remote.facts import (
    Archiver,
    Control,
    DatabaseRole,
    Postgres,
    Role,
    Setting,
    Slot,
    Tablespace,
    Transaction,
    WalReceiver,
    WalSender,
)
from remote.rows import Row, Warnings, decimal, number, system_identifier
from remote.visible import brief_line

MOST_HOST = 200
RECORD, FIELD, LIST = "\x1e", "\x1f", "\x1d"
Value = TypeVar("Value")
_IN_RECOVERY = frozenset({"in archive recovery", "shut down in recovery"})
_PRIMARY = frozenset({"in production", "shut down", "shutting down", "in crash recovery"})
_CLUSTER_KEYS = frozenset(
    ["real_path", "postmaster", "stray", "binaries", "pidfile", "auto_conf", "recovery_conf", "present", "job_marker",
     "archive_ready", "newest_wal", "control", "tablespace", "size_kb", "wal_link", "sql", "unseen_database",
     "socket", "config_file", "hba_file", "included_file", "log_file", "at_boot"]
)  # fmt: skip


def split(lines: Sequence[tuple[str, Row]]) -> Iterator[Mapping[str, list[Row]]]:
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


def is_named_well(rows: Mapping[str, list[Row]], warnings: Warnings) -> bool:
    """Whether its directory is one that a node can have: the name goes into commands, and into files of other hosts."""
    directory = rows.get("cluster", rows.get("denied", [("",)]))[0][0]
    if why := layouts.why_not("data_directory", directory):
        warnings.add(f"A database cluster is left out, its directory {brief_line(directory, 60)!r}: {why}.")
    return not why


def cluster(rows: Mapping[str, list[Row]], warnings: Warnings) -> Postgres:
    if "denied" in rows:
        directory = rows["denied"][0][0]
        warnings.add(f"{directory} cannot be read by this login: let it become root or the owner of the directory.")
        return Postgres(data_directory=directory, owner="", major="", is_denied=True)
    directory, said, owner, debian = (*rows["cluster"][0], "", "", "")[:4]
    major = said if versions.is_major(said) else ""
    if not major:
        warnings.add(f"{directory}: {said[:20]!r} is no version of PostgreSQL.")
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
    sizes = [number(_one(rows, "size_kb")), number(_one(rows, "size_kb", 1))]
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
        postmaster_pid=number(_one(rows, "postmaster")),
        started_at=number(pid_lines[2]) if "postmaster" in rows else 0,
        stray_pids=tuple(number(row[0]) for row in rows.get("stray", ())),
        port=_port(_one(rows, "socket"), pid_lines[3], on_disk.get("port", ""), "5432"),
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
        archive_ready_count=number(_one(rows, "archive_ready")),
        newest_wal=_one(rows, "newest_wal"),
        size_bytes=max(0, sizes[0] - (0 if "wal_link" in rows else sizes[1])) * 1024,
        wal_bytes=sizes[1] * 1024,
        control=parse_controldata(control),
        tablespaces=tuple(
            Tablespace(name="", oid=number(row[0]), location=row[1], size_bytes=number(row[2] if len(row) > 2 else "") * 1024)
            for row in rows.get("tablespace", ())
            if len(row) > 1
        ),
        version=_one(rows, "version"),
    )


def parse_controldata(text: str) -> Control | None:
    """pg_controldata under LC_ALL=C, any version from 9.0; None when it holds no system identifier."""
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    identifier = system_identifier(said.get("Database system identifier", ""))
    if not identifier:
        return None

    def setting(name: str, *older: str) -> str:
        """`wal_level setting` (9.5+) or `Current wal_level setting` before."""
        for label in (name, *older):
            for found in (f"{label} setting", f"Current {label} setting"):
                if found in said:
                    return said[found]
        return ""

    return Control(
        system_identifier=identifier,
        state=said.get("Database cluster state", ""),
        timeline=lsn.timeline_or_zero(number(said.get("Latest checkpoint's TimeLineID", ""))),
        checkpoint_lsn=lsn.parse_or_zero(said.get("Latest checkpoint location", "")),
        redo_lsn=lsn.parse_or_zero(said.get("Latest checkpoint's REDO location", "")),
        redo_wal_file=said.get("Latest checkpoint's REDO WAL file", ""),
        minimum_recovery_lsn=lsn.parse_or_zero(said.get("Minimum recovery ending location", "")),
        minimum_recovery_timeline=lsn.timeline_or_zero(number(said.get("Min recovery ending loc's timeline", ""))),
        wal_segment_bytes=_segment_bytes(said.get("Bytes per WAL segment", "")),
        has_checksums=number(said.get("Data page checksum version", "")) > 0,
        wal_log_hints=setting("wal_log_hints") == "on",
        wal_level=setting("wal_level"),
        max_connections=number(setting("max_connections")),
        max_worker_processes=number(setting("max_worker_processes")),
        max_wal_senders=number(setting("max_wal_senders")),
        max_prepared_transactions=number(setting("max_prepared_xacts")),
        max_locks_per_transaction=number(setting("max_locks_per_xact")),
        control_version=number(said.get("pg_control version number", "")),
        catalog_version=number(said.get("Catalog version number", "")),
    )


def _port(*texts: str) -> int:
    """The first that is one."""
    return next((port for text in texts if 0 < (port := number(text)) < 1 << 16), 0)


def _segment_bytes(text: str) -> int:
    """A power of two from 1 MB to 1 GB (initdb --wal-segsize); the default where a host says anything else."""
    size = number(text)
    return size if 1 << 20 <= size <= 1 << 30 and size & (size - 1) == 0 else lsn.DEFAULT_SEGMENT_BYTES


# --- what the server itself says -----------------------------------------------------------------------------------

SqlRows = Mapping[str, list[Row]]


def _sql_rows(text: str) -> SqlRows:
    """psql's rows by key. Each begins with a record separator; its last value ends with psql's own line break."""
    found: dict[str, list[Row]] = {}
    for chunk in text.split(RECORD)[1:]:
        key, *values = chunk.removesuffix("\n").split(FIELD)
        found.setdefault(key, []).append(tuple(values))
    return found


def _with_sql(known: Postgres, rows: SqlRows, warnings: Warnings) -> Postgres:
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
        connection_count=number(state[8]),
        settings=settings,
        roles=_read(rows, "role", _role),
        slots=_read(rows, "slot", _slot),
        senders=_read(rows, "sender", _sender),
        transactions=_read(rows, "transaction", _transaction),
        prepared=_read(rows, "prepared", _prepared),
        receiver=next(iter(_read(rows, "receiver", _receiver)), None),
        archiver=next(iter(_read(rows, "archiver", _archiver)), None),
        hba_errors=_read(rows, "hba_error", _hba_error),
        tablespaces=_tablespaces(known.tablespaces, rows.get("tablespace", [])),
        libraries=_libraries(rows, settings),
        extensions={row[0]: row[1] for row in map(_padded, rows.get("extension", ()))},
        databases=tuple(row[0] for row in map(_padded, rows.get("database", ())) if row[0]),
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
        source_line=number(row[6]), pending_restart=row[7] == "t", boot_value=row[8],
    )  # fmt: skip


def _slot(row: Row) -> Slot:
    return Slot(
        name=row[0], kind=row[1], is_active=row[2] == "t", restart_lsn=lsn.parse_or_zero(row[3]), held_bytes=number(row[4]),
        wal_status=row[5], is_temporary=row[6] == "t", safe_wal_bytes=number(row[7]) if row[7] else None, active_pid=number(row[8]),
    )  # fmt: skip


def _transaction(row: Row) -> Transaction:
    return Transaction(name=row[3], database=row[1], user=row[2], age_seconds=number(row[4]), pid=number(row[0]))


def _prepared(row: Row) -> Transaction:
    return Transaction(name=row[0], database=row[1], user=row[2], age_seconds=number(row[3]))


def _sender(row: Row) -> WalSender:
    sent, write, flush, replay = (lsn.parse_or_zero(text) for text in row[6:10])
    return WalSender(
        application_name=row[0], client_address=row[1], state=row[2], sync_state=row[3], user=row[4], pid=number(row[5]),
        sent_lsn=sent, write_lsn=write, flush_lsn=flush, replay_lsn=replay,
        write_lag_seconds=decimal(row[10]), flush_lag_seconds=decimal(row[11]), replay_lag_seconds=decimal(row[12]),
    )  # fmt: skip


def _role(row: Row) -> DatabaseRole:
    return DatabaseRole(
        name=row[0], is_superuser=row[1] == "t", can_login=row[2] == "t", can_replicate=row[3] == "t",
        password_kind=row[4] or "unknown", member_of=tuple(row[5].split(LIST)) if row[5] else (),
    )  # fmt: skip


def _receiver(row: Row) -> WalReceiver:
    return WalReceiver(
        status=row[0], sender_host=row[1][:MOST_HOST], sender_port=_port(row[2]), slot_name=row[3],
        received_timeline=lsn.timeline_or_zero(number(row[4])),
        conninfo=config.without_passwords(row[5]),
    )  # fmt: skip


def _archiver(row: Row) -> Archiver:
    return Archiver(number(row[0]), number(row[1]), row[2], row[3], row[4], row[5])


def _hba_error(row: Row) -> str:
    return f"line {row[0]}: {row[1]}"


def _tablespaces(on_disk: Sequence[Tablespace], rows: Sequence[Row]) -> tuple[Tablespace, ...]:
    sizes = {space.oid: space.size_bytes for space in on_disk}
    padded = [_padded(row) for row in rows]
    return tuple(Tablespace(row[0], number(row[1]), row[2], sizes.get(number(row[1]), 0)) for row in padded)


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
            writes_on = lsn.timeline_or_zero(wal_file.timeline) if wal_file else 0
            return {"role": "primary", "timeline": writes_on or (control.timeline if control else 0)}
        return {"role": "standby", "timeline": _standby_timeline(known)}
    if control is None:
        return {}
    is_standby = control.state in _IN_RECOVERY or _is_told_to_stand_by(known)
    role: Role = "standby" if is_standby else "primary" if control.state in _PRIMARY else "unknown"
    return {"role": role, "timeline": _standby_timeline(known) if is_standby else control.timeline}


def _is_told_to_stand_by(known: Postgres) -> bool:
    if "standby.signal" in known.signal_files:
        return True
    return config.parse_settings(known.recovery_text).get("standby_mode", "off").lower() in ("on", "true", "yes", "1")


def _standby_timeline(known: Postgres) -> int:
    """What it receives, else has received: when its primary is gone it must not seem to fall back to what its control file says."""
    if known.receiver and known.receiver.received_timeline:
        return known.receiver.received_timeline
    control, newest = known.control, lsn.parse_wal_file_name(known.newest_wal)
    written = lsn.timeline_or_zero(newest.timeline) if newest else 0
    return max(control.minimum_recovery_timeline, control.timeline, written) if control else 0
