"""Two people for a grave plan (`jobs.dangers`), where the cluster asks for it: one starts what another has approved.

The approval is bound to the plan's hash, is void `APPROVAL_SECONDS` later or with its plan, and is never the planner's nor the
starter's own. `Job.needs_second_person` says whether it is needed: set with the plan, and again when the cluster's setting changes.
A start is one update that compares all of it; a constraint of the database stands behind every other door.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.models import User
from clusters.models import Cluster
from clusters.rights import may
from jobs.models import Job
from pgpanel import live

OPEN = (Job.Status.PLANNED, *Job.RESUMABLE)


@dataclass(frozen=True)
class Approval:
    """How a job stands with its second person, as `viewer` sees it.

    who: the names of those who may approve. until: when the approval that was given ends. refusal: why `viewer` may not; "" = may.
    """

    by: User | None
    at: datetime | None
    until: datetime | None
    who: tuple[str, ...]
    refusal: str
    viewer: User

    @property
    def is_given(self) -> bool:
        return self.until is not None and self.until > timezone.now()

    @property
    def is_expired(self) -> bool:
        return self.until is not None and not self.is_given

    @property
    def viewer_may(self) -> bool:
        return not self.refusal

    @property
    def lets_start(self) -> bool:
        """The viewer, now."""
        return self.is_given and self.by != self.viewer


def approval_of(job: Job, viewer: User) -> Approval | None:
    """None where no second person is needed, or nothing is left to start."""
    if not job.needs_second_person or job.status not in OPEN:
        return None
    is_bound = job.approved_hash and job.approved_hash == job.plan_hash and job.approved_at is not None
    until = job.approved_at + timedelta(seconds=settings.APPROVAL_SECONDS) if is_bound and job.approved_at else None
    if until is not None and job.status in Job.RESUMABLE:
        until = timezone.now() + timedelta(seconds=settings.APPROVAL_SECONDS)  # what two people began is finished
    names = tuple(user.get_full_name() or user.username for user in approvers(job))
    return Approval(job.approved_by if is_bound else None, job.approved_at, until, names, refusal_of(job, viewer), viewer)


def approvers(job: Job) -> list[User]:
    """People who may approve it: active, operator on its cluster, not who planned it."""
    some = Q(is_superuser=True) | Q(grants__isnull=False)
    people = User.objects.filter(some, is_active=True).order_by("username").distinct()
    return [user for user in people if not refusal_of(job, user)]


def refusal_of(job: Job, user: User) -> str:
    """Why `user` cannot be the second person; empty = can."""
    if not user.is_active or user.is_service or not may(user, "operator", job.cluster):
        return _("To approve it, the role “operator” is needed on this cluster.")
    if job.planned_by_id == user.pk:
        return _("You made this plan: somebody else has to approve it.")
    return ""


def given(by: User | None) -> Q:
    """The condition under which `by` may start a job: part of the update that starts it."""
    since = timezone.now() - timedelta(seconds=settings.APPROVAL_SECONDS)
    return Q(needs_second_person=False) | (_approved() & Q(approved_at__gt=since) & _not_by(by))


def given_to_resume(by: User | None) -> Q:
    """An approval of the same plan, however old: what two people began is finished."""
    return Q(needs_second_person=False) | (_approved() & _not_by(by))


def _approved() -> Q:
    return Q(approved_hash=F("plan_hash")) & ~Q(approved_hash="")


def _not_by(by: User | None) -> Q:
    return ~Q(approved_by=by) if by is not None else Q()


def why_not(job: Job, by: User | None) -> str:
    """A refused start in words, with what to do."""
    who = ", ".join(user.get_full_name() or user.username for user in approvers(job))
    if by is not None and job.approved_by_id == by.pk and job.approved_hash == job.plan_hash:
        return _("You have approved this plan: somebody else has to start it.")
    if not who:
        return _(
            "%(cluster)s asks for a second person, and nobody else is an operator there. "
            "An administrator over all clusters can give somebody the role, or switch this off on the cluster's page."
        ) % {"cluster": job.cluster}
    state = _("The approval is too old.") + " " if job.approved_hash == job.plan_hash and job.approved_hash else ""
    return state + _("%(cluster)s asks for a second person: this plan has to be approved by one of %(who)s first.") % {
        "cluster": job.cluster, "who": who,
    }  # fmt: skip


def approve(job: Job, plan_hash: str, by: User) -> bool:
    """Whether it took: the plan is still the one that was read, and open."""
    open_plan = Job.objects.filter(pk=job.pk, status__in=OPEN, plan_hash=plan_hash, needs_second_person=True).exclude(planned_by=by)
    with transaction.atomic():
        approved = open_plan.update(approved_by=by, approved_at=timezone.now(), approved_hash=plan_hash)
        if approved:
            record("job.approve", f"job {job.pk}", cluster=job.cluster.name, plan_hash=plan_hash, detail={"title": job.title})
    job.refresh_from_db()
    if approved:
        live.publish(f"job:{job.pk}", "status", {"status": job.status})
    return bool(approved)


def ask_for_two(cluster: Cluster, is_asked: bool) -> None:
    """Switch it on or off, also for the plans that wait. What was confirmed before it was switched on runs."""
    with transaction.atomic():
        Cluster.objects.select_for_update().get(pk=cluster.pk)
        Cluster.objects.filter(pk=cluster.pk).update(needs_second_person=is_asked)
        waiting = Job.objects.filter(cluster=cluster, status__in=OPEN, is_grave=True, supersedes=None)
        plans = waiting.update(needs_second_person=is_asked)
        record("cluster.second_person", cluster.name, cluster=cluster.name, detail={"is_asked": is_asked, "plans_that_wait": plans})
    cluster.refresh_from_db()
