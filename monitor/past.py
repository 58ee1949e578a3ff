"""What the database remembers of a cluster, for a collector that begins to watch it: lag stays right over a restart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from clusters.models import NodeState
from monitor.history import Position
from monitor.models import Sample
from monitor.sight import Sight
from monitor.watch import Past

REMEMBERED_SECONDS = 600


def past_of(cluster_ids: Iterable[int]) -> dict[int, Past]:
    """By cluster: who was the primary and where it was when; and each node's last look."""
    past: dict[int, Past] = {cluster_id: Past() for cluster_id in cluster_ids}
    states = NodeState.objects.filter(node__cluster_id__in=past, seen_at__isnull=False).select_related("node")
    for state in states:
        one = past[state.node.cluster_id]
        if state.role in ("primary", "standby"):
            one.sights[state.node_id] = _sight(state)
        if state.sample.get("is_the_primary"):
            one.primary_id = state.node_id
            one.timeline = state.timeline
    primaries = {one.primary_id: one for one in past.values() if one.primary_id is not None}
    since = timezone.now() - timedelta(seconds=REMEMBERED_SECONDS)
    rows = Sample.objects.filter(node_id__in=primaries, at__gte=since, state="primary", primary_lsn__isnull=False).order_by("at")
    for node_id, at, lsn in rows.values_list("node_id", "at", "primary_lsn"):
        one = primaries[node_id]
        one.positions.append(Position(at.timestamp(), lsn or 0, one.timeline))
    return past


def _sight(state: NodeState) -> Sight:
    assert state.seen_at is not None
    return Sight(
        at=state.seen_at.timestamp(), way="ssh" if state.sample.get("way") == "ssh" else "tcp", round_trip_seconds=0.0,
        major=str(state.sample.get("major") or ""), role="primary" if state.role == "primary" else "standby",
        is_writable=bool(state.is_writable), timeline=state.timeline, current_lsn=state.current_lsn, receive_lsn=state.receive_lsn,
        replay_lsn=state.replay_lsn,
    )  # fmt: skip
