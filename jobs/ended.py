"""A job's status is told to whoever listens: the open pages, and the rooms beside and above this one."""

from __future__ import annotations

from clusters.signals import job_finished, job_moved, tell
from jobs.models import Job
from pgpanel import live


def tell_status(job_id: int, status: str) -> None:
    live.publish_all(f"job:{job_id}", [live.Event("status", {"status": status}), live.Event("steps")])
    tell(job_moved, Job, job_id=job_id, status=status)


def tell_end(job_id: int) -> None:
    job = Job.objects.only("cluster_id", "kind", "status").get(pk=job_id)
    tell_status(job_id, job.status)
    tell(job_finished, Job, job_id=job_id, cluster_id=job.cluster_id, kind=job.kind, status=job.status)
