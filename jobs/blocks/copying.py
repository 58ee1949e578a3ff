"""The copy: slot, base backup into a directory of the job's own by one of two methods, and the swap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.blocks import rsync_copy
from jobs.blocks.params import BaseBackupParams, Method, SetupParams
from jobs.blocks.scene import (
    COPY_SECONDS,
    REPLACEABLE,
    Scene,
    as_permitted,
    has_files,
    is_established,
    is_in_place,
    is_new,
    marker_at,
    on_host,
    own_file,
    path_of,
    postgres_of,
    sql_on,
)  # fmt: skip
from jobs.blocks.service import stop_command
from jobs.blocks.settings import has_slots
from jobs.recipe import NodeSpec, Step, World
from remote import postgres
from remote.command import Action, Command, Detached, WriteFile
from remote.facts import Facts

SLOW_LINK_MEGABITS = 500


@dataclass(frozen=True)
class Copy:
    """One copy of a node's data directory. is_standalone: it stays where it is put; else it becomes the target's data directory."""

    source: NodeSpec
    target: NodeSpec
    directory: str
    slot: str = ""
    method: Method = "pg_basebackup"
    compressions: tuple[str, ...] = ("none",)
    verify: bool = True
    is_standalone: bool = False
    role: str = "pgpanel_replication"
    is_trusted: bool = False
    tablespaces: Mapping[str, str] | None = None


def method_of(
    scene: Scene, params: SetupParams | BaseBackupParams, world: World, source: NodeSpec, target: NodeSpec
) -> tuple[Method, str]:
    """Which method and why, from stable facts: what is installed, the version, and the link that the parameters name."""
    if params.method != "auto":
        return params.method, "it was chosen"
    if scene.version.tools.base_backup not in tools_of(world, target):
        return "rsync", f"{target.name} has no pg_basebackup"
    if scene.version.base_backup.compresses_on_server:
        return "pg_basebackup", "it compresses on the primary and streams the WAL meanwhile"
    is_slow = 0 < params.link_megabits <= SLOW_LINK_MEGABITS and not params.tablespaces
    if is_slow and all("rsync" in tools_on(world, spec) for spec in (source, target)):
        return (
            "rsync",
            f"a link of {params.link_megabits} Mbit/s, and PostgreSQL {scene.major} cannot compress a base backup on its way",
        )
    meanwhile = "it streams the WAL meanwhile" if scene.version.base_backup.streams_wal else "it takes the WAL along at the end"
    return "pg_basebackup", meanwhile


def compressions_of(scene: Scene, method: Method, link_megabits: int) -> tuple[str, ...]:
    """zstd at level 1 was never slower than nothing, even where both ends are one machine, and many times faster on a slow link.

    A build without it fails at once; then the next is asked.
    """
    if method == "rsync":
        return ("rsync's own",) if 0 < link_megabits <= SLOW_LINK_MEGABITS else ("none",)
    return ("zstd:1", "lz4", "none") if scene.version.base_backup.compresses_on_server else ("none",)


def tools_of(world: World, spec: NodeSpec) -> frozenset[str]:
    """PostgreSQL's own programs in the node's bin directory."""
    facts = world.nodes.get(spec.name)
    found = [item for item in facts.installations if item.bin_directory == spec.bin_directory] if isinstance(facts, Facts) else []
    return frozenset(found[0].tools) if found else frozenset()


def tools_on(world: World, spec: NodeSpec) -> frozenset[str]:
    facts = world.nodes.get(spec.name)
    return frozenset(facts.tools) if isinstance(facts, Facts) else frozenset()


# -- steps ---------------------------------------------------------------------------------------------------------------------


def slot_steps(scene: Scene, params: SetupParams) -> list[Step]:
    direct = [spec for spec in scene.followers if scene.upstream(spec) == scene.primary]
    return [slot_step(scene, spec) for spec in direct] if has_slots(scene, params) else []


def slot_sql(scene: Scene, name: str) -> str:
    lost = "wal_status = 'lost'" if scene.version.has_slot_limit else "false"
    # a slot that has lost its WAL is of no use to anybody: what it was for needs a new copy
    drop = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {postgres.literal(name)}"  # noqa: S608
    return f"{drop} AND NOT active AND {lost};\n{postgres.create_slot_sql(name, scene.version)}"


def slot_step(scene: Scene, spec: NodeSpec) -> Step:
    name, primary = scene.slot(spec), scene.primary
    sql = slot_sql(scene, name)

    def done(world: World) -> bool:
        server = postgres_of(world, primary)
        return any(slot.name == name and slot.wal_status != "lost" for slot in (server.slots if server else ()))

    return Step(
        key=f"slot.create#{spec.name}", node=primary.name, title=f"Create the replication slot {name}", done=done,
        actions=lambda world: (sql_on(world, primary, sql),),
        why=f"The primary keeps the WAL that {spec.name} still needs, from now on.",
    )  # fmt: skip


def copy_steps(scene: Scene, copy: Copy) -> list[Step]:
    """The copy alone, or between opening and closing the way for rsync."""
    target = copy.target

    def is_copied(world: World) -> bool:
        if marker_at(world, target, copy.directory) == scene.brief.job:
            return True
        return not copy.is_standalone and (is_in_place(scene, world, target) or is_established(scene, world, target))

    def actions(world: World) -> Sequence[Action]:
        before = _libraries(copy, world)
        if copy.method == "pg_basebackup":
            return (*before, copy_command(scene, copy, world))
        copied = rsync_copy.copy_actions(
            scene, copy.source, target, copy.directory,
            makes_standby=not copy.is_standalone, is_compressed=copy.compressions[0] != "none",
        )  # fmt: skip
        return (*before, *copied)

    step = Step(
        key=f"standby.copy#{target.name}", node=target.name, title=f"Copy the data from {copy.source.name} by {copy.method}",
        done=is_copied, actions=actions, why=_why(scene, copy),
    )  # fmt: skip
    if copy.method == "pg_basebackup":
        return [step]
    return [
        rsync_copy.open_step(scene, copy.source, target, is_copied),
        step,
        rsync_copy.close_step(scene, copy.source, target, is_copied),
    ]


def _libraries(copy: Copy, world: World) -> tuple[Command, ...]:
    """Extensions' libraries are asked for before anything is copied; only the target itself can tell."""
    server = postgres_of(world, copy.source)
    if server is None or not server.libraries or copy.is_standalone:
        return ()
    command = on_host(
        "has_libraries.sh", copy.target.bin_directory, *sorted(server.libraries), user=copy.target.owner, mutates=False
    )
    return (command,)


def _why(scene: Scene, copy: Copy) -> str:
    sent = f"Compressed on its way ({copy.compressions[0]}). " if copy.compressions[0] != "none" else ""
    is_checked = copy.verify and copy.method == "pg_basebackup" and scene.version.tools.verify_backup
    checked = "Checked against its manifest. " if is_checked else ""
    held = "Inside one backup session that is held open. " if copy.method == "rsync" else ""
    return f"{held}{sent}{checked}It grows in {copy.directory}; its marker file, which names this job, is written last."


def copy_command(scene: Scene, copy: Copy, world: World) -> Detached:
    version, source, target = scene.version, copy.source, copy.target
    options = postgres.base_backup_options(
        version, source_address=source.address, source_port=source.port, user=copy.role, slot=copy.slot,
        label=f"pgpanel {scene.brief.job}", tablespaces=copy.tablespaces,
    )  # fmt: skip
    verifies = copy.verify and version.tools.verify_backup and version.tools.verify_backup in tools_of(world, target)
    standby = (
        {"signal": "standby.signal", "recovery.conf": "recovery.conf"}[version.recovery_style] if not copy.is_standalone else ""
    )
    passfile = () if copy.is_trusted else (("PGPASSFILE", own_file(target, "pgpass")),)
    command = on_host(
        "copy_pg_basebackup.sh", copy.directory, target.bin_directory, scene.brief.job, scene.system_identifier,
        " ".join(copy.compressions), standby, "verify" if verifies else "", *options,
        user=target.owner, environment=(("PGCONNECT_TIMEOUT", "10"), *passfile), timeout_seconds=COPY_SECONDS,
    )  # fmt: skip
    server = postgres_of(world, source)
    return Detached(command, progress="pg_basebackup", total_bytes=server.size_bytes if server else 0)


_PROVE_EMPTY = """\
DO $prove$ BEGIN
IF EXISTS (SELECT 1 FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1'))
    OR EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 'p', 'f')
               AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
    OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper)
THEN RAISE EXCEPTION 'this cluster holds somebody''s data: it stays as it is'; END IF; END $prove$;
"""


def stop_empty_step(scene: Scene, spec: NodeSpec) -> Step:
    """A cluster that the distribution's package made and that nobody has used yet."""
    mark = WriteFile(f"{spec.data_directory}/{REPLACEABLE}", f"{scene.brief.job}\n", spec.owner)

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        if not is_new(scene, world, spec) or is_in_place(scene, world, spec) or server is None:
            return True
        return not server.is_running and has_files(world, (mark,), spec)

    return Step(
        key=f"standby.stop#{spec.name}", node=spec.name, title="Stop the empty cluster that the package made", done=done,
        actions=lambda world: (sql_on(world, spec, _PROVE_EMPTY, mutates=False), mark, stop_command(world, spec)),
        why="It is asked first whether it holds any database, table or role of somebody's: then nothing is stopped.",
        destroys=f"the empty cluster in {spec.data_directory} is stopped and moved aside", within_seconds=60,
    )  # fmt: skip


def swap_step(scene: Scene, spec: NodeSpec) -> Step:
    command = on_host(
        "swap_in.sh", spec.data_directory, scene.new_directory(spec), scene.old_directory(spec), scene.brief.job,
        scene.system_identifier, spec.bin_directory, spec.owner,
    )  # fmt: skip
    return Step(
        key=f"standby.swap#{spec.name}", node=spec.name, title="Put the copy in place as the data directory",
        done=lambda world: is_in_place(scene, world, spec) or is_established(scene, world, spec),
        actions=lambda world: (as_permitted(world, spec, command.as_user("root")),),
        why=f"Only an empty directory, or one that this job has proven replaceable, is moved (to {scene.old_directory(spec)});"
        " nothing is deleted.",
    )  # fmt: skip


def is_empty_directory(world: World, spec: NodeSpec, path: str) -> bool:
    found = path_of(world, spec, path)
    return found.kind == "missing" or (found.kind == "directory" and found.entries == 0)
