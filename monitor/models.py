"""What we see, kept: samples of lag (the history of `clusters.NodeState`, the last look), and who watches which cluster."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster, Credential, Node


class Sample(models.Model):
    """One node's lag at one moment, against the primary's position remembered with its time. Null = not known, never 0.

    state: a lag state (`monitor.lag.State`), or "primary", "unreachable".
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField()
    state = models.CharField(max_length=16)
    primary_lsn = models.BigIntegerField(null=True)
    write_bytes = models.BigIntegerField(null=True)
    flush_bytes = models.BigIntegerField(null=True)
    replay_bytes = models.BigIntegerField(null=True)
    replay_seconds = models.FloatField(null=True)

    class Meta:
        # its index serves every question; old ones are found by id, which rises with time
        constraints = [models.UniqueConstraint(fields=["node", "at"], name="one_sample_per_node_and_moment")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.at} {self.state}"


class Rollup(models.Model):
    """The worst of a stretch of time for one node: a peak of one second still shows after a year. Null = never known in it.

    seconds: its length, a level of `monitor.rollups.LEVELS`; at: its begin. state: the gravest of it. samples: how many looks it
    stands for, unknown: in how many of them the lag was not known.
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="rollups", db_index=False)
    seconds = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    state = models.CharField(max_length=16)
    samples = models.PositiveIntegerField()
    unknown = models.PositiveIntegerField()
    primary_lsn = models.BigIntegerField(null=True, help_text="the last known in it")
    replay_bytes = models.BigIntegerField(null=True, help_text="the most")
    replay_seconds = models.FloatField(null=True, help_text="the most")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "seconds", "at"], name="one_rollup_per_node_level_and_moment")]
        indexes = [models.Index(fields=["seconds", "at"], name="rollup_by_age")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.at} {self.seconds} s {self.state}"


class Lease(models.Model):
    """Who watches a cluster, until when: claimed by compare-and-set, so that no node is watched twice.

    free (`until` empty or past) → held (`holder` renews `until`) → free (given back, or expired with its worker).
    changes: rises when the cluster, its nodes or their configuration change; its holder then reads anew.
    rolled_up: by level of `monitor.rollups.LEVELS` ("10", …) up to when, in epoch seconds, its samples have been rolled up.
    """

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, primary_key=True, related_name="lease")
    holder = models.CharField(max_length=64, blank=True, db_index=True)
    until = models.DateTimeField(null=True)
    changes = models.PositiveIntegerField(default=0)
    rolled_up: models.JSONField[dict[str, int]] = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.cluster_id}: {self.holder or 'nobody'}"


class Watcher(models.Model):
    """A collector, as it last said itself how it is. It says so every few seconds: one that is silent is gone, or hangs.

    capacity: looks a second that it takes on at most. lines: nodes with an open connection. behind_seconds: how late its latest
    round began. waiting: rounds that are not in the database yet; written_at: when it last took some.
    """

    holder = models.CharField(max_length=64, primary_key=True)
    began_at = models.DateTimeField()
    said_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    capacity = models.PositiveIntegerField()
    nodes = models.PositiveIntegerField(default=0)
    lines = models.PositiveIntegerField(default=0)
    looks_a_second = models.FloatField(default=0.0)
    behind_seconds = models.FloatField(default=0.0)
    waiting = models.PositiveIntegerField(default=0)
    written_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    last_error_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-began_at"]

    def __str__(self) -> str:
        return self.holder


class Alert(models.Model):
    """Something that a person should know of: a rule's breach (`monitor.rules`) that has held for long enough.

    open (it holds) → over (`over_at`). A person may acknowledge an open one: it stays open and reminds nobody any more.
    about: the node, or another thing of the cluster; values: what its sentence says.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="alerts")
    rule = models.CharField(max_length=40)
    about = models.CharField(max_length=120, blank=True)
    severity = models.CharField(max_length=10)
    values: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    since = models.DateTimeField(help_text="when the breach began; it fired some rounds later")
    fired_at = models.DateTimeField()
    over_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    comment = models.CharField(_("comment"), max_length=500, blank=True)

    class Meta:
        ordering = ["-fired_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "rule", "about"], condition=models.Q(over_at=None), name="one_open_alert_per_rule_and_thing"
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.rule} {self.about}"


class RunningJob(models.Model):
    """A job that runs on a cluster: what is seen meanwhile is explained by it, for a while (`alerts.EXPLAINS_SECONDS`)."""

    job_id = models.PositiveBigIntegerField(primary_key=True)
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"job {self.job_id} on {self.cluster_id}"


class ManagedBlocks(models.Model):
    """The managed blocks of a node's configuration as the last job left them: checksum by file (`monitor.drift`).

    sums: empty = not seen yet since `since`, when the last job ended.
    """

    node = models.OneToOneField(Node, on_delete=models.CASCADE, primary_key=True, related_name="managed_blocks")
    sums: models.JSONField[dict[str, str]] = models.JSONField(default=dict)
    since = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.node_id}: {', '.join(self.sums)}"


class Mark(models.Model):
    """Something that happened, for the charts: a job, a server's restart, another role. Alerts have rows of their own.

    kind: "job", "restart", "role". values: what its sentence says (`monitor.marks`). job: to find it again when it ends.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="marks")
    node = models.ForeignKey(Node, null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10)
    at = models.DateTimeField()
    job = models.PositiveBigIntegerField(null=True, unique=True)
    values: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["cluster", "at"], name="marks_by_time")]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.at} {self.kind}"


class LogTail(models.Model):
    """The end of a node's server log, read when somebody asked for it; kept until the next one does.

    asked (asked_at) → read (read_at; lines, secrets hidden) | refused (read_at; error).
    """

    node = models.OneToOneField(Node, on_delete=models.CASCADE, primary_key=True, related_name="log_tail")
    asked_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    source = models.CharField(max_length=500, blank=True, help_text="the file, or the unit of the journal")
    lines = models.TextField(blank=True)
    error = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return f"{self.node_id} {self.read_at}"


class Maintenance(models.Model):
    """A window in which a cluster wakes nobody, with its reason. What still holds when it ends, fires then."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="maintenances")
    begins_at = models.DateTimeField(_("begins"))
    ends_at = models.DateTimeField(_("ends"))
    reason = models.CharField(_("reason"), max_length=200)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-begins_at"]

    def __str__(self) -> str:
        return f"{self.cluster}: {self.reason}"


class Thresholds(models.Model):
    """A cluster's own limits (`monitor.rules.Limits`), by name; what is not in it has the default, also one of a later release."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, primary_key=True, related_name="thresholds")
    own: models.JSONField[dict[str, float]] = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.cluster_id}: {self.own}"


class Channel(models.Model):
    """Whom alerts wake, and how (`monitor.channels`). settings: what its kind needs and may be shown; `secret`: what may not.

    quiet_hours: windows in `time_zone` (`monitor.quiet.Window`). `busy_until`: one worker at a time sends to it; claimed by
    compare-and-set, free again when past.
    """

    kind = models.CharField(max_length=20)
    name = models.CharField(_("name"), max_length=80)
    settings: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    secret = models.OneToOneField(Credential, null=True, on_delete=models.PROTECT, related_name="+")
    least_severity = models.CharField(max_length=10, default="warning")
    clusters = models.ManyToManyField(Cluster, blank=True, related_name="channels")
    is_for_all = models.BooleanField(_("all clusters"), default=True)
    is_active = models.BooleanField(_("active"), default=True)
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC")
    quiet_hours: models.JSONField[list[dict[str, Any]]] = models.JSONField(default=list, blank=True)
    critical_breaks_through = models.BooleanField(_("critical alerts come all the same"), default=True)
    busy_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Message(models.Model):
    """What goes to a channel in one piece: notices that were due together, or a test. With the same `uuid` in every attempt.

    waiting (tried when `due_at` comes) → sent | given up | dropped (nothing of it is worth telling any more)
    sent, given up, dropped → waiting (replayed by a person)
    cluster: None where many clusters were due at once, or where it is gone. text: as it was said last.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENT = "sent", _("sent")
        GIVEN_UP = "given up", _("given up")
        DROPPED = "dropped", _("not needed any more")

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="messages")
    cluster = models.ForeignKey(Cluster, null=True, on_delete=models.SET_NULL, related_name="+")
    is_test = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    made_at = models.DateTimeField(auto_now_add=True, db_index=True)
    due_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0, help_text="since it was made or replayed")
    title = models.CharField(max_length=200, blank=True)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["due_at"], condition=models.Q(status="waiting"), name="messages_due")]

    def __str__(self) -> str:
        return f"{self.title} to {self.channel}: {self.status}"


class Sending(models.Model):
    """One attempt at a message, written before it is made: `is_taken` None = its worker died meanwhile, it may have arrived."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="sendings")
    at = models.DateTimeField()
    seconds = models.FloatField(default=0)
    is_taken = models.BooleanField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.message_id} {self.is_taken} {self.error}"


class Notice(models.Model):
    """That a channel is to hear of an alert: "fired" or "over". A row first, so that it survives Redis and workers.

    waiting (for `due_at`: longer in quiet hours) → in a `message` → sent | given up. sent_at: when it was told first.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENT = "sent", _("sent")
        GIVEN_UP = "given up", _("given up")

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="notices")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="notices")
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="notices")
    what = models.CharField(max_length=10)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alert", "channel", "what"], name="one_notice_per_alert_channel_and_what")]
        indexes = [models.Index(fields=["status", "due_at"], name="notices_due")]

    def __str__(self) -> str:
        return f"{self.alert}: {self.what} to {self.channel}"
