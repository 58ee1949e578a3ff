"""Whom a finished job lets out of quarantine, and whom it puts back: from rows, on no host."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from clusters.models import Node, Quarantine
from jobs.models import Job

LIFTS = ("rebuild",)
PUTS_BACK = ("undo_rebuild",)


def heed_end(sender: Any, job_id: int, kind: str, status: str, **_more: Any) -> None:  # noqa: ARG001
    """A node that was rebuilt follows the primary; one whose rebuild was undone has again what was left behind."""
    if status != Job.Status.SUCCEEDED or kind not in (*LIFTS, *PUTS_BACK):
        return
    job = Job.objects.get(pk=job_id)
    node = Node.objects.filter(cluster=job.cluster_id, name=job.params.get("node", "")).first()
    if node is None:
        return
    if kind in LIFTS:
        for held in Quarantine.objects.filter(node=node, lifted_at=None):
            held.lifted_at = timezone.now()
            held.save(update_fields=["lifted_at"])  # not by update: who watches it hears of a save
    else:
        reason = f"job {job.pk} put its old data directory back"
        Quarantine.objects.get_or_create(node=node, lifted_at=None, defaults={"reason": reason})
