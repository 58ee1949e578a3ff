"""What an alert is about: pure rules over one round's report of a cluster. No Django, no database, no clock, no words.

A rule says which breaches hold in this round. How long one must hold before somebody is woken, and for how long it must be gone
before that is called over, is the rule's too; `monitor/alerts.py` keeps the books, `monitor/alert_words.py` has the sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from monitor.lag import Lag
from monitor.watch import ClusterReport, NodeReport

Severity = Literal["critical", "warning"]
Value = str | int | float
CLEAR_SECONDS = 10.0
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Limits:
    """Per cluster (`monitor/thresholds.py`). Soft: a warning where the lag does not shrink either; hard: an alarm whatever it does.

    breaches_in_a_row: so many rounds at least, besides the rule's own seconds.
    """

    breaches_in_a_row: int = 2
    lag_soft_seconds: float = 30.0
    lag_soft_bytes: int = 512 << 20
    lag_hard_seconds: float = 600.0
    lag_hard_bytes: int = 8 << 30
    slot_full_seconds: float = 4 * 3600.0
    disk_low_percent: float = 10.0
    expires_within_days: float = 14.0


@dataclass(frozen=True)
class Breach:
    """about: the node, or another thing of the cluster ("" = the cluster itself). values: what its sentence says."""

    about: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """hold_seconds: so long without a break before it fires; clear_seconds: so long gone before it is over (no flapping).

    by_job: a job that runs on the cluster may be its reason, and holds it back for a while. (A maintenance holds back every rule.)
    """

    name: str
    severity: Severity
    check: Callable[[ClusterReport, Limits], Iterator[Breach]]
    hold_seconds: float
    clear_seconds: float = CLEAR_SECONDS
    by_job: bool = True


def _two_writers(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    writers = [node.name for node in report.nodes if node.is_fresh and node.sight and node.sight.role == "primary"]
    if len(writers) > 1:
        yield Breach(values={"names": ", ".join(writers)})


def _primary_down(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        if node.is_the_primary and not node.is_fresh and node.unseen:
            yield Breach(node.name, {"why": node.unseen.message})


def _not_seen(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        if not node.is_the_primary and not node.is_fresh and node.unseen:
            yield Breach(node.name, {"why": node.unseen.message})


def _disconnected(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in _standbys(report):
        if node.is_fresh and node.state == "disconnected":
            yield Breach(node.name, _left(node))


def _other_timeline(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in _standbys(report):
        if node.lag and node.lag.reason == "other-timeline":
            yield Breach(node.name)


def _lag_soft(report: ClusterReport, limits: Limits) -> Iterator[Breach]:
    """Over the limit, and no end in sight: a standby that catches up wakes nobody."""
    for node in _standbys(report):
        lag = node.lag
        if not lag or lag.eta_seconds is not None or node.state not in ("stalled", "catching-up", "paused"):
            continue
        if (lag.replay_seconds or 0) > limits.lag_soft_seconds or (lag.replay_bytes or 0) > limits.lag_soft_bytes:
            yield Breach(node.name, {**_known(lag), "state": node.state})


def _lag_hard(report: ClusterReport, limits: Limits) -> Iterator[Breach]:
    for node in _standbys(report):
        if not node.lag:
            continue
        seconds, size = node.lag.replay_seconds, node.lag.replay_bytes
        if (seconds or 0) > limits.lag_hard_seconds or (size or 0) > limits.lag_hard_bytes:
            yield Breach(node.name, _known(node.lag))


def _known(lag: Lag) -> dict[str, Value]:
    values = {"seconds": lag.replay_seconds, "bytes": lag.replay_bytes}
    return {name: value for name, value in values.items() if value is not None}


def _archiving_fails(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        seen = node.archiver
        if not (node.is_the_primary and node.is_fresh and seen and seen.last_failed_at):
            continue
        if float(seen.last_failed_at) > float(seen.last_archived_at or 0):
            yield Breach(node.name, {"wal": seen.last_failed_wal, "since": float(seen.last_archived_at or 0)})


def _slot_loses_wal(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        for slot in node.sight.slots if node.is_the_primary and node.is_fresh and node.sight else ():
            if slot.wal_status in ("unreserved", "lost"):
                yield Breach(slot.name, {"node": node.name, "status": slot.wal_status, "bytes": slot.held_bytes})


def _slot_fills(report: ClusterReport, limits: Limits) -> Iterator[Breach]:
    """Whichever comes first: the disk is full, or the server lets the slot go."""
    for node in report.nodes:
        for name, seen in node.forecasts.items() if node.is_the_primary else ():
            if seen.word == "filling" and seen.seconds_left is not None and seen.seconds_left < limits.slot_full_seconds:
                rate = seen.bytes_per_second or 0.0
                yield Breach(name, {"node": node.name, "seconds": seen.seconds_left, "rate": rate, "ends": seen.ends})


def _disk_low(report: ClusterReport, limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        host = node.host
        if host is None:
            continue
        is_one = host.data and host.wal and host.data.device == host.wal.device
        for what, space in (("data", host.data), ("wal", None if is_one else host.wal)):
            if space and space.size_bytes and space.free_share * 100 < limits.disk_low_percent:
                yield Breach(
                    f"{node.name} {what}", {"node": node.name, "what": what, "bytes": space.free_bytes, "size": space.size_bytes}
                )


def _fork(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    """A node went on writing where the primary's history had left its timeline: what it has since then is nowhere else."""
    primary = next((node for node in report.nodes if node.is_the_primary and node.host and node.sight), None)
    if primary is None or primary.host is None or primary.sight is None or primary.host.history_of > primary.sight.timeline:
        return
    left = dict(primary.host.switches)
    for node in report.nodes:
        sight = node.sight
        if node is primary or not (node.is_fresh and sight) or sight.timeline == primary.sight.timeline:
            continue
        end = max(sight.current_lsn, sight.receive_lsn, sight.replay_lsn)
        switch = left.get(sight.timeline)
        if switch is not None and end > switch:
            yield Breach(node.name, {"timeline": sight.timeline, "bytes": end - switch, "primary": primary.name})


def _zombie_back(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        if node.is_quarantined and node.is_fresh and node.sight and node.sight.role == "primary":
            yield Breach(node.name)


def _drift(report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        if node.drifted:
            yield Breach(node.name, {"files": ", ".join(node.drifted)})


def _certificate_expires(report: ClusterReport, limits: Limits) -> Iterator[Breach]:
    for node in report.nodes:
        until = node.host.certificate_until if node.host else None
        if until is not None and until - report.at < limits.expires_within_days * DAY_SECONDS:
            yield Breach(node.name, {"until": until})


def _password_expires(report: ClusterReport, limits: Limits) -> Iterator[Breach]:
    """Roles are the whole cluster's: the primary tells of them."""
    for node in report.nodes:
        for role, until in node.condition.expiring if node.is_the_primary and node.condition else ():
            if until - report.at < limits.expires_within_days * DAY_SECONDS:
                yield Breach(role, {"until": until})


def _left(node: NodeReport) -> dict[str, Value]:
    left = node.left
    if left is None:
        return {}
    known = {"left_by": left.by, "left_bytes": left.bytes, "left_seconds": left.seconds}
    return {name: value for name, value in known.items() if value is not None}


def _standbys(report: ClusterReport) -> Iterator[NodeReport]:
    return (node for node in report.nodes if not node.is_the_primary and node.role != "primary")


IN_ROUNDS = (
    Rule("two_writers", "critical", _two_writers, 2),
    Rule("zombie_back", "critical", _zombie_back, 0),
    Rule("primary_down", "critical", _primary_down, 5),
    Rule("standby_disconnected", "critical", _disconnected, 15),
    Rule("fork", "critical", _fork, 15, 30),
    Rule("node_not_seen", "warning", _not_seen, 30),
    Rule("other_timeline", "critical", _other_timeline, 30),
    Rule("lag_hard", "critical", _lag_hard, 15),
    Rule("lag_soft", "warning", _lag_soft, 15, 20),
    Rule("archiving_fails", "warning", _archiving_fails, 60, 30),
    Rule("slot_fills_disk", "critical", _slot_fills, 30, 60, by_job=False),
    Rule("slot_loses_wal", "critical", _slot_loses_wal, 10, 30),
    Rule("disk_low", "warning", _disk_low, 30, 120, by_job=False),
    Rule("drift", "warning", _drift, 0, 0),
    Rule("certificate_expires", "warning", _certificate_expires, 60, 60, by_job=False),
    Rule("password_expires", "warning", _password_expires, 60, 60, by_job=False),
)
"""Asked in every round of looks."""


def _told(_report: ClusterReport, _limits: Limits) -> Iterator[Breach]:
    return iter(())


TOLD = (
    Rule("job_failed", "warning", _told, 0, 0, by_job=False),
    Rule("job_lost", "critical", _told, 0, 0, by_job=False),
    Rule("collector_behind", "critical", _told, 0, 0, by_job=False),
    Rule("wrong_passwords", "warning", _told, 0, 0, by_job=False),
)
"""No look shows these: the panel knows them of itself (`monitor/panel_alerts.py`)."""
ALL = (*IN_ROUNDS, *TOLD)
RULES = {rule.name: rule for rule in ALL}
EVERY = frozenset(RULES)
BY_JOB = frozenset(rule.name for rule in ALL if rule.by_job)


def breaches(report: ClusterReport, limits: Limits) -> dict[tuple[str, str], Breach]:
    """All that holds in this round, by rule and what it is about."""
    return {(rule.name, breach.about): breach for rule in IN_ROUNDS for breach in rule.check(report, limits)}
