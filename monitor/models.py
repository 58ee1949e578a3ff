"""What we see, kept: samples of lag (the history of `clusters.NodeState`, the last look), and who watches which cluster."""

from __future__ import annotations

from django.db import models

from clusters.models import Cluster, Node


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
