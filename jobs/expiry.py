"""Old data directories whose time is over: deleted by the panel itself, by a job like any other, as each rebuild's plan said."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from clusters.models import Cluster
from jobs.kept import KeptOld, kept_in
from jobs.models import Job
from jobs.services import JobRefused, job_plan, job_start, job_withdraw

logger = logging.getLogger(__name__)

KIND = "forget_old"
AGAIN = timedelta(days=1)
"""A refused one is tried again, but not more often."""
WHO = "the panel: its time is over"


@shared_task
def forget_expired() -> list[int]:
    """Hourly (pgpanel/celery.py). Returns the jobs that were started. Where a second person must agree to what destroys, people do
    it."""
    started = []
    for cluster in Cluster.objects.filter(needs_second_person=False):
        for kept in kept_in(cluster):
            job = _forget(cluster, kept) if kept.is_expired and not _is_tried(cluster, kept) else None
            started += [job.pk] if job else []
    return started


def _is_tried(cluster: Cluster, kept: KeptOld) -> bool:
    """A moment ago; or something else runs on the cluster, which comes first."""
    jobs = Job.objects.filter(cluster=cluster)
    late = jobs.filter(kind=KIND, params__node=kept.node, started_from=WHO, created_at__gt=timezone.now() - AGAIN)
    return late.exists() or jobs.filter(status__in=Job.ACTIVE).exists()


def _forget(cluster: Cluster, kept: KeptOld) -> Job | None:
    job = job_plan(cluster, KIND, {"node": kept.node, "only_expired": True}, None, WHO, plan_now=True)
    if job.status != Job.Status.PLANNED:
        logger.warning("the old data directory of %s of %s stays: %s", kept.node, cluster, job.outcome or job.status)
        return None
    try:
        return job_start(job, job.plan_hash, None, WHO)
    except JobRefused as refusal:
        job_withdraw(job)
        logger.warning("the old data directory of %s of %s stays: %s", kept.node, cluster, refusal)
        return None
