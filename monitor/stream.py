"""What live pages hear: topics `cluster:<id>` (events `sample`, `topology`) and `fleet:all` (`topology`)."""

from __future__ import annotations

from typing import Any

from clusters.models import Cluster, NodeState
from clusters.rights import clusters_for, may
from monitor.watch import ClusterReport, NodeReport
from pgpanel import live
from pgpanel.live import Event

SHOWN = ("state", "reason", "write_bytes", "flush_bytes", "replay_bytes", "replay_seconds", "is_bound", "eta_seconds")


def sample_of(report: ClusterReport) -> dict[str, Any]:
    """at: epoch seconds. A node's numbers are null where they are not known; `seen_at` dates them, `age` is their age now."""
    return {"at": round(report.at, 3), "nodes": {node.name: _node(node, report.at) for node in report.nodes}}


def _node(node: NodeReport, now: float) -> dict[str, Any]:
    numbers = {name: getattr(node.lag, name, None) for name in SHOWN} | {"state": node.state}
    seen_at = node.sight.at if node.sight else None
    return numbers | {
        "role": node.role, "is_reachable": node.unseen is None and node.sight is not None,
        "seen_at": round(seen_at, 3) if seen_at else None, "age": round(now - seen_at, 3) if seen_at else None,
    }  # fmt: skip


def publish_topology(cluster_id: int) -> None:
    """Roles or links have changed and stand in the database: pages fetch their drawing anew."""
    live.publish(f"cluster:{cluster_id}", "topology", {})
    live.publish("fleet:all", "topology", {})


def register() -> None:
    live.register("cluster", may=_may_hear_cluster, replay=_present_sample)
    live.register(
        "fleet", may=lambda user, _id: clusters_for(user).exists() or may(user, "viewer", None), replay=lambda _id, _after: []
    )


def _may_hear_cluster(user: Any, cluster_id: str) -> bool:
    cluster = Cluster.objects.filter(pk=cluster_id).first() if cluster_id.isdecimal() else None
    return cluster is not None and may(user, "viewer", cluster)


def _present_sample(cluster_id: str, _after: int) -> list[Event]:
    """The newest look, for a page that has just opened or while Redis is away."""
    states = list(NodeState.objects.filter(node__cluster_id=cluster_id).select_related("node"))
    tried = [state.tried_at.timestamp() for state in states if state.tried_at]
    if not tried:
        return []
    at = max(tried)
    return [Event("sample", {"at": round(at, 3), "nodes": {state.node.name: _stored(state, at) for state in states}})]


def _stored(state: NodeState, now: float) -> dict[str, Any]:
    seen_at = state.seen_at.timestamp() if state.seen_at else None
    return {name: state.sample.get(name) for name in SHOWN} | {
        "role": state.role, "is_reachable": state.is_reachable,
        "seen_at": seen_at, "age": round(max(0.0, now - seen_at), 3) if seen_at else None,
    }  # fmt: skip
