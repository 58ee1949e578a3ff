"""What we do: a job as rows. Each status is documented as a transition; `jobs.services` and `jobs.engine` are the only writers."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster


class Job(models.Model):
    """One operation on one cluster: parameters → plan → confirmation → run.

    planning  → planned (the plan can be read) | refused (a check says no; the plan shows why) | errored
    planned   → queued (a person confirmed the hash; of a grave plan, where the cluster asks for two, another one approved it)
              | withdrawn (a newer plan, or a person said no)
    queued    → running (a worker claimed it by compare-and-set on `status` and `epoch`) | cancelled
    running   → succeeded | failed (expected: a step did not become done; drift) | errored (our bug)
              → cancelled (asked by `cancel_requested_at`; the remote process is proven ended)
              → queued (its worker stopped or went silent: handed to the next one) | lost (handed on ten times without progress)
    queued, running → lost (the panel was restored from a backup; `jobs.restored`)
    failed, errored, cancelled, lost → queued (resume: same plan, from the first step that is not done)
    """

    class Status(models.TextChoices):
        PLANNING = "planning", _("planning")
        PLANNED = "planned", _("planned")
        REFUSED = "refused", _("refused")
        WITHDRAWN = "withdrawn", _("withdrawn")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        ERRORED = "errored", _("errored")
        CANCELLED = "cancelled", _("cancelled")
        LOST = "lost", _("lost")

    ACTIVE = (Status.QUEUED, Status.RUNNING)
    RESUMABLE = (Status.FAILED, Status.ERRORED, Status.CANCELLED, Status.LOST)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200, blank=True)
    params: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PLANNING)
    plan: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    plan_hash = models.CharField(max_length=64, blank=True)
    planned_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="planned_jobs")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="started_jobs")
    started_from = models.CharField(max_length=60, blank=True, help_text="address or command that confirmed it")
    is_grave = models.BooleanField(default=False, help_text="the plan may lose data or destroys some (`jobs.dangers`)")
    needs_second_person = models.BooleanField(default=False, help_text="grave, on a cluster that asks for two")
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="approved_jobs")
    approved_at = models.DateTimeField(null=True)
    approved_hash = models.CharField(max_length=64, blank=True, help_text="of the plan that was approved")
    created_at = models.DateTimeField(auto_now_add=True)
    planned_at = models.DateTimeField(null=True)
    queued_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True, help_text="when the broker last took it; the sweep repeats what was lost")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    supersedes = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.SET_NULL,
        related_name="superseded_by",
        help_text="the active job that was asked to end so that this one, confirmed already, can begin",
    )
    epoch = models.PositiveBigIntegerField(default=0, help_text="of the claim that runs it now")
    worker = models.CharField(max_length=120, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    handovers = models.PositiveIntegerField(default=0)
    handovers_in_vain = models.PositiveIntegerField(default=0, help_text="since a step last ended")
    outcome = models.TextField(blank=True, help_text="where it stopped, why, what state the hosts are in, what to do next")
    ending = models.CharField(
        max_length=20, blank=True, help_text="done, rolled_back, cleanup_pending, unknown, refused_by_host: where a kind tells it"
    )
    report: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="what the incident page shows: evidence, timeline (at, what, node), gap_ms, loss, timelines"
    )
    notes: models.JSONField[dict[str, str]] = models.JSONField(default=dict)
    last_seq = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster"],
                condition=models.Q(status__in=["queued", "running"]) & ~models.Q(kind="fence"),
                name="one_active_job_per_cluster",
            ),
            # a fence runs beside whatever else does, under a lock of its own on the hosts
            models.UniqueConstraint(
                fields=["cluster"],
                condition=models.Q(status__in=["queued", "running"], kind="fence"),
                name="one_active_fence_per_cluster",
            ),
            # whatever door queues it
            models.CheckConstraint(
                condition=~models.Q(status__in=["queued", "running"])
                | models.Q(needs_second_person=False)
                | (
                    models.Q(approved_hash=models.F("plan_hash"))
                    & ~models.Q(approved_hash="")
                    & ~models.Q(approved_by=models.F("started_by"))
                ),
                name="approved_by_a_second_person",
            ),
        ]

    def __str__(self) -> str:
        return f"job {self.pk}: {self.title}"

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE

    @property
    def is_resumable(self) -> bool:
        return self.status in self.RESUMABLE


class JobStep(models.Model):
    """One row per step. todo → running → done | already (it held before) | failed | cancelled."""

    class Status(models.TextChoices):
        TODO = "todo", _("to do")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        ALREADY = "already", _("nothing to do")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField()
    key = models.CharField(max_length=100)
    node = models.CharField(max_length=39)
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.TODO)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    progress: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="done_bytes, total_bytes, bytes_per_second"
    )
    error = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=0)
    detached: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="by name on the host: user, offset (log bytes read), exit_code once it was seen"
    )

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["job", "key"], name="step_key_once_per_job")]

    def __str__(self) -> str:
        return f"{self.job_id} {self.key}"


class LogLine(models.Model):
    """One line of a job's log, redacted before it is stored. `(job, seq)` is the cursor of the live stream."""

    class Voice(models.TextChoices):
        COMMAND = "command", _("command")
        OUTPUT = "output", _("output")
        ERROR = "error", _("error")
        NOTE = "note", _("note")

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="lines")
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    node = models.CharField(max_length=39, blank=True)
    step = models.CharField(max_length=100, blank=True)
    voice = models.CharField(max_length=8, choices=Voice.choices, default=Voice.OUTPUT)
    text = models.TextField()

    class Meta:
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["job", "seq"], name="line_once_per_job")]

    def __str__(self) -> str:
        return self.text
