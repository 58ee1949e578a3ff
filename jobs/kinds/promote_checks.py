"""Before a promotion: who was the primary and is it dead, who may take over, and what would be lost; pure, from one look at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clusters.evidence import Candidate, Known, Observation, Place, Verdict, bytes_shown, candidates, observations_of, verdict
from jobs.blocks import checks
from jobs.blocks.following import block_of, role_scene, synchronous_of
from jobs.blocks.line import Line
from jobs.blocks.role_checks import apply_delay
from jobs.blocks.salvage import is_stopped, salvaged
from jobs.blocks.scene import Scene, postgres_of, upstream_of
from jobs.recipe import Brief, Check, NodeSpec, World
from remote import config, lsn
from remote.facts import Facts, Unreachable

if TYPE_CHECKING:
    from jobs.kinds.promote import PromoteParams


TAKEN_OFF = "candidate.synchronous"
"""The check that names whose confirmation commits waited for, where a promotion takes that off."""
QUARANTINED = "quarantined"
"""Noted by a promotion that went without the old primary's host: it stays so, even if that answers again meanwhile."""


@dataclass(frozen=True)
class Situation:
    """scene: as it will be, with the candidate as its primary. old: the primary that is lost. answers: its host lets us in."""

    scene: Scene
    old: NodeSpec
    answers: bool
    is_prepared: bool
    siblings: tuple[NodeSpec, ...]
    verdict: Verdict
    observations: tuple[Observation, ...]
    candidates: tuple[Candidate, ...]

    @property
    def candidate(self) -> Candidate:
        return next(one for one in self.candidates if one.name == self.scene.primary.name)


# -- who is who ----------------------------------------------------------------------------------------------------------------


def lost_primary(params: PromoteParams, brief: Brief, world: World) -> NodeSpec | None:
    """The parameters say it (the panel remembers who it was); else who is a primary in what can be seen, else whom it follows."""
    if params.primary:
        return brief.nodes[params.primary]
    found = [spec for spec in brief.nodes.values() if spec.name != params.candidate and _role(world, spec) == "primary"]
    if found:
        return max(found, key=lambda spec: _timeline(world, spec))
    seen, above = {params.candidate}, upstream_of(world, brief.nodes[params.candidate], brief)
    while above and above not in seen and _role(world, brief.nodes[above]) == "standby":
        seen.add(above)
        above = upstream_of(world, brief.nodes[above], brief)
    return brief.nodes.get(above) if above not in seen else None


def _role(world: World, spec: NodeSpec) -> str:
    server = postgres_of(world, spec)
    return server.role if server else ""


def _timeline(world: World, spec: NodeSpec) -> int:
    server = postgres_of(world, spec)
    return server.timeline if server else 0


def situation(params: PromoteParams, brief: Brief, world: World) -> Situation:
    """Needs a candidate that answers and a primary that is known (`checks_of` refuses before)."""
    scene, old = role_scene(params.candidate, brief, world), lost_primary(params, brief, world)
    assert old is not None
    now = time.time()
    observations = tuple(observed(brief, world, old, now))
    found = verdict(old.name, observations, now)
    standbys = [known_of(brief, world, spec) for spec in brief.nodes.values() if spec != old]
    return Situation(
        scene=scene, old=old, answers=postgres_of(world, old) is not None and QUARANTINED not in world.notes,
        is_prepared=bool(block_of(world, scene.primary, "postgresql.conf") and block_of(world, scene.primary, "pg_hba.conf")),
        siblings=tuple(spec for spec in scene.others if spec != old and _follows(world, spec, scene)),
        verdict=found, observations=observations,
        candidates=tuple(candidates(brief.memory.known.get(old.name), standbys, found, now)),
    )  # fmt: skip


def _follows(world: World, spec: NodeSpec, scene: Scene) -> bool:
    server = postgres_of(world, spec)
    return bool(server and server.answers_sql and server.role == "standby" and spec.name not in scene.brief.quarantined)


def observed(brief: Brief, world: World, old: NodeSpec, at: float) -> list[Observation]:
    places = [_place(spec) for spec in brief.nodes.values()]
    fenced = brief.memory.fenced.get(old.name, ())
    return [*observations_of(_place(old), places, world.nodes, at, brief.cluster_identifier), *fenced]


def _place(spec: NodeSpec) -> Place:
    return Place(spec.name, spec.address, spec.port, spec.data_directory)


def known_of(brief: Brief, world: World, spec: NodeSpec) -> Known:
    """A standby as it is seen now; one that is not seen as it was remembered."""
    before, server = brief.memory.known.get(spec.name), postgres_of(world, spec)
    if server is None or not server.answers_sql:
        if before is None:
            return Known(spec.name, 0, 0, 0.0, is_reachable=False, is_standby=False)
        return Known(
            before.name, before.lsn, before.timeline, before.at, before.replay_lsn,
            is_reachable=not isinstance(world.nodes.get(spec.name), Unreachable), is_standby=False, sync_state=before.sync_state,
        )  # fmt: skip
    return Known(
        name=spec.name, lsn=max(server.receive_lsn, server.replay_lsn), timeline=server.timeline, at=time.time(),
        replay_lsn=server.replay_lsn, is_reachable=True, is_paused=server.is_replay_paused,
        is_standby=server.role == "standby" and spec.name not in brief.quarantined,
        sync_state=before.sync_state if before else "",
    )  # fmt: skip


def trigger_file(world: World, spec: NodeSpec) -> str:
    """The page's way on old versions: what recovery.conf (12 to 15: the settings) names."""
    server = postgres_of(world, spec)
    if server is None:
        return ""
    said = config.parse_settings(server.recovery_text)
    return said.get("trigger_file", "") or server.setting("promote_trigger_file") or server.setting("trigger_file")


# -- checks --------------------------------------------------------------------------------------------------------------------


def checks_of(params: PromoteParams, brief: Brief, world: World) -> list[Check]:
    new = brief.nodes[params.candidate]
    found = [_candidate_check(brief, world, new)]
    if found[-1].level == "refused":
        return found
    old = lost_primary(params, brief, world)
    line = Line("primary.known", new.name, "Who was the primary is known")
    if old is None:
        mend = "plan it with the primary's name among the parameters (primary)"
        return [*found, line.refused("no node is seen as one, and the candidate's own configuration names none of them", mend)]
    names = [name for name in (new.name, old.name) if not isinstance(world.nodes[name], Unreachable)]
    found += checks.host_checks(brief, world, names)
    seen = situation(params, brief, world)
    found += _evidence_checks(params, brief, seen)
    if not seen.verdict.way:
        return found
    found += _loss_checks(params, seen, world)
    found += [*_lineage_checks(brief, world, seen), *_ready_checks(params, seen, world)]
    return found


def _candidate_check(brief: Brief, world: World, new: NodeSpec) -> Check:
    line, facts = Line("candidate.role", new.name, "It is a standby of this cluster that answers"), world.nodes[new.name]
    if isinstance(facts, Unreachable):
        return line.refused(facts.message, facts.mend or "choose another standby")
    server = postgres_of(world, new)
    if new.name in brief.quarantined:
        return line.refused(f"it is under quarantine: {brief.quarantined[new.name]}", f"rebuild {new.name} first")
    if server is None or not server.is_running or not server.answers_sql:
        why = (server.sql_error if server else "") or "PostgreSQL does not run there"
        return line.refused(why, f"start it on {new.name}", new.start_command)
    if server.role != "standby":
        return line.refused("it is a primary already", "choose a standby")
    if brief.cluster_identifier and server.system_identifier != brief.cluster_identifier:
        return line.refused(f"it is of another database system, {server.system_identifier}", "choose a standby of this cluster")
    return line.ok(
        f"PostgreSQL {server.version or server.major}, timeline {server.timeline}, replayed {lsn.shown(server.replay_lsn)}"
    )


def _evidence_checks(params: PromoteParams, brief: Brief, seen: Situation) -> Iterator[Check]:
    """The verdict; and where it is only unreachable, a fence command or a person's word."""
    old, found = seen.old, seen.verdict
    line = Line("primary.evidence", old.name, f"Is {old.name} dead?")
    if not found.way:
        yield line.refused(found.sentence, found.mend)
        return
    yield line.ok(found.sentence) if found.kind == "stopped_proven" else line.warning(found.sentence, found.mend)
    if found.kind != "unreachable":
        return
    line = Line("primary.fenced", old.name, f"{old.name} serves nobody any more")
    if params.use_fence and old.name in brief.memory.fences:
        yield line.ok(f"its fence command is run first: {brief.memory.fences[old.name]}")
    elif params.use_fence:
        mend = f"set it on the page of {old.name}, or make sure that it is off and type its name"
        yield line.refused(f"{old.name} has no fence command", mend)
    elif params.attested == old.name:
        yield line.warning(f"a person says so, by typing “{params.attested}”", "be sure: two primaries would both take writes")
    else:
        wrong = f"“{params.attested}” was typed, its name is {old.name}" if params.attested else "nobody has proven or attested it"
        has_fence = "use its fence command, or " if old.name in brief.memory.fences else ""
        yield line.refused(wrong, f"{has_fence}make sure that {old.name} is switched off, and type its name (attested={old.name})")


def _loss_checks(params: PromoteParams, seen: Situation, world: World) -> Iterator[Check]:
    new, own = seen.scene.primary, seen.candidate
    line = Line("candidate.loss", new.name, "What would be lost")
    if is_lossless(params, seen):
        yield line.ok(loss_told(params, seen))
    elif params.accept_loss:
        yield line.warning(loss_told(params, seen), "this was accepted")
    else:
        yield line.refused(loss_told(params, seen), "if that is to be accepted, say so (accept_loss=yes)")
    if seen.answers and params.salvage:
        return
    best = next((one for one in seen.candidates if one.is_best), None)
    line = Line("candidate.ahead", new.name, "No other standby has more")
    if params.fetch_from:
        server = postgres_of(world, seen.scene.brief.nodes[params.fetch_from])
        if server is None or not server.answers_sql or server.role != "standby":
            yield line.refused(f"{params.fetch_from} is no standby that answers", "choose another one to fetch from")
            return
        yield line.ok(f"the WAL of {params.fetch_from} is fetched first")
    elif best and own.why_not and best.name != own.name:
        mend = f"promote {best.name} instead, or fetch its WAL first (fetch_from={best.name})"
        yield line.refused(own.why_not, mend)
    else:
        yield line.ok()


def is_lossless(params: PromoteParams, seen: Situation) -> bool:
    return (seen.candidate.is_zero_after_salvage and seen.answers and params.salvage) or seen.candidate.is_proven_zero


def loss_told(params: PromoteParams, seen: Situation) -> str:
    own = seen.candidate
    if not (seen.answers and params.salvage) and own.is_zero_after_salvage:
        return Candidate(own.name, own.loss_bytes_known, own.unseen_seconds).sentence
    return own.sentence


def _lineage_checks(brief: Brief, world: World, seen: Situation) -> Iterator[Check]:
    """A timeline number stands for one history: whoever is on a later one has gone on without the candidate."""
    new, own = seen.scene.primary, postgres_of(world, seen.scene.primary)
    assert own is not None
    line = Line("candidate.timeline", new.name, "Nobody has begun a later timeline")
    later = {spec.name: _timeline(world, spec) for spec in brief.nodes.values() if spec != new and _is_ours(brief, world, spec)}
    later |= {node: number for number, node in brief.memory.timelines.items() if number > own.timeline}
    ahead = {name: number for name, number in later.items() if number > own.timeline}
    if not ahead:
        yield line.ok(f"{new.name} is on timeline {own.timeline}; it begins the next one")
        return
    name, number = max(ahead.items(), key=lambda item: item[1])
    reason = f"{name} has begun timeline {number}, {new.name} is on {own.timeline}: its branch was left before"
    yield line.refused(reason, f"promote a standby on timeline {number}, or rebuild {new.name} from one")


def _is_ours(brief: Brief, world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    return bool(server and (not brief.cluster_identifier or server.system_identifier == brief.cluster_identifier))


def _ready_checks(params: PromoteParams, seen: Situation, world: World) -> Iterator[Check]:
    new, server = seen.scene.primary, postgres_of(world, seen.scene.primary)
    assert server is not None
    if delay := apply_delay(server):
        line = Line("candidate.delay", new.name, "It replays at once")
        yield line.refused(f"recovery_min_apply_delay is {delay}", f"on {new.name}, set it to 0 and reload (up to 11: restart)")
    if server.is_replay_paused:
        yield Line("candidate.replays", new.name, "It replays").warning("its replay is paused: it is resumed first")
    if names := synchronous_of(server):
        quoted = names.replace("'", "''")
        yield Line(TAKEN_OFF, new.name, "Nobody waits for a standby that is gone").warning(
            f"synchronous_standby_names, “{names}”, is taken off, else every commit would wait",
            "set it again when its standbys are back",
            f"ALTER SYSTEM SET synchronous_standby_names = '{quoted}'; SELECT pg_reload_conf();",
        )
    method = trigger_file(world, new)
    if (params.by == "trigger" or seen.scene.version.promote_methods == ("trigger",)) and not method:
        line = Line("candidate.trigger", new.name, "It names a trigger file")
        yield line.refused("its configuration names none", "promote it the usual way (by=auto)")
    if not seen.is_prepared:
        line = Line("candidate.prepared", new.name, "pgpanel's lines are there")
        mend = f"run “Set up replication” with {new.name} as primary afterwards"
        yield line.warning("nobody has prepared it: archiving, slots and the others stay as they are", mend)
    elif check := checks.config_check(new, world):
        yield check
    yield from _salvage_checks(params, seen, world)
    for name, facts in world.nodes.items():
        if name not in (new.name, seen.old.name) and isinstance(facts, Unreachable):
            line = Line("host.reachable", name, "The host answers")
            yield line.warning(facts.message, f"when it answers again, repair {name}: it follows nobody until then")


def _salvage_checks(params: PromoteParams, seen: Situation, world: World) -> Iterator[Check]:
    source = seen.old if seen.answers and params.salvage else seen.scene.brief.nodes.get(params.fetch_from)
    if source is None:
        return
    if isinstance(world.nodes[source.name], Facts):
        yield checks.tools_check(source, world, ["tar"])
    yield checks.tools_check(seen.scene.primary, world, ["ssh", "tar"])
    if check := checks.host_key_check(source):
        yield check
    place = f"{source.address}:{source.ssh_port}"
    reach = world.facts(seen.scene.primary.name).reach.get(place)
    if reach is not None and not reach.is_open:
        line = Line("salvage.way", seen.scene.primary.name, f"It reaches sshd of {source.name}")
        yield line.refused(
            f"{place}: {reach.error or 'no answer'}: its WAL cannot be fetched",
            f"on {source.name}, open port {source.ssh_port}, or plan without it (salvage=no) and accept the loss",
        )


# -- told ----------------------------------------------------------------------------------------------------------------------


def afterwards(seen: Situation) -> Sequence[str]:
    old = seen.old
    if not seen.answers:
        return (f"{old.name} goes under quarantine: it is stopped as soon as it is seen writable. Rebuild it when it is back.",)
    return (f"{old.name} stays stopped, or comes back as a standby if it was shut down cleanly; else rebuild it.",)


def is_clean(world: World, old: NodeSpec) -> bool:
    """Shut down in good order: with its last record on the new primary it follows without a rewind."""
    server = postgres_of(world, old)
    return bool(server and is_stopped(world, old) and server.control and server.control.state == "shut down")


def report_of(params: PromoteParams, seen: Situation) -> dict[str, Any]:
    own = seen.candidate
    server_timeline = next((one.timeline for one in (seen.scene.brief.memory.known.get(seen.old.name),) if one), 0)
    return {
        "primary": seen.old.name, "candidate": own.name, "verdict": {"kind": seen.verdict.kind, "sentence": seen.verdict.sentence},
        "evidence": [asdict(one) for one in seen.observations],
        "attested": params.attested if seen.verdict.kind == "unreachable" and not params.use_fence else "",
        "is_fenced_by_command": params.use_fence,
        "loss": {
            "sentence": loss_told(params, seen), "known_bytes": own.loss_bytes_known, "unseen_seconds": own.unseen_seconds,
            "is_zero": own.is_proven_zero, "is_accepted": params.accept_loss,
        },
        "candidates": [{"name": one.name, "sentence": one.sentence, "why_not": one.why_not} for one in seen.candidates],
        "timeline_before": server_timeline,
    }  # fmt: skip


def closing_of(params: PromoteParams, world: World) -> dict[str, Any]:
    """What came of it: the new timeline, where it began, and what the salvage proved."""
    said = _pairs(world.notes.get("promoted", ""))
    found: dict[str, Any] = {}
    if said:
        found = {
            "timeline_after": int(said["timeline"]), "switch_lsn": said["switch"], "promoted_at": float(said["ended"]),
            "promotion_ms": round((float(said["ended"]) - float(said["began"])) * 1000),
        }  # fmt: skip
    if fetched := salvaged(world):
        fetched_bytes = max(0, lsn.parse(fetched["replayed"]) - lsn.parse(fetched["before"]))
        is_proven = fetched["last"] != "unknown" and not params.fetch_from
        proven = "replayed to the last whole record that was there" if is_proven else "replayed until nothing more came"
        words = f"{bytes_shown(fetched_bytes)} were fetched and {proven} ({fetched['last']})."
        zero = {"loss": {"sentence": f"Nothing acknowledged is lost: {words}", "is_zero": True}} if is_proven else {}
        found |= {"salvaged": fetched | {"bytes": fetched_bytes, "sentence": words}} | zero
    return found


def _pairs(text: str) -> dict[str, str]:
    words = text.splitlines()[-1].split() if text.strip() else []
    return dict(zip(words[::2], words[1::2], strict=False)) if "timeline" in words else {}
