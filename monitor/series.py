"""What was seen as series, for the chart and the sparkline."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from clusters.models import Cluster
from monitor.marks import marks_of
from monitor.rollups import LEVELS, Row, history

MOST_SECONDS = LEVELS[-1].kept_seconds
MOST_POINTS = 400


def series_of(cluster: Cluster, seconds: int) -> dict[str, Any]:
    """{"at": [epoch seconds], "nodes": {name: {"bytes": [], "seconds": [], "state": []}}} of the standbys; null = not known.

    "marks": what happened meanwhile (`monitor.marks.marks_of`).
    """
    seconds = max(10, min(seconds, MOST_SECONDS))
    names = dict(cluster.nodes.values_list("pk", "name"))
    now = timezone.now().timestamp()
    width = max(1, -(-seconds // MOST_POINTS)) if seconds > MOST_POINTS else 0
    columns = _columns(history(cluster.pk, now - seconds, now + 60), names, width)
    return columns | {"marks": marks_of(cluster, timezone.now() - timedelta(seconds=seconds))}


def _columns(rows: Iterable[Row], names: dict[int, str], width_seconds: int) -> dict[str, Any]:
    """width_seconds 0: every moment as it is; else the worst of each stretch of that width."""
    moments: dict[float, dict[int, Row]] = {}
    standbys: set[int] = set()
    for row in rows:
        if row.state in ("primary", "unreachable"):
            continue
        standbys.add(row.node_id)
        moment = moments.setdefault(row.at // width_seconds * width_seconds if width_seconds else round(row.at, 3), {})
        known = moment.get(row.node_id)
        moment[row.node_id] = row if known is None else _worse(known, row)
    order = sorted(moments)
    shown = {node: name for node, name in names.items() if node in standbys}
    return {
        "at": order,
        "nodes": {
            name: {
                "bytes": [moments[at][node].replay_bytes if node in moments[at] else None for at in order],
                "seconds": [_rounded(moments[at][node].replay_seconds) if node in moments[at] else None for at in order],
                "state": [moments[at][node].state if node in moments[at] else None for at in order],
            }
            for node, name in shown.items()
        },
    }


def _worse(one: Row, other: Row) -> Row:
    return max(one, other, key=lambda row: (row.replay_seconds is not None, row.replay_seconds or 0.0, row.replay_bytes or 0))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
