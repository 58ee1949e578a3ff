"""Samples become coarser as they age: 1 s for an hour, 10 s for a day, 1 min for 30 days, 1 h for two years. Bounded by design.

Each level is made of the one below it, for whole stretches only, from `Lease.rolled_up` on: a collector that takes over goes on
where the last one stopped, and what is rolled up twice is there once (`ignore_conflicts`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from django.db import transaction
from django.db.models import Max, Min

from monitor.models import Lease, Rollup, Sample

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Level:
    """seconds: how long a stretch is. kept_seconds: for how long."""

    seconds: int
    kept_seconds: int


RAW = Level(0, 3600)
LEVELS = (Level(10, 86_400), Level(60, 30 * 86_400), Level(3600, 2 * 365 * 86_400))
LATE_SECONDS = 5
"""A sample may be written this long after its moment; a stretch is rolled up when it is over for so long."""
AT_ONCE_SECONDS = 3600
"""At most so much of the level below is read in one turn: after a long absence it takes several turns."""
GRAVITY = ("idle", "streaming", "primary", "catching-up", "unknown", "stale", "paused", "stalled", "disconnected", "unreachable")
"""States, the gravest last."""
PRUNE_ROWS = 5000


@dataclass(frozen=True)
class Row:
    """A sample or a rollup. at: epoch seconds."""

    node_id: int
    at: float
    state: str
    samples: int = 1
    unknown: int = 0
    primary_lsn: int | None = None
    replay_bytes: int | None = None
    replay_seconds: float | None = None


def roll_up(cluster_ids: Iterable[int], now: float | None = None) -> int:
    """Bring all levels of these clusters as far as whole stretches go. Returns the number of rows that were made."""
    now = time.time() if now is None else now
    made = 0
    below = RAW
    for level in LEVELS:
        made += _roll_up(level, below, list(cluster_ids), now)
        below = level
    return made


def _roll_up(level: Level, below: Level, cluster_ids: list[int], now: float) -> int:
    upto = int((now - LATE_SECONDS) // level.seconds * level.seconds)
    oldest = int((now - below.kept_seconds) // level.seconds * level.seconds)
    due: dict[tuple[int, int], list[Lease]] = defaultdict(list)
    for lease in Lease.objects.filter(pk__in=cluster_ids):
        since = max(lease.rolled_up.get(str(level.seconds), oldest), oldest)
        if upto - since > AT_ONCE_SECONDS:  # a new cluster, or nobody has looked for long: from what there is
            since = int(_first(below, lease.pk, since, upto) // level.seconds * level.seconds)
        until = min(upto, since + AT_ONCE_SECONDS)
        if since < until:
            due[since, until].append(lease)
    made = 0
    for (since, until), leases in due.items():
        rows = rolled(rows_of(below, [lease.pk for lease in leases], since, until), level.seconds)
        rollups = [_rollup(row, level) for row in rows]
        for lease in leases:
            lease.rolled_up[str(level.seconds)] = until
        with transaction.atomic():
            Rollup.objects.bulk_create(rollups, ignore_conflicts=True)
            Lease.objects.bulk_update(leases, ["rolled_up"])
        made += len(rollups)
    return made


def _first(level: Level, cluster_id: int, since: float, until: float) -> float:
    """When what is kept at a level from `since` on begins; `until` where there is nothing."""
    kept = Sample.objects.all() if level is RAW else Rollup.objects.filter(seconds=level.seconds)
    first = kept.filter(node__cluster_id=cluster_id, at__gte=moment(since), at__lt=moment(until)).aggregate(first=Min("at"))[
        "first"
    ]
    return float(first.timestamp()) if first else until


def rolled(rows: Iterable[Row], seconds: int) -> list[Row]:
    """Rows of one level as stretches of `seconds`: the worst of each, per node. Pure."""
    found: dict[tuple[int, int], Row] = {}
    for row in rows:
        begin = int(row.at // seconds * seconds)
        known = found.get((row.node_id, begin))
        found[row.node_id, begin] = _worst(known, row, begin)
    return list(found.values())


def _worst(known: Row | None, row: Row, begin: int) -> Row:
    if known is None:
        return Row(row.node_id, begin, row.state, row.samples, row.unknown, row.primary_lsn, row.replay_bytes, row.replay_seconds)
    return Row(
        row.node_id, begin, max(known.state, row.state, key=_gravity), known.samples + row.samples, known.unknown + row.unknown,
        known.primary_lsn if row.primary_lsn is None else row.primary_lsn,
        _most(known.replay_bytes, row.replay_bytes), _most(known.replay_seconds, row.replay_seconds),
    )  # fmt: skip


def _gravity(state: str) -> int:
    return GRAVITY.index(state) if state in GRAVITY else 0


def _most(one: N | None, other: N | None) -> N | None:
    return max((value for value in (one, other) if value is not None), default=None)


def rows_of(level: Level, cluster_ids: Iterable[int], since: float, until: float) -> Iterator[Row]:
    """What is kept at a level, by time. since, until: epoch seconds, the end not included."""
    between = {"node__cluster_id__in": list(cluster_ids), "at__gte": moment(since), "at__lt": moment(until)}
    lag = ("primary_lsn", "replay_bytes", "replay_seconds")
    if level is RAW:
        raw = Sample.objects.filter(**between).order_by("at").values_list("node_id", "at", "state", *lag)
        for node_id, at, state, lsn, size, seconds in raw.iterator():
            yield Row(node_id, at.timestamp(), state, 1, int(state != "primary" and size is None), lsn, size, seconds)
        return
    kept = Rollup.objects.filter(seconds=level.seconds, **between).order_by("at")
    for node_id, at, *rest in kept.values_list("node_id", "at", "state", "samples", "unknown", *lag).iterator():
        yield Row(node_id, at.timestamp(), *rest)


def history(cluster_id: int, since: float, until: float) -> Iterator[Row]:
    """As fine as is worth drawing and is still kept; the newest part, which is not rolled up yet, from the levels below."""
    cursor = since
    for level in reversed(levels_for(until - since)):
        yield from rows_of(level, [cluster_id], cursor, until)
        if level is not RAW:
            last = Rollup.objects.filter(node__cluster_id=cluster_id, seconds=level.seconds, at__gte=moment(cursor)).aggregate(
                last=Max("at")
            )["last"]
            cursor = last.timestamp() + level.seconds if last else cursor


def levels_for(seconds: float) -> tuple[Level, ...]:
    """From the raw samples up to the level that a chart of so long a time begins with."""
    levels = (RAW, *LEVELS)
    most = {3600: 1, 86_400: 2, 7 * 86_400: 3}  # beyond: hours, for a month of minutes would be 43,200 rows a node
    return levels[: next((count for limit, count in most.items() if seconds <= limit), len(levels))]


def prune(now: float | None = None) -> int:
    """Some of what is past its time, at every level. Returns how many rows; 0 = nothing is left to do."""
    now = time.time() if now is None else now
    removed = 0
    for level in LEVELS:
        old = Rollup.objects.filter(seconds=level.seconds, at__lt=moment(now - level.kept_seconds)).order_by("at")
        ids = list(old.values_list("pk", flat=True)[:PRUNE_ROWS])
        removed += Rollup.objects.filter(pk__in=ids)._raw_delete(using="default") if ids else 0
    return removed


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _rollup(row: Row, level: Level) -> Rollup:
    return Rollup(
        node_id=row.node_id, seconds=level.seconds, at=moment(row.at), state=row.state, samples=row.samples, unknown=row.unknown,
        primary_lsn=row.primary_lsn, replay_bytes=row.replay_bytes, replay_seconds=row.replay_seconds,
    )  # fmt: skip
