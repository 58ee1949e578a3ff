"""Walking a plan: one predicate asked before each step (skip), after it (verify), and again by the next worker (resume)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.utils import timezone

from jobs import gap
from jobs.act import Actor, Failed
from jobs.log import told
from jobs.models import JobStep
from jobs.planning import plan_from
from jobs.recipe import Brief, Ended, Kind, NodeUnreachable, Plan, PlannedStep, Section, Step, World, identities_of, planned
from jobs.sight import MOST_AT_ONCE, Sight
from jobs.stored import identities_moved, moved
from jobs.telling import tell_after, tell_before
from pgpanel import live
from pgpanel.redaction import Redactor
from remote.command import Command, accounts, shown_lines
from remote.errors import HostError, LockHeld
from remote.facts import Unreachable
from remote.host import Host

FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.1, 1.0
PROOF_AGE_SECONDS = 1.0
"""A proof is not taken from facts that are older."""
Status = JobStep.Status


class Drift(Exception):
    """The world is not the one of the plan. changes: what differs, in sentences."""

    def __init__(self, changes: list[str]) -> None:
        super().__init__("; ".join(changes))
        self.changes = changes


class StepFailed(Exception):
    """A step did not become done. `cause` says why."""

    def __init__(self, step: JobStep, cause: Failed | HostError) -> None:
        super().__init__(str(cause))
        self.step, self.cause = step, cause


def _looked_at(step: Step) -> tuple[str, ...]:
    return (step.node, *step.reads) if step.sees_facts else ()


def said(cause: Failed | HostError) -> str:
    """What happened, without the mend (which the outcome says apart)."""
    return cause.message if isinstance(cause, HostError) else str(cause)


class Walk:
    def __init__(self, kind: Kind, params: Any, brief: Brief, plan: Plan, *, sight: Sight, actor: Actor) -> None:
        self.kind, self.params, self.brief, self.plan, self.sight, self.actor = kind, params, brief, plan, sight, actor
        self.claim, self.log = actor.claim, actor.log
        self.redactor = Redactor(brief.secrets.values())

    def go(self) -> None:
        nodes = self.kind.nodes(self.params, self.brief)
        world = self.sight.look(nodes)
        self._require_reachable(world)
        rows = {row.key: row for row in JobStep.objects.filter(job_id=self.claim.job_id)}
        if any(row.attempt for row in rows.values()):
            steps = self._compare_what_is_left(world, rows)
        else:
            self._compare(world)
            steps = list(self.kind.steps(self.params, self.brief, world))
            tell_before(self.claim, self.kind, self.params, self.brief, world)
        self._announce(nodes, world)
        for number, step in enumerate(steps):
            self._step(step, rows[step.key], self._confirmed(step), self._seen_next(steps[number + 1 :]))
            if step.is_point_of_no_return:
                tell_after(self.claim, self.kind, self.params, self.sight.world)

    # -- is it still the plan that was confirmed? ------------------------------------------------------------------------------

    def _require_reachable(self, world: World) -> None:
        """A node that answered when the plan was made must answer now; one that did not is the kind's own affair (a promotion)."""
        for node, facts in world.nodes.items():
            if isinstance(facts, Unreachable) and "reachable" not in self.plan.identities.get(node, {}):
                raise NodeUnreachable(node, facts)

    def _compare(self, world: World) -> None:
        """Before any change: the plan made from what is true now must be the confirmed one."""
        now = plan_from(self.kind, self.params, self.brief, world)
        if now.is_refused or now.hash != self.plan.hash:
            raise Drift(moved(self.plan, now))

    def _compare_what_is_left(self, world: World, rows: dict[str, JobStep]) -> list[Step]:
        """Going on: the same machines, and the same commands for what is not begun. (Roles may have been changed by us.)"""
        touched = {row.node for row in rows.values() if row.attempt}
        # a lost primary that answers again stops a promotion before its turn; behind it the clean-up goes on
        has_turned = any(rows[step.key].status == Status.DONE for step in self.plan.steps if step.is_point_of_no_return)
        confirmed = {
            node: {
                name: value
                for name, value in known.items()
                if (name == "machine" or node not in touched) and not (has_turned and name == "reachable")
            }
            for node, known in self.plan.identities.items()
        }
        changes = identities_moved(confirmed, identities_of(self.brief, world, list(confirmed)))
        if changes:
            raise Drift(changes)
        steps = list(self.kind.steps(self.params, self.brief, world))
        if [step.key for step in steps] != [step.key for step in self.plan.steps]:
            raise Drift(["the list of steps is not the one that was confirmed"])
        for step in steps:
            if rows[step.key].attempt == 0 and not step.done(world):
                now, shown = planned(step, world), self._confirmed(step)
                is_same = self._shown(now.shown) == shown.shown and now.accounts == shown.accounts
                if shown.is_needed and now.shown and not is_same:
                    changes.append(f"{step.node}: “{step.title}” would run other commands")
        if changes:
            raise Drift(changes)
        return steps

    def _shown(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        """As the plan shows them."""
        return tuple(self.redactor.text(text) for text in lines)

    def _confirmed(self, step: Step) -> PlannedStep:
        return next(known for known in self.plan.steps if known.key == step.key)

    def _announce(self, nodes: tuple[str, ...], world: World) -> None:
        """Every host hears of this claim before the first change, so that a worker that lost the job can change none of them."""
        self.actor.check()
        there = [node for node in nodes if world.nodes[node].is_reachable]
        hosts = [self.sight.hosts[node] for node in there]
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            heard = list(pool.map(self._heard, there, hosts))
        for node in (node for node, has_heard in zip(there, heard, strict=True) if not has_heard):
            self.actor.when_free(node, lambda host: host.run(Command(("true",), user=self.brief.nodes[host.name].owner)))

    def _heard(self, node: str, host: Host) -> bool:
        try:
            host.run(Command(("true",), user=self.brief.nodes[node].owner))
        except LockHeld:
            return False
        return True

    # -- one step --------------------------------------------------------------------------------------------------------------

    def _seen_next(self, following: Sequence[Step]) -> frozenset[str]:
        """Nodes that will be looked at before the next step that has commands: seen beside this step's own, each costs no time."""
        nodes: set[str] = set()
        for step in following:
            confirmed = self._confirmed(step)
            if confirmed.is_needed and confirmed.shown:
                break
            nodes |= set(_looked_at(step))
        return frozenset(nodes)

    def _step(self, step: Step, row: JobStep, confirmed: PlannedStep, next_nodes: frozenset[str]) -> None:
        self.actor.check()
        world = self._before(step, confirmed)
        if self._is_done(step, world):
            self._found_done(row, confirmed)
        elif not confirmed.is_needed:
            raise Drift([f"{step.node}: “{step.title}” has something to do now, the plan said that it had nothing"])
        else:
            self._run(step, row, confirmed, world, next_nodes)

    def _before(self, step: Step, confirmed: PlannedStep) -> World:
        """Fresh facts where they decide. For a step that is to run, old ones that say "not done" will do: it is verified after."""
        nodes = _looked_at(step)
        if step.is_proof:
            return self.sight.look(nodes, oldest_seconds=PROOF_AGE_SECONDS)
        world = self.sight.world
        will_run = confirmed.is_needed and world.nodes[step.node].is_reachable and not self._is_done(step, world)
        return world if will_run else self.sight.look(nodes)

    @staticmethod
    def _is_done(step: Step, world: World) -> bool:
        try:
            return step.done(world)
        except NodeUnreachable:
            return False

    def _found_done(self, row: JobStep, confirmed: PlannedStep) -> None:
        """It held before the job, or an earlier step or worker of the job brought it about."""
        if row.status in (Status.DONE, Status.ALREADY):
            return
        now = timezone.now()
        status = Status.DONE if confirmed.is_needed else Status.ALREADY
        self._mark(row, status=status, started_at=row.started_at or now, ended_at=now, error="")

    def _run(self, step: Step, row: JobStep, confirmed: PlannedStep, world: World, next_nodes: frozenset[str]) -> None:
        actions = step.runs(world)
        if self._shown(shown_lines(actions)) != confirmed.shown or accounts(actions) != confirmed.accounts:
            raise Drift([f"{step.node}: “{step.title}” would run other commands than those that were confirmed"])
        if row.status != Status.RUNNING:  # else: taken over from a worker that fell silent in the middle of it
            self._mark(
                row, status=Status.RUNNING, attempt=row.attempt + 1, started_at=timezone.now(), ended_at=None, error="", progress={}
            )
        try:
            if actions:
                self.sight.touched()
            output = self._section(row, step.section) if step.section else self.actor.run(row, actions)
            if step.note:
                self.sight.notes[step.note] = self.log.redactor.text(output.strip())
                self.claim.update(notes=self.sight.notes)
            self._verify(step, next_nodes)
        except Ended as ended:
            self.log.write("error", self.log.redactor.text(ended.message), row.node, row.key)
            self.actor.diagnose(row, step.diagnosis)
            self._mark(row, status=Status.FAILED, ended_at=timezone.now(), error=self.log.redactor.text(ended.message))
            raise
        except (Failed, HostError, NodeUnreachable) as error:
            cause = Failed(str(error), error.unreachable.mend) if isinstance(error, NodeUnreachable) else error
            text = self.log.redactor.text(said(cause))
            self.log.write("error", text, row.node, row.key)
            self.actor.diagnose(row, step.diagnosis)
            self._mark(row, status=Status.FAILED, ended_at=timezone.now(), error=text)
            raise StepFailed(row, cause) from error
        self.log.flush()
        self._mark(row, status=Status.DONE, ended_at=timezone.now(), error="")
        self.claim.update(handovers_in_vain=0)

    def _section(self, row: JobStep, section: Section) -> str:
        """Its intent is recorded: this step runs, all lines before it are stored. Its own records are written after it."""
        for part in section.parts:
            self.log.write("command", told(part.command.shown), part.node, row.key)
        self.log.flush()
        gap.run(self.actor, row, section)
        return ""

    def _verify(self, step: Step, next_nodes: frozenset[str]) -> None:
        """A step whose commands succeeded but that is not done has failed."""
        deadline, delay = time.monotonic() + step.within_seconds, FIRST_POLL_SECONDS
        while True:
            world = self.sight.look(_looked_at(step), oldest_seconds=0, beside=next_nodes)
            try:
                if step.done(world):
                    return
                self.sight.touched()  # it goes on changing: what was seen beside it may be of before
                next_nodes = frozenset()
                missing = Failed(f"Its commands ran, but “{step.title}” did not become true within {step.within_seconds:g} s.")
            except NodeUnreachable as error:
                missing = Failed(str(error), error.unreachable.mend)
                self.sight.hosts.drop(error.node)
            if time.monotonic() + delay > deadline:
                raise missing
            self.actor.pause(delay)
            delay = min(delay * 1.5, LONGEST_POLL_SECONDS)

    def _mark(self, row: JobStep, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(row, name, value)
        self.claim.update_step(row.key, **fields)
        live.publish(f"job:{self.claim.job_id}", "steps", {})
