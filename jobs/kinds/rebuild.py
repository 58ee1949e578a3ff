"""Kind `rebuild`: a former primary, or a broken standby, becomes a standby of the present primary; its old directory is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks
from jobs.blocks.following import existing_params, role_scene
from jobs.blocks.kept import ground_of, kept_paths, question, reading_line
from jobs.blocks.params import Reader
from jobs.blocks.scene import Scene, postgres_of, request_of
from jobs.blocks.standing import role_of
from jobs.kinds.rebuild_checks import NAMES, identity_check, method_checks, primary_check, primary_of, target_checks
from jobs.kinds.rebuild_method import Verdict, estimate, shares_blocks, verdict
from jobs.kinds.rebuild_steps import Rebuild, rebuild_steps
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.facts import FactsRequest, Unreachable

CHOICES = ("auto", "rewind", "delta", "copy")
MOST_DAYS = 365


@dataclass(frozen=True)
class RebuildParams:
    """method: "auto" is the mildest that works. keep_days: how long the old directory can be read and put back."""

    node: str
    method: str = "auto"
    keep_days: int = 7


@dataclass(frozen=True)
class RebuildKind:
    """See docs/kinds/rebuild.md."""

    name: str = "rebuild"
    label: str = "Rebuild"

    def params(self, data: Mapping[str, Any]) -> RebuildParams:
        read = Reader(data)
        params = RebuildParams(
            node=read.required("node"), method=read.choice("method", CHOICES), keep_days=read.whole("keep_days", 7, smallest=1)
        )
        read.end()
        if params.keep_days > MOST_DAYS:
            raise ParamsError("keep_days", f"is more than {MOST_DAYS}")
        return params

    def title(self, params: RebuildParams) -> str:
        return f"Rebuild {params.node} as a standby"

    def nodes(self, params: RebuildParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: RebuildParams, brief: Brief) -> Mapping[str, FactsRequest]:  # noqa: ARG002 (of every node alike)
        return {
            name: replace(request_of(brief, spec, kept_paths(spec, brief.job)), questions=(question(spec),))
            for name, spec in brief.nodes.items()
        }

    def checks(self, params: RebuildParams, brief: Brief, world: World) -> Sequence[Check]:
        found = checks.host_checks(brief, world, (params.node,))
        if isinstance(world.nodes[params.node], Unreachable):
            return found
        found.append(primary_check(brief, world, params.node))
        if found[-1].level == "refused":
            return found
        target, scene = brief.nodes[params.node], scene_for(params, brief, world)
        identity = identity_check(scene, world, target)
        if identity.level == "refused":
            return [*found, identity]
        found += target_checks(scene, world, target)
        return [*found, *method_checks(scene, world, target, verdict(scene, world, target, params.method))]

    def steps(self, params: RebuildParams, brief: Brief, world: World) -> Sequence[Step]:
        scene, target = scene_for(params, brief, world), brief.nodes[params.node]
        way = verdict(scene, world, target, params.method)
        return rebuild_steps(Rebuild(scene, existing_params(scene, world), target, way.method, params.keep_days), world)

    def summary(self, params: RebuildParams, brief: Brief, world: World) -> Sequence[str]:
        scene, target = scene_for(params, brief, world), brief.nodes[params.node]
        way = verdict(scene, world, target, params.method)
        lines = [f"{target.name} is rebuilt by {NAMES[way.method]}: {way.why}.", _estimate(scene, world, target, way)]
        old = scene.old_directory(target)
        lines += [
            f"Its old directory is kept as {old} for {params.keep_days} days: until then “Undo the rebuild” puts it back,"
            " then the panel deletes it.",
            f"Rows that never left it are listed on {target.name} by: {reading_line(target, brief.job, 'rows')}",
        ]
        server = postgres_of(world, target)
        if server and server.archive_ready_count:
            lines.append(f"{server.archive_ready_count} WAL files that it has not archived stay in {old}.")
        earlier = [one for one in ground_of(world, target).kept if one.job != brief.job]
        if earlier:
            lines.append(f"Kept already: {', '.join(f'{one.directory} ({one.size_bytes // 1024**2:,} MB)' for one in earlier)}.")
        return [*lines, f"{scene.primary.name} is not restarted, and goes on taking writes."]


def scene_for(params: RebuildParams, brief: Brief, world: World) -> Scene:
    """The present primary with everybody else behind it, the node to be rebuilt too."""
    # a job that goes on while the primary is away for a moment: its steps say so, in their own words
    primary = primary_of(brief, world, params.node) or _primary_that_is_away(brief, world, params.node)
    scene, target = role_scene(primary.name, brief, world), brief.nodes[params.node]
    others = scene.others if target in scene.others else (*scene.others, target)
    return replace(scene, others=others, upstreams={name: above for name, above in scene.upstreams.items() if name != target.name})


def _primary_that_is_away(brief: Brief, world: World, target: str) -> NodeSpec:
    others = [spec for spec in brief.nodes.values() if spec.name != target]
    servers = {spec.name: postgres_of(world, spec) for spec in others}
    return next((spec for spec in others if (server := servers[spec.name]) and role_of(server) == "primary"), others[0])


def _estimate(scene: Scene, world: World, target: NodeSpec, way: Verdict) -> str:
    sent, seconds = estimate(scene, world, target, way.method)
    local = ""
    if way.method == "rewind":
        local = (
            " The copy that is rewound shares its blocks with the old directory."
            if shares_blocks(world, target)
            else f" The file system on {target.name} cannot share blocks: the old directory is copied on the host itself first."
        )
    return f"About {sent // 1024**2:,} MB over the network and {seconds:.0f} s, a guess from the sizes.{local}"


KIND = RebuildKind()
