"""From signals to events: what of the panel's own life is told outside, and with which data."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone

from clusters.models import Cluster, Node, Quarantine
from clusters.observing import primary_of
from jobs.models import Job
from monitor.alert_words import WORDS, path_of, sentence
from monitor.models import Alert
from webhooks.models import Event, Shape
from webhooks.services import tell

AGAIN = timedelta(minutes=5)
"""So often it is repeated that a node under quarantine takes writes."""
Status = Job.Status
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.ERRORED, Status.CANCELLED, Status.LOST)
TOLD = {
    Status.PLANNED: "job.planned", Status.REFUSED: "job.refused", Status.RUNNING: "job.started",
    **dict.fromkeys(ENDED, "job.finished"),
}  # fmt: skip
"""An event per status; the others (queued, withdrawn, …) are told by what follows them."""


# -- jobs ------------------------------------------------------------------------------------------------------------------------


def job_moved(job_id: int, status: str, **_more: Any) -> None:
    """Told once per plan and once per start and end of a run, however often a worker takes it over."""
    if status not in TOLD:
        return
    job = Job.objects.select_related("cluster", "planned_by", "started_by").defer("plan").filter(pk=job_id).first()
    if job is None or job.status != status:
        return  # gone with its cluster, or it has moved on meanwhile: that is told by itself
    run = job.queued_at.isoformat() if job.queued_at else "plan"
    data = {"cluster": cluster_data(job.cluster), "job": job_data(job)}
    more = {"outcome": job.outcome} if status in ENDED else {}
    tell(TOLD[Status(status)], data | more, cluster=job.cluster, key=f"{TOLD[Status(status)]}:{job.pk}:{run}")
    if status in ENDED and job.ending:
        tell("job.ended", data | more | _ending(job), cluster=job.cluster, key=f"job.ended:{job.pk}:{run}")


def _ending(job: Job) -> dict[str, Any]:
    report = job.report
    return {
        "ending": job.ending, "gap_ms": report.get("gap_ms"), "timeline_before": report.get("timeline_before"),
        "timeline_after": report.get("timeline_after"), "loss": (report.get("loss") or {}).get("sentence", ""),
    }  # fmt: skip


def job_data(job: Job) -> dict[str, Any]:
    """Without its parameters and its log: those are read with a token."""
    return {
        "id": job.pk, "kind": job.kind, "title": job.title, "status": job.status, "path": reverse("jobs:detail", args=[job.pk]),
        "planned_by": str(job.planned_by or ""), "started_by": str(job.started_by or ""), "plan_hash": job.plan_hash,
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
    }  # fmt: skip


# -- alerts ----------------------------------------------------------------------------------------------------------------------


def alert_moved(alert_id: int, what: str, **_more: Any) -> None:
    """Once that it fired and once that it is over; each time that somebody takes it on."""
    alert = Alert.objects.select_related("cluster").filter(pk=alert_id, rule__in=WORDS).first()
    if alert is None:
        return
    taken_on = f":{alert.acknowledged_at.isoformat()}" if what == "acknowledged" and alert.acknowledged_at else ""
    data = {"cluster": cluster_data(alert.cluster), "alert": alert_data(alert)}
    tell(f"alert.{what}", data, cluster=alert.cluster, key=f"alert.{what}:{alert.pk}{taken_on}")


def alert_data(alert: Alert) -> dict[str, Any]:
    """`path`: where the one safe thing to do next (`action`) begins."""
    words = WORDS[alert.rule]
    times = {name: getattr(alert, name) for name in ("since", "fired_at", "over_at", "acknowledged_at")}
    return {
        "id": alert.pk, "rule": alert.rule, "name": str(words.name), "about": alert.about, "severity": alert.severity,
        "sentence": sentence(alert), "action": str(words.do), "path": path_of(alert), "acknowledged_by": alert.acknowledged_by,
        "comment": alert.comment, **{name: at.isoformat() if at else None for name, at in times.items()},
    }  # fmt: skip


# -- clusters and nodes ----------------------------------------------------------------------------------------------------------


def topology_changed(cluster_id: int, **_more: Any) -> None:
    """Primary, timeline and who follows whom, compared with what was told last; by compare-and-set, so that one tells it."""
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    if cluster is None:
        return
    kept, _made = Shape.objects.get_or_create(cluster=cluster)
    after = shape_of(cluster, kept.told)
    if after["primary"] is None or (changed := changes(kept.told, after)) == []:
        return
    digest = hashlib.sha256(json.dumps(after, sort_keys=True).encode()).hexdigest()
    if Shape.objects.filter(pk=kept.pk, digest=kept.digest).update(digest=digest, told=after):
        data = {"cluster": cluster_data(cluster), "changed": changed, "before": kept.told or None, "after": after}
        tell("cluster.changed", data, cluster=cluster)


def shape_of(cluster: Cluster, before: dict[str, Any]) -> dict[str, Any]:
    """As last seen. A standby that hears nobody just now still has its place below whom it followed: silence is a state."""
    nodes = list(cluster.nodes.select_related("state"))
    primary = primary_of(nodes)
    followed = {node["name"]: node["follows"] for node in before.get("nodes", [])}
    return {
        "primary": primary.name if primary else None,
        "timeline": primary.state.timeline if primary else 0,
        "nodes": [_placed(node, followed.get(node.name, "")) for node in nodes],
    }


def _placed(node: Node, followed: str) -> dict[str, Any]:
    state = getattr(node, "state", None)
    role = state.role if state else "unknown"
    upstream = str(state.sample.get("upstream") or followed) if state and role == "standby" else ""
    return node_data(node) | {"role": role, "follows": upstream}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    def places(shape: dict[str, Any]) -> list[tuple[str, str, str]]:
        return sorted((node["name"], node["role"], node["follows"]) for node in shape.get("nodes", []))

    found = [name for name in ("primary", "timeline") if before.get(name) != after[name]]
    return [*found, "topology"] if places(before) != places(after) else found


def cluster_saved(instance: Cluster, created: bool, **_more: Any) -> None:
    if created:
        tell("cluster.added", {"cluster": cluster_data(instance)}, cluster=instance)


def cluster_leaves(instance: Cluster, **_more: Any) -> None:
    """Before it is deleted: whoever hears of this cluster only still does."""
    tell("cluster.removed", {"cluster": cluster_data(instance)}, cluster=instance)


def node_saved(instance: Node, created: bool, **_more: Any) -> None:
    if created:
        _tell_of_node("node.added", instance)


def node_leaves(instance: Node, **_more: Any) -> None:
    _tell_of_node("node.removed", instance)


def quarantine_saved(instance: Quarantine, created: bool, **_more: Any) -> None:
    if created:
        _tell_of_node("node.quarantined", instance.node, reason=instance.reason)
    elif instance.lifted_at:
        _tell_of_node("node.released", instance.node, key=f"node.released:{instance.pk}")


def quarantined_node_seen(node_id: int, **_more: Any) -> None:
    node = Node.objects.select_related("cluster").filter(pk=node_id).first()
    kind = "node.writable_unexpectedly"
    key = f"{kind}:{node_id}:"
    if node is None or Event.objects.filter(key__startswith=key, at__gt=timezone.now() - AGAIN).exists():
        return
    _tell_of_node(kind, node, key=f"{key}{timezone.now().isoformat()}", reason="it is under quarantine and answers as a primary")


def _tell_of_node(kind: str, node: Node, key: str = "", **more: str) -> None:
    tell(kind, {"cluster": cluster_data(node.cluster), "node": node_data(node), **more}, cluster=node.cluster, key=key)


def cluster_data(cluster: Cluster) -> dict[str, str]:
    return {"name": cluster.name, "uuid": str(cluster.uuid)}


def node_data(node: Node) -> dict[str, Any]:
    return {"name": node.name, "address": node.node_address, "port": node.postgres_port}
