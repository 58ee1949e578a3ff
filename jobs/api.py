"""The API of what we do, in two steps like the pages: a plan with its hash, then a job with that hash.

Parameters are validated by the kind itself; what a service refuses is a conflict (409) that says why and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from accounts.acting import address_of
from accounts.models import User
from clusters.models import Cluster
from clusters.observing import evidence_of
from clusters.rights import Role, cluster_or_404, clusters_for, require
from jobs import services
from jobs.api_schemas import ApprovalIn, JobBrief, JobIn, JobOut, JobsWanted, KindOut, LineOut, LogOut, PlanIn, PlanOut, WayOut
from jobs.forms import FORMS
from jobs.incident import incident_of, is_told
from jobs.kinds import KINDS
from jobs.models import Job, LogLine
from jobs.promote_ways import choices_of
from jobs.recipe import ParamsError
from jobs.runbook import runbook
from jobs.second_person import ask_for_two
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.problems import Fault, Problem
from pgpanel.rest.rules import Number, Scope, needs, of_cluster, oneself, signed_in
from pgpanel.rest.topology import tag_of

router = Router(tags=["Plans and jobs"])
ROUTERS = (router,)
ROOT = "/api/v1"
ROWS = ("cluster", "planned_by", "started_by", "approved_by")


def job_found(user: User, role: Role, path: Mapping[str, Any]) -> Job:
    """404 where its cluster may not be seen, 403 where it may be seen but not this."""
    job = Job.objects.select_related(*ROWS).filter(pk=path["job"]).first()
    if job is None:
        raise Http404(_("No such job."))
    try:
        cluster_or_404(user, job.cluster.name, role)
    except Http404:
        raise Http404(_("No such job.")) from None  # not a word that there is one
    return job


of_job = Scope("job", job_found, {"job": Number}, lambda found: cast(Job, found).cluster)


# -- kinds ------------------------------------------------------------------------------------------------------------------------


@router.get("/kinds", response=Page[KindOut], summary="What can be done, with the parameters of each kind")
@needs(None, signed_in)
def kind_list() -> object:
    return {"items": [KindOut.of(name) for name in sorted(KINDS)], "next": None}


# -- plans ------------------------------------------------------------------------------------------------------------------------


@router.post("/clusters/{name}/plans", response={202: PlanOut}, summary="Have a plan made")
@needs("operator", of_cluster)
def plan_make(request: HttpRequest, cluster: Cluster, body: PlanIn) -> HttpResponse:
    """The hosts are looked at by a worker; nothing is changed. Ask `Location` until its status is not `planning` any more."""
    if body.kind not in KINDS:
        raise Problem(422, "not-valid", f"There is no kind {body.kind}.", [
            Fault("No such kind.", "kind", mend=f"One of: {', '.join(sorted(KINDS))}"),
        ])  # fmt: skip
    form = FORMS.get(body.kind)
    params = (form.proposed(cluster) if form else {}) | body.params
    try:
        job = services.job_plan(cluster, body.kind, params, cast(User, request.user), started_from(request))
    except services.BrokerAway as away:  # it is kept, and planned when a worker can be told
        job = away.job
    return answered(202, PlanOut.of(job), location=f"{ROOT}/plans/{job.pk}", etag=tag_of(cluster))


@router.get("/plans/{job}", response=PlanOut, summary="A plan: its checks, steps, commands and hash")
@needs("viewer", of_job)
def plan_read(job: Job) -> HttpResponse:
    return answered(200, PlanOut.of(job), etag=tag_of(job.cluster))


@router.delete("/plans/{job}", response=PlanOut, summary="Withdraw a plan")
@needs("operator", of_job)
def plan_withdraw(job: Job) -> PlanOut:
    return PlanOut.of(services.job_withdraw(job))


@router.post("/plans/{job}/approval", response={200: PlanOut}, summary="Approve it as the second person")
@needs("operator", of_job)
def plan_approve(request: HttpRequest, job: Job, body: ApprovalIn) -> HttpResponse:
    """Where the cluster asks for two people: never by the one who made the plan or starts it. Then the other one starts it."""
    services.job_approve(job, body.hash, cast(User, request.user))
    job.refresh_from_db()
    return answered(200, PlanOut.of(job), etag=tag_of(job.cluster))


class SecondPerson(Schema):
    is_asked: bool = Field(
        examples=[True], description="Grave plans of this cluster need another operator's approval before they start."
    )


@router.get("/clusters/{name}/second-person", response=SecondPerson, summary="Does it ask for a second person?")
@needs("viewer", of_cluster)
def second_person_read(cluster: Cluster) -> SecondPerson:
    return SecondPerson(is_asked=cluster.needs_second_person)


@router.put("/clusters/{name}/second-person", response=SecondPerson, summary="Ask for a second person, or no longer")
@needs("administrator", of_cluster)
def second_person_set(request: HttpRequest, cluster: Cluster, body: SecondPerson) -> SecondPerson:
    """At once, also for plans that wait. On by an administrator of the cluster, off by one over all clusters only."""
    if not body.is_asked:
        require(cast(User, request.user), "administrator", None)
    ask_for_two(cluster, body.is_asked)
    return SecondPerson(is_asked=cluster.needs_second_person)


@router.get("/clusters/{name}/promotions", response=list[WayOut], summary="The ways to promote now, the safest first")
@needs("viewer", of_cluster)
def promotion_list(cluster: Cluster) -> list[WayOut]:
    """By the evidence as it stands (`/evidence`); each with the parameters of its plan (kind `promote`)."""
    choices = sorted(choices_of(cluster, evidence_of(cluster)), key=lambda one: not one.candidate.is_best)
    return [WayOut.of(way) for choice in choices for way in choice.ways]


# -- jobs -------------------------------------------------------------------------------------------------------------------------


@router.post("/clusters/{name}/jobs", response={202: JobOut}, summary="Start what was planned")
@needs("operator", of_cluster)
def job_start(request: HttpRequest, cluster: Cluster, body: JobIn) -> HttpResponse:
    """409 where the plan is not the one that was read, the topology has moved, or another job runs on the cluster."""
    job = Job.objects.select_related(*ROWS).filter(pk=body.plan, cluster=cluster).first()
    if job is None:
        raise Problem(422, "not-valid", "There is no such plan on this cluster.", [Fault("No such plan.", "plan")])
    user = cast(User, request.user)
    try:
        job = services.job_start(job, body.hash, user, started_from(request), supersede=body.supersede)
    except services.BrokerAway as away:
        job = away.job
    return answered(202, JobOut.of(job), location=f"{ROOT}/jobs/{job.pk}", etag=tag_of(cluster))


@router.get("/jobs", response=Page[JobBrief], summary="Jobs, newest first")
@needs(None, oneself)
def job_list(user: User, wanted: Query[JobsWanted], after: After = "", limit: Limit = 100) -> object:
    jobs = Job.objects.filter(cluster__in=clusters_for(user)).select_related(*ROWS).defer("plan")
    named = {"cluster__name": wanted.cluster, "status": wanted.status, "kind": wanted.kind}
    jobs = jobs.filter(**{name: value for name, value in named.items() if value})
    return paged(jobs, after, limit, JobBrief.of, newest_first=True)


@router.get("/jobs/{job}", response=JobOut, summary="One job with its steps")
@needs("viewer", of_job)
def job_read(job: Job) -> HttpResponse:
    return answered(200, JobOut.of(job), etag=tag_of(job.cluster))


@router.post("/jobs/{job}/cancel", response={202: JobOut}, summary="Ask a job to stop")
@needs("operator", of_job)
def job_cancel(request: HttpRequest, job: Job) -> HttpResponse:
    """A queued job is cancelled at once; a running one when what it started on a host is proven ended. Nothing for others."""
    return answered(202, JobOut.of(services.job_cancel(job, cast(User, request.user))))


@router.post("/jobs/{job}/resume", response={202: JobOut}, summary="Go on with a failed, cancelled or lost job")
@needs("operator", of_job)
def job_resume(request: HttpRequest, job: Job) -> HttpResponse:
    try:
        job = services.job_resume(job, cast(User, request.user), started_from(request))
    except services.BrokerAway as away:
        job = away.job
    return answered(202, JobOut.of(job), location=f"{ROOT}/jobs/{job.pk}", etag=tag_of(job.cluster))


# -- what it says -----------------------------------------------------------------------------------------------------------------


@router.get("/jobs/{job}/log", response=LogOut, summary="Its log from a line on")
@needs("viewer", of_job)
def job_log(job: Job, after: Annotated[int, Query(0, ge=0, le=2**62)] = 0, limit: Limit = 100) -> LogOut:
    """Lines in order, redacted. For following: ask again with `next`, or hear `/events`."""
    is_over = not job.is_active
    lines = list(LogLine.objects.filter(job=job, seq__gt=after).order_by("seq")[: limit + 1])
    shown = lines[:limit]
    last = shown[-1].seq if shown else after
    return LogOut(items=[LineOut.of(line) for line in shown], next=str(last), is_complete=is_over and len(lines) <= limit)


@router.get("/jobs/{job}/events", response=None, summary="Its log and state as server-sent events", openapi_extra={
    "responses": {200: {"description": "line (id: its seq), steps, progress, status, gone", "content": {
        "text/event-stream": {"schema": {"type": "string"}}}}},
    "parameters": [{"in": "header", "name": "Last-Event-ID", "required": False,
                    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
                    "description": "Go on after this line."}],
})  # fmt: skip
@needs("viewer", of_job)
def job_events(request: HttpRequest, job: Job, after: Annotated[int, Query(0, ge=0, le=2**62)] = 0) -> HttpResponseBase:
    """Stays open until the client closes it, the right is withdrawn or the token revoked (`gone`)."""
    from pgpanel.streams import stream_of  # noqa: PLC0415 — it brings asyncio's Redis along

    seen = request.headers.get("Last-Event-ID", "")
    if seen and not (seen.isascii() and seen.isdecimal() and len(seen) <= 18):
        raise Problem(422, "not-valid", "Last-Event-ID: not a number", [Fault("Not a number.", "Last-Event-ID")])
    return stream_of(request, [f"job:{job.pk}"], max(after, int(seen or 0)))


@router.get("/jobs/{job}/incident", response=dict[str, Any], summary="What happened, for a change of roles")
@needs("viewer", of_job)
def job_incident(job: Job) -> dict[str, Any]:
    if not is_told(job):
        raise Http404(_("This job has no story of its own."))
    told = incident_of(job)
    moments = [{"at": one.at.isoformat(), "node": one.node, "what": str(one.what)} for one in told.moments]
    evidence = [{"who": who, "says": says, "why": why} for who, says, why in told.evidence]
    said = {name: str(getattr(told, name)) for name in ("word", "told", "gap", "loss", "verdict", "salvaged", "timelines", "by")}
    return {**said, "moments": moments, "evidence": evidence, "pending": [str(one) for one in told.pending], "text": told.text}


@router.get("/jobs/{job}/runbook", response=None, summary="Its plan as a shell runbook, without secrets", openapi_extra={
    "responses": {200: {"description": "To be read, then run line by line", "content": {
        "text/x-shellscript": {"schema": {"type": "string"}}}}},
})  # fmt: skip
@needs("viewer", of_job)
def job_runbook(job: Job) -> HttpResponse:
    if not job.plan_hash:
        raise Http404(_("This job has no plan."))
    return HttpResponse(runbook(job), content_type="text/x-shellscript; charset=utf-8")


# -- what may be in the way -------------------------------------------------------------------------------------------------------


def started_from(request: HttpRequest) -> str:
    """As the job's page says it."""
    token = getattr(request, "api_token", None)
    return f"API, {token.name}, {address_of(request)}" if token else f"API, {address_of(request)}"


def _wrong(error: ParamsError) -> Problem:
    field = f"params.{error.field_name}"
    return Problem(422, "not-valid", str(error), [Fault(error.message, field, mend=error.mend)])


def _busy(error: services.ClusterBusy) -> Problem:
    fault = Fault(
        str(error), mend=_("Wait for its end, or cancel it: POST %(path)s") % {"path": f"{ROOT}/jobs/{error.job.pk}/cancel"}
    )
    return Problem(409, "cluster-busy", str(error), [fault], {"Link": f'<{ROOT}/jobs/{error.job.pk}>; rel="related"'})


def _refused(kind: str) -> Any:
    return lambda error: Problem(409, kind, str(error), [Fault(str(error))])


PROBLEMS: dict[type[Exception], Any] = {
    ParamsError: _wrong,
    services.ClusterBusy: _busy,
    services.PlanMoved: _refused("plan-moved"),
    services.NotPlanned: _refused("not-planned"),
    services.NotResumable: _refused("not-resumable"),
    services.NeedsSecondPerson: _refused("needs-second-person"),
    services.NotYoursToApprove: _refused("not-yours-to-approve"),
    services.JobRefused: _refused("refused"),
}
