"""Alerts that no look at a node shows: failed and lost jobs, a collector that does not keep up, passwords that are guessed.

Jobs are heard of by signals; the rest is looked for by beat (`monitor.tasks.watch_panel`), which runs beside the collector and so
tells of a dead one too. The decisions are pure functions; what they find goes through the same books as every other alert.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min
from django.utils import timezone

from accounts.trail import AuditEntry
from clusters.models import Cluster, Grant
from monitor.alerts import keep
from monitor.breaches import Change
from monitor.models import Alert, Sample
from monitor.rules import Breach, Value

BEHIND_SECONDS, BEHIND_INTERVALS = 15.0, 10
GUESSES, GUESSED_WITHIN = 10, timedelta(minutes=10)
GUESSING_OVER = timedelta(minutes=30)
JOB_TOLD = timedelta(hours=24)
"""A failed job that nobody went on with is no alert for longer: the page of jobs still says it."""
FAILED = {"failed": "job_failed", "errored": "job_failed", "lost": "job_lost"}


# -- pure ----------------------------------------------------------------------------------------------------------------------


def is_behind(age_seconds: float, interval_seconds: float, *, is_open: bool) -> bool:
    """Of the newest sample of a cluster. Once told, it is over when samples are twice as young as they had to be."""
    limit = max(BEHIND_SECONDS, BEHIND_INTERVALS * interval_seconds)
    return age_seconds > (limit / 2 if is_open else limit)


def is_guessing(failures: int, seconds_since_last: float, *, is_open: bool) -> bool:
    """failures: wrong passwords for one name within `GUESSED_WITHIN`. Once told, it is over after half an hour without one."""
    return failures >= GUESSES or (is_open and seconds_since_last < GUESSING_OVER.total_seconds())


# -- jobs, heard of by signals ---------------------------------------------------------------------------------------------------


def job_moved(job_id: int, status: str, cluster_id: int | None = None, **_more: object) -> None:
    """A job that failed is told until it, or another on the cluster, goes on."""
    if cluster_id is None:
        return
    if status in FAILED:
        _fires(cluster_id, FAILED[status], str(job_id), {"job": job_id, "status": status})
    elif status in ("queued", "running", "succeeded"):
        for rule in ("job_failed", "job_lost"):
            _over(cluster_id, rule, _open_of(rule, cluster_id))


# -- looked for, now and then ------------------------------------------------------------------------------------------------------


def watch(now: datetime | None = None) -> None:
    now = now or timezone.now()
    _watch_collector(now)
    _watch_logins(now)
    for alert in Alert.objects.filter(rule__in=("job_failed", "job_lost"), over_at=None, fired_at__lt=now - JOB_TOLD):
        _over(alert.cluster_id, alert.rule, [alert.about])


def _watch_collector(now: datetime) -> None:
    clusters = Cluster.objects.filter(nodes__isnull=False).annotate(first=Min("nodes__pk"), born=Min("nodes__created_at"))
    found = {cluster.first: cluster for cluster in clusters}
    newest = dict(
        Sample.objects.filter(node_id__in=found, at__gt=now - timedelta(hours=1)).values_list("node_id").annotate(at=Max("at"))
    )
    open_ones = set(Alert.objects.filter(rule="collector_behind", over_at=None).values_list("cluster_id", flat=True))
    for node_id, cluster in found.items():
        age = (now - max(newest.get(node_id, cluster.born), cluster.born)).total_seconds()
        if is_behind(age, cluster.sample_interval_seconds, is_open=cluster.pk in open_ones):
            _fires(cluster.pk, "collector_behind", "", {"seconds": round(age)})
        elif cluster.pk in open_ones:
            _over(cluster.pk, "collector_behind", [""])


def _watch_logins(now: datetime) -> None:
    """Told of the clusters on which that person may do something; of one with a right over all, of the first."""
    failed = AuditEntry.objects.filter(action="login.failed", at__gt=now - GUESSING_OVER)
    last = dict(failed.values_list("target").annotate(at=Max("at")))
    recent = dict(failed.filter(at__gt=now - GUESSED_WITHIN).values_list("target").annotate(count=Count("pk")))
    opened = set(Alert.objects.filter(rule="wrong_passwords", over_at=None).values_list("cluster_id", "about"))
    names = {name for name, count in recent.items() if count >= GUESSES}
    wanted = {(cluster_id, name) for name in names for cluster_id in _concerned(name)} | opened
    for cluster_id, name in wanted:
        since = (now - last[name]).total_seconds() if name in last else GUESSING_OVER.total_seconds()
        if is_guessing(recent.get(name, 0), since, is_open=(cluster_id, name) in opened):
            _fires(cluster_id, "wrong_passwords", name, {"count": recent.get(name, 0)})
        else:
            _over(cluster_id, "wrong_passwords", [name])


def _concerned(username: str) -> set[int]:
    grants = Grant.objects.filter(user__username=username)
    found = set(grants.exclude(cluster=None).values_list("cluster_id", flat=True))
    if grants.filter(cluster=None).exists() and (first := Cluster.objects.values_list("pk", flat=True).first()):
        found.add(first)
    return found


# -- the books -------------------------------------------------------------------------------------------------------------------


def _open_of(rule: str, cluster_id: int) -> list[str]:
    return list(Alert.objects.filter(rule=rule, cluster_id=cluster_id, over_at=None).values_list("about", flat=True))


def _fires(cluster_id: int, rule: str, about: str, values: Mapping[str, Value]) -> None:
    now = timezone.now()
    kept = Alert.objects.filter(cluster_id=cluster_id, rule=rule, about=about, over_at=None).exists()
    keep(cluster_id, Change("says" if kept else "fires", rule, about, Breach(about, values), now.timestamp()), now)


def _over(cluster_id: int, rule: str, abouts: Collection[str]) -> None:
    now = timezone.now()
    for about in abouts:
        keep(cluster_id, Change("clears", rule, about, Breach(about), now.timestamp()), now)
