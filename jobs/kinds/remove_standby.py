"""Kind `remove_standby`: a standby leaves, and nothing stays that holds WAL for it, lets it in, or makes commits wait for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks, following, service
from jobs.blocks.configuration import RELOAD, config_file, write_step
from jobs.blocks.following import existing_params, role_scene
from jobs.blocks.guard import guard_steps
from jobs.blocks.keys import prepare_steps
from jobs.blocks.line import Line
from jobs.blocks.params import Reader, SetupParams
from jobs.blocks.role_checks import absent_checks, paste, prepared_check
from jobs.blocks.scene import Scene, on_host, own_file, path_of, postgres_of, request_of, sql_at
from jobs.blocks.standing import writers
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.command import script
from remote.facts import FactsRequest, Unreachable

LEFT_BEHIND = ("spool", "missed", "down", "guard.follow")


@dataclass(frozen=True)
class RemoveParams:
    node: str


@dataclass(frozen=True)
class RemoveStandby:
    """See docs/kinds/remove_standby.md."""

    name: str = "remove_standby"
    label: str = "Take out of the replication"

    def params(self, data: Mapping[str, Any]) -> RemoveParams:
        read = Reader(data)
        params = RemoveParams(node=read.required("node"))
        read.end()
        return params

    def title(self, params: RemoveParams) -> str:
        return f"{self.label}: {params.node}"

    def nodes(self, params: RemoveParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: RemoveParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return {
            name: request_of(brief, brief.nodes[name], left_behind(brief.nodes[name], params.node))
            for name in self.nodes(params, brief)
        }

    def checks(self, params: RemoveParams, brief: Brief, world: World) -> Sequence[Check]:
        spec = brief.nodes[params.node]
        found = checks.host_checks(brief, world, list(brief.nodes), set(brief.nodes) - {one.name for one in writers(brief, world)})
        found.append(_role(brief, world, spec))
        if any(check.level == "refused" for check in found):
            return found
        scene = self._scene(params, brief, world)
        found += [prepared_check(scene.primary, world, one) for one in scene.members]
        found += [check for one in scene.members if (check := checks.config_check(one, world))]
        found += [_followers(role_scene(scene.primary.name, brief, world), spec)]
        found += absent_checks(scene, brief, world, (spec.name,))
        return [*found, *_away(world, spec)]

    def steps(self, params: RemoveParams, brief: Brief, world: World) -> Sequence[Step]:
        scene, spec = self._scene(params, brief, world), brief.nodes[params.node]
        before = role_scene(scene.primary.name, brief, world)
        told, is_there = existing_params(before, world), not isinstance(world.nodes[spec.name], Unreachable)
        steps = [_synchronous_step(scene, told, world, spec)]
        if is_there:
            steps += [following.autostart_step(spec, on=False), _stop_step(spec)]
        if scene.version.has_slots:
            steps += [following.drop_slot_step(scene, one, spec) for one in scene.members]
        steps += prepare_steps(scene, told)
        if told.start_guard:  # whoever is taken out may be promoted one day, and must not hold the primary back then
            steps += guard_steps(scene, told, world)
        steps += [_clear_step(one, spec) for one in scene.members]
        steps += [write_step(scene, told, one) for one in scene.members]
        if is_there and told.archive:
            steps.append(_forget_step(scene, spec))
        return [*steps, _checkpoint_step(scene)]

    def summary(self, params: RemoveParams, brief: Brief, world: World) -> Sequence[str]:
        spec = brief.nodes[params.node]
        if isinstance(world.nodes[spec.name], Unreachable):
            return [
                f"{spec.name} does not answer: the others forget it. If it comes back, stop it there; it cannot connect any more."
            ]
        return [
            f"PostgreSQL on {spec.name} is stopped and does not start by itself any more. Its data stays in {spec.data_directory}.",
            f"The others forget it: no slot, no line in pg_hba.conf, no WAL sent to it. Then remove {spec.name} from the panel.",
        ]

    @staticmethod
    def _scene(params: RemoveParams, brief: Brief, world: World) -> Scene:
        """As it is afterwards."""
        scene = role_scene(writers(brief, world)[0].name, brief, world)
        return replace(
            scene,
            others=tuple(one for one in scene.others if one.name != params.node),
            absent=tuple(one for one in scene.absent if one.name != params.node),
        )


KIND = RemoveStandby()

# -- checks --------------------------------------------------------------------------------------------------------------------


def _role(brief: Brief, world: World, spec: NodeSpec) -> Check:
    line, primaries = Line("node.role", spec.name, "It is not the primary"), writers(brief, world)
    if len(primaries) != 1:
        names = " and ".join(one.name for one in primaries)
        reason = f"{names} both take writes" if primaries else "no primary of this cluster answers"
        return line.refused(reason, "this needs one primary that works: switch over, promote or repair first")
    if primaries[0] == spec:
        return line.refused("it is the primary", "switch over to another node first")
    return line.ok(f"{primaries[0].name} is")


def _followers(scene: Scene, spec: NodeSpec) -> Check:
    line, below = Line("node.followers", spec.name, "Nobody follows it"), [
        one for one in scene.others if one != spec and scene.upstream(one) == spec
    ]  # fmt: skip
    if not below:
        return line.ok()
    names = ", ".join(one.name for one in below)
    return line.refused(f"{names} follows it", f"re-point {names} to {scene.primary.name} first")


def _away(world: World, spec: NodeSpec) -> list[Check]:
    facts = world.nodes[spec.name]
    if not isinstance(facts, Unreachable):
        return []
    line = Line("host.reachable", spec.name, "The host answers")
    stop = paste(spec.stop_command)
    return [line.warning(f"{facts.message}. It cannot be stopped now", f"stop PostgreSQL on {spec.name} if it comes back", stop)]


# -- steps ---------------------------------------------------------------------------------------------------------------------


def _synchronous_step(scene: Scene, told: SetupParams, world: World, spec: NodeSpec) -> Step:
    """First of all. The block says it before what ALTER SYSTEM has said is reset, so that it is said throughout."""
    primary = scene.primary
    value = following.synchronous_of(postgres_of(world, primary))
    kept = without_name(value, spec.name)
    quiet = replace(scene, synchronous={primary.name: kept} if kept != value else {})
    reset = "ALTER SYSTEM RESET synchronous_standby_names;\n" if scene.version.has_auto_conf else ""

    def done(now: World) -> bool:
        named = following.synchronous_of(postgres_of(now, primary))
        return without_name(named, spec.name) == named

    return Step(
        key=f"synchronous.forget#{primary.name}", node=primary.name, title=f"No commit waits for {spec.name} any more", done=done,
        actions=lambda now: (config_file(quiet, told, now, primary), sql_at(primary, reset + RELOAD)),
        why="A commit that waits for a standby that is gone waits for ever.",
    )  # fmt: skip


def without_name(value: str, name: str) -> str:
    """synchronous_standby_names without that standby; never more confirmations than there are names."""
    found = re.fullmatch(r"\s*(?:(?P<how>FIRST|ANY)\s+)?(?P<count>\d+)\s*\((?P<names>.*)\)\s*", value, re.IGNORECASE | re.DOTALL)
    names = [one.strip() for one in (found["names"] if found else value).split(",") if one.strip()]
    left = [one for one in names if one.strip('"') != name]
    if left == names:
        return value
    if not left:
        return ""
    if not found:
        return ", ".join(left)
    how = f"{found['how'].upper()} " if found["how"] else ""
    return f"{how}{min(int(found['count']), len(left))} ({', '.join(left)})"


def _stop_step(spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return server is None or not server.is_running

    return Step(
        key=f"standby.stop#{spec.name}", node=spec.name, title=f"Stop {spec.name}", done=done, within_seconds=300,
        actions=lambda world: (service.stop_command(world, spec),), restarts=f"PostgreSQL on {spec.name}, for good",
        why="Its data stays where it is.", diagnosis=service.log_tail(spec),
    )  # fmt: skip


def left_behind(spec: NodeSpec, gone: str) -> tuple[str, ...]:
    """What archiving keeps for a node on another one. A spool is a directory of that node's own."""
    return tuple(own_file(spec, f"{name}/{gone}" if name == "spool" else f"{name}-{gone}") for name in LEFT_BEHIND)


def _clear_step(spec: NodeSpec, gone: NodeSpec) -> Step:
    paths = left_behind(spec, gone.name)
    return Step(
        key=f"archive.forget#{spec.name}", node=spec.name, title=f"Delete the WAL that waits for {gone.name} on {spec.name}",
        done=lambda world: all(path_of(world, spec, path).kind == "missing" for path in paths),
        actions=lambda _world: (script('rm -rf -- "$@"', *paths, user=spec.owner),),
        why="Nobody will fetch it.",
    )  # fmt: skip


def _forget_step(scene: Scene, spec: NodeSpec) -> Step:
    """The others' keys may hand nothing in there any more."""
    noted = own_file(spec, "authorized")
    command = on_host("forget_keys.sh", f"pgpanel-archive:{scene.brief.cluster}", noted, user=spec.owner)
    return Step(
        key=f"keys.forget#{spec.name}", node=spec.name, title=f"Take the other nodes' keys away on {spec.name}",
        done=lambda world: path_of(world, spec, noted).kind == "missing", actions=lambda _world: (command,),
        why="They were for handing in WAL.",
    )  # fmt: skip


def _checkpoint_step(scene: Scene) -> Step:
    primary, key = scene.primary, "primary.shrink"
    words = (f"{primary.bin_directory}/psql", primary.data_directory, str(primary.port), primary.owner)
    command = on_host("checkpoint_shrinks.sh", *words, user=primary.owner, timeout_seconds=1800.0)
    return Step(
        key=f"{key}#{primary.name}", node=primary.name, title=f"Checkpoint on {primary.name}: what was kept for it goes", note=key,
        done=lambda world: key in world.notes, actions=lambda _world: (command,), forecast=lambda _world: True,
        why="The number of WAL files before and after it stands in the log.",
    )  # fmt: skip
