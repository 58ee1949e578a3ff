"""Kind `repair`: why a standby does not follow, and the mildest cure that works. A rebuild is proposed, not done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocks import checks, following, service
from jobs.blocks.configuration import is_answering, reset_step
from jobs.blocks.following import existing_params, role_scene
from jobs.blocks.keys import own_files
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.scene import Scene, has_files, on_host, own_file, path_of, postgres_of, request_of, slot_in_use, upstream_of
from jobs.blocks.segments import LISTED, list_question
from jobs.blocks.standing import is_up, second_primary_check, starts_as_standby, the_primary, would_be_primary
from jobs.kinds.bridge import bridge_steps
from jobs.kinds.diagnosis import LOOKED, Cure, Finding, Patient, findings_of, patient_of
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.command import Command
from remote.facts import FactsRequest, Unreachable

CURES = ("auto", "bridge", "slot", "repoint", "restart", "rebuild")
WORDS: dict[Cure, str] = {
    "start": "It is started",
    "resume": "Its replay goes on",
    "slot": "The slot is made anew",
    "bridge": "Bridging is possible: the files are brought to it, nothing is copied anew",
    "label": "The label is moved aside, after it is proven on the host that this is no copy",
    "repoint": "It is pointed to its upstream",
    "restart": "It is restarted",
    "password": "Its password file is written anew",
}


@dataclass(frozen=True)
class RepairParams:
    """cure: "auto" cures all that is found, in order; another one only that."""

    node: str
    cure: str = "auto"


@dataclass(frozen=True)
class Repair:
    """See docs/kinds/repair.md."""

    name: str = "repair"
    label: str = "Repair"

    def params(self, data: Mapping[str, Any]) -> RepairParams:
        read = Reader(data)
        params = RepairParams(node=read.required("node"), cure=read.choice("cure", CURES))
        read.end()
        return params

    def title(self, params: RepairParams) -> str:
        return f"Repair {params.node}"

    def nodes(self, params: RepairParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: RepairParams, brief: Brief) -> Mapping[str, FactsRequest]:
        found = {}
        for name, spec in brief.nodes.items():
            questions: tuple[tuple[str, Command], ...] = ((LISTED, list_question(spec)),)
            if name == params.node:
                look = on_host("repair_look.sh", spec.data_directory, spec.log_file, user=spec.owner, mutates=False)
                questions = (*questions, (LOOKED, look))
            found[name] = replace(request_of(brief, spec), questions=questions)
        return found

    def checks(self, params: RepairParams, brief: Brief, world: World) -> Sequence[Check]:
        spec, away = brief.nodes[params.node], {name for name, facts in world.nodes.items() if isinstance(facts, Unreachable)}
        found = checks.host_checks(brief, world, (spec.name,))
        if spec.name in away:
            return found
        refusal = _scene_check(brief, world, spec)
        if refusal.level == "refused":
            return [*found, refusal]
        found += [
            Line("host.reachable", name, "The host answers").warning("it does not: what lies there cannot be used")
            for name in sorted(away)
        ]
        patient = self._patient(params, brief, world)
        if params.cure == "rebuild":
            line = Line("repair.rebuild", spec.name, "A rebuild is a job of its own")
            return [*found, line.refused("it keeps the old directory, and says how long it takes", f"“Rebuild {spec.name}”")]
        said = findings_of(patient)
        found += [_finding_check(patient, finding) for finding in said]
        if params.cure != "auto" and params.cure not in {finding.cure for finding in said}:
            line = Line("repair.cure", spec.name, f"The cure “{params.cure}” is one that is needed")
            found.append(line.refused("nothing that was found needs it", "let the panel choose the cure"))
        if not said:
            found.append(Line("repair.none", spec.name, "What is wrong").ok("nothing to repair: it streams"))
        if not starts_as_standby(patient.server) and not is_up(patient.server):
            found.append(second_primary_check(brief, world, spec, "started"))
        return found

    def steps(self, params: RepairParams, brief: Brief, world: World) -> Sequence[Step]:
        patient = self._patient(params, brief, world)
        if patient.spec == patient.scene.primary:
            return [_label_step(patient), _start_step(patient.spec)]
        steps = [step for cure, some in _cures(patient) if params.cure in ("auto", cure) or cure == "start" for step in some]
        return [*steps, following.streaming_step(patient.scene, patient.spec, patient.upstream)]

    def summary(self, params: RepairParams, brief: Brief, world: World) -> Sequence[str]:
        found = findings_of(self._patient(params, brief, world))
        if not found:
            return [f"Nothing to repair: {params.node} streams."]
        return [f"{finding.sentence} {WORDS[finding.cure]}." for finding in found if finding.cure in WORDS]

    def _patient(self, params: RepairParams, brief: Brief, world: World) -> Patient:
        scene = role_scene(would_be_primary(brief, world).name, brief, world)
        return patient_of(scene, world, brief.nodes[params.node])


def _scene_check(brief: Brief, world: World, spec: NodeSpec) -> Check:
    line, server = Line("node.server", spec.name, "It can be repaired"), postgres_of(world, spec)
    if server is None:
        return line.refused(f"there is no database cluster in {spec.data_directory}", f"“Add a standby” makes one on {spec.name}")
    primary, refusal = the_primary(brief, world)
    if primary == spec:
        return line.refused("it is the primary, and takes writes", "a repair is for a standby that does not follow")
    if primary is None and starts_as_standby(server):
        return refusal
    if primary is None and is_up(server):
        return refusal
    return line.ok(f"as a standby of {primary.name}" if primary else "as the primary that it was")


def _finding_check(patient: Patient, finding: Finding) -> Check:
    line = Line(f"repair.{finding.key}", patient.spec.name, "What is wrong")
    reason = finding.sentence.rstrip(".") + (f" ({finding.evidence})" if finding.evidence else "")
    if finding.cure == "rebuild":
        return line.refused(reason, f"“Rebuild {patient.spec.name}”: it keeps the old directory until the new one streams")
    if finding.cure == "person":
        return line.refused(reason, finding.mend)
    return line.warning(reason, f"this job cures it: {WORDS[finding.cure][0].lower()}{WORDS[finding.cure][1:]}")


# -- steps ---------------------------------------------------------------------------------------------------------------------


def _cures(patient: Patient) -> list[tuple[str, list[Step]]]:
    """Each cure's steps: always all of them, and each has something to do only where its finding is."""
    scene, spec, upstream = patient.scene, patient.spec, patient.upstream
    told = existing_params(scene, patient.world)

    def now(world: World) -> Patient:
        return replace(patient, world=world, server=world.postgres(spec) or patient.server)

    def needs_bridge(world: World) -> bool:
        return now(world).bridge.is_needed

    slot = slot_in_use(patient.world, spec, scene.system_identifier)
    slots = [_slot_step(scene, told, spec, upstream)] if slot else []
    login = [_password_step(patient, told)] if not told.trust else []
    return [
        ("slot", slots),
        ("bridge", bridge_steps(scene, spec, upstream, lambda world: now(world).bridge.first, needs_bridge)),
        ("start", [*login, _start_step(spec)]),
        ("repoint", [*([_reset_step(patient, told)] if scene.version.has_auto_conf else []), _follow_step(patient, told)]),
        ("restart", [_restart_step(spec)]),
        ("resume", [_resume_step(patient)]),
    ]


def _slot_step(scene: Scene, told: Any, spec: NodeSpec, upstream: NodeSpec) -> Step:
    return following.slots_on_step(scene, replace(told, retention="slots"), upstream, (spec,))


def _password_step(patient: Patient, told: Any) -> Step:
    """Only where the panel keeps a file already: a standby that somebody made has its password elsewhere."""
    spec = patient.spec
    files = own_files(patient.scene, replace(told, archive=False), spec)

    def done(world: World) -> bool:
        is_kept = path_of(world, spec, own_file(spec, "pgpass")).kind == "file"
        return not is_kept or has_files(world, files, spec) or replace(patient, world=world).is_streaming

    return Step(
        key=f"password.file#{spec.name}", node=spec.name, title="Write the password file anew", done=done,
        actions=lambda _world: files, why="It is not the one that the panel keeps. It is read at every login.",
    )  # fmt: skip


def _start_step(spec: NodeSpec) -> Step:
    def is_started(world: World) -> bool:
        server = postgres_of(world, spec)
        return server is not None and server.is_running

    return Step(
        key=f"node.start#{spec.name}", node=spec.name, title="Start PostgreSQL", done=is_started, within_seconds=600,
        actions=lambda world: (service.start_command(world, spec),), diagnosis=service.log_tail(spec),
        why="It reads on where it stopped.",
    )  # fmt: skip


def _follow_step(patient: Patient, told: Any) -> Step:
    """Its lines are only written where it is told to follow somebody else."""
    scene, spec, upstream = patient.scene, patient.spec, patient.upstream
    step = following.follow_step(following.following(scene, spec, upstream), told, spec, upstream)
    return replace(step, done=lambda world: upstream_of(world, spec, scene.brief) == upstream.name)


def _reset_step(patient: Patient, told: Any) -> Step:
    """postgresql.auto.conf would win over what is written next."""
    scene, spec, upstream = patient.scene, patient.spec, patient.upstream
    step = reset_step(following.following(scene, spec, upstream), told, spec)
    return replace(
        step, done=lambda world: upstream_of(world, spec, scene.brief) == upstream.name or step.done(world), within_seconds=30
    )


def _restart_step(spec: NodeSpec) -> Step:
    def pending(world: World) -> bool:
        server = postgres_of(world, spec)
        return bool(server and is_up(server) and server.pending_restart)

    return Step(
        key=f"standby.restart#{spec.name}", node=spec.name, title="Restart PostgreSQL", within_seconds=600, forecast=pending,
        done=lambda world: not pending(world) and _is_running(world, spec),
        actions=lambda world: (service.restart_command(world, spec),), diagnosis=service.log_tail(spec),
        restarts=f"PostgreSQL on {spec.name}, a standby: its sessions end", why="Some of its settings are only read at the start.",
    )  # fmt: skip


def _is_running(world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    return bool(server and server.is_running)


def _resume_step(patient: Patient) -> Step:
    spec, call = patient.spec, patient.scene.version.functions.replay_resume

    def paused(world: World) -> bool:
        server = postgres_of(world, spec)
        return bool(server and is_up(server) and server.is_replay_paused)

    command = on_host(
        "if_it_runs.sh", spec.data_directory, spec.bin_directory, spec.owner, user=spec.owner, stdin=f"SELECT {call}();\n"
    )
    return Step(
        key=f"replay.resume#{spec.name}", node=spec.name, title="Let its replay go on", done=lambda world: not paused(world),
        actions=lambda _world: (command,) if call else (), why="Somebody has paused it.",
    )  # fmt: skip


def _label_step(patient: Patient) -> Step:
    spec = patient.spec
    command = on_host("label_aside.sh", spec.data_directory, spec.bin_directory, patient.scene.brief.job, user=spec.owner)

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        if server is None or not server.has_backup_label or is_answering(world, spec):
            return True
        return "label" not in {finding.cure for finding in findings_of(replace(patient, world=world, server=server))}

    return Step(
        key=f"label.aside#{spec.name}", node=spec.name, title="Move the backup_label of the crashed primary aside", done=done,
        actions=lambda _world: (command,), destroys="backup_label is renamed, not deleted",
        why="Proven before, on the host: it crashed here, it is no copy, and the WAL of its own last checkpoint is there.",
    )  # fmt: skip


KIND = Repair()
