"""A promotion does not wait for what else runs on its cluster: that job is asked to end, and ended for it when it does not.

planned (confirmed, `supersedes` says whom it waits for) → queued, as soon as no other job is active. The older job is cancelled by
its own worker, which proves that what it started has ended; after `PATIENCE_SECONDS` the row is taken from it. Then its worker's
claim is void, and every host that the promotion has touched refuses its commands (a lower epoch).
"""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import acting
from jobs.ended import note, note_end, on_behalf_of, tell_end, tell_status
from jobs.models import Job

PATIENCE_SECONDS = 5
Status = Job.Status


def wait_for(job: Job, active: Job) -> None:
    """`job` is confirmed and begins when `active` has ended."""
    now = timezone.now()
    Job.objects.filter(pk=job.pk, status=Status.PLANNED).update(supersedes=active, queued_at=now)
    outcome = f"Superseded by job {job.pk}, “{job.title}”, before it began."
    not_begun = Job.objects.filter(pk=active.pk, status=Status.QUEUED, started_at=None)
    if _ended(active.pk, not_begun, outcome):
        return
    Job.objects.filter(pk=active.pk, status__in=Job.ACTIVE, cancel_requested_at=None).update(
        cancel_requested_at=now, cancel_requested_by=job.started_by
    )
    tell_status(active.pk, active.status)


def ready(cluster_id: int | None = None) -> list[int]:
    """Ids of jobs that waited and are queued now."""
    begun = []
    waiting = Job.objects.filter(status=Status.PLANNED, supersedes__isnull=False).select_related("supersedes", "cluster")
    for job in waiting if cluster_id is None else waiting.filter(cluster_id=cluster_id):
        older = job.supersedes
        if older is not None and older.status in Job.ACTIVE and not _is_taken(job, older):
            continue
        try:
            with transaction.atomic():
                queued = Job.objects.filter(pk=job.pk, status=Status.PLANNED).update(
                    status=Status.QUEUED, queued_at=timezone.now(), enqueued_at=None
                )
                if queued:
                    with acting.as_(on_behalf_of(job.pk)):
                        note("job.start", job, "queued")
        except IntegrityError:  # somebody else was faster; that one is waited for now
            active = Job.objects.filter(cluster_id=job.cluster_id, status__in=Job.ACTIVE).exclude(kind="fence").first()
            if active is not None:
                wait_for(job, active)
            continue
        if queued:
            tell_status(job.pk, Status.QUEUED)
            begun.append(job.pk)
    return begun


def _is_taken(job: Job, older: Job) -> bool:
    """The older job did not end by itself in time: it is cancelled over its worker's head."""
    if job.queued_at is None or timezone.now() - job.queued_at < timedelta(seconds=PATIENCE_SECONDS):
        return False
    outcome = (
        f"Superseded by job {job.pk}, “{job.title}”, which could not wait. Nobody proved that what it had under way has ended."
    )
    _ended(older.pk, Job.objects.filter(pk=older.pk, status__in=Job.ACTIVE), outcome)
    return True


def _ended(job_id: int, rows: QuerySet[Job], outcome: str) -> bool:
    with transaction.atomic():
        has_ended = bool(rows.update(status=Status.CANCELLED, ended_at=timezone.now(), outcome=outcome))
        if has_ended:
            note_end(job_id)
    if has_ended:
        tell_end(job_id)
    return has_ended
