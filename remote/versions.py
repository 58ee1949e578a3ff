"""PostgreSQL's names and abilities by major: the newest as it is, then patched backwards, one entry per difference.

The only file of the product that compares version numbers: everything else asks for a name or an ability. Ranges are those of the
PostgreSQL manuals (release notes of each version).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

_UNIT_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SEGMENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Functions:
    """SQL functions; "" where the version has none."""

    current_lsn: str = "pg_current_wal_lsn"
    insert_lsn: str = "pg_current_wal_insert_lsn"
    receive_lsn: str = "pg_last_wal_receive_lsn"
    replay_lsn: str = "pg_last_wal_replay_lsn"
    replay_time: str = "pg_last_xact_replay_timestamp"
    wal_file_name: str = "pg_walfile_name"
    switch_wal: str = "pg_switch_wal"
    lsn_diff: str = "pg_wal_lsn_diff"
    is_replay_paused: str = "pg_is_wal_replay_paused"
    replay_pause: str = "pg_wal_replay_pause"
    replay_resume: str = "pg_wal_replay_resume"
    backup_start: str = "pg_backup_start"
    backup_stop: str = "pg_backup_stop"
    promote: str = "pg_promote"


@dataclass(frozen=True)
class BaseBackup:
    """What this version's own `pg_basebackup` can be told. `-R` is never used: it writes conninfo keys that others refuse."""

    streams_wal: bool = True
    waits_for_slot: bool = True  # --slot
    has_temporary_slot: bool = True  # --no-slot is known: without a slot it makes a temporary one
    creates_slot: bool = True  # --create-slot
    maps_tablespaces: bool = True  # --tablespace-mapping
    limits_rate: bool = True  # --max-rate
    writes_manifest: bool = True
    compresses_on_server: bool = True  # --compress=server-zstd
    is_incremental: bool = True
    wal_directory_option: str = "--waldir"
    wal_method_option: str = "--wal-method"
    from_standby: bool = True


@dataclass(frozen=True)
class Tools:
    """Names of programs in the bin directory; "" where the version has none."""

    wal_dump: str = "pg_waldump"
    receive_wal: str = "pg_receivewal"
    checksums: str = "pg_checksums"
    verify_backup: str = "pg_verifybackup"
    rewind: str = "pg_rewind"
    base_backup: str = "pg_basebackup"
    archive_cleanup: str = "pg_archivecleanup"
    combine_backup: str = "pg_combinebackup"


_CONNINFO_WORDS = (
    "host hostaddr port dbname user password passfile connect_timeout client_encoding options application_name"
    " fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout replication"
    " sslmode sslcompression sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslsni requirepeer krbsrvname gsslib"
    " gssencmode gssdelegation channel_binding target_session_attrs ssl_min_protocol_version ssl_max_protocol_version service"
    " load_balance_hosts require_auth sslcertmode sslnegotiation min_protocol_version max_protocol_version sslkeylogfile"
    " oauth_issuer oauth_client_id oauth_client_secret oauth_scope"
)
_STANDBY_AT_LEAST = (
    "max_connections", "max_prepared_transactions", "max_locks_per_transaction", "max_worker_processes", "max_wal_senders",
)  # fmt: skip
_DEFAULTS = {"wal_level": "replica", "max_wal_senders": "10", "max_replication_slots": "10", "hot_standby": "on"}


@dataclass(frozen=True)
class Version:
    """One major of PostgreSQL. `is_known` is False for a major newer than this file: it is taken for the newest known one."""

    major: str = "18"
    is_known: bool = True
    functions: Functions = Functions()
    tools: Tools = Tools()
    base_backup: BaseBackup = BaseBackup()

    wal_directory_name: str = "pg_wal"
    commit_directory_name: str = "pg_xact"
    has_linear_wal: bool = True
    recovery_style: Literal["recovery.conf", "signal"] = "signal"
    trigger_setting: str = ""
    promote_methods: tuple[str, ...] = ("pg_promote", "pg_ctl")
    promote_cancels_pause: bool = True
    has_fast_promotion: bool = True
    pg_ctl_promote_waits: bool = True
    follows_timelines_by_streaming: bool = True
    target_action_setting: str = "recovery_target_action"

    reloadable: frozenset[str] = frozenset({"primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command"})
    standby_at_least: tuple[str, ...] = _STANDBY_AT_LEAST
    standby_pauses_when_too_low: bool = True
    wal_senders_count_as_connections: bool = False
    replica_wal_level: str = "replica"
    wal_levels_for_standby: frozenset[str] = frozenset({"replica", "logical", "hot_standby", "archive"})
    wal_level_names: tuple[str, ...] = ("minimal", "replica", "logical")
    sender_timeout_setting: str = "wal_sender_timeout"
    defaults: Mapping[str, str] = field(default_factory=lambda: dict(_DEFAULTS))

    has_slots: bool = True
    slots_reserve_at_once: bool = True
    has_temporary_slots: bool = True
    has_slot_limit: bool = True  # max_slot_wal_keep_size; wal_status and safe_wal_size in pg_replication_slots
    has_slot_invalidation_reason: bool = True
    has_archive_always: bool = True
    has_archive_library: bool = True
    has_stat_archiver: bool = True
    has_stat_wal_receiver: bool = True
    has_cascading: bool = True
    has_pending_restart: bool = True  # and pg_file_settings
    has_auto_conf: bool = True
    has_include_dir: bool = True
    has_hba_file_rules: bool = True
    has_stat_progress_basebackup: bool = True
    has_pg_monitor: bool = True
    has_wal_log_hints: bool = True
    has_checksums: bool = True
    has_checksums_by_default: bool = True
    has_config_query: bool = True  # postgres -C: reads the files and a value given beside them, and says what it makes of it
    has_collation_versions: bool = True
    has_database_collation_version: bool = True
    has_extensions: bool = True

    backup_is_exclusive: bool = False
    backup_start_call: str = "pg_backup_start({label}, {fast})"
    backup_stop_call: str = "pg_backup_stop(true)"
    has_is_in_backup: bool = False
    may_have_exclusive_backup: bool = False

    role_attribute: str = "REPLICATION"
    password_kind: Literal["scram-sha-256", "md5"] = "scram-sha-256"  # noqa: S105
    has_scram: bool = True
    password_encryption_values: tuple[str, ...] = ("md5", "scram-sha-256")
    hba_types: frozenset[str] = frozenset({"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"})
    conninfo_keys: frozenset[str] = frozenset(_CONNINFO_WORDS.split())

    stat_replication_pid: str = "pid"
    stat_replication_lsn: str = "{}_lsn"  # sent, write, flush, replay
    has_replication_lag: bool = True
    has_stat_replication: bool = True
    stat_activity_pid: str = "pid"
    slot_pid: str = "active_pid"
    receiver_written: str = "written_lsn"
    receiver_flushed: str = "flushed_lsn"
    receiver_has_sender: bool = True
    tablespace_location: str = "pg_tablespace_location(t.oid)"
    rewind_restores_wal: bool = True
    rewind_recovers_target: bool = True
    rewind_takes_config_file: bool = True
    rewind_needs_checkpoint: bool = False
    rewind_by_grants: bool = True  # a role that may execute four functions can be rewound from; before, only a superuser

    @property
    def shown(self) -> str:
        return f"PostgreSQL {self.major}"

    def has_setting(self, name: str) -> bool:
        """Whether this version knows the setting; True for names this file says nothing about."""
        first, last = _SETTINGS.get(name, ("", ""))
        return (not first or _key(self.major) >= _key(first)) and (not last or _key(self.major) <= _key(last))

    def settings(self, wanted: Mapping[str, str], segment_bytes: int = _SEGMENT_BYTES) -> dict[str, str]:
        """Settings written with the newest names and values → this version's; those it does not have are left out."""
        translated: dict[str, str] = {}
        for name, value in wanted.items():
            old = _OLD_NAMES.get(name)
            if name == "wal_level":
                translated[name] = self.replica_wal_level if value == "replica" else value
            elif self.has_setting(name):
                translated[name] = value
            elif old and self.has_setting(old):
                translated[old] = _old_value(old, value, segment_bytes)
        return translated

    def name_of(self, setting: str) -> str:
        """This version's name for a setting of the newest; "" if it has none."""
        old = _OLD_NAMES.get(setting, "")
        return setting if self.has_setting(setting) else old if old and self.has_setting(old) else ""

    def can_restore_to(self, other: Version) -> bool:
        """A physical copy works only within one major."""
        return self.major == other.major

    def client_can_stream_from(self, server: Version) -> bool:
        """Whether this version's pg_basebackup can stream WAL from `server`: same or older, and not across 9.3's change."""
        is_same_age = server.has_linear_wal == self.has_linear_wal
        return _key(self.major) >= _key(server.major) and self.base_backup.streams_wal and is_same_age


class UnknownVersion(ValueError):
    """A major that pgpanel does not know; the message says why and what is."""


_SETTINGS: dict[str, tuple[str, str]] = {  # name → (first major, last major), "" = still open at that end
    "wal_keep_size": ("13", ""),
    "wal_keep_segments": ("9.0", "12"),
    "max_wal_size": ("9.5", ""),
    "min_wal_size": ("9.5", ""),
    "checkpoint_segments": ("", "9.4"),
    "wal_sender_timeout": ("9.3", ""),
    "replication_timeout": ("9.1", "9.2"),
    "wal_sender_delay": ("9.0", "9.1"),
    "wal_receiver_timeout": ("9.3", ""),
    "wal_receiver_status_interval": ("9.1", ""),
    "wal_retrieve_retry_interval": ("9.5", ""),
    "max_replication_slots": ("9.4", ""),
    "max_slot_wal_keep_size": ("13", ""),
    "idle_replication_slot_timeout": ("18", ""),
    "wal_log_hints": ("9.4", ""),
    "hot_standby_feedback": ("9.1", ""),
    "max_worker_processes": ("9.4", ""),
    "archive_library": ("15", ""),
    "archive_cleanup_command": ("12", ""),
    "restore_command": ("12", ""),
    "recovery_target_timeline": ("12", ""),
    "primary_conninfo": ("12", ""),
    "primary_slot_name": ("12", ""),
    "promote_trigger_file": ("12", "15"),
    "recovery_min_apply_delay": ("12", ""),
    "synchronous_standby_names": ("9.1", ""),
    "vacuum_defer_cleanup_age": ("9.0", "15"),
    "wal_compression": ("9.5", ""),
    "summarize_wal": ("17", ""),
    "unix_socket_directories": ("9.3", ""),
    "unix_socket_directory": ("", "9.2"),
    "cluster_name": ("9.5", ""),
    "log_replication_commands": ("9.5", ""),
}
_OLD_NAMES = {
    "wal_keep_size": "wal_keep_segments",
    "max_wal_size": "checkpoint_segments",
    "wal_sender_timeout": "replication_timeout",
    "unix_socket_directories": "unix_socket_directory",
}


def _old_value(name: str, value: str, segment_bytes: int) -> str:
    """wal_keep_segments counts segments; max_wal_size ≈ 3 × checkpoint_segments × segment (the manual's own conversion of 9.5)."""
    if name == "wal_keep_segments":
        return str(-(-_megabytes(value) * 1024**2 // segment_bytes))
    if name == "checkpoint_segments":
        return str(max(1, -(-_megabytes(value) * 1024**2 // (3 * segment_bytes))))
    return value


def _megabytes(value: str) -> int:
    """`1GB`, `512MB`, bare = MB (the unit of both settings)."""
    found = re.fullmatch(r"\s*(\d+)\s*([kMGT]?B)?\s*", value)
    if not found:
        raise ValueError(f"not a size: {value!r}")
    return int(found[1]) * _UNIT_BYTES[(found[2] or "MB").upper()] // 1024**2


_XLOG_FUNCTIONS: dict[str, Any] = {
    "current_lsn": "pg_current_xlog_location",
    "insert_lsn": "pg_current_xlog_insert_location",
    "receive_lsn": "pg_last_xlog_receive_location",
    "replay_lsn": "pg_last_xlog_replay_location",
    "wal_file_name": "pg_xlogfile_name",
    "switch_wal": "pg_switch_xlog",
    "lsn_diff": "pg_xlog_location_diff",
    "is_replay_paused": "pg_is_xlog_replay_paused",
    "replay_pause": "pg_xlog_replay_pause",
    "replay_resume": "pg_xlog_replay_resume",
}
_OLD_DEFAULTS = {"wal_level": "minimal", "max_wal_senders": "0", "hot_standby": "off"}

# What differs up to and including that major. A dict for a nested value patches it.
_PATCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("17", {"has_checksums_by_default": False, "conninfo_keys-": "oauth_issuer oauth_client_id oauth_client_secret oauth_scope"
            " min_protocol_version max_protocol_version sslkeylogfile"}),
    ("16", {"base_backup": {"is_incremental": False}, "tools": {"combine_backup": ""}, "has_slot_invalidation_reason": False,
            "conninfo_keys-": "sslnegotiation"}),
    ("15", {"trigger_setting": "promote_trigger_file", "rewind_needs_checkpoint": True,
            "promote_methods": ("pg_promote", "pg_ctl", "trigger"),
            "conninfo_keys-": "load_balance_hosts require_auth sslcertmode gssdelegation"}),
    ("14", {"functions": {"backup_start": "pg_start_backup", "backup_stop": "pg_stop_backup"},
            "backup_start_call": "pg_start_backup({label}, {fast}, false)", "backup_stop_call": "pg_stop_backup(false, true)",
            "has_is_in_backup": True, "may_have_exclusive_backup": True, "has_archive_library": False,
            "base_backup": {"compresses_on_server": False}, "has_database_collation_version": False,
            "rewind_takes_config_file": False}),
    ("13", {"password_kind": "md5", "reloadable": frozenset({"primary_conninfo", "primary_slot_name", "archive_cleanup_command"}),
            "standby_pauses_when_too_low": False, "conninfo_keys-": "sslcrldir sslsni"}),
    ("12", {"reloadable": frozenset({"archive_cleanup_command"}), "has_slot_limit": False, "promote_cancels_pause": False,
            "tools": {"verify_backup": ""}, "base_backup": {"writes_manifest": False}, "receiver_written": "received_lsn",
            "receiver_flushed": "received_lsn", "has_stat_progress_basebackup": False, "rewind_restores_wal": False,
            "rewind_recovers_target": False,
            "conninfo_keys-": "channel_binding sslpassword ssl_min_protocol_version ssl_max_protocol_version"}),
    ("11", {"recovery_style": "recovery.conf", "trigger_setting": "trigger_file", "promote_methods": ("pg_ctl", "trigger"),
            "functions": {"promote": ""}, "reloadable": frozenset(), "standby_at_least": _STANDBY_AT_LEAST[:4],
            "wal_senders_count_as_connections": True, "tools": {"checksums": "pg_verify_checksums"},
            "hba_types": frozenset({"local", "host", "hostssl", "hostnossl"}),
            "conninfo_keys-": "tcp_user_timeout gssencmode"}),
    ("10", {"rewind_by_grants": False, "tools": {"checksums": ""}, "base_backup": {"creates_slot": False},
            "receiver_has_sender": False}),
    ("9.6", {"functions": _XLOG_FUNCTIONS, "wal_directory_name": "pg_xlog", "commit_directory_name": "pg_clog",
             "tools": {"wal_dump": "pg_xlogdump", "receive_wal": "pg_receivexlog"},
             "base_backup": {"has_temporary_slot": False, "wal_directory_option": "--xlogdir",
                             "wal_method_option": "--xlog-method"},
             "stat_replication_lsn": "{}_location", "has_replication_lag": False, "has_temporary_slots": False,
             "has_hba_file_rules": False, "has_pg_monitor": False, "has_scram": False, "password_encryption_values": ("on", "off"),
             "pg_ctl_promote_waits": False, "has_collation_versions": False,
             "backup_stop_call": "pg_stop_backup(false)", "defaults": _OLD_DEFAULTS | {"max_replication_slots": "0"},
             "conninfo_keys-": "passfile target_session_attrs"}),
    ("9.5", {"replica_wal_level": "hot_standby", "wal_levels_for_standby": frozenset({"hot_standby", "logical", "archive"}),
             "wal_level_names": ("minimal", "archive", "hot_standby", "logical"), "backup_is_exclusive": True,
             "backup_start_call": "pg_start_backup({label}, {fast})", "backup_stop_call": "pg_stop_backup()",
             "has_stat_wal_receiver": False, "slots_reserve_at_once": False, "base_backup": {"waits_for_slot": False}}),
    ("9.4", {"slot_pid": "NULL",
             "target_action_setting": "pause_at_recovery_target", "has_archive_always": False, "has_pending_restart": False,
             "tools": {"rewind": ""}}),
    ("9.3", {"has_slots": False, "has_stat_archiver": False, "has_auto_conf": False, "has_wal_log_hints": False,
             "standby_at_least": _STANDBY_AT_LEAST[:3], "base_backup": {"maps_tablespaces": False, "limits_rate": False,
                                                                         "wal_directory_option": ""},
             "wal_levels_for_standby": frozenset({"hot_standby", "archive"}),
             "wal_level_names": ("minimal", "archive", "hot_standby"), "defaults": _OLD_DEFAULTS}),
    ("9.2", {"has_linear_wal": False, "has_fast_promotion": False, "follows_timelines_by_streaming": False,
             "sender_timeout_setting": "replication_timeout", "has_checksums": False, "has_is_in_backup": False,
             "has_include_dir": False, "tools": {"wal_dump": ""}}),
    ("9.1", {"stat_replication_pid": "procpid", "stat_activity_pid": "procpid", "functions": {"lsn_diff": ""},
             "has_cascading": False, "tablespace_location": "t.spclocation", "has_config_query": False,
             "base_backup": {"streams_wal": False, "from_standby": False},
             "conninfo_keys-": "sslcompression"}),
    ("9.0", {"has_stat_replication": False, "role_attribute": "SUPERUSER", "promote_methods": ("trigger",), "has_extensions": False,
             "sender_timeout_setting": "", "tools": {"base_backup": ""},
             "functions": {"replay_time": "", "is_replay_paused": "", "replay_pause": "", "replay_resume": ""}}),
)  # fmt: skip

MAJORS = ("18", "17", "16", "15", "14", "13", "12", "11", "10", "9.6", "9.5", "9.4", "9.3", "9.2", "9.1", "9.0")
"""Every major that pgpanel knows, newest first."""


def _key(major: str) -> tuple[int, int]:
    first, _, second = major.partition(".")
    return int(first), int(second or 0)


@cache
def is_major(text: str) -> bool:
    """Is it written as majors are? It becomes part of paths and commands, and a host may say anything."""
    return re.fullmatch(r"\d\.\d|\d{2,3}", text, re.ASCII) is not None


def of(major: str) -> Version:
    """The version of a major such as "15" or "9.6". A newer one is taken for the newest; an older one is refused."""
    if not is_major(major):
        raise UnknownVersion(f"{major!r} is not a major version of PostgreSQL such as 15 or 9.6")
    if _key(major) < _key(MAJORS[-1]):
        raise UnknownVersion(f"PostgreSQL {major} has no streaming replication: pgpanel works with {MAJORS[-1]} and later")
    version = Version()
    for last, patch in _PATCHES:
        if _key(major) <= _key(last):
            version = _patched(version, patch)
    return replace(version, major=major, is_known=major in MAJORS)


def _patched(version: Version, patch: Mapping[str, Any]) -> Version:
    changes: dict[str, Any] = {}
    for name, value in patch.items():
        if name.endswith("-"):
            changes[name[:-1]] = getattr(version, name[:-1]) - frozenset(value.split())
        elif isinstance(value, dict) and name != "defaults":
            changes[name] = replace(getattr(version, name), **value)
        else:
            changes[name] = value
    return replace(version, **changes)


def major_of(version: str) -> str:
    """`15.7` → "15", `9.6.24` → "9.6", `18beta1` → "18", `150007` → "15", `90624` → "9.6"; ValueError otherwise."""
    if re.fullmatch(r"\d{5,6}", version):
        number = int(version)
        return str(number // 10000) if number >= 100000 else f"{number // 10000}.{number // 100 % 100}"
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    if not found:
        raise ValueError(f"not a version of PostgreSQL: {version!r}")
    return f"{found[1]}.{found[2] or 0}" if int(found[1]) < 10 else found[1]
