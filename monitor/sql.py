"""The one statement of a look, and its pure reader.

One result set of text columns, a row per thing, tagged in the first column: so it is one round trip on every version since 9.0,
the same over a connection and over psql. Names come from `remote.versions`; columns that a role may not see come as null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from monitor.sight import Condition, Receiver, Sight, Way
from remote import lsn
from remote.facts import Archiver, Slot, WalSender
from remote.rows import decimal, number, system_identifier
from remote.versions import Version
from remote.visible import storable

COLUMNS = 14
SEPARATOR = "\x1f"
MOST_ROWS, MOST_TEXT, MOST_SECONDS = 2000, 200, 1e11
Row = Sequence[str | None]
SETTINGS = ("wal_keep_size", "wal_keep_segments", "ssl", "ssl_cert_file")
UNITS = {"B": 1, "kB": 1 << 10, "8kB": 8 << 10, "MB": 1 << 20, "GB": 1 << 30}
SEGMENT_BYTES = 16 << 20


def statement(version: Version, *, is_thorough: bool = False, as_owner: bool = False) -> str:
    """The statement for a server of that version; without a semicolon. is_thorough: with the archiver and the `Condition`.

    as_owner: asked as a superuser. Up to 9.6 a plain role sees little in the views: the set-up gives it functions that see all.
    """
    by_function = not (version.has_pg_monitor or as_owner)
    parts = [_self(version)]
    if version.has_stat_replication:
        parts.append(_senders(version, _source("stat_replication", by_function)))
    if version.has_stat_wal_receiver:
        parts.append(_receiver(version, _source("stat_wal_receiver", by_function)))
    if version.has_slots:
        parts.append(_slots(version))
    if is_thorough:
        parts += [_settings(version), _expiring(version)]
        if version.has_stat_archiver:
            parts.append(_archiver())
    return "\nUNION ALL\n".join(parts)


def _row(tag: str, columns: Sequence[str], source: str = "") -> str:
    padded = [f"({column})::text" for column in columns] + ["NULL::text"] * (COLUMNS - len(columns))
    # nothing in it comes from outside
    return f"SELECT '{tag}'::text, {', '.join(padded)}{' FROM ' + source if source else ''}"  # noqa: S608


def _epoch(expression: str) -> str:
    return f"extract(epoch FROM {expression})"


def _self(version: Version) -> str:
    functions = version.functions
    # pg_control_*() came with pg_stat_wal_receiver
    control = version.has_stat_wal_receiver
    return _row("self", [
        "pg_is_in_recovery()",
        f"CASE WHEN NOT pg_is_in_recovery() THEN {functions.current_lsn}() END",
        f"CASE WHEN NOT pg_is_in_recovery() THEN {functions.wal_file_name}({functions.current_lsn}()) END",
        f"{functions.receive_lsn}()",
        f"{functions.replay_lsn}()",
        f"CASE WHEN pg_is_in_recovery() THEN {functions.is_replay_paused}() END" if functions.is_replay_paused else "NULL",
        _epoch(f"{functions.replay_time}()") if functions.replay_time else "NULL",
        _epoch("clock_timestamp()"),
        "(SELECT timeline_id FROM pg_control_checkpoint())" if control else "NULL",
        "(SELECT min_recovery_end_timeline FROM pg_control_recovery())" if control else "NULL",
        "(SELECT system_identifier FROM pg_control_system())" if control else "NULL",
        _epoch("pg_postmaster_start_time()"),
    ])  # fmt: skip


def _source(view: str, by_function: bool) -> str:
    return f"pgpanel.{view}() AS seen" if by_function else f"pg_catalog.pg_{view}"


def _senders(version: Version, source: str) -> str:
    lags = [_epoch(f"{name}_lag") for name in ("write", "flush", "replay")] if version.has_replication_lag else []
    positions = [version.stat_replication_lsn.format(name) for name in ("sent", "write", "flush", "replay")]
    who = ["application_name", "host(client_addr)", "state", "sync_state", "usename", version.stat_replication_pid]
    return _row("sender", [*who, *positions, *lags], source)


def _receiver(version: Version, source: str) -> str:
    # before 11 only the conninfo (its password is masked by the server) names the sender
    sender = ["sender_host", "sender_port"] if version.receiver_has_sender else [
        r"substring(conninfo from '(?:^|\s)host=''?([^ '']+)')", r"substring(conninfo from '(?:^|\s)port=''?(\d+)')",
    ]  # fmt: skip
    heard = _epoch("clock_timestamp() - last_msg_receipt_time")
    columns = ["status", *sender, "slot_name", "received_tli", version.receiver_written, version.receiver_flushed, heard]
    return _row("receiver", columns, source)


def _slots(version: Version) -> str:
    limit = ["wal_status", "safe_wal_size"] if version.has_slot_limit else ["NULL", "NULL"]
    temporary = "temporary" if version.has_temporary_slots else "false"
    return _row("slot", ["slot_name", "slot_type", "active", "restart_lsn", limit[0], temporary, limit[1]], "pg_replication_slots")


def _settings(version: Version) -> str:
    pending = "pending_restart" if version.has_pending_restart else "false"
    names = ", ".join(f"'{name}'" for name in SETTINGS)
    wanted = f"pg_settings WHERE name IN ({names}){' OR pending_restart' if version.has_pending_restart else ''}"
    return _row("setting", ["name", "setting", "unit", pending], wanted)


def _expiring(version: Version) -> str:
    """Of the roles that replication and the panel log in with; whoever never expires is left out."""
    replicates = "rolsuper" if version.role_attribute == "SUPERUSER" else "rolreplication"
    source = f"pg_roles WHERE rolcanlogin AND isfinite(rolvaliduntil) AND ({replicates} OR rolname = current_user)"
    return _row("expiring", ["rolname", _epoch("rolvaliduntil")], source)


def _archiver() -> str:
    columns = [
        "archived_count", "failed_count", "last_archived_wal", "last_failed_wal",
        _epoch("last_archived_time"), _epoch("last_failed_time"),
    ]  # fmt: skip
    return _row("archiver", columns, "pg_stat_archiver")


def rows_of(text: str) -> list[list[str]]:
    """psql's unaligned output with `SEPARATOR` between columns."""
    return [line.split(SEPARATOR) for line in text.splitlines() if line.count(SEPARATOR) == COLUMNS]


def sight_of(rows: Iterable[Row], version: Version, sent_at: float, received_at: float, way: Way) -> Sight:
    """ValueError when there is no row of the server itself."""
    by_tag: dict[str, list[list[str]]] = {}
    for row in islice(rows, MOST_ROWS):
        if len(row) != COLUMNS + 1:
            raise ValueError("the server's answer is none to this question")
        by_tag.setdefault(str(row[0]), []).append([_text(value) for value in row[1:]])
    if "self" not in by_tag:
        raise ValueError("the server did not describe itself")
    own = by_tag["self"][0]
    at = (sent_at + received_at) / 2
    receiver = _read_receiver(by_tag.get("receiver", []))
    is_standby = own[0] in ("t", "true")
    current, received = lsn.parse_or_zero(own[1]), lsn.parse_or_zero(own[3])
    end = received if is_standby else current
    archivers = by_tag.get("archiver", [])
    return Sight(
        at=at, way=way, round_trip_seconds=received_at - sent_at, major=version.major,
        role="standby" if is_standby else "primary", is_writable=not is_standby,
        timeline=_timeline(own, receiver, is_standby), system_identifier=system_identifier(own[10]), current_lsn=current,
        receive_lsn=received if is_standby else 0, replay_lsn=lsn.parse_or_zero(own[4]) if is_standby else 0,
        is_replay_paused=own[5] in ("t", "true"), last_replayed_at=_number(own[6]),
        clock_skew_seconds=(_number(own[7]) or at) - at,
        knows_receiver=is_standby and _knows_receiver(version, by_tag.get("receiver", [])),
        receiver=receiver if is_standby else None,
        senders=tuple(_read_sender(row) for row in by_tag.get("sender", []) if row[2]),
        slots=tuple(_read_slot(row, end, version) for row in by_tag.get("slot", [])),
        archiver=_read_archiver(archivers[0]) if archivers else None,
        condition=_read_condition(by_tag["setting"], by_tag.get("expiring", [])) if "setting" in by_tag else None,
        started_at=_number(own[11]),
    )  # fmt: skip


def _knows_receiver(version: Version, rows: list[list[str]]) -> bool:
    """A role without the right sees the row, but nothing in it."""
    return version.has_stat_wal_receiver and all(row[0] for row in rows)


def _timeline(own: list[str], receiver: Receiver | None, is_standby: bool) -> int:
    """A primary's from its WAL file (after a promotion its control file still names the old one); a standby's newest known."""
    if not is_standby:
        return lsn.timeline_or_zero(int(own[2][:8], 16)) if own[2] else 0
    known = [lsn.timeline_or_zero(number(value)) for value in own[8:10] if value]
    return max([*known, receiver.timeline if receiver else 0])


def _read_receiver(rows: list[list[str]]) -> Receiver | None:
    if not rows or not rows[0][0]:
        return None
    row = rows[0]
    return Receiver(
        status=row[0], sender_host=row[1], sender_port=number(row[2]) & 0xFFFF, slot_name=row[3],
        timeline=lsn.timeline_or_zero(number(row[4])),
        written_lsn=lsn.parse_or_zero(row[5]), flushed_lsn=lsn.parse_or_zero(row[6]), heard_seconds=_number(row[7]),
    )  # fmt: skip


def _read_sender(row: list[str]) -> WalSender:
    sent, write, flush, replay = (lsn.parse_or_zero(value) for value in row[6:10])
    return WalSender(
        application_name=row[0], client_address=row[1], state=row[2], sync_state=row[3], user=row[4], pid=number(row[5]),
        sent_lsn=sent, write_lsn=write, flush_lsn=flush, replay_lsn=replay,
        write_lag_seconds=_number(row[10]), flush_lag_seconds=_number(row[11]), replay_lag_seconds=_number(row[12]),
    )  # fmt: skip


def _read_slot(row: list[str], end: int, version: Version) -> Slot:
    restart = lsn.parse_or_zero(row[3])
    return Slot(
        name=row[0], kind=row[1], is_active=row[2] in ("t", "true"), restart_lsn=restart,
        held_bytes=max(0, lsn.diff_bytes(end, restart, version)) if restart and end else 0,
        wal_status=row[4], is_temporary=row[5] in ("t", "true"), safe_wal_bytes=_size(row[6]),
    )  # fmt: skip


def _read_condition(settings: list[list[str]], roles: list[list[str]]) -> Condition:
    values = {row[0]: (row[1], row[2]) for row in settings}
    expiring = [(row[0], until) for row in roles if (until := _number(row[1])) is not None]
    certificate = values.get("ssl_cert_file", ("",))[0] if values.get("ssl", ("",))[0] == "on" else ""
    return Condition(
        pending_restart=tuple(sorted(row[0] for row in settings if row[3] in ("t", "true"))),
        wal_keep_bytes=_kept_bytes(values), certificate_file=certificate, expiring=tuple(sorted(expiring)),
    )  # fmt: skip


def _kept_bytes(values: dict[str, tuple[str, str]]) -> int | None:
    """Segments (up to 12) are counted as ordinary ones: who made them larger is told too little rather than too much."""
    for name, unit_bytes in (("wal_keep_size", 0), ("wal_keep_segments", SEGMENT_BYTES)):
        if name in values:
            setting, unit = values[name]
            return number(setting) * (unit_bytes or UNITS.get(unit, 1))
    return None


def _size(text: str) -> int | None:
    """Null: no limit, or nothing to say."""
    return number(text) if text else None


def _read_archiver(row: list[str]) -> Archiver:
    """Times stay epoch seconds, as text."""
    return Archiver(number(row[0]), number(row[1]), row[2], row[3], row[4], row[5])


def _text(value: object) -> str:
    """A stolen server may send anything: nothing longer than a name, nothing that a database does not take."""
    return storable(str(value or "")[:MOST_TEXT])


def _number(text: str) -> float | None:
    """None for what is no finite number; ages and epochs are small ones."""
    found = decimal(text) if text else None
    return found if found is not None and abs(found) < MOST_SECONDS else None
