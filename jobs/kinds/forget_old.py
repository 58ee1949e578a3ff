"""Kind `forget_old`: delete what rebuilds have put aside on a node, when a person says so, or only what is expired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks
from jobs.blocks.kept import Kept, days_left, ground_of, is_expired, question
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.scene import as_permitted, on_host, own_directory, own_file, path_of, postgres_of, request_of
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.command import Detached, WriteFile, script
from remote.facts import FactsRequest, Unreachable

DELETE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class ForgetParams:
    """only_expired: what is still to be kept stays."""

    node: str
    only_expired: bool = False


@dataclass(frozen=True)
class ForgetOld:
    """See docs/kinds/forget_old.md."""

    name: str = "forget_old"
    label: str = "Delete the old data directory"

    def params(self, data: Mapping[str, Any]) -> ForgetParams:
        read = Reader(data)
        params = ForgetParams(node=read.required("node"), only_expired=read.flag("only_expired", False))
        read.end()
        return params

    def title(self, params: ForgetParams) -> str:
        what = "what is expired of the old data directories" if params.only_expired else "the old data directories"
        return f"Delete {what} on {params.node}"

    def nodes(self, params: ForgetParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return (params.node,)

    def requests(self, params: ForgetParams, brief: Brief) -> Mapping[str, FactsRequest]:
        spec = brief.nodes[params.node]
        return {params.node: replace(request_of(brief, spec, (own_file(spec, "forget"),)), questions=(question(spec),))}

    def checks(self, params: ForgetParams, brief: Brief, world: World) -> Sequence[Check]:
        found, spec = checks.host_checks(brief, world, (params.node,)), brief.nodes[params.node]
        if isinstance(world.nodes[params.node], Unreachable):
            return found
        line = Line("old.kept", spec.name, "What is kept there")
        if chosen(brief, world, spec) is not None:
            return [*found, line.ok("this job has chosen already")]
        gone = to_delete(params, world, spec)
        if not gone:
            kept = ground_of(world, spec).kept
            reason = f"nothing is expired; {len(kept)} kept" if kept else f"nothing is kept beside {spec.data_directory}"
            return [*found, line.refused(reason, "there is nothing to delete")]
        if params.only_expired and not _is_replaced(world, spec):
            reason = f"no server runs on {spec.data_directory}: what is kept may be all that there is"
            return [*found, Line("old.replaced", spec.name, "What has replaced it").refused(reason, "start it, or rebuild it")]
        for one in gone:
            left = days_left(one, world, spec)
            said = f"{one.directory}, {one.size_bytes // 1024**2:,} MB, timeline {one.timeline}"
            is_due = is_expired(one, world, spec)
            own = Line(f"old.kept.{one.job}", spec.name, "What is kept there")
            found.append(
                own.ok(f"{said}; its time is over")
                if is_due
                else own.warning(f"{said}, was to be kept for {left} days more: rows that never left it are gone with it")
            )
        return found

    def steps(self, params: ForgetParams, brief: Brief, world: World) -> Sequence[Step]:
        spec = brief.nodes[params.node]
        begun = chosen(brief, world, spec)
        directories = begun if begun is not None else tuple(one.directory for one in to_delete(params, world, spec))
        return [_choose(brief, spec, directories), _delete(params, brief, world, spec, directories)]

    def summary(self, params: ForgetParams, brief: Brief, world: World) -> Sequence[str]:
        spec = brief.nodes[params.node]
        gone = to_delete(params, world, spec)
        size = sum(one.size_bytes for one in gone) // 1024**2
        return [
            f"Deleted for good on {spec.name}: {', '.join(one.directory for one in gone)}; {size:,} MB become free.",
            f"{spec.data_directory} itself is not touched.",
        ]


def to_delete(params: ForgetParams, world: World, spec: NodeSpec) -> tuple[Kept, ...]:
    return tuple(one for one in ground_of(world, spec).kept if not params.only_expired or is_expired(one, world, spec))


def _is_replaced(world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    return bool(server and server.is_running and server.role in ("primary", "standby"))


def chosen(brief: Brief, world: World, spec: NodeSpec) -> tuple[str, ...] | None:
    job, _, rest = (path_of(world, spec, own_file(spec, "forget")).text or "").partition("\n")
    return tuple(rest.splitlines()) if job == brief.job else None


def _choose(brief: Brief, spec: NodeSpec, directories: tuple[str, ...]) -> Step:
    text = "".join(f"{line}\n" for line in (brief.job, *directories))
    note = WriteFile(own_file(spec, "forget"), text, spec.owner)
    return Step(
        key=f"old.choose#{spec.name}", node=spec.name, title="Note which they are",
        done=lambda world: path_of(world, spec, note.path).text == text, actions=lambda _world: (note,),
        why="What is put aside from now on stays.",
    )  # fmt: skip


def _delete(params: ForgetParams, brief: Brief, world: World, spec: NodeSpec, directories: tuple[str, ...]) -> Step:
    server = postgres_of(world, spec)
    identifier = server.system_identifier if server else brief.cluster_identifier
    command = on_host(
        "forget_old.sh", spec.data_directory, spec.bin_directory, identifier, spec.owner,
        "expired" if params.only_expired else "all", own_directory(spec), *directories,
        user=spec.owner, timeout_seconds=DELETE_SECONDS,
    )  # fmt: skip

    # the directory above may be root's alone
    emptied = script('for old; do [ ! -d "$old" ] || rmdir "$old"; done', *directories, user="root")

    def done(world: World) -> bool:
        there = {one.directory for one in ground_of(world, spec).kept}
        return not there & set(directories)

    return Step(
        key=f"old.delete#{spec.name}", node=spec.name, title="Delete them", done=done,
        actions=lambda world: (Detached(command), as_permitted(world, spec, emptied)),
        destroys=f"{', '.join(directories)}: for good",
        why="Each is proven on the host itself to be a directory that a rebuild put aside, of this database system, with no"
        " server on it.",
    )  # fmt: skip


KIND = ForgetOld()
