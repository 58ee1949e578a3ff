"""After the panel was restored from a backup: whatever was under way then ran elsewhere, under the panel that is no more."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from jobs.ended import note_end
from jobs.models import Job

Status = Job.Status
OUTCOME = (
    "The panel was restored from a backup that was made while this job was under way. What became of it stands on the hosts only.\n"
    "Look at the cluster, then resume (every step is asked first whether it holds) or plan anew."
)


def settle(sender: Any, **_more: Any) -> None:  # noqa: ARG001
    """Queued and running jobs are lost, plans in the making fail, a plan that was to start by itself is withdrawn."""
    now = timezone.now()
    under_way = list(Job.objects.filter(status__in=Job.ACTIVE).values_list("pk", flat=True))
    Job.objects.filter(pk__in=under_way).update(status=Status.LOST, ended_at=now, outcome=OUTCOME, worker="", heartbeat_at=None)
    for job_id in under_way:
        note_end(job_id)
    Job.objects.filter(status=Status.PLANNING).update(status=Status.ERRORED, ended_at=now, outcome=OUTCOME)
    Job.objects.filter(status=Status.PLANNED, supersedes__isnull=False).update(status=Status.WITHDRAWN, ended_at=now)
