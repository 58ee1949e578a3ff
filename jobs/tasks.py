"""Thin Celery doors. The rows in the database say what is to be done; a message only says: look now."""

from __future__ import annotations

import mmap
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from jobs import claim, engine, planning
from jobs.ended import tell_end
from jobs.models import Job

AWAY_AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0, "socket_connect_timeout": 2}
"""A person waits for the answer: a broker that is away is said at once, not after retries. The sweep repeats what was not taken."""

_stopping = mmap.mmap(-1, 1)
"""One byte that a worker's main process shares with the children that it forks: set when it is told to stop (SIGTERM)."""


@worker_shutting_down.connect
def _note_stopping(**_arguments: Any) -> None:
    _stopping[0] = 1


@shared_task
def plan_job(job_id: int) -> None:
    job = Job.objects.select_related("cluster").filter(pk=job_id).first()
    if job:
        planning.make_plan(job)


@shared_task
def run_job(job_id: int) -> None:
    if engine.run_job(job_id, is_stopping=lambda: bool(_stopping[0])) == Job.Status.QUEUED:
        enqueue(job_id)


@shared_task
def sweep_lost_jobs() -> None:
    """Every two seconds: what fell silent goes to the next worker; what the broker forgot is given to it again."""
    for job_id in claim.take_from_the_silent():
        tell_end(job_id)
    for job_id in claim.forgotten_by_the_broker():
        enqueue(job_id)
    for job_id in planning.forgotten():
        enqueue_planning(job_id)


def enqueue(job_id: int) -> None:
    """Raises kombu's OperationalError when the broker is away."""
    _send(run_job, job_id)
    Job.objects.filter(pk=job_id, status=Job.Status.QUEUED).update(enqueued_at=timezone.now())


def enqueue_planning(job_id: int) -> None:
    _send(plan_job, job_id)


def _send(task: Task[Any, Any], job_id: int) -> None:
    with task.app.connection_for_write(transport_options=AWAY_AT_ONCE) as connection:
        task.apply_async((job_id,), connection=connection, retry=False)  # type: ignore[call-arg]
