"""postgresql.conf and pg_hba.conf of every member: managed blocks, what postgresql.auto.conf says against them, reload, restart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from jobs.blocks.chosen import chosen_lines, panel_lines
from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, has_files, is_in_place, is_new, path_of, postgres_of, sql_on
from jobs.blocks.service import log_tail, restart_command
from jobs.blocks.settings import (
    KEPT,
    NEEDED_NOW,
    RECOVERY_NAMES,
    chosen_settings,
    differing,
    is_address,
    kept_settings,
    node_settings,
)
from jobs.recipe import NodeSpec, Step, World
from remote import config
from remote.command import Action, Command, WriteFile
from remote.facts import Postgres

LOOPBACK = ("127.0.0.1/32", "::1/128")
RELOAD = "SELECT pg_reload_conf();\n"

# -- what the files say --------------------------------------------------------------------------------------------------------


def block_lines(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> tuple[str, ...]:
    own = node_settings(scene, params, world, spec)
    chosen = chosen_settings(scene, world, own)
    kept = kept_settings(scene, world, spec, own | chosen)
    own = {name: value for name, value in own.items() if name not in chosen}
    return (*config.setting_lines(own), *((KEPT, *config.setting_lines(kept)) if kept else ()), *chosen_lines(chosen))


def hba_lines(scene: Scene, params: SetupParams, world: World) -> tuple[str, ...]:
    """The same on every node: each may become the primary."""
    method = "trust" if params.trust else _password_method(scene, params, world)
    members = sorted(scene.family, key=lambda member: member.name)
    lines = [f"host replication {params.replication_role} {hba_address(node.address)} {method}  # {node.name}" for node in members]
    places = (*LOOPBACK, *(hba_address(address) for address in params.panel_addresses))
    watching = "scram-sha-256" if scene.version.has_scram else "md5"
    return (*lines, *(f"host postgres {params.monitoring_role} {place} {watching}" for place in places))


def hba_address(address: str) -> str:
    """/32, /128, or a host name as it is (9.1 and newer)."""
    if not is_address(address):
        return address
    return f"{address}/128" if ":" in address else f"{address}/32"


def _password_method(scene: Scene, params: SetupParams, world: World) -> str:
    """scram where the server has it, unless the role is somebody's, with an md5 password that is not ours to change."""
    server = postgres_of(world, scene.primary)
    roles = server.roles if server else ()
    is_md5 = any(role.name == params.replication_role and role.password_kind == "md5" for role in roles)  # noqa: S105 – a kind
    is_ours = params.replication_role.startswith("pgpanel_")
    return "scram-sha-256" if scene.version.has_scram and (is_ours or not is_md5) else "md5"


def config_file(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> WriteFile:
    lines = block_lines(scene, params, world, spec)
    text = without_masked(base_text(scene, world, spec, "postgresql.conf"), {line.split(" ", 1)[0] for line in lines})
    return _file(scene, world, spec, "postgresql.conf", config.with_block(text, lines, _who(scene)))


def hba_file(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> WriteFile:
    text = config.with_block(base_text(scene, world, spec, "pg_hba.conf"), hba_lines(scene, params, world), _who(scene), at="start")
    return _file(scene, world, spec, "pg_hba.conf", text)


def _who(scene: Scene) -> str:
    return f"cluster {scene.brief.cluster}"


def base_text(scene: Scene, world: World, spec: NodeSpec, name: str) -> str:
    """The file that the block goes into: the node's own, or for a new standby without one the primary's, with the node's paths."""
    own = path_of(world, spec, f"{spec.config_directory}/{name}").text
    is_apart = spec.config_directory != spec.data_directory
    is_copied = is_in_place(scene, world, spec) and not is_apart
    if own is not None and not is_copied and (is_apart or not is_new(scene, world, spec)):
        return own
    of_primary = path_of(world, scene.primary, f"{scene.primary.config_directory}/{name}").text or ""
    text = own if own is not None and is_copied else of_primary
    return relocated(text, scene.primary, spec) if name == "postgresql.conf" else text


def relocated(text: str, primary: NodeSpec, spec: NodeSpec) -> str:
    """The primary's postgresql.conf with this node's paths; what it includes does not exist here (`settings.kept_settings`)."""
    is_apart = spec.config_directory != spec.data_directory
    if is_apart and (spec.config_directory, spec.data_directory) == (primary.config_directory, primary.data_directory):
        own: dict[str, str] = {}
    else:
        own = {"data_directory": spec.data_directory} | {
            f"{kind}_file": f"{spec.config_directory}/pg_{kind}.conf" for kind in ("hba", "ident")
        }
    written = {name: f"{name} = {config.quoted(path)}\n" for name, path in own.items()} if is_apart else {}
    lines = []
    for line in config.lines_with_ends(text):
        found = re.match(r"\s*(\w+)\s*(?:=\s*)?'", line)
        name = found[1].lower() if found else ""
        if name in own:
            lines.append(written.pop(name, f"#{line}"))
        else:
            lines.append(
                f"#{line}"
                if name.startswith("include") or (own and name in ("external_pid_file", "stats_temp_directory"))
                else line
            )
    return "".join((*lines, *written.values()))


def without_masked(text: str, names: Iterable[str]) -> str:
    """A password in the file was masked when it was read: its line cannot be written back; the block says it anew."""
    known = {*names, *RECOVERY_NAMES}
    gone = {item.line for item in config.parse_assignments(text) if config.MASK in item.value and item.name in known}
    return "".join(line for number, line in enumerate(config.lines_with_ends(text), 1) if number not in gone)


def chosen_file(scene: Scene, world: World, spec: NodeSpec, chosen: Mapping[str, str]) -> WriteFile:
    """postgresql.conf with nothing but the part changed that people chose. ConfigDamaged where it cannot be written back."""
    text = base_text(scene, world, spec, "postgresql.conf")
    block = config.block_of(text)
    panels = [line for line in panel_lines(block.lines if block else ()) if line.split(" ", 1)[0] not in chosen]
    lines = (*panels, *chosen_lines(chosen))
    return _file(scene, world, spec, "postgresql.conf", config.with_block(text, lines, _who(scene)))


def _file(scene: Scene, world: World, spec: NodeSpec, name: str, text: str) -> WriteFile:
    """Owner and mode stay as they are; a new standby's are set, so that plan and run say the same."""
    path = f"{spec.config_directory}/{name}"
    found = path_of(world, spec, path)
    is_apart, usual_mode = spec.config_directory != spec.data_directory, {"pg_hba.conf": "0640"}.get(name, "0644")
    if found.kind in ("file", "link") and found.owner and found.mode and not (is_new(scene, world, spec) and not is_apart):
        is_link = found.kind == "link"  # the link's own owner and mode say nothing about the file
        return WriteFile(path, text, spec.owner if is_link else found.owner, usual_mode if is_link else found.mode.zfill(4))
    return WriteFile(path, text, spec.owner, usual_mode if is_apart else "0600")


# -- steps ---------------------------------------------------------------------------------------------------------------------


def contradicting(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> tuple[str, ...]:
    """Names that postgresql.auto.conf (ALTER SYSTEM) sets otherwise than the block: it would win, here and on every copy."""
    server = postgres_of(world, spec)
    if server is None:
        return ()
    wanted = node_settings(scene, params, world, spec)
    wanted |= chosen_settings(scene, world, wanted)
    found = config.overridden_by_auto(server.auto_config_text, (*wanted, *RECOVERY_NAMES))
    return tuple(
        sorted(name for name, value in found.items() if name in RECOVERY_NAMES or not _says_the_same(server, name, value, wanted))
    )


def _says_the_same(server: Postgres, name: str, value: str, wanted: dict[str, str]) -> bool:
    unit = server.settings[name].unit if name in server.settings else ""
    return name in wanted and config.is_same_value(value, wanted[name], unit)


def reset_step(scene: Scene, params: SetupParams, spec: NodeSpec) -> Step:
    def actions(world: World) -> Sequence[Action]:
        names = contradicting(scene, params, world, spec)
        return (sql_on(world, spec, "".join(f"ALTER SYSTEM RESET {name};\n" for name in names) + RELOAD),)

    return Step(
        key=f"configuration.reset#{spec.name}", node=spec.name, title="Reset what ALTER SYSTEM says otherwise",
        done=lambda world: not contradicting(scene, params, world, spec), actions=actions,
        why="postgresql.auto.conf wins over postgresql.conf: these settings would undo the managed block, here or on every copy.",
    )  # fmt: skip


def is_read_back(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> bool:
    """No line of pg_hba.conf is refused, and every setting that a reload can change is what the block says."""
    server = postgres_of(world, spec)
    if server is None or not server.answers_sql:
        return True
    names = differing(server, node_settings(scene, params, world, spec))
    return not server.hba_errors and not [name for name in names if not needs_restart(scene, server, name)]


def write_step(scene: Scene, params: SetupParams, spec: NodeSpec) -> Step:
    """On a server that runs: the primary, or a standby that was there before."""

    def files(world: World) -> tuple[WriteFile, ...]:
        return hba_file(scene, params, world, spec), config_file(scene, params, world, spec)

    return Step(
        key=f"configuration.write#{spec.name}", node=spec.name,
        done=lambda world: has_files(world, files(world), spec) and is_read_back(scene, params, world, spec),
        actions=lambda world: (*files(world), reload_command(world, spec)),
        title="Write the managed blocks of pg_hba.conf and postgresql.conf, and reload",
        why="The same on every node, so that a switchover changes nothing; read back after the reload.",
    )  # fmt: skip


def reload_command(world: World, spec: NodeSpec) -> Command:
    return sql_on(world, spec, RELOAD)


def pending_names(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> tuple[str, ...]:
    """What must be effective now and needs a restart for it."""
    server = postgres_of(world, spec)
    if server is None or not server.answers_sql:
        return ()
    names = NEEDED_NOW if spec == scene.primary else (*NEEDED_NOW, *RECOVERY_NAMES)
    return tuple(
        name for name in differing(server, node_settings(scene, params, world, spec), names) if needs_restart(scene, server, name)
    )


def needs_restart(scene: Scene, server: Postgres, name: str) -> bool:
    return server.settings[name].context == "postmaster" and name not in scene.version.reloadable


def restart_step(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> Step:
    role = "primary" if spec == scene.primary else "standby"
    names = ", ".join(pending_names(scene, params, world, spec))
    is_there = not is_new(scene, world, spec)
    return Step(
        key=f"{role}.restart#{spec.name}", node=spec.name, title=f"Restart the {role}",
        done=lambda world: is_answering(world, spec) and not pending_names(scene, params, world, spec),
        # a new standby starts with the right settings: it has nothing to restart for
        forecast=None if is_there else lambda _world: False,
        actions=lambda world: (restart_command(world, spec),), within_seconds=120, diagnosis=log_tail(spec),
        restarts=f"PostgreSQL on {spec.name}, the {role}: its sessions end, it is away for some seconds",
        why=f"These settings are only read at the start: {names}." if names else "Nothing needs it.",
    )  # fmt: skip


def is_answering(world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    return bool(server and server.is_running and server.answers_sql)
