"""What one says to PostgreSQL and its tools, as values: a Command, a Detached, a WriteFile or text; nothing runs here.

Passwords travel by stdin, in a password file or as verifiers (`remote.passwords`), never as words of a command. SQL goes by stdin.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Protocol

from remote import layouts
from remote.command import Command, Secret, Text, script
from remote.versions import Version

APPLICATION = "pgpanel"


class Server(Protocol):
    """One PostgreSQL on a host, as a builder needs it (`jobs.recipe.NodeSpec` is one)."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def layout(self) -> str: ...
    @property
    def data_directory(self) -> str: ...
    @property
    def config_directory(self) -> str: ...
    @property
    def bin_directory(self) -> str: ...
    @property
    def wal_archive_directory(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def start_command(self) -> str: ...
    @property
    def stop_command(self) -> str: ...
    @property
    def restart_command(self) -> str: ...


# --- SQL -----------------------------------------------------------------------------------------------------------


def psql(
    server: Server,
    sql: Text,
    *,
    database: str = "postgres",
    socket_directory: str = "",
    timeout_seconds: float = 60.0,
    mutates: bool = True,
) -> Command:
    """SQL as the superuser over the local socket; the first error ends it. Rows unaligned, fields split by `|`.

    socket_directory: where facts saw the socket; "" = where this build of psql looks.
    """
    where = ("-h", socket_directory) if socket_directory else ()
    argv = (
        f"{server.bin_directory}/psql", "-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1",
        *where, "-p", str(server.port), "-U", server.owner, "-d", database, "-f", "-",
    )  # fmt: skip
    environment = (("PGAPPNAME", APPLICATION),)
    return Command(argv, user=server.owner, stdin=sql, environment=environment, timeout_seconds=timeout_seconds, mutates=mutates)


def literal(value: str) -> str:
    """A SQL string, whatever standard_conforming_strings says."""
    if "\0" in value:
        raise ValueError("an SQL string cannot contain a NUL byte")
    doubled = value.replace("'", "''")
    return f"'{doubled}'" if "\\" not in value else " E'" + doubled.replace("\\", "\\\\") + "'"


def identifier(name: str) -> str:
    if "\0" in name:
        raise ValueError("a name cannot contain a NUL byte")
    return '"' + name.replace('"', '""') + '"'


def role_sql(name: str, verifier: Secret, version: Version, *, attributes: Sequence[str] = ("LOGIN",)) -> Text:
    """Create the role or bring it to this state; the password arrives as its verifier, and the statement is kept out of the log."""
    exists = f"EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {literal(name)})"  # noqa: S608
    kind = "" if version.has_scram else "ENCRYPTED "
    return (
        "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';\n"
        "SET client_min_messages = 'error';\n"
        f"DO $pgpanel$ BEGIN IF NOT {exists} THEN CREATE ROLE {identifier(name)}; END IF; END $pgpanel$;\n"
        f"ALTER ROLE {identifier(name)} WITH {' '.join(attributes)} {kind}PASSWORD '",
        verifier,
        "';\n",
    )


def replication_attributes(version: Version) -> tuple[str, ...]:
    """LOGIN REPLICATION from 9.1; 9.0 knows only superusers."""
    return ("LOGIN", version.role_attribute)


def create_slot_sql(name: str, version: Version) -> str:
    """Makes the physical slot if it is missing, holding WAL at once where the version can (9.6+). ValueError before 9.4."""
    if not version.has_slots:
        raise ValueError(f"{version.shown} has no replication slots")
    reserve = ", true" if version.slots_reserve_at_once else ""
    return (
        f"SELECT pg_create_physical_replication_slot({literal(name)}{reserve})"  # noqa: S608
        f" WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = {literal(name)});\n"
    )


def drop_slot_sql(name: str) -> str:
    of_slot = f"FROM pg_replication_slots WHERE slot_name = {literal(name)} AND NOT active"
    return f"SELECT pg_drop_replication_slot(slot_name) {of_slot};\n"


# --- the service ---------------------------------------------------------------------------------------------------


def start(server: Server, timeout_seconds: float = 120.0) -> Command:
    return _control(server, server.start_command, timeout_seconds)


def stop(server: Server, mode: str = "fast", timeout_seconds: float = 120.0) -> Command:
    """mode: "smart", "fast" or "immediate", where the layout's own command can tell."""
    return _control(server, server.stop_command, timeout_seconds, mode)


def restart(server: Server, timeout_seconds: float = 240.0) -> Command:
    return _control(server, server.restart_command, timeout_seconds)


def _control(server: Server, command: str, timeout_seconds: float, mode: str = "fast") -> Command:
    words = layouts.words(command, mode)
    user = layouts.control_user(server.layout, words[0]) or server.owner
    return Command(words, user=user, directory="/", timeout_seconds=timeout_seconds)


def pg_ctl(server: Server, *words: str, timeout_seconds: float = 120.0, mutates: bool = True) -> Command:
    argv = (f"{server.bin_directory}/pg_ctl", "-D", server.data_directory, *words)
    return Command(argv, user=server.owner, directory="/", timeout_seconds=timeout_seconds, mutates=mutates)


def reload(server: Server) -> Command:
    """Read the configuration again. `pg_settings` shows the new values a moment later: a step's `done` waits for them."""
    return pg_ctl(server, "reload")


def promote(
    server: Server, version: Version, *, socket_directory: str = "", trigger_file: str = "", wait_seconds: int = 60
) -> Command:
    """The version's own way: pg_promote() from 12, `pg_ctl promote` from 9.1 (up to 9.6 it answers at once), on 9.0 the trigger."""
    if "pg_promote" in version.promote_methods:
        sql = f"SELECT {version.functions.promote}(true, {wait_seconds});\n"
        return psql(server, sql, socket_directory=socket_directory, timeout_seconds=wait_seconds + 10.0)
    if "pg_ctl" in version.promote_methods:
        waiting = ("-t", str(wait_seconds)) if version.pg_ctl_promote_waits else ()
        return pg_ctl(server, *waiting, "promote", timeout_seconds=wait_seconds + 10.0)
    if not trigger_file:
        raise ValueError(f"{version.shown} is promoted by its trigger file only: recovery.conf names none")
    return script('umask 077; : >"$1"', trigger_file, user=server.owner)


# --- base backup ---------------------------------------------------------------------------------------------------


def base_backup_options(
    version: Version,
    *,
    source_address: str,
    source_port: int,
    user: str,
    slot: str = "",
    label: str = APPLICATION,
    max_rate: str = "",
    tablespaces: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """The words after `pg_basebackup -D target` that this version's tool knows; always a fast checkpoint; WAL is streamed.

    slot: waited for and held while copying (9.6+ tools; older ones need enough kept segments). max_rate: "10M" (9.4+).
    tablespaces: old location → new one (9.4+); ValueError where the version cannot.
    """
    can = version.base_backup
    words = ["-F", "p", *(("-X", "stream") if can.streams_wal else ("-x",)), "-c", "fast", "-l", label, "-P", "-v", "-w"]
    if slot and can.waits_for_slot:
        words += ["--slot", slot]
    if max_rate and can.limits_rate:
        words += ["--max-rate", max_rate]
    for old, new in (tablespaces or {}).items():
        if not can.maps_tablespaces:
            raise ValueError(f"{version.shown}'s pg_basebackup cannot move a tablespace: {old} must be free on the standby")
        words += ["-T", f"{_escaped(old)}={_escaped(new)}"]
    return (*words, "-h", source_address, "-p", str(source_port), "-U", user)


def _escaped(location: str) -> str:
    return location.replace("=", "\\=")


# --- passwords for clients -----------------------------------------------------------------------------------------


def pgpass_line(user: str, password: Secret, *, host: str = "*", port: str = "*", database: str = "*") -> Text:
    """One line of a password file. The default fits every primary that the standby may ever follow."""
    head = ":".join(_pgpass_escaped(part) if part != "*" else part for part in (host, port, database, user))
    return (f"{head}:", Secret(password.name, _pgpass_escaped(password.value)), "\n")


def _pgpass_escaped(text: str) -> str:
    if "\n" in text or "\0" in text:
        raise ValueError("a password file cannot hold a line break")
    return text.replace("\\", "\\\\").replace(":", "\\:")


# --- standby -------------------------------------------------------------------------------------------------------


def primary_conninfo(
    version: Version, *, host: str, port: int, user: str, application_name: str, passfile: str = "", **more: str
) -> str:
    """A conninfo without a password: libpq from 10 reads `passfile`, older ones `~/.pgpass`. Unknown keys are left out."""
    values = {"host": host, "port": str(port), "user": user, "application_name": application_name, "passfile": passfile, **more}
    if "password" in values:
        raise ValueError("a password stands in the password file, not in primary_conninfo")
    return " ".join(f"{key}={conninfo_quoted(value)}" for key, value in values.items() if value and key in version.conninfo_keys)


def conninfo_quoted(value: str) -> str:
    if value and not any(character in value for character in " \t\n'\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def standby_settings(
    version: Version,
    *,
    conninfo: str,
    slot: str = "",
    restore_command: str = "",
    cleanup_command: str = "",
    timeline: str = "latest",
) -> dict[str, str]:
    """What makes a server follow that primary, in the version's words: recovery.conf's up to 11, postgresql.conf's from 12.

    recovery_target_timeline is always written: before 12 its default would stay on the backup's own timeline.
    """
    settings = {"standby_mode": "on"} if version.recovery_style == "recovery.conf" else {}
    settings["primary_conninfo"] = conninfo
    if slot and version.has_slots:
        settings["primary_slot_name"] = slot
    if restore_command:
        settings["restore_command"] = restore_command
    if cleanup_command:
        settings["archive_cleanup_command"] = cleanup_command
    return settings | {"recovery_target_timeline": timeline}


def archive_cleanup_command(server: Server, version: Version) -> str:
    """`%r` is the oldest file that a restart needs. Quoted for the shell that PostgreSQL starts."""
    return f"{_shell(server.bin_directory)}/{version.tools.archive_cleanup} {_shell(server.wal_archive_directory)} %r"


def restore_command(server: Server) -> str:
    """From the WAL archive directory on the same host. Most of what is asked for is not there: that costs no process."""
    path = f"{_shell(server.wal_archive_directory)}/%f"
    return f"test -f {path} && cp {path} %p"


def _shell(path: str) -> str:
    """A path inside a command that PostgreSQL expands: quoted for sh, its percent signs doubled."""
    return shlex.quote(path.replace("%", "%%"))
