"""Kind `promote`: a standby becomes the primary because the primary is lost. Evidence first; nothing acknowledged is lost where the
old primary's host answers; where it does not, only after its fence command or a person's word for it. See docs/kinds/promote.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import following, salvage, service
from jobs.blocks.configuration import is_answering
from jobs.blocks.following import existing_params
from jobs.blocks.params import Reader, SetupParams
from jobs.blocks.scene import Scene, asking_requests, is_standby_of, on_host, postgres_of, sql_on
from jobs.kinds import promote_checks
from jobs.kinds.promote_checks import QUARANTINED, Situation, situation
from jobs.kinds.promotion import promotion_section
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.command import Action, Command, PanelAction, WriteFile
from remote.facts import FactsRequest

PROMOTED = "promoted"
FENCED = "fenced"


@dataclass(frozen=True)
class PromoteParams:
    """primary: the one that is lost; the panel fills in who it was, so that it stays the same once roles have changed.

    attested: its name, typed by a person who made sure that it is off. use_fence: run its fence command. accept_loss: what may be
    missing was read and is accepted. fetch_from: a standby that is ahead, whose WAL is fetched first. salvage: off = leave the old
    primary's WAL where it is. by: "trigger" = by the trigger file that recovery.conf names.
    """

    candidate: str
    primary: str = ""
    attested: str = ""
    use_fence: bool = False
    accept_loss: bool = False
    fetch_from: str = ""
    salvage: bool = True
    by: str = "auto"


def promote_params(data: Mapping[str, Any]) -> PromoteParams:
    read = Reader(data)
    params = PromoteParams(
        candidate=read.required("candidate"),
        primary=read.text("primary"),
        attested=read.text("attested").strip(),
        use_fence=read.flag("use_fence", False),
        accept_loss=read.flag("accept_loss", False),
        fetch_from=read.text("fetch_from"),
        salvage=read.flag("salvage", True),
        by=read.choice("by", ("auto", "trigger")),
    )
    read.end()
    if params.candidate == params.primary:
        raise ParamsError("candidate", f"{params.candidate} is the primary that is lost", "choose a standby")
    if params.fetch_from == params.candidate:
        raise ParamsError("fetch_from", "is the candidate itself")
    return params


@dataclass(frozen=True)
class Promote:
    name: str = "promote"
    label: str = "Promote"
    binds_primary: bool = True
    """The panel writes into the parameters who the primary was."""

    def params(self, data: Mapping[str, Any]) -> PromoteParams:
        return promote_params(data)

    def title(self, params: PromoteParams) -> str:
        return f"{self.label} {params.candidate}" + (f", in place of {params.primary}" if params.primary else "")

    def nodes(self, params: PromoteParams, brief: Brief) -> tuple[str, ...]:
        for field_name in ("candidate", "primary", "fetch_from"):
            name = getattr(params, field_name)
            if name and name not in brief.nodes:
                raise ParamsError(field_name, f"{name} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: PromoteParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return asking_requests(brief, self.nodes(params, brief))

    def checks(self, params: PromoteParams, brief: Brief, world: World) -> Sequence[Check]:
        return promote_checks.checks_of(params, brief, world)

    def steps(self, params: PromoteParams, brief: Brief, world: World) -> Sequence[Step]:
        return steps_of(params, situation(params, brief, world), world)

    def summary(self, params: PromoteParams, brief: Brief, world: World) -> Sequence[str]:
        found = situation(params, brief, world)
        return (found.verdict.sentence, promote_checks.loss_told(params, found), *promote_checks.afterwards(found))

    def report(self, params: PromoteParams, brief: Brief, world: World) -> Mapping[str, Any]:
        """For the incident page: as it was found, before anything was changed."""
        return promote_checks.report_of(params, situation(params, brief, world))

    def closing(self, params: PromoteParams, world: World) -> Mapping[str, Any]:
        return promote_checks.closing_of(params, world)


KIND = Promote()


# -- steps ---------------------------------------------------------------------------------------------------------------------


def steps_of(params: PromoteParams, found: Situation, world: World) -> list[Step]:
    """Everything that can be done before the promotion is; after its command nothing stands between it and the first write."""
    scene, old = found.scene, found.old
    told = existing_params(scene, world)
    steps = stop_steps(found, told) if found.answers else away_steps(params, found)
    if found.answers and params.salvage:
        steps += salvage.fetch_steps(scene, old, scene.primary)
    elif params.fetch_from:
        steps += salvage.fetch_steps(scene, scene.brief.nodes[params.fetch_from], scene.primary)
    steps += [resume_step(scene), *ready_steps(found, told), promote_step(params, scene, world)]
    return [*steps, *after_steps(params, found, told)]


def stop_steps(found: Situation, told: SetupParams) -> list[Step]:
    """Its host answers: it is stopped, proven, and fenced by its own configuration."""
    scene, old = found.scene, found.old

    def is_back(world: World) -> bool:
        """This same job has started it again, as a standby."""
        server, after = postgres_of(world, old), postgres_of(world, scene.primary)
        is_promoted = bool(after and after.role == "primary")
        return is_promoted and bool(server and server.is_running and server.role == "standby")

    off = following.autostart_step(old, on=False)
    steps = [replace(off, done=lambda world: is_back(world) or off.done(world)), salvage.stop_step(old, is_settled=is_back)]
    if found.is_prepared:
        steps += [following.stage_fence_step(scene, told, old, scene.primary), place_fence_step(scene, told, old)]
    else:
        steps.append(plain_fence_step(scene, old))
    return steps


def place_fence_step(scene: Scene, told: SetupParams, old: NodeSpec) -> Step:
    staged, place = following.staged_fence(scene.brief.job, old), following.fence_in_place(scene, old)
    return Step(
        key=f"fence.place#{old.name}", node=old.name, title=f"From now on any start of {old.name} is a standby's",
        done=lambda world: following.is_fenced(scene, told, world, old),
        actions=lambda _world: (Command(("mv", "--", staged, place), user=old.owner),),
        why="One rename. Whoever starts it, it takes no writes.",
    )  # fmt: skip


def plain_fence_step(scene: Scene, old: NodeSpec) -> Step:
    """A node that pgpanel has never prepared: a standby of nobody, until it is rebuilt."""
    place = following.fence_in_place(scene, old)
    text = "standby_mode = 'on'\nrecovery_target_timeline = 'latest'\n" if place.endswith(".conf") else ""
    file = WriteFile(place, text, old.owner)
    return Step(
        key=f"fence.place#{old.name}", node=old.name, title=f"From now on any start of {old.name} is a standby's",
        done=lambda world: bool({"standby.signal", "recovery.conf"} & set(_signals(world, old))),
        actions=lambda _world: (file,),
        why="Whoever starts it, it takes no writes.",
    )  # fmt: skip


def _signals(world: World, spec: NodeSpec) -> tuple[str, ...]:
    server = postgres_of(world, spec)
    return server.signal_files if server else ()


def away_steps(params: PromoteParams, found: Situation) -> list[Step]:
    """Its host does not answer: quarantine first, so that it is stopped whenever it is seen writable; then the fence."""
    old, new = found.old, found.scene.primary
    steps = [
        Step(
            key=f"old.quarantine#{old.name}", node=new.name, note=QUARANTINED, done=lambda world: QUARANTINED in world.notes,
            title=f"Put {old.name} under quarantine",
            actions=lambda _world: (PanelAction("quarantine", old.name, f"on the panel: {old.name} must not become writable"),),
            why="Unreachable is not dead: as soon as the panel sees it writable, it is stopped, whatever else runs.",
        )
    ]  # fmt: skip
    if params.use_fence:
        shown = found.scene.brief.memory.fences.get(old.name, "")
        steps.append(
            Step(
                key=f"old.fence#{old.name}", node=new.name, note=FENCED, done=lambda world: FENCED in world.notes,
                title=f"Switch {old.name} off by its fence command",
                actions=lambda _world: (PanelAction("fence", old.name, shown),), within_seconds=5,
                destroys=f"{old.name} is switched off: whatever runs on that host ends",
                why="Only then is it proven that it serves nobody any more.",
            )
        )  # fmt: skip
    return steps


def resume_step(scene: Scene) -> Step:
    """Up to 12 paused replay holds a promotion up; on every version what was not replayed would come late."""
    new, call = scene.primary, scene.version.functions.replay_resume

    def done(world: World) -> bool:
        server = postgres_of(world, new)
        return bool(server and (server.role == "primary" or not server.is_replay_paused))

    return Step(
        key=f"candidate.resume#{new.name}", node=new.name, title=f"{new.name} replays what it has", done=done,
        actions=lambda world: (sql_on(world, new, f"SELECT {call}();\n"),),
        why="A pause would hold up the promotion.",
    )  # fmt: skip


def ready_steps(found: Situation, told: SetupParams) -> list[Step]:
    """What the new primary needs is there before it is one."""
    scene = found.scene
    if not found.is_prepared:
        return []
    followers = tuple(spec for spec in (*scene.others, *scene.absent) if scene.upstream(spec) == scene.primary)
    quiet = replace(scene, synchronous={scene.primary.name: ""})
    return [following.slots_on_step(scene, told, scene.primary, followers), following.primary_settings_step(quiet, told)]


def promote_step(params: PromoteParams, scene: Scene, world: World) -> Step:
    new, server = scene.primary, postgres_of(world, scene.primary)
    by_file = params.by == "trigger" or scene.version.promote_methods == ("trigger",)
    before = server.timeline if server and server.role == "standby" else 0

    def done(world: World) -> bool:
        server = postgres_of(world, new)
        return bool(server and server.role == "primary" and is_answering(world, new))

    return Step(
        key=f"candidate.promote#{new.name}", node=new.name, title=f"Promote {new.name}", done=done,
        note=PROMOTED if by_file else "", actions=lambda world: (trigger_command(scene, world),) if by_file else (),
        within_seconds=60, diagnosis=service.log_tail(new),
        section=None if by_file else promotion_section(scene, before), is_point_of_no_return=True,
        why="The version's own way. Proven by what it then is: it takes writes, on a later timeline whose history is written.",
    )  # fmt: skip


def trigger_command(scene: Scene, world: World) -> Action:
    """The page's way: the file that recovery.conf names."""
    new, server, call = scene.primary, postgres_of(world, scene.primary), scene.version.functions
    return on_host(
        "promote_now.sh", new.data_directory, new.bin_directory, str(new.port), server.socket_directory if server else "",
        new.owner, promote_checks.trigger_file(world, new), f"{call.wal_file_name}({call.current_lsn}())",
        str(server.timeline if server else 0), user=new.owner, timeout_seconds=120,
    )  # fmt: skip


def after_steps(params: PromoteParams, found: Situation, told: SetupParams) -> list[Step]:
    scene, old, new = found.scene, found.old, found.scene.primary
    steps = [following.checkpoint_step(new)]
    for spec in found.siblings:
        upstream = scene.upstream(spec)
        steps += following.follow_steps(scene, told, spec, upstream) if upstream == new else [
            following.streaming_step(scene, spec, upstream)
        ]  # fmt: skip
    if found.answers and found.is_prepared and params.salvage:
        steps += return_steps(scene, old)
    if found.is_prepared and scene.version.has_slots:
        steps += [following.drop_slots_step(scene, spec) for spec in found.siblings]
    if found.answers and params.salvage:
        steps.append(salvage.close_step(scene, old, new))
    elif params.fetch_from:
        steps.append(salvage.close_step(scene, scene.brief.nodes[params.fetch_from], new))
    return steps


def return_steps(scene: Scene, old: NodeSpec) -> list[Step]:
    """One that was shut down in good order, whose last record the new primary has, follows at once; else it waits for a rebuild."""
    new = scene.primary

    def may_return(world: World) -> bool:
        server = postgres_of(world, old)
        is_running = bool(server and server.is_running)
        return is_running or promote_checks.is_clean(world, old)

    def only_then(step: Step) -> Step:
        return replace(step, done=lambda world: not may_return(world) or step.done(world), forecast=may_return)

    def is_started(world: World) -> bool:
        return is_answering(world, old) and is_standby_of(world, old, scene.system_identifier)

    start = Step(
        key=f"standby.start#{old.name}", node=old.name, title=f"Start {old.name} as a standby of {new.name}", done=is_started,
        actions=lambda world: (service.start_command(world, old),), within_seconds=600, diagnosis=service.log_tail(old),
        why="If it was shut down in good order: all that it had is on the new primary. Else it stays stopped, for a rebuild.",
    )  # fmt: skip
    streams, on = following.streaming_step(scene, old, new), following.autostart_step(old, on=True)
    return [only_then(start), only_then(streams), only_then(on)]
