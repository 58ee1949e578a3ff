"""Kind `undo_rebuild`: until its expiry the directory that a rebuild put aside comes back; the node stays stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks, service
from jobs.blocks.following import autostart_step, existing_params, role_scene
from jobs.blocks.kept import Kept, days_left, ground_of, is_expired, question, reader_file, reading_line
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.scene import Scene, as_permitted, has_file, on_host, own_file, path_of, postgres_of, request_of, sql_on
from jobs.blocks.settings import has_slots
from jobs.kinds.rebuild_checks import primary_of
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote import postgres
from remote.command import WriteFile
from remote.facts import FactsRequest, Unreachable

UNDONE = "pgpanel.undone"
KEEP_DAYS = 7
"""How long the directory that is taken out again is kept in its turn."""


@dataclass(frozen=True)
class NodeParams:
    node: str


def node_params(data: Mapping[str, Any]) -> NodeParams:
    read = Reader(data)
    params = NodeParams(node=read.required("node"))
    read.end()
    return params


@dataclass(frozen=True)
class UndoRebuild:
    """See docs/kinds/undo_rebuild.md."""

    name: str = "undo_rebuild"
    label: str = "Undo the rebuild"

    def params(self, data: Mapping[str, Any]) -> NodeParams:
        return node_params(data)

    def title(self, params: NodeParams) -> str:
        return f"Undo the rebuild of {params.node}: its old data directory comes back, stopped"

    def nodes(self, params: NodeParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: NodeParams, brief: Brief) -> Mapping[str, FactsRequest]:
        spec = brief.nodes[params.node]
        paths = (own_file(spec, "undo"), f"{spec.data_directory}/{UNDONE}", own_file(spec, f"read-{brief.job}"))
        own = replace(request_of(brief, spec, paths), questions=(question(spec),))
        return {name: own if name == params.node else request_of(brief, node) for name, node in brief.nodes.items()}

    def checks(self, params: NodeParams, brief: Brief, world: World) -> Sequence[Check]:
        found, spec = checks.host_checks(brief, world, (params.node,)), brief.nodes[params.node]
        if isinstance(world.nodes[params.node], Unreachable):
            return found
        line = Line("old.kept", spec.name, "Its old directory is there")
        if chosen(brief, world, spec):
            return [*found, line.ok("this job has chosen it")]
        kept = newest(world, spec)
        if kept is None:
            late = [one for one in ground_of(world, spec).kept if is_expired(one, world, spec)]
            reason = f"the time of {late[-1].directory} is over" if late else f"nothing was kept beside {spec.data_directory}"
            mend = "rows that never left it can still be listed until it is deleted" if late else "there is nothing to undo"
            return [*found, line.refused(reason, mend)]
        found.append(line.ok(f"{kept.directory}, {kept.size_bytes // 1024**2:,} MB, for {days_left(kept, world, spec)} days more"))
        return [*found, _primary_check(brief, world, spec)]

    def steps(self, params: NodeParams, brief: Brief, world: World) -> Sequence[Step]:
        spec = brief.nodes[params.node]
        begun, kept = chosen(brief, world, spec), newest(world, spec)
        directory = begun or (kept.directory if kept else "")
        server = postgres_of(world, spec)
        identifier = server.system_identifier if server else brief.cluster_identifier
        primary = primary_of(brief, world, spec.name)
        scene = role_scene(primary.name if primary else spec.name, brief, world)
        slot = [_slot_step(scene, spec, primary)] if primary and has_slots(scene, existing_params(scene, world)) else []
        return [
            _choose(brief, spec, directory), autostart_step(spec, on=False), _stop(brief, spec),
            _swap(scene, spec, directory, identifier), *slot,
        ]  # fmt: skip

    def summary(self, params: NodeParams, brief: Brief, world: World) -> Sequence[str]:
        spec, kept = brief.nodes[params.node], newest(world, brief.nodes[params.node])
        assert kept is not None  # refused otherwise
        return [
            f"{kept.directory} becomes the data directory of {spec.name} again, as it was when it was rebuilt.",
            f"{spec.name} stays stopped, and does not start by itself: it must not write beside the primary. If somebody starts it,"
            " it comes up read-only.",
            f"What it holds now is kept as {_aside(brief, spec)} for {KEEP_DAYS} days.",
            f"To look into what comes back, on {spec.name}: {reading_line(spec, brief.job, 'start')}",
        ]


def newest(world: World, spec: NodeSpec) -> Kept | None:
    """The last one that was put aside and whose time is not over."""
    found = [one for one in ground_of(world, spec).kept if not is_expired(one, world, spec)]
    return found[-1] if found else None


def chosen(brief: Brief, world: World, spec: NodeSpec) -> str:
    job, _, directory = (path_of(world, spec, own_file(spec, "undo")).text or "").rstrip("\n").partition(" ")
    return directory if job == brief.job else ""


def is_undone(brief: Brief, world: World, spec: NodeSpec) -> bool:
    return (path_of(world, spec, f"{spec.data_directory}/{UNDONE}").text or "").strip() == brief.job


def _aside(brief: Brief, spec: NodeSpec) -> str:
    return f"{spec.data_directory}.old-{brief.job}"


def _primary_check(brief: Brief, world: World, spec: NodeSpec) -> Check:
    line, primary = Line("old.primary", spec.name, "Another node is the primary"), primary_of(brief, world, spec.name)
    server = postgres_of(world, spec)
    if server and server.is_running and server.role == "primary":
        return line.refused(f"{spec.name} is the primary itself", "switch over first: a primary is not exchanged under its writers")
    if primary is None:
        return line.warning("no primary was seen", "its replication slot, wherever it is, goes on keeping WAL: drop it by hand")
    return line.ok(primary.name)


def _choose(brief: Brief, spec: NodeSpec, directory: str) -> Step:
    note = WriteFile(own_file(spec, "undo"), f"{brief.job} {directory}\n", spec.owner)
    return Step(
        key=f"old.choose#{spec.name}", node=spec.name, title=f"Choose {directory}",
        done=lambda world: has_file(world, note, spec), actions=lambda _world: (note,),
        why="Noted, so that a job that is resumed goes on with the same one.",
    )  # fmt: skip


def _stop(brief: Brief, spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return is_undone(brief, world, spec) or server is None or not server.is_running

    return Step(
        key=f"node.stop#{spec.name}", node=spec.name, title=f"Stop {spec.name}", done=done, within_seconds=60,
        actions=lambda world: (service.stop_command(world, spec),), restarts=f"PostgreSQL on {spec.name}: it stays stopped",
        why="Its directory is exchanged.",
    )  # fmt: skip


def _swap(scene: Scene, spec: NodeSpec, directory: str, identifier: str) -> Step:
    brief = scene.brief
    swap = on_host(
        "swap_back.sh", spec.data_directory, directory, _aside(brief, spec), brief.job, identifier, spec.bin_directory, spec.owner,
        str(KEEP_DAYS), user="root",
    )  # fmt: skip
    reader = reader_file(scene.version, spec, spec.data_directory, brief.job)
    return Step(
        key=f"old.return#{spec.name}", node=spec.name, title="Put the old directory back",
        done=lambda world: is_undone(brief, world, spec) and has_file(world, reader, spec),
        actions=lambda world: (as_permitted(world, spec, swap), reader),
        destroys=f"{spec.data_directory} is moved to {_aside(brief, spec)} and kept for {KEEP_DAYS} days",
        why="It is proven on the host itself that both are this database system, that no server runs on either, and that a start of"
        " it is a standby's.",
    )  # fmt: skip


def _slot_step(scene: Scene, spec: NodeSpec, primary: NodeSpec) -> Step:
    name = scene.slot(spec)

    def done(world: World) -> bool:
        server = postgres_of(world, primary)
        return server is None or server.slot_named(name) is None

    return Step(
        key=f"slot.drop#{spec.name}", node=primary.name, title=f"Drop the replication slot {name}", done=done,
        actions=lambda world: (sql_on(world, primary, postgres.drop_slot_sql(name)),),
        why="It would keep WAL for a node that does not come for it.",
    )  # fmt: skip


KIND = UndoRebuild()
