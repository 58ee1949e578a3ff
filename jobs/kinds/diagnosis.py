"""Why a standby does not follow: findings from facts, with the server's own words as evidence, and the mildest cure of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.blocks.scene import Scene, postgres_of, slot_in_use, upstream_of
from jobs.blocks.segments import Bridge, bridge_of, named
from jobs.blocks.settings import RECOVERY_NAMES, number_of
from jobs.blocks.standing import is_up, row_of, starts_as_standby
from jobs.recipe import NodeSpec, World
from remote import lsn
from remote.facts import Facts, Postgres

Cure = Literal["none", "start", "resume", "slot", "bridge", "label", "repoint", "restart", "password", "person", "rebuild"]

LOOKED = "repair"
NO_CHECKPOINT = "checkpoint record"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `mend`: what a person does, where no step of this job cures it."""

    key: str
    sentence: str
    cure: Cure
    mend: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Patient:
    """What there is to know of the node: who is to send to it, what its log says, the first line of a backup_label."""

    scene: Scene
    world: World
    spec: NodeSpec
    upstream: NodeSpec
    server: Postgres
    log: tuple[str, ...] = ()
    label: tuple[str, ...] = ()

    @property
    def above(self) -> Postgres | None:
        return postgres_of(self.world, self.upstream)

    @property
    def is_streaming(self) -> bool:
        row = row_of(self.scene.brief, self.world, self.spec.name)
        return is_up(self.server) and row is not None and row[1].state == "streaming"

    @property
    def bridge(self) -> Bridge:
        first = self._first() if self.spec != self.upstream else 0
        return bridge_of(self.scene, self.world, self.spec, self.upstream, first) if first else Bridge(0, None)

    def _first(self) -> int:
        """The segment that it reads next: behind what it has replayed, else where its recovery begins."""
        size = self.scene.segment_bytes
        if self.server.replay_lsn:
            return self.server.replay_lsn // size
        if found := re.search(r"START WAL LOCATION: [0-9A-F/]+ \(file ([0-9A-F]{24})\)", " ".join(self.label)):
            file = lsn.parse_wal_file_name(found[1], size)
            return file.segment if file else 0
        return self.server.control.redo_lsn // size if self.server.control else 0

    def said(self, *patterns: str) -> str:
        """The last line of the log that has one of these words."""
        return next((line for line in reversed(self.log) if any(pattern in line for pattern in patterns)), "")


def patient_of(scene: Scene, world: World, spec: NodeSpec) -> Patient:
    server = world.postgres(spec)
    assert server is not None  # the kind's checks have refused otherwise
    facts = world.nodes[spec.name]
    answer = facts.answers.get(LOOKED) if isinstance(facts, Facts) else None
    lines = answer.text.splitlines() if answer else []
    return Patient(
        scene, world, spec, upstream_for(scene, world, spec), server,
        log=tuple(line[4:] for line in lines if line.startswith("log ")),
        label=tuple(line[6:] for line in lines if line.startswith("label ")),
    )  # fmt: skip


def upstream_for(scene: Scene, world: World, spec: NodeSpec) -> NodeSpec:
    """Whom it is told to follow, if that one can send; else the primary."""
    told = upstream_of(world, spec, scene.brief)
    server = postgres_of(world, scene.brief.nodes[told]) if told and told != spec.name else None
    is_there = server is not None and is_up(server) and server.system_identifier == scene.system_identifier
    return scene.brief.nodes[told] if is_there else scene.primary


def findings_of(patient: Patient) -> list[Finding]:
    """In the order in which they are cured. Empty: nothing is wrong."""
    found = [finding for rule in RULES if (finding := rule(patient))]
    return [one for one in found if not patient.is_streaming or one.cure in ("resume", "restart", "slot", "person")]


# -- what can be wrong ---------------------------------------------------------------------------------------------------------


def _role(patient: Patient) -> Finding | None:
    if starts_as_standby(patient.server) or patient.spec == patient.scene.primary:
        return None
    return Finding("role", f"It is no standby: it would start as a primary beside {patient.scene.primary.name}.", "rebuild")


def _branch(patient: Patient) -> Finding | None:
    """On a branch that its upstream is not on: no WAL joins them."""
    above, own = patient.above, patient.server
    said = patient.said("forked off", "is not a child of this server")
    is_ahead = above is not None and own.timeline > above.timeline > 0
    if not is_ahead and not (said and not patient.is_streaming):
        return None
    timelines = f" (timeline {own.timeline}, {patient.upstream.name} has {above.timeline})" if above and is_ahead else ""
    return Finding(
        "branch", f"It has gone on past the point where the others branched off{timelines}.", "rebuild", evidence=said
    )  # fmt: skip


def _system(patient: Patient) -> Finding | None:
    identifier = patient.server.system_identifier
    if not identifier or identifier == patient.scene.system_identifier:
        return None
    return Finding("system", f"Its data is of another database system, {identifier}.", "rebuild")


def _parameters(patient: Patient) -> Finding | None:
    """14 and newer pause, older ones do not start."""
    above = patient.above
    if above is None:
        return None
    own = patient.server
    for name in patient.scene.version.standby_at_least:
        needed = max(number_of(above, name), getattr(own.control, name, 0) if own.control and not own.is_running else 0)
        has = number_of(own, name)
        if own.settings and has < needed:
            return Finding(
                "parameter", f"{name} is {has} here and {needed} on {patient.upstream.name}: it cannot replay on.", "person",
                f"“Change a setting”: {name} = {needed}, which goes to the standbys first",
                patient.said("insufficient parameter", name),
            )  # fmt: skip
    said = patient.said("insufficient parameter settings", "is not possible because") if not own.is_running else ""
    if not said:
        return None
    return Finding(
        "parameter", "A setting is lower here than on the primary: it does not start.", "person",
        "raise it in this node's postgresql.conf to the primary's value, then start it", said,
    )  # fmt: skip


def _disk(patient: Patient) -> Finding | None:
    said = patient.said("No space left on device")
    facts = patient.world.facts(patient.spec.name)
    mount = facts.mount_of(patient.server.data_directory)
    if mount is None or mount.free_bytes >= 2 * patient.scene.segment_bytes:
        return None
    reason = f"{mount.path} has {mount.free_bytes // 1024**2:,} MB left."
    return Finding("disk", reason, "person", f"free some space on {patient.spec.name}", said)


def _slot(patient: Patient) -> Finding | None:
    name = slot_in_use(patient.world, patient.spec, patient.scene.system_identifier)
    above = patient.above
    if not name or above is None:
        return None
    slot = above.slot_named(name)
    if slot is None:
        return Finding("slot", f"Its slot {name} is not on {patient.upstream.name}.", "slot", evidence=patient.said(f'"{name}"'))
    if slot.wal_status == "lost":
        return Finding(
            "slot", f"Its slot {name} on {patient.upstream.name} has lost its WAL.", "slot",
            evidence=patient.said("invalidated", "exceeded the maximum"),
        )  # fmt: skip
    return None


def _wal(patient: Patient) -> Finding | None:
    bridge, said = patient.bridge, patient.said("has already been removed", NO_CHECKPOINT)
    if not bridge.is_needed:
        return None
    timeline = patient.server.timeline or (patient.server.control.timeline if patient.server.control else 1)
    what = named(patient.scene, list(bridge.missing), timeline)
    if bridge.nowhere:
        gone = named(patient.scene, list(bridge.nowhere), timeline)
        return Finding("wal", f"It needs {what}, and {gone} is on none of the nodes any more.", "rebuild", evidence=said)
    where = sorted({name for names in bridge.missing.values() for name in names[:1]})
    return Finding(
        "wal", f"It needs {what}, which {patient.upstream.name} cannot stream any more; {' and '.join(where)} has it.", "bridge",
        evidence=said,
    )  # fmt: skip


def _checkpoint(patient: Patient) -> Finding | None:
    """Its WAL is all there is to supply. A label of a copy is never removed: without it the server starts and is damaged."""
    said = patient.said(NO_CHECKPOINT)
    if patient.server.is_running or not said or patient.bridge.is_needed:
        return None
    if patient.label and not starts_as_standby(patient.server):
        is_exclusive = patient.scene.version.may_have_exclusive_backup or patient.scene.version.backup_is_exclusive
        if is_exclusive and "BACKUP METHOD: streamed" not in patient.label:
            return Finding(
                "label", "It crashed while an exclusive backup was open: its backup_label sends it to WAL that is gone.", "label",
                evidence=said,
            )  # fmt: skip
    return Finding(
        "checkpoint", "The WAL where its recovery begins is damaged or gone, and no node has it.", "rebuild", evidence=said
    )


def _upstream(patient: Patient) -> Finding | None:
    told = upstream_of(patient.world, patient.spec, patient.scene.brief)
    if told == patient.upstream.name or not starts_as_standby(patient.server):
        return None
    whom = f"{told}, which cannot send" if told and told != patient.spec.name else "none of the nodes"
    said = patient.said("could not connect", "connection to server")
    return Finding("upstream", f"It is told to follow {whom}.", "repoint", evidence=said)


def _stopped(patient: Patient) -> Finding | None:
    if patient.server.is_running:
        return None
    state = patient.server.control.state if patient.server.control else "unknown"
    return Finding("stopped", f"PostgreSQL does not run there ({state}).", "start", evidence=patient.said("FATAL", "PANIC"))


def _waiting(patient: Patient) -> Finding | None:
    """What makes it follow, and is only read at the start."""
    wanted = {*RECOVERY_NAMES, *patient.scene.version.standby_at_least, "hot_standby"}
    names = [name for name in patient.server.pending_restart if name in wanted]
    if not names:
        return None
    return Finding("pending", f"{', '.join(names)} waits for a restart.", "restart")


def _paused(patient: Patient) -> Finding | None:
    if not patient.server.is_replay_paused or _parameters(patient):
        return None
    return Finding("paused", "Somebody has paused its replay: it receives, and shows nothing new.", "resume")


def _login(patient: Patient) -> Finding | None:
    said = patient.said("password authentication failed", "no pg_hba.conf entry", "no password supplied")
    if not said or patient.is_streaming or not patient.server.is_running:
        return None
    if "pg_hba.conf" in said:
        mend = "“Set up replication” once more: it writes the lines that let every node in"
        return Finding("login", f"{patient.upstream.name} does not let it in.", "person", mend, said)
    return Finding("login", f"{patient.upstream.name} refuses its password.", "password", evidence=said)


RULES: Sequence[Callable[[Patient], Finding | None]] = (
    _role, _system, _branch, _disk, _parameters, _checkpoint, _slot, _wal, _stopped, _login, _upstream, _waiting, _paused,
)  # fmt: skip
