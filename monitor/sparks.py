"""Sparklines of the fleet: each cluster's worst replay lag of the last ten minutes, for all clusters by two questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

from django.db.models import Max, QuerySet
from django.utils import timezone

from monitor.models import Rollup, Sample
from monitor.rollups import LEVELS

SECONDS = 600
WIDTH, HEIGHT = 120, 24
FINEST = LEVELS[0].seconds
RAW_SECONDS = 3 * FINEST
"""The newest part, which may not be rolled up yet, from the samples."""
NO_STANDBY = ("primary", "unreachable")
Worst = dict[int, float | None]
"""By stretch of `FINEST` seconds; None: not known."""


def sparks_of(cluster_ids: Iterable[int]) -> Mapping[int, list[str]]:
    """By cluster: polylines (SVG points); gaps where nothing was known."""
    ids, now = list(cluster_ids), timezone.now()
    kept = Rollup.objects.filter(seconds=FINEST, at__gte=now - timedelta(seconds=SECONDS), node__cluster__in=ids)
    raw = Sample.objects.filter(at__gte=now - timedelta(seconds=RAW_SECONDS), node__cluster__in=ids)
    worst: dict[int, Worst] = defaultdict(dict)
    for rows in (kept, raw):
        _gather(rows, worst)
    return {cluster_id: lines_of(worst[cluster_id], now.timestamp() - SECONDS) for cluster_id in ids}


def _gather(rows: QuerySet[Rollup] | QuerySet[Sample], worst: dict[int, Worst]) -> None:
    found = rows.exclude(state__in=NO_STANDBY).values_list("node__cluster_id", "at").annotate(worst=Max("replay_seconds"))
    for cluster_id, at, seconds in found.order_by():
        stretch = int(at.timestamp() // FINEST)
        known = worst[cluster_id].get(stretch)
        worst[cluster_id][stretch] = seconds if known is None else max(known, seconds or 0.0)


def lines_of(worst: Worst, begin: float) -> list[str]:
    """Pure. begin: epoch seconds at the left edge. The top is the worst of it, at least one second."""
    top = max([seconds for seconds in worst.values() if seconds is not None] + [1.0])
    lines: list[list[str]] = [[]]
    before: int | None = None
    for stretch, seconds in sorted(worst.items()):
        if before is not None and stretch != before + 1:
            lines.append([])
        before = stretch if seconds is not None else None
        if seconds is None:
            lines.append([])
            continue
        left = min(max(0.0, (stretch + 0.5) * FINEST - begin), SECONDS) / SECONDS * WIDTH
        lines[-1].append(f"{left:.1f},{HEIGHT - 2 - seconds / top * (HEIGHT - 4):.1f}")
    return [" ".join(line) for line in lines if len(line) > 1]
