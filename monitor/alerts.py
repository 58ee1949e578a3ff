"""The books of alerts, kept by the collector of a cluster: what the rules find becomes rows, and rows for whom to wake."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from clusters.models import Cluster
from clusters.signals import alert_moved, tell
from monitor import notices
from monitor.breaches import Change, Followed
from monitor.models import Alert, Maintenance, RunningJob
from monitor.rules import BY_JOB, EVERY, IN_ROUNDS, RULES, breaches
from monitor.thresholds import DEFAULTS, limits_by_cluster
from monitor.watch import ClusterReport
from pgpanel import live

logger = logging.getLogger(__name__)

EXPLAINS_SECONDS = 900.0
"""For so long a running job explains what is seen of its cluster; then it is an alert all the same."""
ROUND_NAMES = frozenset(rule.name for rule in IN_ROUNDS)
SAYS_AGAIN_SECONDS = 10.0
"""The numbers of an open alert are written no more often than this."""


class Watchman:
    """For the clusters of one collector. What is open in the database is taken up again; what has not fired yet begins anew."""

    def __init__(self) -> None:
        self._followed: dict[int, Followed] = {}
        self._said_at: dict[tuple[int, str, str], float] = {}

    def take_over(self, cluster_ids: Collection[int]) -> None:
        new = set(cluster_ids) - self._followed.keys()
        self._followed = {pk: self._followed.get(pk) or Followed() for pk in cluster_ids}
        for alert in Alert.objects.filter(cluster_id__in=new, over_at=None):
            if alert.rule in ROUND_NAMES:
                self._followed[alert.cluster_id].recall(alert.rule, alert.about, alert.since.timestamp())

    def watch(self, reports: Sequence[ClusterReport]) -> None:
        """Each round by itself, in order: a breach that came and went between two writes of the books is seen too."""
        held_back = held_back_rules(report.cluster_id for report in reports)
        own = limits_by_cluster({report.cluster_id for report in reports})
        for report in reports:
            followed = self._followed.setdefault(report.cluster_id, Followed())
            limits, held = own.get(report.cluster_id, DEFAULTS), held_back.get(report.cluster_id, ())
            for change in followed.take(report.at, breaches(report, limits), held, limits.breaches_in_a_row):
                self._keep(report, change)

    def _keep(self, report: ClusterReport, change: Change) -> None:
        key = (report.cluster_id, change.rule, change.about)
        if change.what == "says" and report.at - self._said_at.get(key, 0.0) < SAYS_AGAIN_SECONDS:
            return
        self._said_at[key] = report.at
        keep(report.cluster_id, change, _moment(report.at))
        if change.what != "says":
            logger.warning("%s: alert %s %s %s", report.name, change.rule, change.about, change.what)


def held_back_rules(cluster_ids: Iterable[int]) -> dict[int, Collection[str]]:
    """By cluster: the rules that a job explains which has not run for too long; in a maintenance all of them."""
    now = timezone.now()
    ids = set(cluster_ids)
    jobs = RunningJob.objects.filter(cluster_id__in=ids, since__gt=now - timedelta(seconds=EXPLAINS_SECONDS))
    windows = Maintenance.objects.filter(cluster_id__in=ids, begins_at__lte=now, ends_at__gt=now)
    found: dict[int, Collection[str]] = dict.fromkeys(jobs.values_list("cluster_id", flat=True), BY_JOB)
    return found | dict.fromkeys(windows.values_list("cluster_id", flat=True), EVERY)


def keep(cluster_id: int, change: Change, at: datetime) -> None:
    """A change of one breach, in the database: one open alert per thing, whoever else believes that he holds the cluster."""
    open_ones = Alert.objects.filter(cluster_id=cluster_id, rule=change.rule, about=change.about, over_at=None)
    values = dict(change.breach.values)
    if change.what == "fires":
        try:
            with transaction.atomic():
                alert = Alert.objects.create(
                    cluster_id=cluster_id, rule=change.rule, about=change.about, severity=RULES[change.rule].severity,
                    values=values, since=_moment(change.since), fired_at=at,
                )  # fmt: skip
                notices.tell("fired", alert)
                tell(alert_moved, Alert, alert_id=alert.pk, what="fired")
        except IntegrityError:  # open already, or its cluster is gone
            open_ones.update(values=values)
    elif change.what == "says":
        open_ones.update(values=values)
    else:
        with transaction.atomic():
            for alert in open_ones.select_for_update():
                Alert.objects.filter(pk=alert.pk).update(over_at=at)
                notices.tell("over", alert)
                tell(alert_moved, Alert, alert_id=alert.pk, what="resolved")
    live.publish(f"cluster:{cluster_id}", "alerts", {})
    live.publish("fleet:all", "alerts", {})


@transaction.atomic
def acknowledge(alert: Alert, by: User, comment: str) -> None:
    """Somebody has taken it on: it stays open, and says so."""
    is_open = Alert.objects.filter(pk=alert.pk, over_at=None).update(
        acknowledged_at=timezone.now(), acknowledged_by=by.get_username(), comment=comment[:500]
    )
    if is_open:
        tell(alert_moved, Alert, alert_id=alert.pk, what="acknowledged")
    audit.record(
        "alert.acknowledge", f"{alert.rule} {alert.about}".strip(), cluster=alert.cluster.name, detail={"comment": comment}
    )


@transaction.atomic
def maintenance_begin(cluster: Cluster, minutes: int, reason: str, by: User) -> Maintenance:
    now = timezone.now()
    window = Maintenance.objects.create(
        cluster=cluster, begins_at=now, ends_at=now + timedelta(minutes=minutes), reason=reason, by=by
    )
    audit.record("maintenance.begin", reason, cluster=cluster.name, detail={"minutes": minutes})
    return window


@transaction.atomic
def maintenance_end(window: Maintenance) -> None:
    Maintenance.objects.filter(pk=window.pk, ends_at__gt=timezone.now()).update(ends_at=timezone.now())
    audit.record("maintenance.end", window.reason, cluster=window.cluster.name)


# -- jobs, heard of by signals -------------------------------------------------------------------------------------------------


def job_moved(job_id: int, status: str, cluster_id: int | None = None, **_more: object) -> None:
    if status == "running" and cluster_id is not None:
        RunningJob.objects.get_or_create(job_id=job_id, defaults={"cluster_id": cluster_id})
    elif status not in ("queued", "running"):
        RunningJob.objects.filter(job_id=job_id).delete()


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
