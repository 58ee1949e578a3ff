"""Thin Celery doors. The rows in the database say what is to be done; a message only says: look now."""

from __future__ import annotations

import mmap
from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from jobs import claim, engine, planning
from jobs.models import Job

_stopping = mmap.mmap(-1, 1)
"""One byte that a worker's main process shares with the children that it forks: set when it is told to stop (SIGTERM)."""


@worker_shutting_down.connect
def _note_stopping(**_arguments: Any) -> None:
    _stopping[0] = 1


@shared_task
def plan_job(job_id: int) -> None:
    planning.make_plan(Job.objects.select_related("cluster").get(pk=job_id))


@shared_task
def run_job(job_id: int) -> None:
    if engine.run_job(job_id, is_stopping=lambda: bool(_stopping[0])) == Job.Status.QUEUED:
        enqueue(job_id)


@shared_task
def sweep_lost_jobs() -> None:
    """Every two seconds: what fell silent goes to the next worker; what the broker forgot is given to it again."""
    claim.take_from_the_silent()
    for job_id in claim.forgotten_by_the_broker():
        enqueue(job_id)
    for job_id in planning.forgotten():
        plan_job.apply_async((job_id,), retry=False)


def enqueue(job_id: int) -> None:
    """Raises kombu's OperationalError at once when the broker is away; the sweep repeats it."""
    run_job.apply_async((job_id,), retry=False)
    Job.objects.filter(pk=job_id, status=Job.Status.QUEUED).update(enqueued_at=timezone.now())
