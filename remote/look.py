"""The facts script of a request: `look.sh` with the SQL of every version put in, as one read-only Command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from remote import versions
from remote.command import Command
from remote.facts import FactsRequest
from remote.versions import Version

SECTIONS = frozenset({"host", "postgres", "sql", "libraries", "sizes", "paths", "reach"})

# The script arrives by stdin; this picks whom it runs as: root where that is allowed, else the owner, else whoever logs in.
_BECOME = """\
script=$(cat); me=$(id -un); owner=$4; [ -n "$owner" ] || owner=postgres; become=; root=no; own=no; error=
if [ "$me" = root ]; then root=yes; own=yes
else
  [ "$me" = "$owner" ] && own=yes
  if sudo -n true >/dev/null 2>&1; then root=yes; own=yes; become='sudo -n'
  elif [ "$own" = no ]; then
    if error=$(sudo -n -u "$owner" true 2>&1); then own=yes; error=; become="sudo -n -u $owner"; fi
  else error='no sudo without a password'
  fi
fi
printf 'login\\t:%s\\t:%s\\t:%s\\t+%s\\n' "${SUDO_USER:-$me}" "$root" "$own" "$(printf %s "$error" | base64 | tr -d '\\n')"
printf '%s\\n' "$script" | { cd /; $become sh -s -- "$@"; }
"""


def facts_command(request: FactsRequest) -> Command:
    """One command that runs the whole look; it mutates nothing. Run as the login user or as root: it becomes what it can itself."""
    unknown = request.sections - SECTIONS
    if unknown:
        raise ValueError(f"no such section of facts: {', '.join(sorted(unknown))}")
    arguments = (
        request.data_directory,
        str(request.port),
        request.bin_directory,
        request.owner,
        "," + "".join(f"{name}," for name in sorted(request.sections)),
        str(len(request.paths)),
        *request.paths,
        *(f"{address} {port}" for address, port in request.reach),
        *("\t".join((ask.address, str(ask.port), ask.role or "-", ask.passfile or "-")) for ask in request.identify),
    )
    argv = ("sh", "-c", _BECOME, "pgpanel", *arguments)
    return Command(argv, stdin=look_script(), mutates=False, timeout_seconds=20.0)


@cache
def look_script() -> str:
    """The same for every request, whatever the host's version: what differs by version is chosen on the host."""
    functions = _sql_function("sql_of", _SERVER_QUERIES) + _sql_function("database_sql_of", _DATABASE_QUERIES)
    return Path(__file__).with_name("look.sh").read_text().replace("#SQL#", functions)


Query = Callable[[Version], str]


def _sql_function(name: str, queries: Sequence[Query]) -> str:
    """A shell function that prints the SQL for `$1`, a major. Unknown majors get the newest's."""
    body = "\n".join(_choice(query) for query in queries)
    return f"{name}() {{\n{body}\n}}\n"


def _choice(query: Query) -> str:
    """`case $1 in 9.0|9.1) … ;; *) the newest's ;; esac`, majors with the same text together."""
    majors_of: dict[str, list[str]] = {}
    for major in versions.MAJORS:
        majors_of.setdefault(query(versions.of(major)), []).append(major)
    newest = query(versions.of(versions.MAJORS[0]))
    cases = [(" | ".join(majors), text) for text, majors in majors_of.items() if text != newest] + [("*", newest)]
    return "case $1 in\n" + "\n".join(f"{pattern}) printf '%s\\n' {shlex.quote(text)} ;;" for pattern, text in cases) + "\nesac"


def _row(key: str, *columns: str, source: str = "") -> str:
    """A SELECT whose rows start with a record separator and the key: values may then hold line breaks."""
    return f"SELECT chr(30)||'{key}', {', '.join(columns)}{' ' + source if source else ''};"


def _files(_version: Version) -> str:
    names = ("config_file", "hba_file", "data_directory", "server_version")
    return _row("files", *(f"current_setting('{name}')" for name in names))


def _state(version: Version) -> str:
    call = version.functions
    paused = f"CASE WHEN pg_is_in_recovery() THEN {call.is_replay_paused}() END" if call.is_replay_paused else "NULL"
    time = f"{call.replay_time}()" if call.replay_time else "NULL"
    return _row(
        "state",
        "pg_is_in_recovery()",
        f"CASE WHEN pg_is_in_recovery() THEN NULL ELSE {call.current_lsn}()::text END",
        f"CASE WHEN pg_is_in_recovery() THEN NULL ELSE {call.wal_file_name}({call.current_lsn}()) END",
        f"{call.receive_lsn}()::text",
        f"{call.replay_lsn}()::text",
        paused,
        time,
        "pg_is_in_backup()" if version.has_is_in_backup else "NULL",
        "(SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL AND application_name <> 'pgpanel')",
    )


_PASSWORDS = (  # the masked value of `setting`, whichever way the conninfo is written
    "regexp_replace(regexp_replace({0}, $r$(password\\s*=\\s*)('([^'\\\\]|\\\\.)*'|[^\\s']+)$r$, $r$\\1********$r$, 'gi'),"
    " $r$(://[^:@/]*:)[^@]*@$r$, $r$\\1********@$r$, 'g')"
)
_NAMES = (
    "wal|archive|checkpoint|standby|replication|slot|max_connections|prepared|locks|worker|listen|port|director|hba|config|fsync|full_page"
    "|encryption|version|synchronous|recovery|restore|primary|promote|trigger|checksum|preload|ssl$|log_dest|logging|log_file|reserved|lc_"
    "|cluster_name|shared_buffers|data_|timeout"
)


def _settings(version: Version) -> str:
    setting = f"CASE WHEN setting ~* 'password' OR name LIKE '%conninfo' THEN {_PASSWORDS.format('setting')} ELSE setting END"
    pending = "pending_restart" if version.has_pending_restart else "NULL"
    return _row(
        "setting", "name", setting, "unit", "context", "source", "sourcefile", "sourceline", pending, "boot_val",
        source=f"FROM pg_settings WHERE source <> 'client' AND (source <> 'default' OR name ~ '{_NAMES}')",
    )  # fmt: skip


def _roles(version: Version) -> str:
    replicates = "r.rolsuper" if version.role_attribute == "SUPERUSER" else "r.rolreplication"
    kind = (
        "CASE WHEN a.rolpassword IS NULL THEN 'none' WHEN a.rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram'"
        " WHEN a.rolpassword LIKE 'md5%' THEN 'md5' ELSE 'unknown' END"
    )
    members = (
        "(SELECT array_to_string(array_agg(g.rolname::text), chr(29)) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
        " WHERE m.member = r.oid)"
    )
    return _row(
        "role", "r.rolname", "r.rolsuper", "r.rolcanlogin", replicates, kind, members,
        source="FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid WHERE r.rolname !~ '^pg_'",
    )  # fmt: skip


def _slots(version: Version) -> str:
    if not version.has_slots:
        return ""
    call = version.functions
    now = f"CASE WHEN pg_is_in_recovery() THEN {call.replay_lsn}() ELSE {call.current_lsn}() END"
    return _row(
        "slot", "slot_name", "slot_type", "active", "restart_lsn",
        f"CASE WHEN restart_lsn IS NOT NULL THEN {call.lsn_diff}({now}, restart_lsn) END",
        "wal_status" if version.has_slot_limit else "NULL",
        "temporary" if version.has_temporary_slots else "NULL",
        "safe_wal_size" if version.has_slot_limit else "NULL",
        version.slot_pid,
        source="FROM pg_replication_slots",
    )  # fmt: skip


def _senders(version: Version) -> str:
    if not version.has_stat_replication:
        return ""
    lsns = [version.stat_replication_lsn.format(kind) for kind in ("sent", "write", "flush", "replay")]
    lags = [f"extract(epoch FROM {kind}_lag)" if version.has_replication_lag else "NULL" for kind in ("write", "flush", "replay")]
    return _row(
        "sender", "application_name", "client_addr", "state", "sync_state", "usename", version.stat_replication_pid, *lsns, *lags,
        source="FROM pg_stat_replication",
    )  # fmt: skip


def _receiver(version: Version) -> str:
    if not version.has_stat_wal_receiver:
        return ""
    sender = ("sender_host", "sender_port") if version.receiver_has_sender else ("NULL", "NULL")
    return _row(
        "receiver", "status", *sender, "slot_name", "received_tli", _PASSWORDS.format("conninfo"),
        source="FROM pg_stat_wal_receiver WHERE status IS NOT NULL",
    )  # fmt: skip


def _archiver(version: Version) -> str:
    if not version.has_stat_archiver:
        return ""
    return _row(
        "archiver", "archived_count", "failed_count", "last_archived_wal", "last_failed_wal", "last_archived_time",
        "last_failed_time", source="FROM pg_stat_archiver",
    )  # fmt: skip


def _transactions(version: Version) -> str:
    """What has been open for longer than a moment, and what was prepared and waits for its second word."""
    pid = version.stat_activity_pid
    age = "extract(epoch FROM clock_timestamp() - {})::bigint"
    # without a database: a WAL sender, or a worker of the server's own
    long = f"datname IS NOT NULL AND {pid} <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '5 s'"
    return "\n".join(
        (
            _row("transaction", pid, "datname", "usename", "application_name", age.format("xact_start"),
                 source=f"FROM pg_stat_activity WHERE {long} ORDER BY xact_start LIMIT 20"),
            _row("prepared", "gid", "database", "owner", age.format("prepared"), source="FROM pg_prepared_xacts LIMIT 20"),
        )
    )  # fmt: skip


def _tablespaces(version: Version) -> str:
    return _row(
        "tablespace", "t.spcname", "t.oid", version.tablespace_location,
        source="FROM pg_tablespace t WHERE t.spcname NOT IN ('pg_default', 'pg_global')",
    )  # fmt: skip


def _databases(version: Version) -> str:
    collations = ("datcollversion", "pg_database_collation_actual_version(oid)")
    columns = collations if version.has_database_collation_version else ("NULL", "NULL")
    return _row("database", "datname", "datcollate", *columns, source="FROM pg_database WHERE datallowconn")


def _libraries(version: Version) -> str:
    # up to 16383 are the objects that initdb makes: every server of the major has their libraries
    found = _row("library", "probin", source="FROM pg_proc WHERE probin IS NOT NULL AND oid > 16383 GROUP BY probin")
    if version.has_extensions:
        found += "\n" + _row("extension", "extname", "extversion", source="FROM pg_extension")
    return found


def _collations(version: Version) -> str:
    if not version.has_collation_versions:
        return ""
    return _row(
        "collation", "collname", "collversion", "pg_collation_actual_version(oid)",
        source="FROM pg_collation WHERE collversion IS NOT NULL AND oid IN (SELECT attcollation FROM pg_attribute)",
    )  # fmt: skip


def _hba_rules(version: Version) -> str:
    if not version.has_hba_file_rules:
        return ""
    return _row("hba_error", "line_number", "error", source="FROM pg_hba_file_rules WHERE error IS NOT NULL")


def _end(_version: Version) -> str:
    return _row("done", "1")


_SERVER_QUERIES: tuple[Query, ...] = (
    _files, _state, _settings, _roles, _slots, _senders, _receiver, _archiver, _transactions, _tablespaces, _databases, _libraries,
    _collations, _hba_rules, _end,
)  # fmt: skip
_DATABASE_QUERIES: tuple[Query, ...] = (_libraries, _collations)
