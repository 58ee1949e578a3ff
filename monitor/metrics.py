"""What is seen, for Prometheus: metrics by its naming conventions, from the stored last looks, one query per kind of row.

What is not known has no sample (never 0); how old a look is, is a metric of its own. Counted by whoever asks: the clusters that the
token may see.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.models import User
from clusters.models import NodeState
from clusters.rights import clusters_for
from monitor.models import Alert
from monitor.rules import RULES
from monitor.standing import WORDS
from monitor.watchers import health_of

NODE = ("cluster", "node")


class Seen(Collector):
    """Everything that one person may see, at the moment of the question."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.clusters = list(clusters_for(user))

    def collect(self) -> Iterator[Metric]:
        yield from self._nodes()
        yield from self._alerts()
        yield from self._collector()

    def _nodes(self) -> Iterator[Metric]:
        up = _gauge("node_up", "Whether the newest look at this node succeeded.")
        primary = _gauge("node_is_primary", "Whether this node is the primary, as last seen.")
        writable = _gauge("node_is_writable", "Whether this node takes writes, as last seen.")
        age = _gauge("node_seen_age_seconds", "Age of the last look at this node that succeeded, in seconds.")
        timeline = _gauge("node_timeline", "Timeline of this node.")
        lag_bytes = _gauge(
            "replay_lag_bytes", "WAL that this standby has not replayed, in bytes, against the primary as last seen."
        )
        lag_seconds = _gauge("replay_lag_seconds", "For how long the primary has been past what this standby has replayed.")
        loss_bytes = _gauge("flush_lag_bytes", "WAL that is not on this standby's disk, in bytes: lost if the primary died now.")
        state = GaugeMetricFamily("pgpanel_node_state", "1 for the state that this node is in.", labels=(*NODE, "state"))
        slots = GaugeMetricFamily(
            "pgpanel_replication_slot_held_bytes", "WAL that a replication slot holds, in bytes.", labels=(*NODE, "slot", "active")
        )
        now = timezone.now()
        for row in NodeState.objects.filter(node__cluster__in=self.clusters).select_related("node__cluster"):
            labels, sample = (row.node.cluster.name, row.node.name), row.sample
            up.add_metric(labels, row.is_reachable)
            if row.seen_at is None:
                continue
            age.add_metric(labels, (now - row.seen_at).total_seconds())
            primary.add_metric(labels, bool(sample.get("is_the_primary")))
            timeline.add_metric(labels, row.timeline)
            if row.is_writable is not None:
                writable.add_metric(labels, row.is_writable)
            for family, name in ((lag_bytes, "replay_bytes"), (lag_seconds, "replay_seconds"), (loss_bytes, "flush_bytes")):
                if sample.get(name) is not None:
                    family.add_metric(labels, sample[name])
            for word in WORDS:
                state.add_metric((*labels, word), word == sample.get("state"))
            for slot in sample.get("slots") or ():
                slots.add_metric((*labels, slot["name"], str(slot["is_active"]).lower()), slot["held_bytes"])
        yield from (up, age, primary, writable, timeline, lag_bytes, lag_seconds, loss_bytes, state, slots)

    def _alerts(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("pgpanel_alerts_open", "Open alerts.", labels=("cluster", "rule", "severity"))
        found = Alert.objects.filter(cluster__in=self.clusters, over_at=None).order_by("cluster", "rule")
        for name, rule, severity, count in found.values_list("cluster__name", "rule", "severity").annotate(count=Count("pk")):
            family.add_metric((name, rule, severity), count)
        known = set(found.values_list("cluster__name", "rule"))
        for cluster in self.clusters:
            for rule in RULES.values():
                if (cluster.name, rule.name) not in known:
                    family.add_metric((cluster.name, rule.name, rule.severity), 0)
        yield family

    def _collector(self) -> Iterator[Metric]:
        health = health_of(self.user)
        watched = GaugeMetricFamily(
            "pgpanel_cluster_is_watched", "Whether a collector looks at this cluster's nodes in time.", labels=("cluster",)
        )
        for cluster in health.clusters:
            watched.add_metric((cluster.name,), not cluster.is_late)
        behind = GaugeMetricFamily(
            "pgpanel_collector_behind_seconds", "How late the latest round of this collector began.", labels=("collector",)
        )
        waiting = GaugeMetricFamily(
            "pgpanel_collector_waiting_rounds", "Rounds that are not in the panel's database yet.", labels=("collector",)
        )
        for row in health.watchers:
            behind.add_metric((row.holder,), row.behind_seconds)
            waiting.add_metric((row.holder,), row.waiting)
        yield from (watched, behind, waiting)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pgpanel_{name}", text, labels=NODE)


def exposition(user: User) -> bytes:
    """Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Seen(user))
    return generate_latest(registry)
