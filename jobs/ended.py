"""A job's status is told to whoever listens: the open pages, and the rooms beside and above this one."""

from __future__ import annotations

from accounts.acting import Actor
from accounts.audit import record
from clusters.signals import job_finished, job_moved, tell
from jobs.models import Job
from pgpanel import live


def tell_status(job_id: int, status: str) -> None:
    live.publish_all(f"job:{job_id}", [live.Event("status", {"status": status}), live.Event("steps")])
    tell_moved(job_id, status)


def tell_moved(job_id: int, status: str) -> None:
    cluster_id = Job.objects.values_list("cluster_id", flat=True).get(pk=job_id)
    tell(job_moved, Job, job_id=job_id, status=status, cluster_id=cluster_id)


def on_behalf_of(job_id: int) -> Actor:
    """What a worker does for a job is done for whoever started it, or asked for its plan."""
    job = Job.objects.select_related("started_by", "planned_by").defer("plan").get(pk=job_id)
    return Actor(user=job.started_by or job.planned_by, name=job.started_from)


def note(action: str, job: Job, result: str = "", **detail: str | int | bool | None) -> None:
    """Into the audit trail, in the transaction that does it."""
    told = {"job": job.pk, "kind": job.kind, **detail}
    record(action, f"job {job.pk}: {job.title}", cluster=job.cluster.name, plan_hash=job.plan_hash, result=result, detail=told)


def note_end(job_id: int) -> None:
    job = Job.objects.select_related("cluster").defer("plan").get(pk=job_id)
    note("job.end", job, job.status, **({"ending": job.ending} if job.ending else {}))


def tell_end(job_id: int) -> None:
    job = Job.objects.only("cluster_id", "kind", "status").get(pk=job_id)
    tell_status(job_id, job.status)
    tell(job_finished, Job, job_id=job_id, cluster_id=job.cluster_id, kind=job.kind, status=job.status)
