"""What we see, kept: samples of lag. (`clusters.NodeState` is the last look; this is its history.)"""

from django.db import models

from clusters.models import Node


class Sample(models.Model):
    """One standby's lag at one second, against the primary's position remembered with its time. Null = not known, never 0."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField(db_index=True)
    state = models.CharField(max_length=16)
    primary_lsn = models.BigIntegerField(null=True)
    write_bytes = models.BigIntegerField(null=True)
    flush_bytes = models.BigIntegerField(null=True)
    replay_bytes = models.BigIntegerField(null=True)
    replay_seconds = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "at"], name="one_sample_per_node_and_moment")]
        indexes = [models.Index(fields=["node", "-at"])]

    def __str__(self) -> str:
        return f"{self.node_id} {self.at} {self.state}"
