"""Kind `base_backup`: copy a standby anew, its old directory kept, or put a standalone copy into a directory of any node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks
from jobs.blocks.copying import Copy, compressions_of, copy_steps, method_of, slot_step, swap_step
from jobs.blocks.keys import own_files
from jobs.blocks.line import Line
from jobs.blocks.params import BaseBackupParams, SetupParams, base_backup_params
from jobs.blocks.proof import proof_steps
from jobs.blocks.scene import (
    KEPT,
    MARKER,
    REPLACEABLE,
    Scene,
    as_permitted,
    has_files,
    is_in_place,
    is_standby_of,
    marker_at,
    on_host,
    own_directory,
    path_of,
    postgres_of,
    request_of,
    scene_of,
)  # fmt: skip
from jobs.blocks.service import stop_command
from jobs.blocks.settings import value_of
from jobs.blocks.standby import start_step
from jobs.blocks.standby_checks import collations_check, is_mount_point, libraries_check, room_check, version_check
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.command import WriteFile
from remote.facts import FactsRequest, Unreachable


@dataclass(frozen=True)
class BaseBackup:
    """See docs/kinds/base_backup.md."""

    name: str = "base_backup"
    label: str = "Base backup"

    def params(self, data: Mapping[str, Any]) -> BaseBackupParams:
        return base_backup_params(data)

    def title(self, params: BaseBackupParams) -> str:
        if params.directory:
            return f"Base backup of {params.source} into {params.directory} on {params.target}"
        return f"Copy {params.target} anew from {params.source}"

    def nodes(self, params: BaseBackupParams, brief: Brief) -> tuple[str, ...]:
        for field_name, name in (("source", params.source), ("target", params.target)):
            if name not in brief.nodes:
                raise ParamsError(field_name, f"{name} is no node of this cluster")
        return tuple(brief.nodes) if not params.directory else tuple(dict.fromkeys((params.source, params.target)))

    def requests(self, params: BaseBackupParams, brief: Brief) -> Mapping[str, FactsRequest]:
        new = f"{params.directory}.new-{brief.job}"
        more = (params.directory, f"{params.directory}/{MARKER}", new, f"{new}/{MARKER}") if params.directory else ()
        paths = (*more, *params.tablespaces.values())
        return {name: request_of(brief, brief.nodes[name], paths) for name in self.nodes(params, brief)}

    def checks(self, params: BaseBackupParams, brief: Brief, world: World) -> Sequence[Check]:
        found = checks.host_checks(brief, world, self.nodes(params, brief))
        if any(isinstance(facts, Unreachable) for facts in world.nodes.values()):
            return found
        source, target = brief.nodes[params.source], brief.nodes[params.target]
        found.append(checks.source_check(source, brief, world, may_be_standby=True))
        if found[-1].level == "refused":
            return found
        scene = self._scene(params, brief, world)
        place = params.directory or target.data_directory
        found += [
            check
            for check in (
                _role_check(scene, params, world),
                version_check(scene, world, target),
                room_check(scene, world, target, place),
                collations_check(scene, world, target),
                libraries_check(scene, world, target),
                _place_check(scene, world, target, place) if params.directory else _standby_check(scene, world, target),
                _tablespaces_check(scene, params, world),
            )
            if check
        ]
        if params.method == "rsync":
            found += [checks.tools_check(spec, world, ("ssh", "rsync")) for spec in (source, target)]
        return found

    def steps(self, params: BaseBackupParams, brief: Brief, world: World) -> Sequence[Step]:
        scene = self._scene(params, brief, world)
        target, settings = brief.nodes[params.target], self._settings(params, world, scene)
        copy = self._copy(scene, params, world)
        prepare = _prepare_step(scene, settings, copy)
        if params.directory:
            return [prepare, *copy_steps(scene, copy), _place_step(scene, copy, params.directory)]
        slot = [slot_step(scene, target)] if scene.slots.get(target.name) else []
        made = [*copy_steps(scene, copy), _keep_step(scene, target), swap_step(scene, target), start_step(scene, target)]
        return [prepare, _stop_step(scene, target), *slot, *made, *proof_steps(scene, settings, world)]

    def summary(self, params: BaseBackupParams, brief: Brief, world: World) -> Sequence[str]:
        scene = self._scene(params, brief, world)
        method, why = method_of(scene, params, world, brief.nodes[params.source], brief.nodes[params.target])
        lines = [f"It is copied by {method}: {why}."]
        if params.directory:
            return [*lines, f"The copy in {params.directory} is complete in itself; it is not started."]
        target = brief.nodes[params.target]
        return [
            *lines,
            f"{params.target} does not answer queries until the new copy has started; {params.source} is not touched.",
            f"Its old directory is kept as {scene.old_directory(target)}: remove it yourself when the new one has proven good.",
        ]

    @staticmethod
    def _scene(params: BaseBackupParams, brief: Brief, world: World) -> Scene:
        """A standalone copy has no standby in it; one that is made anew follows the primary, from whichever node it is copied."""
        if params.directory:
            return scene_of(params.source, (), brief, world)
        return replace(scene_of(primary_of(params, brief, world), (params.target,), brief, world), is_reseeding=True, others=())

    @staticmethod
    def _settings(params: BaseBackupParams, world: World, scene: Scene) -> SetupParams:
        """What `setup` would have been told, as far as copy and proof ask."""
        server = postgres_of(world, scene.primary)
        pushes = "/.pgpanel/push" in value_of(server, "archive_command")
        role = params.replication_role
        return SetupParams(
            scene.primary.name, (params.target,), replication_role=role, tablespaces=params.tablespaces, archive=pushes
        )

    @staticmethod
    def _copy(scene: Scene, params: BaseBackupParams, world: World) -> Copy:
        source, target = scene.brief.nodes[params.source], scene.brief.nodes[params.target]
        method, _why = method_of(scene, params, world, source, target)
        place = params.directory or target.data_directory
        is_held = not params.directory and source == scene.primary
        return Copy(
            source=source, target=target, directory=f"{place}.new-{scene.brief.job}", method=method,
            slot=scene.slots.get(target.name, "") if is_held else "",
            compressions=compressions_of(scene, method, params.link_megabits),
            verify=params.verify, is_standalone=bool(params.directory), role=params.replication_role,
            tablespaces=params.tablespaces,
        )  # fmt: skip


def primary_of(params: BaseBackupParams, brief: Brief, world: World) -> str:
    """The node that is the primary; the source, where none is seen."""
    for name, spec in brief.nodes.items():
        server = postgres_of(world, spec)
        if server and server.is_running and server.role == "primary" and name != params.target:
            return name
    return params.source


# -- checks --------------------------------------------------------------------------------------------------------------------


def _role_check(scene: Scene, params: BaseBackupParams, world: World) -> Check:
    server = postgres_of(world, scene.brief.nodes[params.source])
    line = Line("source.role", params.source, f"The replication role {params.replication_role}")
    role = next((role for role in (server.roles if server else ()) if role.name == params.replication_role), None)
    if role and role.can_replicate:
        return line.ok("it is there and may replicate")
    return line.refused("there is no such role that may replicate", "run “Set up replication” first, or name the role that is used")


def _standby_check(scene: Scene, world: World, target: NodeSpec) -> Check:
    """Only a standby of this very cluster is replaced: what it holds, the primary has too."""
    line, server = Line("standby.target", target.name, "It is a standby of this cluster"), postgres_of(world, target)
    if is_in_place(scene, world, target):
        return line.ok("the copy of this job is there")
    if is_mount_point(world, target, target.data_directory):
        reason = f"{target.data_directory} is a mount point: a new directory cannot take its place"
        return line.refused(reason, "choose a directory inside it")
    if server is None:
        return line.refused(f"there is no database cluster in {target.data_directory}", "use “Add a standby” for a bare host")
    if not is_standby_of(world, target, scene.system_identifier):
        reason = f"{target.data_directory} holds a {server.role} of the system {server.system_identifier or 'unknown'}"
        return line.refused(reason, "only a standby of this cluster is copied anew; an old primary has to be rebuilt")
    return line.warning(f"it is stopped, and its directory is kept as {scene.old_directory(target)}")


def _place_check(scene: Scene, world: World, target: NodeSpec, place: str) -> Check:
    line, found = Line("standby.target", target.name, f"{place} may be filled"), path_of(world, target, place)
    if marker_at(world, target, place) == scene.brief.job:
        return line.ok("the copy of this job is there")
    if is_mount_point(world, target, place):
        return line.refused("it is a mount point: a new directory cannot take its place", "choose a directory inside it")
    if found.kind == "missing" or (found.kind == "directory" and found.entries == 0):
        return line.ok("it is missing or empty")
    return line.refused("something is in it", f"choose another directory on {target.name}, or empty it")


def _tablespaces_check(scene: Scene, params: BaseBackupParams, world: World) -> Check | None:
    server = postgres_of(world, scene.brief.nodes[params.source])
    locations = [space.location for space in (server.tablespaces if server else ())]
    line = Line("primary.tablespaces", params.source, "Tablespaces")
    if not locations:
        return None
    if unmapped := [location for location in locations if location.rstrip("/") not in params.tablespaces]:
        return line.refused(
            f"no place is given for {', '.join(unmapped)}", "say under “tablespaces” where each goes", f"{unmapped[0]}=…"
        )
    if params.method == "rsync":
        return line.refused("rsync copies no tablespaces", "choose pg_basebackup")
    return line.ok(", ".join(f"{old} → {new}" for old, new in params.tablespaces.items()))


# -- steps ---------------------------------------------------------------------------------------------------------------------


def _prepare_step(scene: Scene, settings: SetupParams, copy: Copy) -> Step:
    """The directory that the copy grows in, and the password file; archiving is the business of `setup`."""
    target, directory = copy.target, own_directory(copy.target)
    files = own_files(scene, replace(settings, archive=False), target)

    def done(world: World) -> bool:
        place = copy.directory.removesuffix(f".new-{scene.brief.job}")
        is_there = path_of(world, target, copy.directory).kind == "directory" or marker_at(world, target, place) == scene.brief.job
        return is_there and path_of(world, target, directory).kind == "directory" and has_files(world, files, target)

    spaces = tuple((copy.tablespaces or {}).values())
    made = on_host("make_directories.sh", target.owner, directory, copy.directory, *spaces, user="root")
    return Step(
        key=f"node.prepare#{target.name}", node=target.name, title="Make the directory for the copy", done=done,
        actions=lambda world: (as_permitted(world, target, made), *files),
        why="The copy grows beside the directory that it will be, and is renamed when it is whole.",
    )  # fmt: skip


def _stop_step(scene: Scene, target: NodeSpec) -> Step:
    mark = WriteFile(f"{target.data_directory}/{REPLACEABLE}", f"{scene.brief.job}\n", target.owner)
    prove = on_host(
        "mark_replaceable.sh",
        target.data_directory,
        target.bin_directory,
        scene.brief.job,
        scene.system_identifier,
        user=target.owner,
    )

    def done(world: World) -> bool:
        server = postgres_of(world, target)
        is_stopped = server is None or not server.is_running
        return is_in_place(scene, world, target) or (is_stopped and has_files(world, (mark,), target))

    return Step(
        key=f"standby.stop#{target.name}", node=target.name, title="Stop the standby", done=done, within_seconds=60,
        actions=lambda world: (prove, *((stop_command(world, target),) if _was_running(world, target) else ())),
        destroys=f"{target.data_directory} is moved to {scene.old_directory(target)} and kept",
        restarts=f"PostgreSQL on {target.name}, a standby: away until the new copy has started",
        why="It is proven on the host itself that this is a standby of this cluster. Its slot keeps the WAL for the new copy.",
    )  # fmt: skip


def _was_running(world: World, target: NodeSpec) -> bool:
    server = postgres_of(world, target)
    return bool(server and server.is_running)


def _keep_step(scene: Scene, target: NodeSpec) -> Step:
    new = scene.new_directory(target)
    command = on_host("keep_configuration.sh", target.data_directory, new, scene.brief.job, user=target.owner)

    def done(world: World) -> bool:
        return is_in_place(scene, world, target) or (path_of(world, target, f"{new}/{KEPT}").text or "").strip() == scene.brief.job

    return Step(
        key=f"standby.configure#{target.name}", node=target.name, title="Keep the standby's own configuration", done=done,
        actions=lambda _world: (command,),
        why="Files in the data directory are the source's in the copy; where it listens and whom it follows stays as it was.",
    )  # fmt: skip


def _place_step(scene: Scene, copy: Copy, directory: str) -> Step:
    command = on_host("place_copy.sh", directory, copy.directory, scene.brief.job, user="root")
    return Step(
        key=f"copy.place#{copy.target.name}", node=copy.target.name, title=f"Name it {directory}",
        done=lambda world: marker_at(world, copy.target, directory) == scene.brief.job,
        actions=lambda world: (as_permitted(world, copy.target, command),),
        why="Only a missing or empty directory is taken.",
    )  # fmt: skip


KIND = BaseBackup()
