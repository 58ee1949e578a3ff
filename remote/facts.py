"""Facts: what one read-only look at a host says, as plain values.

`facts_command(request)` is the one script, `parse(output)` the pure function that reads its answer; a host that does not answer is
an `Unreachable` value. Passwords in conninfo strings are stripped before anything leaves the host's answer (`parse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from remote.command import Command

Role = Literal["primary", "standby", "unknown"]


@dataclass(frozen=True)
class Identify:
    """Whom to ask from a host who they are, by the replication protocol (IDENTIFY_SYSTEM). passfile: a file on that host.

    role: "" = whose password is in that file.
    """

    address: str
    port: int
    role: str
    passfile: str = ""


@dataclass(frozen=True)
class FactsRequest:
    """What to look at besides the host itself.

    data_directory / port / bin_directory: a PostgreSQL that discovery would not find by itself ("" and 0: only discover).
    paths: files and directories to describe (text is read when at most 64 KiB).
    reach: `(address, port)` pairs to open a TCP connection to *from this host*; identify: servers to ask from there who they are.
    sections: a subset for a quick re-read ("host", "postgres", "sql", "libraries" of every database, "sizes", "paths", "reach");
        empty = all.
    questions: read-only commands asked after the look, by name; what they answer is in `Facts.answers`.
    """

    data_directory: str = ""
    port: int = 0
    bin_directory: str = ""
    owner: str = ""
    paths: tuple[str, ...] = ()
    reach: tuple[tuple[str, int], ...] = ()
    identify: tuple[Identify, ...] = ()
    sections: frozenset[str] = frozenset()
    questions: tuple[tuple[str, Command], ...] = ()


@dataclass(frozen=True)
class Mount:
    path: str
    device: str
    filesystem: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    home: str
    shell: str
    is_locked: bool
    is_system: bool


@dataclass(frozen=True)
class Installation:
    """One set of PostgreSQL binaries: `major` is "15" or "9.6".

    libraries: what servers can load from `library_directory`, without `.so` → the Debian package that brought it, "" = not known.
    Empty when nobody asked ("libraries"), or where the directory is another than guessed.
    """

    bin_directory: str
    major: str
    version: str
    library_directory: str = ""
    tools: tuple[str, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)

    def has(self, tool: str) -> bool:
        return tool in self.tools


@dataclass(frozen=True)
class Control:
    """pg_controldata, LC_ALL=C, words kept. `timeline` is the last checkpoint's: after a fast promotion it lags behind."""

    system_identifier: str
    state: str
    timeline: int
    checkpoint_lsn: int
    redo_lsn: int
    redo_wal_file: str
    minimum_recovery_lsn: int = 0
    minimum_recovery_timeline: int = 0
    wal_segment_bytes: int = 16 * 1024 * 1024
    has_checksums: bool = False
    wal_log_hints: bool = False
    wal_level: str = ""
    max_connections: int = 0
    max_worker_processes: int = 0
    max_wal_senders: int = 0
    max_prepared_transactions: int = 0
    max_locks_per_transaction: int = 0
    control_version: int = 0
    catalog_version: int = 0


@dataclass(frozen=True)
class Setting:
    value: str
    unit: str = ""
    context: str = ""
    source: str = ""
    source_file: str = ""
    source_line: int = 0
    pending_restart: bool = False
    boot_value: str = ""


@dataclass(frozen=True)
class Tablespace:
    name: str
    oid: int
    location: str
    size_bytes: int = 0


@dataclass(frozen=True)
class DatabaseRole:
    """password_kind: "scram" | "md5" | "none" | "unknown" (not a superuser's look)."""

    name: str
    is_superuser: bool
    can_login: bool
    can_replicate: bool
    password_kind: str = "unknown"  # noqa: S105
    member_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slot:
    name: str
    kind: str
    is_active: bool
    restart_lsn: int = 0
    held_bytes: int = 0
    wal_status: str = ""
    safe_wal_bytes: int | None = None
    is_temporary: bool = False
    active_pid: int = 0


@dataclass(frozen=True)
class Transaction:
    """One that has been open for more than 5 s; `name` is its session's application, or of a prepared one its identifier."""

    name: str
    database: str
    user: str
    age_seconds: int
    pid: int = 0


@dataclass(frozen=True)
class WalSender:
    """A row of pg_stat_replication; LSNs are 0 where the server gave null."""

    application_name: str
    client_address: str
    state: str
    sync_state: str
    user: str = ""
    pid: int = 0
    sent_lsn: int = 0
    write_lsn: int = 0
    flush_lsn: int = 0
    replay_lsn: int = 0
    write_lag_seconds: float | None = None
    flush_lag_seconds: float | None = None
    replay_lag_seconds: float | None = None


@dataclass(frozen=True)
class WalReceiver:
    status: str
    sender_host: str = ""
    sender_port: int = 0
    slot_name: str = ""
    received_timeline: int = 0
    conninfo: str = ""


@dataclass(frozen=True)
class Archiver:
    archived_count: int = 0
    failed_count: int = 0
    last_archived_wal: str = ""
    last_failed_wal: str = ""
    last_archived_at: str = ""
    last_failed_at: str = ""


@dataclass(frozen=True)
class Postgres:
    """One database cluster (data directory) on a host, running or not. LSNs are integers (`remote.lsn`), 0 = unknown.

    is_denied: the directory is there, but whoever looked may not read it.
    size_bytes: without the WAL (`wal_bytes`) and without tablespaces.
    started_at: when its postmaster started, epoch seconds by the host's clock; tells a restart even where the pid is the same.
    connection_count: sessions in a database, without the panel's.
    stray_pids: processes of this cluster whose postmaster is gone; they may still commit.
    included_texts: path → text of the files that postgresql.conf includes. job_marker: the text of `pgpanel.job`.
    debian_cluster: "15/main" where postgresql-common knows it. at_boot: Debian's start.conf ("auto", "manual", "disabled"), or
    systemd's word on the PGDG service ("enabled", "disabled"); "" = not known.
    wal_link: where pg_wal points, "" = a plain directory. newest_wal: the name of the last WAL file in it, by timeline and number.
    """

    data_directory: str
    owner: str
    major: str
    version: str = ""
    bin_directory: str = ""
    config_file: str = ""
    hba_file: str = ""
    log_file: str = ""
    port: int = 0
    socket_directory: str = ""
    is_running: bool = False
    postmaster_pid: int = 0
    started_at: int = 0
    answers_sql: bool = False
    sql_error: str = ""
    control: Control | None = None
    role: Role = "unknown"
    timeline: int = 0
    current_lsn: int = 0
    receive_lsn: int = 0
    replay_lsn: int = 0
    is_replay_paused: bool = False
    last_replayed_at: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    config_text: str = ""
    auto_config_text: str = ""
    hba_text: str = ""
    recovery_text: str = ""
    hba_errors: tuple[str, ...] = ()
    signal_files: tuple[str, ...] = ()
    has_backup_label: bool = False
    is_backup_running: bool = False
    tablespaces: tuple[Tablespace, ...] = ()
    size_bytes: int = 0
    wal_bytes: int = 0
    archive_ready_count: int = 0
    newest_wal: str = ""
    libraries: tuple[str, ...] = ()
    collations: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[DatabaseRole, ...] = ()
    slots: tuple[Slot, ...] = ()
    senders: tuple[WalSender, ...] = ()
    receiver: WalReceiver | None = None
    archiver: Archiver | None = None
    debian_cluster: str = ""
    at_boot: str = ""
    wal_link: str = ""
    real_path: str = ""
    is_denied: bool = False
    stray_pids: tuple[int, ...] = ()
    included_texts: Mapping[str, str] = field(default_factory=dict)
    job_marker: str = ""
    databases: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict)
    connection_count: int = 0
    transactions: tuple[Transaction, ...] = ()
    prepared: tuple[Transaction, ...] = ()

    def setting(self, name: str, default: str = "") -> str:
        """A setting's value as the running server has it, in pg_settings' unit."""
        found = self.settings.get(name)
        return found.value if found else default

    def setting_number(self, name: str, default: int = 0) -> int:
        try:
            return int(self.setting(name))
        except ValueError:
            return default

    @property
    def free_wal_senders(self) -> int:
        """Replication connections that could be opened now."""
        return max(0, self.setting_number("max_wal_senders") - len(self.senders))

    @property
    def free_slots(self) -> int:
        return max(0, self.setting_number("max_replication_slots") - len(self.slots))

    @property
    def pending_restart(self) -> tuple[str, ...]:
        return tuple(name for name, setting in self.settings.items() if setting.pending_restart)

    def role_named(self, name: str) -> DatabaseRole | None:
        return next((role for role in self.roles if role.name == name), None)

    def slot_named(self, name: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.name == name), None)

    @property
    def system_identifier(self) -> str:
        return self.control.system_identifier if self.control else ""


@dataclass(frozen=True)
class PathFact:
    """kind: "missing" | "file" | "directory" | "link" | "other" | "denied".

    text: of small readable files, conninfo passwords masked; None for what may hold a secret (.pgpass, private keys).
    digest: the SHA-256 of the raw content, to compare what must not be shown.
    entries: of a directory (also behind a link); -1 = not readable. target: of a link.
    """

    kind: str
    owner: str = ""
    group: str = ""
    mode: str = ""
    size_bytes: int = 0
    entries: int = 0
    text: str | None = None
    digest: str = ""
    target: str = ""


@dataclass(frozen=True)
class Reach:
    is_open: bool
    error: str = ""


@dataclass(frozen=True)
class Answered:
    """What a question's command printed, both voices, conninfo passwords masked; exit_code -1: it could not be run."""

    exit_code: int
    text: str = ""

    @property
    def is_right(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class Identified:
    """What a server said to IDENTIFY_SYSTEM. answers: it spoke, be it to refuse (then system_identifier is "" and error says why);
    False: nobody spoke; None: the question could not be asked (no psql there, say)."""

    answers: bool | None
    system_identifier: str = ""
    timeline: int = 0
    lsn: int = 0
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """One look at one host.

    clock_skew_seconds: host minus panel, corrected by half the round trip.
    seen_from: the address that the login came from, as the host sees it.
    """

    hostname: str
    machine_id: str = ""
    os_id: str = ""
    os_version: str = ""
    kernel: str = ""
    architecture: str = ""
    boot_id: str = ""
    seen_from: str = ""
    cpu_count: int = 0
    memory_bytes: int = 0
    addresses: tuple[str, ...] = ()
    login_user: str = ""
    can_become_root: bool = False
    can_become_owner: bool = False
    become_error: str = ""
    epoch_seconds: float = 0.0
    clock_skew_seconds: float = 0.0
    selinux: str = "absent"
    is_systemd: bool = False
    systemd_removes_ipc: bool = False
    glibc_version: str = ""
    icu_version: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    installations: tuple[Installation, ...] = ()
    clusters: tuple[Postgres, ...] = ()
    paths: Mapping[str, PathFact] = field(default_factory=dict)
    reach: Mapping[str, Reach] = field(default_factory=dict)
    identified: Mapping[str, Identified] = field(default_factory=dict)
    answers: Mapping[str, Answered] = field(default_factory=dict)
    elapsed_ms: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def is_reachable(self) -> Literal[True]:
        return True

    def postgres(self, data_directory: str) -> Postgres | None:
        """The cluster at that data directory (compared without a trailing slash)."""
        wanted = data_directory.rstrip("/")
        return next((found for found in self.clusters if found.data_directory.rstrip("/") == wanted), None)

    def mount_of(self, path: str) -> Mount | None:
        """The mount that holds `path`: the longest mount point that is a prefix of it."""
        holding = [m for m in self.mounts if m.path in ("/", path) or path.startswith(m.path.rstrip("/") + "/")]
        return max(holding, key=lambda mount: len(mount.path), default=None)


@dataclass(frozen=True)
class Unreachable:
    """A host that gave no facts. cause: "timeout" | "refused" | "no-route" | "authentication" | "host-key" | "dns" | "other".

    postgres: what the panel found at PostgreSQL's port meanwhile: "speaks" | "open" | "refused" | "silent"; "" = nobody knocked.
    """

    cause: str
    message: str
    mend: str = ""
    postgres: str = ""

    @property
    def is_reachable(self) -> Literal[False]:
        return False


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """Plain JSON values, for storing what was last seen; answers to a job's own questions are not kept."""
    return asdict(replace(facts, answers={}))


def facts_from_json(data: Mapping[str, Any]) -> Facts:
    """Tolerant of an older writer: a field that is missing has its default, an unknown one is ignored."""
    return cast(Facts, _value(Facts, {"hostname": ""} | dict(data)))


_EMPTY: dict[type, Any] = {str: "", int: 0, float: 0.0, bool: False}


def _value(kind: Any, data: Any) -> Any:
    """`data` as the annotated type `kind`: dataclasses, tuples and mappings of them, optional values, plain ones."""
    if is_dataclass(kind) and isinstance(kind, type):
        return None if data is None else _dataclass(kind, data)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if data is None else _value(next(item for item in inner if item is not NoneType), data)
    if origin is tuple:
        return tuple(_value(inner[0], item) for item in data or ())
    if origin is Mapping:
        return {name: _value(inner[1], item) for name, item in (data or {}).items()}
    return data


_hints = cache(get_type_hints)


def _dataclass(kind: type, data: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    given = {item.name: _value(hints[item.name], data[item.name]) for item in fields(kind) if item.name in data}
    for item in fields(kind):
        if item.name not in given and item.default is MISSING and item.default_factory is MISSING:
            given[item.name] = _EMPTY.get(hints[item.name], "")
    return kind(**given)
