"""Samples as series, for the chart and the sparkline."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from clusters.models import Cluster
from monitor.models import Sample

MOST_SECONDS = 3600
MOST_POINTS = 400

Row = tuple[int, float, str, int | None, float | None]
"""node id, epoch seconds, state, bytes, seconds."""


def series_of(cluster: Cluster, seconds: int) -> dict[str, Any]:
    """{"at": [epoch seconds], "nodes": {name: {"bytes": [], "seconds": [], "state": []}}} of the standbys; null = not known."""
    seconds = max(10, min(seconds, MOST_SECONDS))
    names = dict(cluster.nodes.values_list("pk", "name"))
    since = timezone.now() - timedelta(seconds=seconds)
    rows = Sample.objects.filter(node_id__in=names, at__gte=since).order_by("at")
    values = rows.values_list("node_id", "at", "state", "replay_bytes", "replay_seconds")
    width = max(1, -(-seconds // MOST_POINTS)) if seconds > MOST_POINTS else 0
    return _columns(((node, at.timestamp(), *rest) for node, at, *rest in values), names, width)  # type: ignore[misc]


def _columns(rows: Iterable[Row], names: dict[int, str], width_seconds: int) -> dict[str, Any]:
    """width_seconds 0: every moment as it is; else the worst of each stretch of that width."""
    moments: dict[float, dict[int, Row]] = {}
    standbys: set[int] = set()
    for row in rows:
        node, at, state = row[0], row[1], row[2]
        if state in ("primary", "unreachable"):
            continue
        standbys.add(node)
        moment = moments.setdefault(at // width_seconds * width_seconds if width_seconds else round(at, 3), {})
        known = moment.get(node)
        moment[node] = row if known is None else _worse(known, row)
    order = sorted(moments)
    shown = {node: name for node, name in names.items() if node in standbys}
    return {
        "at": order,
        "nodes": {
            name: {
                "bytes": [moments[at][node][3] if node in moments[at] else None for at in order],
                "seconds": [_rounded(moments[at][node][4]) if node in moments[at] else None for at in order],
                "state": [moments[at][node][2] if node in moments[at] else None for at in order],
            }
            for node, name in shown.items()
        },
    }


def _worse(one: Row, other: Row) -> Row:
    return max(one, other, key=lambda row: (row[4] is not None, row[4] or 0.0, row[3] or 0))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def spark_of(cluster: Cluster, seconds: int = 600, width: int = 120, height: int = 24) -> list[str]:
    """Polylines (SVG points) of the worst replay lag over time; gaps where nothing was known."""
    columns = series_of(cluster, seconds)
    worst = [
        max((value for value in values if value is not None), default=None)
        for values in zip(*(node["seconds"] for node in columns["nodes"].values()), strict=True)
    ]
    top = max([value for value in worst if value is not None] + [1.0])
    begin = timezone.now().timestamp() - seconds
    lines: list[list[str]] = [[]]
    for at, value in zip(columns["at"], worst, strict=False):
        if value is None:
            lines.append([])
            continue
        lines[-1].append(f"{(at - begin) / seconds * width:.1f},{height - 2 - value / top * (height - 4):.1f}")
    return [" ".join(line) for line in lines if len(line) > 1]
