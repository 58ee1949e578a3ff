"""Samples into the database: one transaction for all that has piled up, and the old ones out in small bites."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from clusters.models import Node, NodeState
from monitor.models import Sample
from monitor.watch import ClusterReport, NodeReport

logger = logging.getLogger(__name__)

UNSTORABLE = (DataError, OverflowError, ValueError)
KEPT_SECONDS = 3600
PRUNE_BITE = 1000

TRIED = ("tried_at", "is_reachable", "error", "sample")
SEEN = (*TRIED, "seen_at", "role", "is_writable", "timeline", "current_lsn", "receive_lsn", "replay_lsn", "follows")
"""The columns of NodeState that are ours; `facts` are kept by whoever read them."""


def write(reports: Sequence[ClusterReport]) -> int:
    """Every sample, and the newest look at each node. Returns the number of samples. Nodes deleted meanwhile are left out.

    A report that the database takes in no way (a host may answer anything) is left out alone, and the others are kept.
    """
    try:
        return _write(reports, None)
    except IntegrityError:
        ids = {node.node_id for report in reports for node in report.nodes}
        return _write(reports, set(Node.objects.filter(pk__in=ids).values_list("pk", flat=True)))
    except UNSTORABLE as error:
        if len(reports) > 1:
            return sum(write([report]) for report in reports)
        logger.warning("%s: what was seen cannot be kept: %s", reports[0].name, error)
        return 0


def _write(reports: Sequence[ClusterReport], existing: set[int] | None) -> int:
    newest: dict[int, NodeReport] = {}
    samples = []
    for report in reports:
        at = _moment(report.at)
        for node in report.nodes:
            if existing is None or node.node_id in existing:
                newest[node.node_id] = node
                samples.append(_sample(node, at))
    with transaction.atomic():
        Sample.objects.bulk_create(samples, ignore_conflicts=True)
        _upsert((node for node in newest.values() if node.sight), SEEN)
        _upsert((node for node in newest.values() if not node.sight), TRIED)
    return len(samples)


def _upsert(nodes: Iterable[NodeReport], columns: Sequence[str]) -> None:
    rows = [NodeState(node_id=node.node_id, **state_of(node)) for node in nodes]
    if rows:
        NodeState.objects.bulk_create(rows, update_conflicts=True, unique_fields=["node"], update_fields=columns)


def prune() -> int:
    """The oldest samples that are past their time, at most a bite. Ids rise with time, so no index by time is needed."""
    oldest = list(Sample.objects.order_by("pk").values_list("pk", "at")[:PRUNE_BITE])
    limit = timezone.now() - timedelta(seconds=KEPT_SECONDS)
    past = [pk for pk, at in oldest if at < limit]
    return Sample.objects.filter(pk__lte=past[-1])._raw_delete(using="default") if past else 0


def _sample(node: NodeReport, at: datetime) -> Sample:
    lag = node.lag
    if lag is None:
        position = node.sight.current_lsn if node.sight and node.is_the_primary and node.is_fresh else None
        return Sample(node_id=node.node_id, at=at, state=node.state, primary_lsn=position)
    return Sample(
        node_id=node.node_id, at=at, state=node.state, primary_lsn=lag.primary_lsn, write_bytes=lag.write_bytes,
        flush_bytes=lag.flush_bytes, replay_bytes=lag.replay_bytes, replay_seconds=lag.replay_seconds,
    )  # fmt: skip


def state_of(node: NodeReport) -> dict[str, Any]:
    """The columns of NodeState."""
    sight = node.sight
    common: dict[str, Any] = {
        "tried_at": _moment(node.tried_at) if node.tried_at else None, "is_reachable": is_reachable(node),
        "error": node.unseen.message if node.unseen else "", "sample": details_of(node),
    }  # fmt: skip
    if sight is None:
        return common
    return common | {
        "seen_at": _moment(sight.at), "role": sight.role, "is_writable": sight.is_writable, "timeline": sight.timeline,
        "current_lsn": sight.current_lsn, "receive_lsn": sight.receive_lsn, "replay_lsn": sight.replay_lsn,
        "follows": sight.receiver.follows if sight.receiver else "",
    }  # fmt: skip


def is_reachable(node: NodeReport) -> bool:
    """A server that ran and does not answer now is not reachable; a host where none was ever seen is, as soon as it answers."""
    if node.unseen is None:
        return node.sight is not None
    return node.sight is None and node.unseen.host_answers


def details_of(node: NodeReport) -> dict[str, Any]:
    """What `NodeState.sample` holds: the lag as judged, and what else the look said."""
    sight = node.sight
    details: dict[str, Any] = {"state": node.state, "upstream": node.upstream, "is_the_primary": node.is_the_primary}
    if node.lag is not None:
        details |= asdict(node.lag) | {"state": node.state}
    if node.unseen is not None:
        details["cause"] = node.unseen.cause
    if node.sender is not None:
        details["sync_state"] = node.sender.sync_state
    if node.wal_bytes_per_second is not None:
        details["wal_bytes_per_second"] = node.wal_bytes_per_second
    if sight is not None:
        details |= {
            "way": sight.way, "round_trip_seconds": round(sight.round_trip_seconds, 5), "major": sight.major,
            "clock_skew_seconds": round(sight.clock_skew_seconds, 3), "is_replay_paused": sight.is_replay_paused,
            "slot": sight.receiver.slot_name if sight.receiver else "",
            "slots": [asdict(slot) for slot in sight.slots],
            "senders": [sender.application_name or sender.client_address for sender in sight.senders],
            "archiver": asdict(node.archiver) if node.archiver else None, "started_at": sight.started_at,
        }  # fmt: skip
    return details | _conditions_of(node)


def _conditions_of(node: NodeReport) -> dict[str, Any]:
    """What was seen of the host and over time; without what nobody has seen."""
    condition, host = node.condition, node.host
    found: dict[str, Any] = {}
    if condition is not None:
        found |= {"pending_restart": list(condition.pending_restart), "expiring": [list(one) for one in condition.expiring]}
    if host is not None:
        found["host"] = asdict(host)
    if node.forecasts:
        found["forecasts"] = {name: asdict(one) for name, one in node.forecasts.items()}
    if node.left is not None:
        found["left"] = asdict(node.left)
    if node.drifted:
        found["drifted"] = list(node.drifted)
    return found


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(round(at, 3), UTC)
