"""Thin Celery doors. The rows in the database say what is to be done; a message only says: look now."""

from __future__ import annotations

import logging
import mmap
import threading
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts import acting
from jobs import claim, engine, planning, superseding, zombies
from jobs.ended import on_behalf_of, tell_end
from jobs.models import Job
from pgpanel.celery import AWAY_AT_ONCE

EMERGENCY = "emergency"
URGENT = ("fence", "promote")
"""Kinds that go to a queue of their own, from which one worker takes nothing else: a long copy elsewhere holds up neither."""

logger = logging.getLogger(__name__)
_stopping = mmap.mmap(-1, 1)
"""One byte that a worker's main process shares with the children that it forks: set when it is told to stop (SIGTERM)."""


@worker_shutting_down.connect
def _note_stopping(**_arguments: Any) -> None:
    _stopping[0] = 1


@shared_task
def plan_job(job_id: int) -> None:
    job = Job.objects.select_related("cluster").filter(pk=job_id).first()
    if job:
        with acting.as_(on_behalf_of(job_id)):
            planning.make_plan(job)


@shared_task
def run_job(job_id: int) -> None:
    with acting.as_(on_behalf_of(job_id)):
        status = engine.run_job(job_id, is_stopping=lambda: bool(_stopping[0]))
    if status == Job.Status.QUEUED:
        enqueue(job_id)
    for waiting in superseding.ready():
        enqueue(waiting)


@shared_task
def fence_quarantined(node_id: int) -> None:
    """A node under quarantine was seen writable: planned and run here and now, whatever else runs on its cluster."""
    with acting.as_(acting.Actor(name=zombies.WATCH)):
        job_id = zombies.fence_job(node_id)
    if job_id is not None:
        run_job(job_id)


@shared_task
def sweep_lost_jobs() -> None:
    """Every two seconds: what fell silent goes to the next worker; what the broker forgot is given to it again."""
    for job_id in claim.take_from_the_silent():
        tell_end(job_id)
    for job_id in claim.forgotten_by_the_broker():
        enqueue(job_id)
    for job_id in planning.forgotten():
        enqueue_planning(job_id)
    for job_id in superseding.ready():
        enqueue(job_id)


def enqueue(job_id: int) -> None:
    """Raises kombu's OperationalError when the broker is away."""
    kind = Job.objects.values_list("kind", flat=True).get(pk=job_id)
    _send(run_job, job_id, EMERGENCY if kind in URGENT else None)
    Job.objects.filter(pk=job_id, status=Job.Status.QUEUED).update(enqueued_at=timezone.now())


def enqueue_planning(job_id: int) -> None:
    _send(plan_job, job_id)


def enqueue_fence(node_id: int) -> None:
    """Now. Without a broker in a thread of this process: a second primary does not wait for Redis."""
    try:
        _send(fence_quarantined, node_id, EMERGENCY)
    except (OperationalError, OSError):
        logger.exception("Redis is away: the fence of node %s runs in this process", node_id)
        threading.Thread(target=fence_quarantined, args=(node_id,), name=f"fence of node {node_id}", daemon=True).start()


def _send(task: Task[Any, Any], item_id: int, queue: str | None = None) -> None:
    with task.app.connection_for_write(transport_options=AWAY_AT_ONCE) as connection:
        options: dict[str, Any] = {"queue": queue} if queue else {}
        task.apply_async((item_id,), connection=connection, retry=False, **options)  # type: ignore[call-arg]
