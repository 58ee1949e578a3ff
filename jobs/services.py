"""The only way in, for pages, command line and API alike: plan, start, cancel, resume, withdraw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from accounts.audit import Refused
from accounts.models import User
from clusters.models import Cluster
from clusters.observing import primary_of
from jobs import own_commands, planning, second_person, superseding, tasks
from jobs.ended import note, note_end, tell_end, tell_status
from jobs.kinds import KINDS
from jobs.models import Job, JobStep
from jobs.recipe import Kind, ParamsError

Status = Job.Status
NODE_FIELDS = ("primary", "standbys", "source", "target", "candidate", "node", "upstream")
"""Parameters that name nodes of the cluster."""


class JobRefused(Refused):
    """Not now, not like this. The message says why and what to do."""


class PlanMoved(JobRefused):
    """The hash that was confirmed is not the plan's."""


class NotPlanned(JobRefused):
    """There is no plan to start: still planning, refused, withdrawn, or started before."""


class NotResumable(JobRefused):
    pass


class NeedsSecondPerson(JobRefused):
    """The cluster asks for two, and nobody else has approved this plan (in time)."""


class NotYoursToApprove(JobRefused):
    """No operator there, or the one who made the plan."""


class ClusterBusy(JobRefused):
    """Another job runs on the cluster: `job`."""

    def __init__(self, job: Job) -> None:
        who = job.started_by or _("the command line")
        super().__init__(
            _("%(cluster)s is busy: job %(id)s, “%(title)s”, started by %(who)s, is %(status)s. Wait for it or cancel it.")
            % {"cluster": job.cluster, "id": job.pk, "title": job.title, "who": who, "status": job.get_status_display()}
        )
        self.job = job


class BrokerAway(JobRefused):
    """Kept, but no worker could be told: the sweep tells one when Redis is back."""

    def __init__(self, job: Job, error: Exception) -> None:
        super().__init__(
            _(
                "Job %(id)s is kept as %(status)s, but no worker could be told: Redis does not answer (%(error)s). "
                "It begins by itself when Redis is back."
            )
            % {"id": job.pk, "status": job.get_status_display(), "error": error}
        )
        self.job = job


Service = TypeVar("Service", bound=Callable[..., Job])


def _refusals_noted(action: str) -> Callable[[Service], Service]:
    """What was refused goes into the audit trail too, when the transaction of the try has been taken back."""

    def noting(service: Service) -> Service:
        @wraps(service)
        def tried(job: Job, *arguments: Any, **options: Any) -> Job:
            try:
                return service(job, *arguments, **options)
            except BrokerAway:
                raise
            except JobRefused as refusal:
                note(action, job, "refused", why=type(refusal).__name__)
                raise

        return cast(Service, tried)

    return noting


def job_plan(
    cluster: Cluster, kind_name: str, params: Mapping[str, Any], by: User | None, started_from: str, *, plan_now: bool = False
) -> Job:
    """A job that is being planned. `ParamsError` names the field that is wrong. plan_now: in this process, not by a worker."""
    kind = KINDS[kind_name]
    params = {**params, **_bound(cluster, kind, params)}
    _known_nodes(cluster, params)
    own_commands.refuse_unset(cluster, kind_name, params, by)
    title = kind.title(kind.params(params))
    with transaction.atomic():
        Job.objects.filter(cluster=cluster, kind=kind_name, planned_by=by, status=Status.PLANNED).update(status=Status.WITHDRAWN)
        job = Job.objects.create(
            cluster=cluster, kind=kind_name, params=dict(params), title=title[:200], planned_by=by, started_from=started_from[:60],
            enqueued_at=timezone.now(),
        )  # fmt: skip
        note("job.plan", job)
    if plan_now:
        planning.make_plan(job)
    else:
        _tell(lambda: tasks.enqueue_planning(job.pk), job)
    job.refresh_from_db()
    return job


def _known_nodes(cluster: Cluster, params: Mapping[str, Any]) -> None:
    """A form offers the nodes that there are; whoever writes parameters by hand is told at once, by field."""
    names = set(cluster.nodes.values_list("name", flat=True))
    for field in NODE_FIELDS:
        value = params.get(field) or ()
        for name in [value] if isinstance(value, str) else value:
            if name not in names:
                raise ParamsError(field, f"{name} is no node of this cluster", f"one of: {', '.join(sorted(names))}")


def _bound(cluster: Cluster, kind: Kind, params: Mapping[str, Any]) -> dict[str, Any]:
    """Who is the primary now, for a kind after which it is another: the job must mean the same one when it goes on later."""
    if not getattr(kind, "binds_primary", False) or params.get("primary"):
        return {}
    primary = primary_of(list(cluster.nodes.select_related("state")))
    return {"primary": primary.name} if primary is not None and primary.name != params.get("candidate") else {}


@_refusals_noted("job.start")
def job_start(job: Job, plan_hash: str, by: User | None, started_from: str, *, supersede: bool = False) -> Job:
    """planned → queued, if the plan is the one that was read (`plan_hash`) and no other job is active on the cluster.

    supersede: an active job is asked to end, and this one begins when it has, or after `superseding.PATIENCE_SECONDS`.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            planned = Job.objects.filter(pk=job.pk, status=Status.PLANNED, plan_hash=plan_hash)
            started = planned.filter(second_person.given(by)).update(
                status=Status.QUEUED, queued_at=now, enqueued_at=None, started_by=by, started_from=started_from[:60]
            )
            if started:
                note("job.start", job, Status.QUEUED)
    except IntegrityError:
        if supersede and job.kind in tasks.URGENT:
            return _superseding(job, by, started_from)
        raise ClusterBusy(_active(job)) from None
    job.refresh_from_db()
    if not started and job.status == Status.PLANNED and job.plan_hash == plan_hash:
        raise NeedsSecondPerson(second_person.why_not(job, by))
    if not started and job.status == Status.PLANNED:
        raise PlanMoved(_("This is no longer the plan that you read. Read it again."))
    if not started:
        raise NotPlanned(
            _("Job %(id)s is %(status)s: there is no plan to start.") % {"id": job.pk, "status": job.get_status_display()}
        )
    return _queued(job)


def _superseding(job: Job, by: User | None, started_from: str) -> Job:
    Job.objects.filter(pk=job.pk, status=Status.PLANNED).update(started_by=by, started_from=started_from[:60])
    job.refresh_from_db()
    superseding.wait_for(job, _active(job))
    begun = superseding.ready(job.cluster_id)  # a queued one that nobody had taken yet is gone at once
    job.refresh_from_db()
    if job.pk in begun:
        return _queued(job)
    note("job.start", job, "waiting", supersedes=job.supersedes_id)
    tell_status(job.pk, job.status)
    return job


@_refusals_noted("job.resume")
def job_resume(job: Job, by: User | None, started_from: str = "") -> Job:
    """failed, errored, cancelled, lost → queued: the same plan, from the first step that is not done."""
    try:
        with transaction.atomic():
            stopped = Job.objects.filter(pk=job.pk, status__in=Job.RESUMABLE)
            resumed = stopped.filter(second_person.given_to_resume(by)).update(
                status=Status.QUEUED, queued_at=timezone.now(), enqueued_at=None, ended_at=None, outcome="",
                handovers_in_vain=0, cancel_requested_at=None, cancel_requested_by=None,
                started_by=by, started_from=started_from[:60] or job.started_from,
            )  # fmt: skip
            if resumed:
                job.steps.filter(status__in=(JobStep.Status.FAILED, JobStep.Status.CANCELLED)).update(status=JobStep.Status.TODO)
                note("job.resume", job, Status.QUEUED)
    except IntegrityError:
        raise ClusterBusy(_active(job)) from None
    job.refresh_from_db()
    if not resumed and job.is_resumable:
        raise NeedsSecondPerson(second_person.why_not(job, by))
    if not resumed:
        raise NotResumable(_("Job %(id)s is %(status)s: nothing to resume.") % {"id": job.pk, "status": job.get_status_display()})
    return _queued(job)


def job_cancel(job: Job, by: User | None) -> Job:
    """A queued job is cancelled at once; a running one by its worker, which proves that what it started on a host has ended."""
    now = timezone.now()
    outcome = _("Cancelled by %(who)s before it began.") % {"who": by or _("the command line")}
    with transaction.atomic():
        at_once = Job.objects.filter(pk=job.pk, status=Status.QUEUED, started_at=None).update(
            status=Status.CANCELLED, ended_at=now, cancel_requested_at=now, cancel_requested_by=by, outcome=outcome
        )
        running = Job.objects.filter(pk=job.pk, status__in=Job.ACTIVE)
        if at_once:
            note("job.cancel", job, Status.CANCELLED)
            note_end(job.pk)
        elif running.update(cancel_requested_at=now, cancel_requested_by=by):
            note("job.cancel", job, "asked")
    job.refresh_from_db()
    if at_once:
        tell_end(job.pk)
    else:
        tell_status(job.pk, job.status)
    return job


def job_approve(job: Job, plan_hash: str, by: User) -> Job:
    """`by` is the second person: the plan with this hash may be started by somebody else, for `APPROVAL_SECONDS`."""
    refusal = second_person.refusal_of(job, by)
    if refusal:
        raise NotYoursToApprove(refusal)
    if not job.needs_second_person:
        raise NotPlanned(_("Job %(id)s needs no second person.") % {"id": job.pk})
    if not second_person.approve(job, plan_hash, by):
        if job.plan_hash != plan_hash:
            raise PlanMoved(_("This is no longer the plan that you read. Read it again."))
        raise NotPlanned(_("Job %(id)s is %(status)s: nothing to approve.") % {"id": job.pk, "status": job.get_status_display()})
    return job


def job_withdraw(job: Job) -> Job:
    """planned → withdrawn: a person said no."""
    with transaction.atomic():
        if Job.objects.filter(pk=job.pk, status=Status.PLANNED).update(status=Status.WITHDRAWN, ended_at=timezone.now()):
            note("job.withdraw", job, Status.WITHDRAWN)
    job.refresh_from_db()
    return job


def _active(job: Job) -> Job:
    beside = Job.objects.exclude(kind="fence") if job.kind != "fence" else Job.objects.filter(kind="fence")
    return beside.select_related("cluster", "started_by").get(cluster=job.cluster_id, status__in=Job.ACTIVE)


def _queued(job: Job) -> Job:
    tell_status(job.pk, job.status)
    _tell(lambda: tasks.enqueue(job.pk), job)
    return job


def _tell(send: Any, job: Job) -> None:
    """After the commit: the row is first, the message only says that there is one."""

    def sent() -> None:
        try:
            send()
        except (OperationalError, OSError) as error:
            raise BrokerAway(job, error) from error

    transaction.on_commit(sent)
