"""Who runs a job: claimed by compare-and-set under a rising epoch, kept by a heartbeat, handed on when its worker goes silent.

Every write of a running job goes through its `Claim` and happens only while the row still carries the claim's epoch: a worker that
was paused, declared lost and wakes up can write nothing here, and its commands are refused by the hosts (`remote.host.Lock`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import acting
from clusters.models import Cluster
from jobs.ended import note_end, on_behalf_of
from jobs.models import Job, JobStep

MOST_HANDOVERS_IN_VAIN = 10
REQUEUE_SECONDS = 10
"""A queued job that no worker took for so long is given to the broker again: its message may have died with Redis."""


class Superseded(Exception):
    """Another worker has the job now, or nobody: stop, touch nothing."""


@dataclass
class Claim:
    """One worker's right to run one job."""

    job_id: int
    epoch: int
    worker: str
    is_cancel_requested: threading.Event = field(default_factory=threading.Event)
    is_lost: threading.Event = field(default_factory=threading.Event)
    confirmed_at: float = field(default_factory=time.monotonic)

    def row(self) -> QuerySet[Job]:
        return Job.objects.filter(pk=self.job_id, epoch=self.epoch, status=Job.Status.RUNNING)

    def update(self, **fields: Any) -> None:
        if self.is_lost.is_set() or not self.row().update(**fields):
            self.is_lost.set()
            raise Superseded

    def update_step(self, key: str, **fields: Any) -> None:
        with transaction.atomic():
            self.update(heartbeat_at=timezone.now())
            JobStep.objects.filter(job_id=self.job_id, key=key).update(**fields)

    def note_detached(self, key: str, name: str, *, afresh: bool = False, **fields: Any) -> None:
        """Remember about a detached command of a step: user, attempt, offset, exit_code. afresh: forget what was known of it."""
        with transaction.atomic():
            self.update(heartbeat_at=timezone.now())
            step = JobStep.objects.get(job_id=self.job_id, key=key)
            step.detached[name] = ({} if afresh else step.detached.get(name, {})) | fields
            step.save(update_fields=["detached"])

    def confirm(self) -> None:
        """Say that this worker lives, and learn whether the job is still its own and still wanted."""
        asked_at = time.monotonic()
        self.update(heartbeat_at=timezone.now())
        if self.row().filter(cancel_requested_at__isnull=False).exists():
            self.is_cancel_requested.set()
        self.confirmed_at = asked_at

    def require(self) -> None:
        """Before anything is sent to a host. A worker that slept (SIGSTOP, a stalled machine) asks the database first."""
        if time.monotonic() - self.confirmed_at > settings.LOST_AFTER_SECONDS / 2:
            self.confirm()
        if self.is_lost.is_set():
            raise Superseded


def claim_job(job_id: int, worker: str) -> Claim | None:
    """queued → running; None if somebody else has it, or nobody wants it any more (a message delivered twice ends here)."""
    now = timezone.now()
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(pk=job_id, status=Job.Status.QUEUED).only("cluster_id").first()
        if job is None:
            return None
        Cluster.objects.filter(pk=job.cluster_id).update(epoch=F("epoch") + 1)
        epoch = Cluster.objects.values_list("epoch", flat=True).get(pk=job.cluster_id)
        claimed = Job.objects.filter(pk=job_id, status=Job.Status.QUEUED).update(
            status=Job.Status.RUNNING, epoch=epoch, worker=worker, heartbeat_at=now, started_at=Coalesce(F("started_at"), now)
        )
    return Claim(job_id, epoch, worker) if claimed else None


@contextmanager
def kept_alive(claim: Claim) -> Iterator[None]:
    """A thread, with a database connection of its own, that confirms the claim every `HEARTBEAT_SECONDS`."""
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(claim, stop), name=f"heartbeat of job {claim.job_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


def _beat(claim: Claim, stop: threading.Event) -> None:
    try:
        while not stop.wait(settings.HEARTBEAT_SECONDS):
            try:
                claim.confirm()
            except Superseded:
                return
            except DatabaseError:  # a busy or restarting database: the next beat tries again, `require` asks meanwhile
                connection.close()
    finally:
        connection.close()


def hand_over(claim: Claim) -> bool:
    """running → queued: this worker was told to stop; the next one goes on from the step that is not done."""
    return bool(
        claim.row().update(status=Job.Status.QUEUED, worker="", heartbeat_at=None, enqueued_at=None, handovers=F("handovers") + 1)
    )


def take_from_the_silent() -> list[int]:
    """running → queued where no heartbeat was heard for `LOST_AFTER_SECONDS`, → lost after ten times in vain. Ids of the lost."""
    silent = timezone.now() - timedelta(seconds=settings.LOST_AFTER_SECONDS)
    lost = []
    for job in Job.objects.filter(status=Job.Status.RUNNING, heartbeat_at__lt=silent):
        same = Job.objects.filter(pk=job.pk, status=Job.Status.RUNNING, epoch=job.epoch, heartbeat_at__lt=silent)
        if job.handovers_in_vain >= MOST_HANDOVERS_IN_VAIN:
            outcome = (
                f"{MOST_HANDOVERS_IN_VAIN} workers in a row took this job and fell silent before they finished a step.\n"
                f"The last one was {job.worker}. Look at the workers' own logs, then resume."
            )
            with transaction.atomic(), acting.as_(on_behalf_of(job.pk)):
                if same.update(status=Job.Status.LOST, ended_at=timezone.now(), outcome=outcome):
                    note_end(job.pk)
                    lost.append(job.pk)
            continue
        same.update(
            status=Job.Status.QUEUED, worker="", heartbeat_at=None, enqueued_at=None,
            handovers=F("handovers") + 1, handovers_in_vain=F("handovers_in_vain") + 1,
        )  # fmt: skip
    return lost


def forgotten_by_the_broker() -> list[int]:
    """Queued jobs whose message no worker took in time, or that never got one."""
    patience = timezone.now() - timedelta(seconds=REQUEUE_SECONDS)
    queued = Job.objects.filter(status=Job.Status.QUEUED)
    return list((queued.filter(enqueued_at__isnull=True) | queued.filter(enqueued_at__lt=patience)).values_list("pk", flat=True))
