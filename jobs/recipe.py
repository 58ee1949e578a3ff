"""What a job consists of, as frozen values without Django: a Kind makes a Plan out of parameters and facts.

The central idea is one predicate with three uses: `Step.done(world)` asked before its actions skips what already holds, asked
after them verifies, asked again after a crash resumes. See docs/decisions and `jobs/engine.py`, which walks these.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from clusters.evidence import Memory
from remote.command import Action, Command, Secret, WriteFile, accounts, shown_lines, text_shown
from remote.facts import Facts, FactsRequest, Postgres, Unreachable

Level = Literal["ok", "warning", "refused"]


@dataclass(frozen=True)
class NodeSpec:
    """What a kind needs to know of a node: frozen into the job's parameters' company, no Django model.

    ssh_port, host_key: where and as whom the *other nodes* find its sshd (for archiving and copies between them); host_key is the
    pinned line, "ssh-ed25519 AAAA…".
    """

    name: str
    ssh_host: str
    address: str
    port: int
    layout: str
    data_directory: str
    config_directory: str
    bin_directory: str
    wal_archive_directory: str
    owner: str
    service: str = ""
    start_command: str = ""
    stop_command: str = ""
    restart_command: str = ""
    log_file: str = ""
    ssh_port: int = 22
    host_key: str = ""


@dataclass(frozen=True)
class Brief:
    """Everything a kind plans from besides facts: stable for the life of the job.

    job: the job's own name on hosts and in markers, e.g. "job-418-3fa97c01": no other job of any panel has it.
    secrets: by purpose ("replication_password", "monitoring_password", "archive_key:pg1",
        "archive_public_key:pg1"); values never reach a plan or a log.
    quarantined: nodes that must not become writable, and why. memory: what the panel saw before; only checks and reports use it.
    """

    job: str
    cluster: str
    cluster_identifier: str
    nodes: Mapping[str, NodeSpec]
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True)
class World:
    """What is known now: facts by node name, and what earlier steps noted (`Step.note`)."""

    nodes: Mapping[str, Facts | Unreachable]
    notes: Mapping[str, str] = field(default_factory=dict)

    def facts(self, node: str) -> Facts:
        """The node's facts; `NodeUnreachable` if it did not answer."""
        found = self.nodes[node]
        if isinstance(found, Unreachable):
            raise NodeUnreachable(node, found)
        return found

    def postgres(self, spec: NodeSpec) -> Postgres | None:
        return self.facts(spec.name).postgres(spec.data_directory)


class NodeUnreachable(Exception):
    def __init__(self, node: str, unreachable: Unreachable) -> None:
        super().__init__(f"{node}: {unreachable.message}")
        self.node = node
        self.unreachable = unreachable


@dataclass(frozen=True)
class Check:
    """One line of the preflight table. A refusal names its reason and its mend, with a line to paste where there is one."""

    key: str
    node: str
    title: str
    level: Level
    reason: str = ""
    mend: str = ""
    mend_command: str = ""


@dataclass(frozen=True)
class Part:
    """What one host does in a section: a command whose input stays open (`Host.open`): one word a line, one answer a line."""

    name: str
    node: str
    command: Command


class Cues(Protocol):
    """How a section's `conduct` speaks with its parts. A lost line is `ConnectionLost`, no answer in time `Silent`
    (remote.errors).

    Nothing of it touches the database or the log: what was said and heard is kept in memory and written after the section.
    """

    def say(self, part: str, line: str) -> None: ...
    def hear(self, part: str, within_seconds: float = 10.0) -> str:
        """The part's next line."""

    def reopen(self, part: str) -> None:
        """The part anew, after its line was lost; HostError when it cannot be had."""

    def check(self) -> None:
        """Raises when the job is no longer wanted, or no longer this worker's: asked before the point of no return."""

    def note(self, text: str, part: str = "") -> None:
        """A sentence for the log and the report's timeline: what happened on that part's host."""


@dataclass(frozen=True)
class Ending:
    """How a section, or a job that tells more than "succeeded", ended.

    word: done | rolled_back | cleanup_pending | unknown. report: what `Job.report` is to know of it (gap_ms, timeline_before, …).
    """

    word: str = "done"
    report: Mapping[str, Any] = field(default_factory=dict)


class Ended(Exception):
    """Raised by a kind: the job ends as failed, with this word (`Job.ending`), and says what happened and what to do about it."""

    def __init__(self, ending: str, message: str, mend: str = "", report: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.ending, self.message, self.mend, self.report = ending, message, mend, dict(report or {})


@dataclass(frozen=True)
class Section:
    """A critical section as one step: its parts are opened before, `conduct` (pure) runs it, its records are written after it."""

    parts: tuple[Part, ...]
    conduct: Callable[[Cues], Ending]


@dataclass(frozen=True)
class Step:
    """One step on one host.

    key: `role.verb`, unique in the plan (a node name is appended by `#` where a step repeats: `standby.copy#pg2`).
    done: the predicate; never raises for a missing cluster, only `NodeUnreachable`.
    actions: what to run, from stable facts only (what is confirmed is what runs); empty for a wait.
    forecast: plan time: will this step have something to do? Default: `not done(world)`. Needed where earlier steps create the need
        (a restart); a step whose forecast said "nothing" and that has something to do at run time stops the job as drift.
    within_seconds: how long `done` may take to become true after the actions (polled).
    destroys: says aloud what is overwritten or moved aside ("" = nothing).
    restarts: names what is restarted ("" = nothing).
    note: stdout of the last action is kept under this name in `World.notes`.
    why: one sentence for the plan page.
    reads: nodes whose facts `done` looks at, besides `node`. sees_facts: False where it looks at `World.notes` alone.
    diagnosis: read-only commands whose answer tells why the step failed (the server's log, say); run only then, into the job's log.
    section: instead of actions: a critical section over several hosts.
    is_point_of_no_return: once it is done, a job that fails ends as `cleanup_pending`, and one that succeeds as `done`.
    """

    key: str
    node: str
    title: str
    done: Callable[[World], bool]
    actions: Callable[[World], Sequence[Action]] = lambda _world: ()
    forecast: Callable[[World], bool] | None = None
    within_seconds: float = 30.0
    destroys: str = ""
    restarts: str = ""
    note: str = ""
    why: str = ""
    reads: tuple[str, ...] = ()
    sees_facts: bool = True
    is_proof: bool = False
    diagnosis: tuple[Command, ...] = ()
    section: Section | None = None
    is_point_of_no_return: bool = False

    def runs(self, world: World) -> tuple[Action, ...]:
        """What it sends to hosts: its actions, or the parts of its section."""
        if self.section:
            return tuple(part.command for part in self.section.parts)
        return tuple(self.actions(world))


@dataclass(frozen=True)
class PlannedStep:
    """A step as shown, stored and hashed. accounts: whom each of `shown` runs as ("" = whoever logs in).

    nodes: on which host each of them runs, where that is not `node` alone.
    """

    key: str
    node: str
    title: str
    why: str
    is_needed: bool
    shown: tuple[str, ...]
    diffs: tuple[tuple[str, str], ...]
    destroys: str = ""
    restarts: str = ""
    accounts: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    is_point_of_no_return: bool = False

    @property
    def commands(self) -> tuple[tuple[str, str], ...]:
        """(account, command as shown); the account says its host too, where a step has several."""
        whom = [f"{account or 'login'} on {node}" for account, node in zip(self.accounts, self.nodes, strict=False)]
        return tuple(zip(whom or self.accounts, self.shown, strict=True))


@dataclass(frozen=True)
class Plan:
    """What the person confirms. `identities` must still hold when it runs: machine, system identifier, role, timeline."""

    kind: str
    title: str
    checks: tuple[Check, ...]
    steps: tuple[PlannedStep, ...]
    identities: Mapping[str, Mapping[str, str]]
    summary: tuple[str, ...] = ()
    estimate_seconds: float | None = None

    @property
    def is_refused(self) -> bool:
        return any(check.level == "refused" for check in self.checks)

    @property
    def hash(self) -> str:
        """Covers parameters' effects (commands, diffs), identities, roles and timelines; not volatile facts (lag, sizes, ages)."""
        covered = {"kind": self.kind, "steps": [asdict(step) for step in self.steps], "identities": self.identities}
        return hashlib.sha256(json.dumps(covered, sort_keys=True, default=list).encode()).hexdigest()


class Kind(Protocol):
    """A job kind: one module in `jobs/kinds/` holds one frozen instance (`KIND`), listed in `jobs.kinds.KINDS`."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...

    def params(self, data: Mapping[str, Any]) -> Any:
        """Validated frozen dataclass from plain JSON; `ParamsError` names field and mend."""

    def title(self, params: Any) -> str: ...
    def nodes(self, params: Any, brief: Brief) -> tuple[str, ...]:
        """Names of the nodes whose facts it needs."""

    def requests(self, params: Any, brief: Brief) -> Mapping[str, FactsRequest]: ...
    def checks(self, params: Any, brief: Brief, world: World) -> Sequence[Check]: ...
    def steps(self, params: Any, brief: Brief, world: World) -> Sequence[Step]:
        """The list depends on params and brief, and on stable facts (versions, paths), never on what is already done."""

    def summary(self, params: Any, brief: Brief, world: World) -> Sequence[str]: ...


class ParamsError(ValueError):
    def __init__(self, field_name: str, message: str, mend: str = "") -> None:
        super().__init__(f"{field_name}: {message}" + (f" — {mend}" if mend else ""))
        self.field_name, self.message, self.mend = field_name, message, mend


def identities_of(brief: Brief, world: World, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Who each host and its database cluster are: what a plan binds to."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        facts = world.nodes[name]
        if isinstance(facts, Unreachable):
            found[name] = {"reachable": "no"}
            continue
        postgres = facts.postgres(brief.nodes[name].data_directory)
        found[name] = {
            "machine": facts.machine_id or facts.hostname,
            "system_identifier": postgres.system_identifier if postgres else "",
            "role": postgres.role if postgres else "",
            "timeline": str(postgres.timeline) if postgres else "",
        }
    return found


def planned(step: Step, world: World) -> PlannedStep:
    is_needed = step.forecast(world) if step.forecast else not step.done(world)
    actions = step.runs(world) if is_needed else ()
    parts = step.section.parts if step.section and is_needed else ()
    diffs = tuple((action.path, file_diff(action, world.facts(step.node))) for action in actions if isinstance(action, WriteFile))
    return PlannedStep(
        key=step.key, node=step.node, title=step.title, why=step.why, is_needed=is_needed,
        shown=shown_lines(actions), accounts=accounts(actions), diffs=diffs,
        destroys=step.destroys if is_needed else "", restarts=step.restarts if is_needed else "",
        nodes=tuple(part.node for part in parts), is_point_of_no_return=step.is_point_of_no_return,
    )  # fmt: skip


def file_diff(action: WriteFile, facts: Facts) -> str:
    """A unified diff, secrets masked, of the file as the facts saw it (`FactsRequest.paths`) and as it will be."""
    known = facts.paths.get(action.path)
    before = known.text if known and known.text is not None else ""
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True), text_shown(action.text).splitlines(keepends=True), action.path, action.path, n=2
        )
    )


def plan_of(kind: Kind, params: Any, brief: Brief, world: World) -> Plan:
    """Checks, steps and their commands as shown. With a refusal there may be no steps: a plan that cannot run shows why."""
    checks = tuple(kind.checks(params, brief, world))
    refused = any(check.level == "refused" for check in checks)
    steps = () if refused else tuple(planned(step, world) for step in kind.steps(params, brief, world))
    return Plan(
        kind=kind.name, title=kind.title(params), checks=checks, steps=steps,
        identities=identities_of(brief, world, kind.nodes(params, brief)),
        summary=() if refused else tuple(kind.summary(params, brief, world)),
    )  # fmt: skip
