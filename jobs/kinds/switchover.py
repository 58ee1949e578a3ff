"""Kind `switchover`: a standby becomes the primary and the primary its standby, planned, and no committed row is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks, following, service
from jobs.blocks.configuration import config_file, is_answering, reset_step
from jobs.blocks.following import existing_params, role_scene
from jobs.blocks.gap import Pair, gap_step
from jobs.blocks.hooks import Hook, hook_checks, hook_steps, hooks
from jobs.blocks.keys import prepare_steps
from jobs.blocks.params import Reader, SetupParams
from jobs.blocks.proof import proof_steps
from jobs.blocks.role_checks import (
    absent_checks,
    candidate_check,
    connection_checks,
    prepared_check,
    role_checks,
    sibling_checks,
    transaction_checks,
)
from jobs.blocks.scene import (
    Scene,
    as_permitted,
    asking_requests,
    is_standby_of,
    on_host,
    own_file,
    path_of,
    postgres_of,
    sql_at,
)
from jobs.blocks.settings import archives
from jobs.blocks.standing import writers
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote import postgres
from remote.command import Action
from remote.facts import FactsRequest

LONGEST_CATCH_UP_SECONDS = 600


@dataclass(frozen=True)
class SwitchoverParams:
    """catch_up_seconds: how long the stopped primary's last WAL may take to arrive before it is started again as it was.

    allow_long_transactions: what is open for long is ended by the stop; else it is a refusal.
    """

    candidate: str
    catch_up_seconds: int = 10
    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    allow_long_transactions: bool = False


def switchover_params(data: Mapping[str, Any]) -> SwitchoverParams:
    read = Reader(data)
    params = SwitchoverParams(
        candidate=read.required("candidate"),
        catch_up_seconds=read.whole("catch_up_seconds", SwitchoverParams.catch_up_seconds, smallest=1),
        before=hooks("before", read.left.pop("before", ())),
        after=hooks("after", read.left.pop("after", ())),
        allow_long_transactions=read.flag("allow_long_transactions", False),
    )
    read.end()
    if params.catch_up_seconds > LONGEST_CATCH_UP_SECONDS:
        raise ParamsError("catch_up_seconds", f"is more than {LONGEST_CATCH_UP_SECONDS}: nobody can write meanwhile")
    return params


@dataclass(frozen=True)
class Switchover:
    """See docs/kinds/switchover.md."""

    name: str = "switchover"
    label: str = "Switch over"

    def params(self, data: Mapping[str, Any]) -> SwitchoverParams:
        return switchover_params(data)

    def title(self, params: SwitchoverParams) -> str:
        return f"{self.label} to {params.candidate}"

    def nodes(self, params: SwitchoverParams, brief: Brief) -> tuple[str, ...]:
        if params.candidate not in brief.nodes:
            raise ParamsError("candidate", f"{params.candidate} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: SwitchoverParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return asking_requests(brief, self.nodes(params, brief))

    def checks(self, params: SwitchoverParams, brief: Brief, world: World) -> Sequence[Check]:
        return checks_of(params, brief, world)

    def steps(self, params: SwitchoverParams, brief: Brief, world: World) -> Sequence[Step]:
        return steps_of(params, brief, world)

    def summary(self, params: SwitchoverParams, brief: Brief, world: World) -> Sequence[str]:
        return summary_of(params, brief, world)


KIND = Switchover()


# -- who steps down ------------------------------------------------------------------------------------------------------------


def stepping_down(params: SwitchoverParams, brief: Brief, world: World) -> NodeSpec | None:
    """The primary; once this job has begun to change roles, the node that it has marked so."""
    marked = [spec for spec in brief.nodes.values() if _mark_of(world, spec) == brief.job]
    if marked:
        return marked[0]
    found = writers(brief, world, but=params.candidate)
    return found[0] if len(found) == 1 else None


def _mark_of(world: World, spec: NodeSpec) -> str:
    facts = world.nodes.get(spec.name)
    return (path_of(world, spec, own_file(spec, "role-change")).text or "").strip() if facts and facts.is_reachable else ""


# -- checks --------------------------------------------------------------------------------------------------------------------


def checks_of(params: SwitchoverParams, brief: Brief, world: World) -> list[Check]:
    candidate, old = brief.nodes[params.candidate], stepping_down(params, brief, world)
    needed = {params.candidate} | ({old.name} if old else set())
    found = checks.host_checks(brief, world, list(brief.nodes), set(brief.nodes) - needed)
    found += hook_checks(brief, (*params.before, *params.after))
    if any(check.level == "refused" for check in found):
        return found
    found.append(candidate_check(brief, world, candidate, old))
    if found[-1].level == "refused" or old is None:
        return found
    scene = role_scene(params.candidate, brief, world)
    found += [prepared_check(old, world, spec) for spec in scene.members]
    found += [check for spec in scene.members if (check := checks.config_check(spec, world))]
    if any(check.level == "refused" for check in found):
        return found
    found += role_checks(scene, existing_params(scene, world), world, old)
    found += transaction_checks(world, old, params.allow_long_transactions)
    found += sibling_checks(scene, world, old)
    found += absent_checks(scene, brief, world, tuple(needed))
    found += connection_checks(scene, world)
    return [*found, *checks.reach_checks(scene, world, with_ssh=existing_params(scene, world).archive)]


# -- steps ---------------------------------------------------------------------------------------------------------------------


def steps_of(params: SwitchoverParams, brief: Brief, world: World) -> list[Step]:
    scene, old = role_scene(params.candidate, brief, world), stepping_down(params, brief, world)
    assert old is not None  # `checks_of` has refused otherwise
    told = existing_params(scene, world)
    hold = own_file(old, "hold") if archives(scene, told, world) else ""
    pair = Pair(old, scene.primary, following.autostart_command(world, old, on=True), hold)
    after = replace(scene, synchronous=synchronous_after(scene, world, old))
    return [
        *before_steps(scene, told, world, old),
        *hook_steps(params.before, "before"),
        end_senders_step(scene, old),
        following.autostart_step(old, on=False),  # last: if the gap's script ends without a stop, it takes it back
        gap_step(scene, world, pair, catch_up_seconds=params.catch_up_seconds),
        *hook_steps(params.after, "after"),
        start_step(scene, old),
        following.streaming_step(scene, old, scene.primary),
        *after_steps(after, told, world, old),
    ]


def before_steps(scene: Scene, told: SetupParams, world: World, old: NodeSpec) -> list[Step]:
    """What can be done before the stop is: afterwards nothing stands between the stop and the promotion."""
    new = scene.primary
    steps = prepare_steps(scene, told)
    quiet = replace(scene, synchronous={new.name: ""} if synchronous_after(scene, world, old) else {})
    if scene.version.has_auto_conf:
        steps += [reset_step(quiet, told, spec) for spec in scene.members]
    steps.append(release_step(quiet, told, old))
    steps.append(following.slots_on_step(scene, told, new, direct_followers(scene)))
    return [*steps, following.stage_fence_step(scene, told, old, new)]


def after_steps(scene: Scene, told: SetupParams, world: World, old: NodeSpec) -> list[Step]:
    new = scene.primary
    steps = [following.checkpoint_step(new), following.primary_settings_step(scene, told)]
    for spec in scene.others:
        upstream = scene.upstream(spec)
        if spec == old:
            continue
        steps += following.follow_steps(scene, told, spec, upstream) if upstream == new else [
            following.streaming_step(scene, spec, upstream)
        ]  # fmt: skip
    steps.append(following.autostart_step(old, on=True))
    if archives(scene, told, world):
        steps.append(following.hand_in_step(old))
    if scene.version.has_slots:
        steps += [following.drop_slots_step(scene, spec) for spec in scene.others]
    return [*steps, *proof_steps(scene, told, world)]


def direct_followers(scene: Scene) -> tuple[NodeSpec, ...]:
    return tuple(spec for spec in (*scene.others, *scene.absent) if scene.upstream(spec) == scene.primary)


def synchronous_after(scene: Scene, world: World, old: NodeSpec) -> dict[str, str]:
    """Who confirms the new primary's commits: whom the old one's waited for, said for the other role."""
    before, own = following.synchronous_of(postgres_of(world, old)), following.synchronous_of(postgres_of(world, scene.primary))
    if not before and not own:
        return {}
    return {scene.primary.name: following.synchronous_names(before, scene.primary.name, old.name)}


def release_step(quiet: Scene, told: SetupParams, old: NodeSpec) -> Step:
    """Where the candidate names synchronous standbys of its own: promoted, it would wait for some that do not follow it yet."""
    new = quiet.primary
    still = replace(quiet, primary=old, others=(new, *(spec for spec in quiet.others if spec != old)))

    def done(world: World) -> bool:
        server = postgres_of(world, new)
        return bool(server and (server.role == "primary" or not following.synchronous_of(server)))

    return Step(
        key=f"candidate.release#{new.name}", node=new.name, done=done,
        title=f"{new.name} waits for no synchronous standby meanwhile",
        actions=lambda world: (config_file(still, told, world, new), following.reload(new)),
        why="Whose confirmation a commit waits for is said anew once the others follow it.",
    )  # fmt: skip


def end_senders_step(scene: Scene, old: NodeSpec) -> Step:
    """Walsenders that are none of the cluster's: the stop would wait until each has confirmed everything."""
    names = ", ".join(postgres.literal(spec.name) for spec in (*scene.members, *scene.absent))
    pid = scene.version.stat_replication_pid
    sql = f"SELECT pg_terminate_backend({pid}) FROM pg_stat_replication WHERE application_name NOT IN ({names});\n"  # noqa: S608

    def done(world: World) -> bool:
        server = postgres_of(world, old)
        known = {spec.name for spec in (*scene.members, *scene.absent)}
        return (
            server is None or server.role != "primary" or not [one for one in server.senders if one.application_name not in known]
        )

    return Step(
        key=f"senders.end#{old.name}", node=old.name, title="End the connections of WAL receivers that are not this cluster's",
        done=done, actions=lambda _world: (sql_at(old, sql),), forecast=lambda _world: True,
        why="A stop waits until each of them has confirmed all WAL, without a limit.",
    )  # fmt: skip


def start_step(scene: Scene, old: NodeSpec) -> Step:
    def done(world: World) -> bool:
        return is_answering(world, old) and is_standby_of(world, old, scene.system_identifier)

    def actions(world: World) -> Sequence[Action]:
        start = postgres.start(old)
        command = on_host(
            "start_if_down.sh", old.data_directory, *start.argv, user=start.user, timeout_seconds=start.timeout_seconds
        )
        return (as_permitted(world, old, command),)

    return Step(
        key=f"standby.start#{old.name}", node=old.name, title=f"Start {old.name} as a standby of {scene.primary.name}", done=done,
        actions=actions, within_seconds=600, diagnosis=service.log_tail(old),
        why="Its configuration as a standby was put in place before the promotion.",
    )  # fmt: skip


# -- what it says --------------------------------------------------------------------------------------------------------------


def summary_of(params: SwitchoverParams, brief: Brief, world: World) -> list[str]:
    scene, old = role_scene(params.candidate, brief, world), stepping_down(params, brief, world)
    assert old is not None
    new = scene.primary
    server = postgres_of(world, old)
    sessions = server.connection_count if server else 0
    lines = [
        f"{new.name} becomes the primary, {old.name} its standby. Sessions on {old.name} are ended ({sessions} now).",
        "No committed transaction is lost: the new primary must have everything before it takes over; if it has not within"
        f" {params.catch_up_seconds} s, {old.name} is started again as the primary it was.",
    ]
    for spec in scene.others:
        if spec != old:
            restarts = "" if following.is_reloadable(scene) else ", for which it is restarted"
            upstream = scene.upstream(spec)
            lines.append(
                f"{spec.name} follows {new.name} from then on{restarts}." if upstream == new
                else f"{spec.name} goes on following {upstream.name}."
            )  # fmt: skip
    return lines
