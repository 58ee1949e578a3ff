"""How the collectors are: each says so itself (`Condition`), and whoever asks gets it together with what stands in the leases.

A collector that hangs or was killed says nothing any more, so what it said last is never shown without its age.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.db.models import Count, Max
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import clusters_for, may
from monitor.collector import Pulse
from monitor.models import Watcher
from remote.visible import brief_line

State = Literal["watching", "behind", "unwritten", "late", "none", "idle"]

SILENT_SECONDS = 10.0
"""As long as a lease lasts: a collector that has said nothing for so long holds nothing any more."""
BEHIND_SECONDS = 1.0
LATE_SECONDS, LATE_INTERVALS = 6.0, 6
KEPT = timedelta(days=1)


class Condition:
    """What one collector says of itself. `feel` and `note` come from any thread, the rest from the one that keeps the books."""

    def __init__(self, holder: str, capacity: int) -> None:
        now = timezone.now()
        self._row = Watcher(holder=holder, began_at=now, said_at=now, capacity=capacity)
        self._felt: list[Pulse] = []
        self._error: tuple[datetime, str] | None = None

    def feel(self, pulse: Pulse) -> None:
        self._felt.append(pulse)

    def note(self, error: str) -> None:
        self._error = timezone.now(), brief_line(error, 300)

    def has_written(self) -> None:
        self._row.written_at = timezone.now()

    def say(self, waiting: int) -> None:
        row, felt = self._row, self._felt
        self._felt = []
        if felt:
            row.nodes, row.lines = felt[-1].nodes, felt[-1].lines
            row.looks_a_second = sum(pulse.looks for pulse in felt) / sum(pulse.seconds for pulse in felt)
            row.behind_seconds = max(pulse.behind_seconds for pulse in felt)
        if self._error:
            row.last_error_at, row.last_error = self._error
        row.said_at, row.waiting = timezone.now(), waiting
        Watcher.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["holder"],
            update_fields=[field.name for field in Watcher._meta.concrete_fields if not field.primary_key],
        )  # fmt: skip

    def end(self) -> None:
        """It gave everything back."""
        now = timezone.now()
        Watcher.objects.filter(pk=self._row.pk).update(said_at=now, ended_at=now, nodes=0, lines=0, looks_a_second=0)


def forget_old() -> None:
    Watcher.objects.filter(said_at__lt=timezone.now() - KEPT).delete()


# -- who asks ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched:
    """A cluster and who watches it. holder "": nobody. looked_at: the newest try at any of its nodes (None: never)."""

    name: str
    nodes: int
    holder: str
    looked_at: datetime | None
    is_late: bool


@dataclass(frozen=True)
class Health:
    """As far as one person may see. watchers: those that speak; gone: those that fell silent within a day."""

    clusters: Sequence[Watched]
    watchers: Sequence[Watcher]
    gone: Sequence[Watcher]
    is_over_all: bool

    @property
    def late(self) -> Sequence[Watched]:
        return [cluster for cluster in self.clusters if cluster.is_late]

    @property
    def behind_seconds(self) -> float:
        return max((watcher.behind_seconds for watcher in self.watchers), default=0.0)

    @property
    def state(self) -> State:
        """none: no collector runs; late: clusters go unwatched; unwritten: it waits for the database; idle: nothing to do."""
        if not self.clusters:
            return "idle"
        if not self.watchers:
            return "none"
        if self.late:
            return "late"
        if any(watcher.waiting and _is_past(watcher.written_at, LATE_SECONDS) for watcher in self.watchers):
            return "unwritten"
        return "behind" if self.behind_seconds >= BEHIND_SECONDS else "watching"


def health_of(user: User) -> Health:
    """Four questions to the database, however many clusters there are."""
    is_over_all = may(user, "viewer", None)
    seen = clusters_for(user).annotate(node_count=Count("nodes", distinct=True), looked_at=Max("nodes__state__tried_at"))
    found = [_watched(cluster) for cluster in seen.filter(node_count__gt=0).select_related("lease")]
    said = list(Watcher.objects.filter(said_at__gt=timezone.now() - KEPT))
    holders = {cluster.holder for cluster in found}
    known = [watcher for watcher in said if is_over_all or watcher.holder in holders]
    speaking = [watcher for watcher in known if not watcher.ended_at and not _is_past(watcher.said_at, SILENT_SECONDS)]
    return Health(
        clusters=sorted(found, key=lambda cluster: (not cluster.is_late, cluster.name)), watchers=speaking,
        gone=[watcher for watcher in known if watcher not in speaking] if is_over_all else [], is_over_all=is_over_all,
    )  # fmt: skip


def _watched(cluster: Cluster) -> Watched:
    lease = getattr(cluster, "lease", None)
    is_held = lease is not None and lease.until is not None and lease.until > timezone.now()
    looked_at, nodes = cluster.looked_at, cluster.node_count  # type: ignore[attr-defined]
    limit = max(LATE_SECONDS, LATE_INTERVALS * cluster.sample_interval_seconds)
    return Watched(
        cluster.name, nodes, lease.holder if lease and is_held else "", looked_at, is_late=not is_held or _is_past(looked_at, limit)
    )


def _is_past(at: datetime | None, seconds: float) -> bool:
    return at is None or (timezone.now() - at).total_seconds() > seconds
