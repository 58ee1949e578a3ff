"""Kind `fence`: a node must not take writes. What makes it a standby is put in place, and if it is writable it is stopped, at once.

Authorised beforehand by a quarantine, it is started by the zombie watch; the one kind that runs beside another active job, under a
lock of its own. See docs/kinds/fence.md and docs/decisions/0009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.blocks import checks, following
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.salvage import is_stopped
from jobs.blocks.scene import as_permitted, postgres_of, request_of, script_text
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote import postgres, versions
from remote.command import Action, script
from remote.facts import FactsRequest, Unreachable

FENCES = frozenset({"standby.signal", "recovery.conf"})


@dataclass(frozen=True)
class FenceParams:
    """attested: the node's name again, from a person who means a node that is not under quarantine."""

    node: str
    attested: str = ""


@dataclass(frozen=True)
class Fence:
    name: str = "fence"
    label: str = "Fence"

    def params(self, data: Mapping[str, Any]) -> FenceParams:
        read = Reader(data)
        params = FenceParams(read.required("node"), read.text("attested"))
        read.end()
        return params

    def title(self, params: FenceParams) -> str:
        return f"{self.label} {params.node}: it takes no writes"

    def nodes(self, params: FenceParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return (params.node,)

    def requests(self, params: FenceParams, brief: Brief) -> Mapping[str, FactsRequest]:
        spec = brief.nodes[params.node]
        asked = request_of(brief, spec)
        # nothing of the others: the host may be alone, and it is in a hurry
        return {spec.name: FactsRequest(**{**vars(asked), "reach": (), "sections": frozenset({"host", "postgres", "paths"})})}

    def checks(self, params: FenceParams, brief: Brief, world: World) -> Sequence[Check]:
        spec = brief.nodes[params.node]
        found = checks.host_checks(brief, world, (spec.name,))
        if isinstance(world.nodes[spec.name], Unreachable):
            return found
        line, server = Line("fence.node", spec.name, "It is a node that must not take writes"), postgres_of(world, spec)
        if server is None:
            reason = f"there is no database cluster in {spec.data_directory}"
            return [*found, line.refused(reason, "correct the node's data directory")]
        if spec.name in brief.quarantined:
            return [*found, line.ok(f"under quarantine: {brief.quarantined[spec.name]}")]
        if params.attested == spec.name:
            return [*found, line.warning("it is not under quarantine; a person means it", "nobody can write there afterwards")]
        mend = f"type its name, if you mean to stop it (attested={spec.name})"
        return [*found, line.refused("it is not under quarantine: it may be the primary that everybody uses", mend)]

    def steps(self, params: FenceParams, brief: Brief, world: World) -> Sequence[Step]:  # noqa: ARG002 (the protocol's)
        spec = brief.nodes[params.node]
        return [fence_step(spec), following.autostart_step(spec, on=False)]

    def summary(self, params: FenceParams, brief: Brief, world: World) -> Sequence[str]:  # noqa: ARG002
        return (f"{params.node} is stopped if it takes writes; any later start of it is a standby's. Rebuild it to use it again.",)


KIND = Fence()


def fence_step(spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        is_fenced = bool(server and FENCES & set(server.signal_files))
        return is_fenced and (is_stopped(world, spec) or _replays(world, spec))

    def actions(world: World) -> Sequence[Action]:
        server = postgres_of(world, spec)
        style = versions.of(server.major).recovery_style if server else "signal"
        place = f"{spec.data_directory}/{'recovery.conf' if style == 'recovery.conf' else 'standby.signal'}"
        # two minutes are for a host that hardly breathes: INT at once, QUIT after seconds, then KILL
        command = script(
            script_text("fence_place.sh") + script_text("stop_for_good.sh"), spec.data_directory, place, spec.owner,
            spec.bin_directory, "0", user=postgres.stop(spec).user, directory="/", timeout_seconds=120,
        )  # fmt: skip
        return (as_permitted(world, spec, command),)

    return Step(
        key=f"node.fence#{spec.name}", node=spec.name, title=f"{spec.name} takes no writes any more", done=done, actions=actions,
        within_seconds=30, restarts=f"PostgreSQL on {spec.name} is stopped if it takes writes",
        why="First the file that makes every later start a standby's, then the stop: fast, after seconds at once, then by KILL.",
    )  # fmt: skip


def _replays(world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    return bool(server and server.is_running and server.control and server.control.state == "in archive recovery")
