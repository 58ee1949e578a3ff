"""Preflight of a rebuild: one primary, the same database system, a node that is not it, and the way that is taken."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from jobs.blocks import checks
from jobs.blocks.line import Line
from jobs.blocks.scene import Scene, is_in_place, postgres_of
from jobs.blocks.standby_checks import SPARE_BYTES, collations_check, is_mount_point, machine_check, version_check
from jobs.blocks.standing import is_up, writers
from jobs.kinds.rebuild_method import Verdict, estimate, shares_blocks
from jobs.recipe import Brief, Check, NodeSpec, World
from remote.facts import Unreachable


def primary_of(brief: Brief, world: World, target: str) -> NodeSpec | None:
    """The one node besides the target that takes writes of this cluster."""
    found = writers(brief, world, but=target)
    return found[0] if len(found) == 1 else None


def primary_check(brief: Brief, world: World, target: str) -> Check:
    line, found = Line("primary.present", target, "There is one primary to follow"), writers(brief, world, but=target)
    away = [name for name, facts in world.nodes.items() if isinstance(facts, Unreachable)]
    if len(found) == 1:
        said = f"{found[0].name}, timeline {world.postgres(found[0]).timeline}"  # type: ignore[union-attr]
        if away:
            return line.warning(f"{said}; {', '.join(away)} cannot be asked", "be sure that none of them takes writes too")
        return line.ok(said)
    if found:
        names = " and ".join(spec.name for spec in found)
        return line.refused(f"{names} both take writes", "fence one of them first: only a person can say which is right")
    if brief.nodes[target] in writers(brief, world):
        return line.refused(f"{target} is the primary itself", "switch over or promote another node first")
    return line.refused("no other node takes writes", "promote one of them, or start the primary, first")


def target_checks(scene: Scene, world: World, target: NodeSpec) -> list[Check]:
    found = [
        version_check(scene, world, target),
        machine_check(scene, world, target),
        identity_check(scene, world, target),
        tablespaces_check(scene, world, target),
        checks.config_check(target, world),
        collations_check(scene, world, target),
        *checks.reach_checks(scene, world, with_ssh=False),
    ]
    return [one for one in found if one and (one.node == target.name or one.level == "refused")]


def identity_check(scene: Scene, world: World, target: NodeSpec) -> Check:  # noqa: PLR0911 (one return per reason reads best)
    """It is of this cluster, and it is not the primary. The host itself proves it again before anything is stopped."""
    line, server = Line("standby.target", target.name, "It is of this cluster, and not its primary"), postgres_of(world, target)
    if is_in_place(scene, world, target):
        return line.ok("the rebuilt directory of this job is there")
    if server is None:
        return line.refused(f"there is no database cluster in {target.data_directory}", "use “Add a standby” for a bare host")
    if server.control is None or not server.system_identifier:
        away = f"mv {shlex.quote(target.data_directory)} {shlex.quote(f'{target.data_directory}.away')}"
        mend = f"nothing proves whose data it is: look at it on {target.name}, move it away, then use “Add a standby”"
        return line.refused("its control file cannot be read", mend, away)
    if server.system_identifier != scene.system_identifier:
        reason = f"it holds the database system {server.system_identifier}, {scene.primary.name} has {scene.system_identifier}"
        return line.refused(reason, "it is another database: point the node at the right data directory")
    if is_mount_point(world, target, target.data_directory):
        reason = f"{target.data_directory} is a mount point: a new directory cannot take its place"
        return line.refused(reason, "choose a directory inside it")
    primary = postgres_of(world, scene.primary)
    if is_up(server) and server.role == "primary" and primary and server.timeline >= primary.timeline:
        reason = f"it takes writes on timeline {server.timeline}, {scene.primary.name} on {primary.timeline}"
        return line.refused(reason, "only a person can say which is right: stop the other one first")
    state = "runs" if server.is_running else "is stopped"
    role = "a primary that was left behind" if server.role == "primary" else "a standby"
    reason = f"{role} on timeline {server.control.timeline} that {state}; its directory is kept as {scene.old_directory(target)}"
    return line.warning(reason) if server.is_running else line.ok(reason)


def tablespaces_check(scene: Scene, world: World, target: NodeSpec) -> Check | None:
    server = postgres_of(world, scene.primary)
    if server is None or not server.tablespaces:
        return None
    line = Line("primary.tablespaces", target.name, "Tablespaces")
    return line.warning(
        f"{', '.join(space.location for space in server.tablespaces)}: the whole is copied, each to a new place beside the old one",
        "the old places stay; remove them by hand when the kept directory is gone",
    )


def method_checks(scene: Scene, world: World, target: NodeSpec, found: Verdict) -> list[Check]:
    line = Line("rebuild.method", target.name, f"It is rebuilt by {NAMES[found.method]}")
    reason = {"rewind": found.not_rewind, "delta": found.not_delta}.get(found.method, "")
    if is_in_place(scene, world, target):
        return []
    if reason and found.why != "so it began":
        return [line.refused(reason, "choose another way, or “auto”"), *room_checks(scene, world, target, found)]
    return [line.ok(found.why), *room_checks(scene, world, target, found)]


NAMES = {"rewind": "pg_rewind", "delta": "a delta copy", "copy": "a full copy"}


def room_checks(scene: Scene, world: World, target: NodeSpec, found: Verdict) -> Sequence[Check]:
    """The old directory stays beside the new one: there must be room for both, unless they can share blocks."""
    source, mount = postgres_of(world, scene.primary), world.facts(target.name).mount_of(target.data_directory)
    if source is None or mount is None:
        return ()
    line = Line("standby.disk", target.name, "Disk for the old directory and the new one")
    size = source.size_bytes + sum(space.size_bytes for space in source.tablespaces)
    if found.method == "rewind" and shares_blocks(world, target):
        size = estimate(scene, world, target, "rewind")[0]
    needed = int(size * 1.1) + source.wal_bytes + SPARE_BYTES
    said = f"{needed // 1024**2:,} MB needed, {mount.free_bytes // 1024**2:,} MB free on {mount.path}"
    if mount.free_bytes >= needed:
        return (line.ok(said),)
    most = f"du -xh --max-depth=2 {shlex.quote(mount.path)} | sort -h | tail"
    return (line.refused(said, f"free some space on {target.name}: what is there is not deleted for it", most),)
