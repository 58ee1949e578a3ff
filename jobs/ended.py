"""A job that has ended is told to whoever listens: the open pages, and the rooms beside this one."""

from __future__ import annotations

import logging

from clusters.signals import job_finished
from jobs.models import Job
from pgpanel import live

logger = logging.getLogger(__name__)


def tell_status(job_id: int, status: str) -> None:
    live.publish_all(f"job:{job_id}", [live.Event("status", {"status": status}), live.Event("steps")])


def tell_end(job_id: int) -> None:
    """A listener's fault is logged: the job has ended all the same."""
    job = Job.objects.only("cluster_id", "kind", "status").get(pk=job_id)
    tell_status(job_id, job.status)
    heard = job_finished.send_robust(Job, job_id=job_id, cluster_id=job.cluster_id, kind=job.kind, status=job.status)
    for _receiver, answer in heard:
        if isinstance(answer, Exception):
            logger.error("somebody who hears of ended jobs failed", exc_info=answer)
