"""A node under quarantine that is writable again: its fence, authorised beforehand by who promoted away from it.

`monitor` tells (`quarantined_node_seen`); a worker plans and runs the fence at once, beside whatever else runs on the cluster.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from clusters.models import Node, Quarantine
from jobs import planning
from jobs.ended import note, tell_status
from jobs.kinds import KINDS
from jobs.models import Job
from pgpanel import live

logger = logging.getLogger(__name__)

KIND = "fence"
AGAIN_SECONDS = 5
"""A fence that failed is tried again while its node is seen writable, but not more often."""
WATCH = "the zombie watch"


def is_wanted(node_id: int) -> bool:
    """Whether none is under way or was tried a moment ago. Asked in the collector's process: one short query."""
    node = Node.objects.filter(pk=node_id).only("cluster_id", "name").first()
    if node is None or not Quarantine.objects.filter(node_id=node_id, lifted_at=None).exists():
        return False
    fences = Job.objects.filter(cluster_id=node.cluster_id, kind=KIND, params__node=node.name)
    late = timezone.now() - timedelta(seconds=AGAIN_SECONDS)
    return not (fences.filter(status__in=Job.ACTIVE) | fences.filter(created_at__gt=late)).exists()


def fence_job(node_id: int) -> int | None:
    """A fence that is queued, for the caller to run; None: it is not wanted, not possible, or runs already."""
    if not is_wanted(node_id):
        return None
    node = Node.objects.select_related("cluster").get(pk=node_id)
    Quarantine.objects.filter(node=node, lifted_at=None).update(seen_writable_at=timezone.now())
    logger.error("ALARM: %s of %s is writable, though it is under quarantine: it is fenced", node.name, node.cluster)
    kind, params = KINDS[KIND], {"node": node.name}
    job = Job.objects.create(
        cluster=node.cluster, kind=KIND, params=params, title=kind.title(kind.params(params)), started_from=WATCH,
        enqueued_at=timezone.now(),
    )  # fmt: skip
    live.publish(f"cluster:{node.cluster_id}", "alarm", {"node": node.name, "job": job.pk, "what": "zombie"})
    planning.make_plan(job)
    try:
        with transaction.atomic():
            is_queued = Job.objects.filter(pk=job.pk, status=Job.Status.PLANNED).update(
                status=Job.Status.QUEUED, queued_at=timezone.now(), enqueued_at=timezone.now()
            )
            job.refresh_from_db()
            if is_queued:
                note("job.start", job, "queued")
    except IntegrityError:  # another node of the cluster is being fenced; this one is told of again in a moment
        Job.objects.filter(pk=job.pk).update(status=Job.Status.WITHDRAWN, ended_at=timezone.now())
        return None
    if not is_queued:
        logger.error("ALARM: the fence of %s cannot be planned: %s", node.name, job.outcome or job.status)
        return None
    tell_status(job.pk, Job.Status.QUEUED)
    return job.pk
