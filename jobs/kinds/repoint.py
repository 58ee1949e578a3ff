"""Kind `repoint`: a standby follows another node, the primary or (a cascade) another standby."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks, following
from jobs.blocks.configuration import is_answering
from jobs.blocks.following import existing_params, role_scene
from jobs.blocks.keys import prepare_steps
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.proof import proof_steps
from jobs.blocks.role_checks import absent_checks, connection_check, paste, prepared_check
from jobs.blocks.scene import Scene, on_host, own_file, postgres_of, request_of, upstream_of
from jobs.blocks.standing import writers
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote import lsn
from remote.facts import Facts, FactsRequest, Identify

HISTORIES = "histories"


@dataclass(frozen=True)
class RepointParams:
    node: str
    upstream: str


@dataclass(frozen=True)
class Repoint:
    """See docs/kinds/repoint.md."""

    name: str = "repoint"
    label: str = "Re-point"

    def params(self, data: Mapping[str, Any]) -> RepointParams:
        read = Reader(data)
        params = RepointParams(node=read.required("node"), upstream=read.required("upstream"))
        read.end()
        if params.node == params.upstream:
            raise ParamsError("upstream", "a node cannot follow itself")
        return params

    def title(self, params: RepointParams) -> str:
        return f"{self.label} {params.node} to {params.upstream}"

    def nodes(self, params: RepointParams, brief: Brief) -> tuple[str, ...]:
        for field_name, name in (("node", params.node), ("upstream", params.upstream)):
            if name not in brief.nodes:
                raise ParamsError(field_name, f"{name} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: RepointParams, brief: Brief) -> Mapping[str, FactsRequest]:
        found = {name: request_of(brief, brief.nodes[name]) for name in self.nodes(params, brief)}
        spec, upstream = brief.nodes[params.node], brief.nodes[params.upstream]
        ask = Identify(upstream.address, upstream.port, "", own_file(spec, "pgpass"))
        question = on_host("histories.sh", upstream.data_directory, user=upstream.owner)
        return found | {
            params.node: replace(found[params.node], identify=(ask,)),
            params.upstream: replace(found[params.upstream], questions=((HISTORIES, question),)),
        }

    def checks(self, params: RepointParams, brief: Brief, world: World) -> Sequence[Check]:
        spec, upstream = brief.nodes[params.node], brief.nodes[params.upstream]
        found = checks.host_checks(brief, world, list(brief.nodes), set(brief.nodes) - {spec.name, upstream.name})
        if any(check.level == "refused" for check in found):
            return found
        found.append(_roles(brief, world, spec, upstream))
        if found[-1].level == "refused":
            return found
        scene = self._scene(params, brief, world)
        found += [prepared_check(scene.primary, world, one) for one in (spec, upstream)]
        found += [_chain(scene, spec, upstream), _history(scene, world, spec, upstream)]
        found += absent_checks(scene, brief, world, (spec.name, upstream.name))
        return [*found, *connection_check(scene, world, spec)]

    def steps(self, params: RepointParams, brief: Brief, world: World) -> Sequence[Step]:
        scene, spec, upstream = self._scene(params, brief, world), brief.nodes[params.node], brief.nodes[params.upstream]
        told = existing_params(scene, world)
        alone = replace(scene, others=tuple({one.name: one for one in (spec, upstream) if one != scene.primary}.values()))
        prepared = [step for step in prepare_steps(scene, told) if step.node in (spec.name, upstream.name)]
        steps = [*prepared, *following.follow_steps(scene, told, spec, upstream)]
        if scene.version.has_slots:
            others = [one for one in scene.members if one not in (spec, upstream)]
            steps += [following.drop_slot_step(scene, one, spec) for one in others]
        proofs = proof_steps(alone, told, world)
        return [*steps, *(step for step in proofs if step.key.endswith(f"#{spec.name}") or step.key == "proof.write")]

    def summary(self, params: RepointParams, brief: Brief, world: World) -> Sequence[str]:
        scene = self._scene(params, brief, world)
        before = upstream_of(world, brief.nodes[params.node], brief)
        how = "without a restart" if following.is_reloadable(scene) else "for which it is restarted"
        return [f"{params.node} follows {params.upstream}{f' instead of {before}' if before else ''}, {how}. Nothing is copied."]

    @staticmethod
    def _scene(params: RepointParams, brief: Brief, world: World) -> Scene:
        primary = writers(brief, world)[0].name
        return following.following(role_scene(primary, brief, world), brief.nodes[params.node], brief.nodes[params.upstream])


def _roles(brief: Brief, world: World, spec: NodeSpec, upstream: NodeSpec) -> Check:
    line, server, above = Line("node.role", spec.name, "It can follow"), postgres_of(world, spec), postgres_of(world, upstream)
    primaries = writers(brief, world)
    if len(primaries) != 1:
        names = " and ".join(one.name for one in primaries)
        reason = f"{names} both take writes" if primaries else "no primary of this cluster answers"
        return line.refused(reason, "this needs one primary that works: switch over, promote or repair first")
    if server is None or above is None or _differ(world, primaries[0], spec, upstream):
        return line.refused("it does not hold this cluster", f"add {spec.name} as a standby instead")
    if spec == primaries[0]:
        return line.refused("it is the primary", "switch over instead")
    if not is_answering(world, spec):
        return line.refused("PostgreSQL does not run there", f"start it on {spec.name} first", paste(spec.start_command))
    if not is_answering(world, upstream):
        return line.refused(f"PostgreSQL on {upstream.name} does not run", "start it first", paste(upstream.start_command))
    return line.ok(f"a {server.role}, timeline {server.timeline}")


def _differ(world: World, primary: NodeSpec, *others: NodeSpec) -> bool:
    identifiers = {found.system_identifier for spec in (primary, *others) if (found := postgres_of(world, spec))}
    return len(identifiers) > 1


def _chain(scene: Scene, spec: NodeSpec, upstream: NodeSpec) -> Check:
    """No ring, and no cascade where the version has none."""
    line, seen = Line("node.chain", spec.name, "The chain of standbys leads to the primary"), [upstream.name]
    if upstream != scene.primary and not scene.version.has_cascading:
        return line.refused(f"PostgreSQL {scene.major} standbys cannot pass WAL on", f"choose {scene.primary.name}")
    while seen[-1] != scene.primary.name:
        above = scene.upstream(scene.brief.nodes[seen[-1]]).name
        if above in (spec.name, *seen):
            return line.refused(f"{upstream.name} follows {spec.name} itself", "choose another upstream")
        seen.append(above)
    return line.ok(" → ".join((spec.name, *seen)))


def _history(scene: Scene, world: World, spec: NodeSpec, upstream: NodeSpec) -> Check:
    """What it has replayed must be part of what the upstream has: a standby that is ahead of the branch does not follow it."""
    line = Line("node.history", spec.name, f"It has nothing that {upstream.name} has not")
    own, above = postgres_of(world, spec), postgres_of(world, upstream)
    assert own is not None
    assert above is not None
    mend = f"rebuild {spec.name}"
    if own.timeline == above.timeline:
        return line.ok(f"both are on timeline {own.timeline}")
    if own.timeline > above.timeline:
        return line.refused(f"it is on timeline {own.timeline}, {upstream.name} on {above.timeline}", mend)
    left = lsn.left_at(history_of(world, upstream, above.timeline, scene.segment_bytes), own.timeline)
    if left is None:
        return line.refused(f"the history of timeline {above.timeline} does not come from its timeline {own.timeline}", mend)
    if own.replay_lsn > left:
        return line.refused(f"it has replayed up to {lsn.shown(own.replay_lsn)}, the branch left at {lsn.shown(left)}", mend)
    return line.ok(f"timeline {own.timeline} was left at {lsn.shown(left)}, which it has not passed")


def history_of(world: World, spec: NodeSpec, timeline: int, segment_bytes: int) -> tuple[lsn.Switch, ...]:
    """What the node's history file of that timeline says, () where it has none."""
    facts = world.nodes[spec.name]
    text = facts.answers[HISTORIES].text if isinstance(facts, Facts) and HISTORIES in facts.answers else ""
    for chunk in text.split("file ")[1:]:
        name, _, body = chunk.partition("\n")
        if name.strip() == lsn.history_file_name(timeline):
            return lsn.parse_history(body, segment_bytes)
    return ()


KIND = Repoint()
