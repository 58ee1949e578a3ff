"""The live topic `job:<id>`: who may hear it, and what the database says of it."""

from __future__ import annotations

from accounts.models import User
from clusters.services import may
from jobs.log import line_data
from jobs.models import Job, LogLine
from pgpanel.live import Event

REPLAY_LINES = 2000
"""At most so many at once; a stream asks again at its next look."""


def may_hear(user: User, job_id: str) -> bool:
    job = Job.objects.select_related("cluster").filter(pk=job_id).first() if job_id.isdecimal() else None
    return job is not None and may(user, "viewer", job.cluster)


def replay(job_id: str, cursor: int) -> list[Event]:
    lines = LogLine.objects.filter(job_id=job_id, seq__gt=cursor).order_by("seq")[:REPLAY_LINES]
    found = [Event("line", line_data(line), line.seq) for line in lines]
    job = Job.objects.filter(pk=job_id).first()
    return found + (_states(job) if job else [])


def _states(job: Job) -> list[Event]:
    steps = list(job.steps.values_list("key", "status", "attempt"))
    running = [
        Event("progress", {"key": step.key, **step.progress}) for step in job.steps.filter(status="running") if step.progress
    ]
    return [*running, Event("steps", {"steps": [list(step) for step in steps]}), Event("status", {"status": job.status})]
