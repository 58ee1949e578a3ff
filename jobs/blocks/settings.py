"""Which settings replication needs on these nodes, from what the primary has now. Nothing that is higher already is lowered."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping

from jobs.blocks.chosen import chosen_in, is_enough, panel_lines
from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, is_new, own_file, postgres_of
from jobs.recipe import NodeSpec, World
from remote import config, postgres
from remote.facts import Facts, Postgres, Setting
from remote.rows import decimal, number

TIMEOUT = "20s"
COMFORTABLE = 10

# what must be effective before standbys can be made or a switchover works: a restart is worth it. The rest waits for the next one.
NEEDED_NOW = ("wal_level", "max_wal_senders", "max_replication_slots", "archive_mode", "wal_log_hints", "listen_addresses")
FOLLOWING = ("primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command", "recovery_target_timeline")
RECOVERY_NAMES = (*FOLLOWING, "promote_trigger_file", "recovery_end_command")


def value_of(server: Postgres | None, name: str, default: str = "") -> str:
    setting = server.settings.get(name) if server else None
    return setting.value if setting else default


def number_of(server: Postgres | None, name: str) -> int:
    return number(value_of(server, name, "0"))


def has_slots(scene: Scene, params: SetupParams) -> bool:
    """Slots hold WAL for a standby that is away; before 13 nothing limits that, so there they are only used when asked for."""
    if not scene.version.has_slots:
        return False
    return params.retention == "slots" or (params.retention == "auto" and scene.version.has_slot_limit)


def archives(scene: Scene, params: SetupParams, world: World) -> bool:
    """Whether this job takes archive_command over: not where something else (pgBackRest, WAL-G, …) archives, unless told to.

    A command that only fills one of our nodes' archive directory, as the source page has it, is superseded.
    """
    if not params.archive:
        return False
    server = postgres_of(world, scene.primary)
    library = value_of(server, "archive_library")
    command = value_of(server, "archive_command")
    if command in ("", "(disabled)") or "/.pgpanel/push" in command:
        return not library or params.replace_archive_command
    feeds_us = any(peer.address in command and peer.wal_archive_directory in command for peer in (*scene.followers, *scene.absent))
    return params.replace_archive_command or (feeds_us and not library)


def foreign_archiving(scene: Scene, params: SetupParams, world: World) -> str:
    """The archiving that stays as it is, "" for none."""
    if not params.archive or archives(scene, params, world):
        return ""
    server = postgres_of(world, scene.primary)
    return value_of(server, "archive_library") or value_of(server, "archive_command")


def keep_megabytes(scene: Scene, params: SetupParams, world: World) -> int:
    """The chosen size, or of the disk that holds the WAL: a quarter as a slot's limit, an eighth for keep segments; a power of two.

    By the disk's size, not by what is free now, so that the plan and the run see the same.
    """
    if params.keep_megabytes:
        return params.keep_megabytes
    mount = world.facts(scene.primary.name).mount_of(scene.primary.data_directory)
    return share_megabytes(mount.size_bytes // 1024**2 if mount else 0, is_limit=has_slots(scene, params))


def share_megabytes(disk_megabytes: int, *, is_limit: bool) -> int:
    """is_limit: of slots, used only while a standby is away; else so much lies there always."""
    share, most = (disk_megabytes // 4, 512 * 1024) if is_limit else (disk_megabytes // 8, 16 * 1024)
    return min(most, max(64, 1 << max(share.bit_length() - 1, 0)))


def shared_settings(scene: Scene, params: SetupParams, world: World) -> dict[str, str]:
    """What every member gets, so that a switchover changes nothing; newest names (`Version.settings` translates)."""
    server = postgres_of(world, scene.primary)
    wanted = {
        "wal_level": _wal_level(server, scene),
        "max_wal_senders": _at_least(server, "max_wal_senders", len(scene.family) + 1),
    }
    if has_slots(scene, params):
        wanted["max_replication_slots"] = _at_least(server, "max_replication_slots", len(scene.family))
    wanted |= {"hot_standby": "on"} | _retention(scene, params, world) | _archiving(scene, params, world, server)
    if needs_hints(scene, server) and (params.rewind_ready or value_of(server, "wal_log_hints") == "on"):
        wanted["wal_log_hints"] = "on"
    for name in ("wal_sender_timeout", "wal_receiver_timeout"):
        wanted[name] = _timeout(server, scene.version.name_of(name), TIMEOUT)
    wanted["checkpoint_completion_target"] = _larger(value_of(server, "checkpoint_completion_target"), "0.9")
    wanted |= _checkpoint_size(scene, server)
    for name in scene.version.standby_at_least:
        if name not in wanted and (value := value_of(server, name)):
            wanted[name] = value
    return wanted


def node_settings(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> dict[str, str]:
    """Everything in the managed block of this node, under its version's names."""
    wanted = {"port": str(spec.port), "listen_addresses": listen_addresses(scene, world, spec)} | shared_settings(
        scene, params, world
    )
    if names := synchronous_names_of(scene, world, spec):
        wanted |= names
    if archives(scene, params, world):
        wanted["archive_command"] = f'{shell_word(own_file(spec, "push"))} "%p" "%f"'
    if scene.version.recovery_style == "signal":
        wanted |= recovery_settings(scene, params, world, spec, with_primary=spec in scene.followers)
        if _has_trigger_file(scene, postgres_of(world, spec)):
            wanted["promote_trigger_file"] = ""
    own = scene.version.settings(wanted, scene.segment_bytes)
    return own | {name: value for name, value in chosen_settings(scene, world, own).items() if name in own}


def chosen_settings(scene: Scene, world: World, own: Mapping[str, str]) -> dict[str, str]:
    """What people chose, as the primary's block has it; it goes before the panel's `own` value, unless the nodes need more."""
    server = postgres_of(world, scene.primary)
    found = chosen_in(server.config_text) if server else {}
    return {name: value for name, value in found.items() if is_enough(name, value, own.get(name, ""))}


def synchronous_names_of(scene: Scene, world: World, spec: NodeSpec) -> dict[str, str]:
    """What this job decides, or what the node's block has said since its role last changed; a standby does not heed it."""
    name = "synchronous_standby_names"
    if spec.name in scene.synchronous:
        return {name: scene.synchronous[spec.name]}
    server = postgres_of(world, spec)
    try:
        block = config.block_of(server.config_text) if server else None
    except config.ConfigDamaged:  # the preflight refuses it in its own words
        return {}
    said = config.parse_settings("\n".join(block.lines)) if block else {}
    return {name: said[name]} if name in said else {}


def _has_trigger_file(scene: Scene, server: Postgres | None) -> bool:
    """The page's /tmp/pgsql.trigger lets any local account promote: what a file outside the block says is undone in it."""
    if server is None or not scene.version.has_setting("promote_trigger_file"):
        return False
    texts = (server.config_text, *server.included_texts.values())
    return any(config.parse_settings(config.without_block(text)).get("promote_trigger_file") for text in texts)


def recovery_settings(scene: Scene, params: SetupParams, world: World, spec: NodeSpec, with_primary: bool) -> dict[str, str]:
    """What makes a node follow: the same lines in recovery.conf (to 11) and among the settings (from 12)."""
    is_archiving = archives(scene, params, world)
    found = postgres.standby_settings(
        scene.version,
        conninfo=conninfo(scene, params, spec),
        slot=scene.slot(spec) if has_slots(scene, params) else "",
        restore_command=postgres.restore_command(spec) if is_archiving else "",
        cleanup_command=postgres.archive_cleanup_command(spec, scene.version) if is_archiving else "",
    )
    return {name: value for name, value in found.items() if with_primary or name not in ("primary_conninfo", "primary_slot_name")}


def conninfo(scene: Scene, params: SetupParams, spec: NodeSpec) -> str:
    """No password in it: it comes from a file (before 10 libpq cannot be told from which, see `standby.recovery_file`)."""
    upstream = scene.upstream(spec)
    return postgres.primary_conninfo(
        scene.version, host=upstream.address, port=upstream.port, user=params.replication_role,
        application_name=spec.name,        passfile="" if params.trust else own_file(spec, "pgpass"), connect_timeout="10",
    )  # fmt: skip


def shell_word(text: str) -> str:
    """Quoted where it must be; percent signs doubled, because the server replaces %p and %f in these commands."""
    return shlex.quote(text).replace("%", "%%")


def needs_hints(scene: Scene, server: Postgres | None) -> bool:
    """pg_rewind needs checksums or wal_log_hints; checksums can only be had offline."""
    has_checksums = bool(server and server.control and server.control.has_checksums)
    return scene.version.has_wal_log_hints and not has_checksums


def listen_addresses(scene: Scene, world: World, spec: NodeSpec) -> str:
    """What it listens on now (a new standby: as the primary, with its own address), and the address that the other nodes use."""
    facts = world.nodes[spec.name]
    if is_new(scene, world, spec):
        words = _words(value_of(postgres_of(world, scene.primary), "listen_addresses", "*"))
        words = [spec.address if word == scene.primary.address else word for word in words]
    else:
        words = _words(_listening(postgres_of(world, spec)))
    if not {"*", "0.0.0.0", spec.address} & set(words):  # noqa: S104
        is_local = isinstance(facts, Facts) and spec.address in facts.addresses
        words = [*words, spec.address] if is_local else ["*"]
    return ",".join(dict.fromkeys(words))


def _listening(server: Postgres | None) -> str:
    """As it runs; of a server that is stopped as its files say, so that it is told the same while it is."""
    if server is None or server.settings:
        return value_of(server, "listen_addresses", "localhost")
    said = config.parse_settings(server.config_text) | config.parse_settings(server.auto_config_text)
    return said.get("listen_addresses", "localhost")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _wal_level(server: Postgres | None, scene: Scene) -> str:
    current = value_of(server, "wal_level")
    return current if current in ("replica", "hot_standby", "logical") else scene.version.replica_wal_level


def _at_least(server: Postgres | None, name: str, needed: int) -> str:
    """What there is if that is enough; else room for more, so that the next standby costs no restart."""
    current = number_of(server, name)
    return str(current if current >= needed else max(COMFORTABLE, needed))


def _larger(current: str, wanted: str) -> str:
    return current if (decimal(current) or 0.0) >= float(wanted) else wanted


def _timeout(server: Postgres | None, name: str, wanted: str) -> str:
    """A dead peer is noticed sooner; a value that somebody chose stays."""
    setting = server.settings.get(name) if server else None
    if setting is None or setting.source == "default" or setting.value == setting.boot_value or is_same(setting, wanted):
        return wanted
    return with_unit(setting)


def with_unit(setting: Setting) -> str:
    """A value of pg_settings as a configuration file takes it: bare where the unit is of blocks, since that is what bare means."""
    is_plain = setting.unit.isalpha() and setting.value.lstrip("-").isdigit() and setting.value not in ("0", "-1")
    return setting.value + setting.unit if is_plain else setting.value


def _retention_name(scene: Scene, params: SetupParams) -> str:
    """ "" where nothing is limited: slots before 13."""
    if not has_slots(scene, params):
        return "wal_keep_size"
    return "max_slot_wal_keep_size" if scene.version.has_slot_limit else ""


def kept_megabytes(scene: Scene, params: SetupParams, world: World) -> int:
    """What will be in force: what there is, if it is more (kept segments) or was chosen (a limit), unless told otherwise."""
    wanted, name = keep_megabytes(scene, params, world), _retention_name(scene, params)
    server = postgres_of(world, scene.primary)
    setting = server.settings.get(scene.version.name_of(name)) if server and name else None
    if setting is None or params.keep_megabytes:
        return wanted
    current = _megabytes(setting, scene.segment_bytes)
    if name == "wal_keep_size":
        return max(wanted, current)
    return wanted if current == -1 else current


def _retention(scene: Scene, params: SetupParams, world: World) -> dict[str, str]:
    name = _retention_name(scene, params)
    return {name: f"{kept_megabytes(scene, params, world)}MB"} if name else {}


def _megabytes(setting: Setting, segment_bytes: int) -> int:
    if not setting.unit:  # wal_keep_segments counts files
        return number(setting.value) * segment_bytes // 1024**2
    size = config.setting_bytes(setting.value, setting.unit)
    return size if size == -1 else size // 1024**2


def _archiving(scene: Scene, params: SetupParams, world: World, server: Postgres | None) -> dict[str, str]:
    if not archives(scene, params, world):
        return {}
    mode = "always" if value_of(server, "archive_mode") == "always" else "on"
    library = {"archive_library": ""} if value_of(server, "archive_library") else {}
    return {"archive_mode": mode} | library


def _checkpoint_size(scene: Scene, server: Postgres | None) -> dict[str, str]:
    """Room between checkpoints (the page: checkpoint_segments): the old default of 3 segments would checkpoint all the time."""
    name = scene.version.name_of("max_wal_size")
    if name != "checkpoint_segments" or number_of(server, name) >= 32:
        return {}
    return {"max_wal_size": f"{3 * 32 * scene.segment_bytes // 1024**2}MB"}


_LOCATIONS = frozenset(
    [
        "data_directory",
        "config_file",
        "hba_file",
        "ident_file",
        "external_pid_file",
        "unix_socket_directory",
        "unix_socket_directories",
        "stats_temp_directory",
        "log_directory",
        "log_filename",
        "cluster_name",
        "port",
        "listen_addresses",
        "ssl_cert_file",
        "ssl_key_file",
        "ssl_ca_file",
        "ssl_crl_file",
    ]
)


KEPT = "# as the primary has it in included files:"


def kept_settings(scene: Scene, world: World, spec: NodeSpec, own: Mapping[str, str]) -> dict[str, str]:
    """What the primary has from included files: a standby's own files do not include those, and it must not run with less.

    A primary that was a standby has them in its block already, behind the line `KEPT`.
    """
    server = postgres_of(world, scene.primary)
    if server is None:
        return {}
    found = {} if spec == scene.primary else _from_included_files(server)
    found = _kept_in_block(server.config_text) | found
    return {name: value for name, value in sorted(found.items()) if name not in own}


def _kept_in_block(text: str) -> dict[str, str]:
    block = config.block_of(text)
    lines = panel_lines(block.lines) if block else ()
    if KEPT not in lines:
        return {}
    found = config.parse_settings("\n".join(lines[lines.index(KEPT) :]))
    return {name: value for name, value in found.items() if name not in RECOVERY_NAMES}  # the start guard adds whom it follows


def _from_included_files(server: Postgres) -> dict[str, str]:
    return {
        name: with_unit(setting)
        for name, setting in server.settings.items()
        if setting.source == "configuration file" and setting.source_file not in ("", server.config_file)
        and not setting.source_file.endswith("postgresql.auto.conf") and name not in _LOCATIONS and name not in RECOVERY_NAMES
    }  # fmt: skip


def differing(server: Postgres | None, wanted: Mapping[str, str], names: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Names whose running value is not the wanted one; a server that does not answer differs in none."""
    if server is None or not server.answers_sql:
        return ()
    return tuple(
        name for name, value in wanted.items()
        if (names is None or name in names) and name in server.settings and not is_same(server.settings[name], value)
    )  # fmt: skip


def is_same(setting: Setting, value: str) -> bool:
    if setting.value == "(disabled)":  # archive_command is shown so until archive_mode is on
        return True
    if config.without_passwords(value) == setting.value:
        return True
    return config.is_same_value(setting.value, value, setting.unit)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
