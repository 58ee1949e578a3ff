"""What happened, for the charts: jobs, restarts, role changes and alerts, as marks with their sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.models import Cluster, NodeState
from monitor.alert_words import WORDS, sentence
from monitor.models import Alert, Mark
from monitor.rollups import LEVELS
from monitor.watch import ClusterReport, NodeReport

ANOTHER_START_SECONDS = 1.0
MOST_SHOWN = 200
KEPT = timedelta(seconds=LEVELS[-1].kept_seconds)


@dataclass
class Before:
    role: str = "unknown"
    started_at: float | None = None


@dataclass(frozen=True)
class Happened:
    """kind: "restart" or "role"."""

    kind: str
    node_id: int
    at: float
    values: dict[str, Any]


def happened(before: Before, node: NodeReport, at: float) -> Iterator[Happened]:
    """What differs from what was known of the node; a first look is no event. Pure."""
    sight = node.sight
    if sight is None or node.unseen is not None:
        return
    if before.started_at and sight.started_at and abs(sight.started_at - before.started_at) > ANOTHER_START_SECONDS:
        yield Happened("restart", node.node_id, at, {"node": node.name})
    if "unknown" not in (before.role, sight.role) and before.role != sight.role:
        yield Happened("role", node.node_id, at, {"node": node.name, "role": sight.role, "timeline": sight.timeline})


class Marker:
    """For the clusters of one collector; what was known before it is taken up from the database."""

    def __init__(self) -> None:
        self._before: dict[int, Before] = {}

    def take_over(self, cluster_ids: Collection[int]) -> None:
        for state in NodeState.objects.filter(node__cluster_id__in=cluster_ids).exclude(node_id__in=self._before):
            self._before[state.node_id] = Before(state.role, state.sample.get("started_at"))

    def note(self, reports: Iterable[ClusterReport]) -> None:
        found = []
        for report in reports:
            for node in report.nodes:
                before = self._before.setdefault(node.node_id, Before())
                for one in happened(before, node, report.at):
                    found.append(_row(report.cluster_id, one))
                if node.sight is not None and node.unseen is None:
                    self._before[node.node_id] = Before(node.sight.role, node.sight.started_at or before.started_at)
        Mark.objects.bulk_create(found)


def _row(cluster_id: int, one: Happened) -> Mark:
    return Mark(
        cluster_id=cluster_id, node_id=one.node_id, kind=one.kind, at=datetime.fromtimestamp(one.at, UTC), values=one.values
    )


def job_moved(job_id: int, status: str, cluster_id: int | None = None, **_more: object) -> None:
    if status == "running" and cluster_id is not None:
        Mark.objects.get_or_create(
            job=job_id, defaults={"cluster_id": cluster_id, "kind": "job", "at": timezone.now(), "values": {"job": job_id}}
        )


def job_finished(job_id: int, kind: str = "", status: str = "", **_more: object) -> None:
    """Its mark stands where it began, and says how it ended."""
    for mark in Mark.objects.filter(job=job_id):
        mark.values = {"job": job_id, "kind": kind, "status": status, "ended_at": timezone.now().timestamp()}
        mark.save(update_fields=["values"])


def prune() -> None:
    Mark.objects.filter(at__lt=timezone.now() - KEPT).delete()


def marks_of(cluster: Cluster, since: datetime) -> list[dict[str, Any]]:
    """Oldest first: {"at": epoch seconds, "kind": "job" | "restart" | "role" | "alert", "node": name or "", "says": a sentence}."""
    rows = Mark.objects.filter(cluster=cluster, at__gte=since).select_related("node").order_by("-at")[:MOST_SHOWN]
    found = [_shown(mark) for mark in rows]
    during = Q(fired_at__gte=since) | Q(over_at__gte=since)
    alerts = Alert.objects.filter(during, cluster=cluster, rule__in=WORDS).select_related("cluster").order_by("-fired_at")
    for alert in alerts[:MOST_SHOWN]:
        if alert.fired_at >= since:
            found.append(_of_alert(alert.fired_at, sentence(alert)))
        if alert.over_at:
            found.append(_of_alert(alert.over_at, _("Over: %(alert)s") % {"alert": WORDS[alert.rule].name}))
    return sorted(found, key=lambda mark: mark["at"])[-MOST_SHOWN:]


def _of_alert(at: datetime, says: str) -> dict[str, Any]:
    return {"at": at.timestamp(), "kind": "alert", "node": "", "says": says}


def _shown(mark: Mark) -> dict[str, Any]:
    return {"at": mark.at.timestamp(), "kind": mark.kind, "node": mark.node.name if mark.node else "", "says": said(mark)}


def said(mark: Mark) -> str:
    words = {
        "restart": _("%(node)s was restarted."),
        "role": _("%(node)s became %(role)s on timeline %(timeline)s."),
        "job": _("Job %(job)s (%(kind)s): %(status)s.") if "status" in mark.values else _("Job %(job)s began."),
    }
    return str(words[mark.kind] % mark.values)
