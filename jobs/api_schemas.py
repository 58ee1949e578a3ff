"""What the API says of plans and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from ninja import Field, Schema

from jobs.kinds import KINDS
from jobs.models import Job, JobStep, LogLine
from jobs.stored import plan_from_json
from pgpanel.rest.rules import Name, Number

Status = Literal[
    "planning", "planned", "refused", "withdrawn", "queued", "running", "succeeded", "failed", "errored", "cancelled", "lost"
]


class KindOut(Schema):
    name: str = Field(examples=["switchover"])
    label: str
    params: dict[str, Any] = Field(description="JSON schema of the parameters of a plan.")

    @staticmethod
    def of(name: str) -> KindOut:
        from jobs.api_kinds import schema_of  # noqa: PLC0415 — it is made once, when it is asked for

        return KindOut(name=name, label=str(KINDS[name].label), params=schema_of(name))


class PlanIn(Schema):
    kind: str = Field(description="One of /kinds.", examples=["switchover"], max_length=40)
    params: dict[str, Any] = Field({}, description="As the kind's JSON schema says.", examples=[{"candidate": "pg2"}])


class CheckOut(Schema):
    """One line of the preflight. A refusal says why and what mends it."""

    key: str
    host: str
    title: str
    result: Literal["ok", "warning", "refused"]
    why: str
    mend: str
    mend_command: str


class DiffOut(Schema):
    path: str
    diff: str = Field(description="Unified; secrets masked.")


class CommandOut(Schema):
    account: str = Field(description="Whom it runs as; empty: whoever logs in.")
    text: str = Field(description="As it runs, secrets masked.")


class PlannedStepOut(Schema):
    key: str
    node: str
    title: str
    why: str
    is_needed: bool = Field(description="False: it holds already, nothing is done.")
    destroys: str
    restarts: str
    commands: list[CommandOut]
    diffs: list[DiffOut]


class PlanOut(Schema):
    id: Number = Field(description="The job's number, too.")
    cluster: Name
    kind: str
    title: str
    status: Status = Field(description="planning → planned (its hash may be started) | refused (a check says why) | errored")
    params: dict[str, Any]
    hash: str = Field(description="Covers commands, differences, identities, roles and timelines; empty while it is made.")
    checks: list[CheckOut]
    steps: list[PlannedStepOut]
    summary: list[str]
    outcome: str
    needs_second_person: bool = Field(description="Another person has to approve it before it starts.")
    approved_by: str | None
    planned_by: str | None
    created_at: datetime
    planned_at: datetime | None

    @staticmethod
    def of(job: Job) -> PlanOut:
        plan = plan_from_json(job.plan)
        checks = [
            CheckOut(key=one.key, host=one.node, title=one.title, result=one.level, why=one.reason, mend=one.mend,
                     mend_command=one.mend_command)
            for one in plan.checks
        ]  # fmt: skip
        steps = [
            PlannedStepOut(
                key=one.key, node=one.node, title=one.title, why=one.why, is_needed=one.is_needed, destroys=one.destroys,
                restarts=one.restarts, commands=[CommandOut(account=account, text=text) for account, text in one.commands],
                diffs=[DiffOut(path=path, diff=diff) for path, diff in one.diffs],
            )
            for one in plan.steps
        ]  # fmt: skip
        return PlanOut(
            id=job.pk, cluster=job.cluster.name, kind=job.kind, title=job.title, status=cast(Status, job.status), params=job.params,
            hash=job.plan_hash, checks=checks, steps=steps, summary=list(plan.summary), outcome=job.outcome,
            needs_second_person=job.needs_second_person, approved_by=_name(job.approved_by),
            planned_by=_name(job.planned_by), created_at=job.created_at, planned_at=job.planned_at,
        )  # fmt: skip


class ApprovalIn(Schema):
    hash: str = Field(description="The hash of the plan that was read.", max_length=64)


class WayOut(Schema):
    """One way to promote: the words on its button, and the parameters that they stand for."""

    name: str = Field(examples=["salvage"])
    candidate: Name
    text: str
    params: dict[str, Any]
    states: list[str] = Field(description="What whoever goes this way states; a page has the old primary's name typed for it.")
    loss: str
    is_lossless: bool

    @staticmethod
    def of(way: Any) -> WayOut:
        one = way.candidate
        return WayOut(
            name=way.name, candidate=one.name, text=str(way.text), params=way.params, states=[str(text) for text in way.typed_for],
            loss=one.sentence, is_lossless=one.is_proven_zero or one.is_zero_after_salvage,
        )  # fmt: skip


class JobIn(Schema):
    plan: Number = Field(description="The plan's id.")
    hash: str = Field(description="The hash of the plan that was read.", max_length=64, examples=["9f86d081884c7d65…"])
    supersede: bool = Field(False, description="An emergency: the job that runs is asked to end first (promote, fence).")


class StepOut(Schema):
    key: str
    node: str
    title: str
    status: Literal["todo", "running", "done", "already", "failed", "cancelled"]
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any]
    error: str

    @staticmethod
    def of(step: JobStep) -> StepOut:
        return StepOut(**{name: getattr(step, name) for name in StepOut.model_fields})


class JobBrief(Schema):
    id: Number
    cluster: Name
    kind: str
    title: str
    status: Status
    ending: str = Field(description="done, rolled_back, cleanup_pending, unknown, refused_by_host; empty where a kind tells none.")
    plan_hash: str
    planned_by: str | None
    started_by: str | None
    started_from: str
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    outcome: str = Field(description="Where it stopped, why, what state the hosts are in, what to do next.")

    @staticmethod
    def of(job: Job) -> JobBrief:
        return JobBrief(**_brief(job))


class JobOut(JobBrief):
    params: dict[str, Any]
    report: dict[str, Any] = Field(description="What a change of roles leaves behind: evidence, timeline, gap_ms, loss.")
    last_seq: int = Field(description="Of the log's last line.")
    supersedes: Number | None = Field(description="The job that was asked to end so that this one can begin.")
    steps: list[StepOut]

    @staticmethod
    def of(job: Job) -> JobOut:
        return JobOut(
            **_brief(job), params=job.params, report=job.report or {}, last_seq=job.last_seq, supersedes=job.supersedes_id,
            steps=[StepOut.of(step) for step in job.steps.all()],
        )  # fmt: skip


def _brief(job: Job) -> dict[str, Any]:
    same = ("kind", "title", "status", "ending", "plan_hash", "started_from", "created_at", "queued_at", "started_at", "ended_at",
            "cancel_requested_at", "outcome")  # fmt: skip
    names = {"id": job.pk, "cluster": job.cluster.name, "planned_by": _name(job.planned_by), "started_by": _name(job.started_by)}
    return names | {name: getattr(job, name) for name in same}


class JobsWanted(Schema):
    cluster: str = Field("", max_length=39, pattern="^[a-z0-9-]*$")
    status: Status | None = None
    kind: str = Field("", max_length=40, pattern="^[a-z_]*$")


class LineOut(Schema):
    seq: int
    at: datetime
    node: str
    step: str
    voice: Literal["command", "output", "error", "note"]
    text: str

    @staticmethod
    def of(line: LogLine) -> LineOut:
        return LineOut(**{name: getattr(line, name) for name in LineOut.model_fields})


class LogOut(Schema):
    items: list[LineOut]
    next: str = Field(description="Ask again with `?after=` this: what has come since.")
    is_complete: bool = Field(description="The job has ended and these are its last lines.")


def _name(user: Any) -> str | None:
    return user.get_username() if user else None
