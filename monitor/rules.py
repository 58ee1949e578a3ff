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


@dataclass(frozen=True)
class Breach:
    """about: the node, or another thing of the cluster ("" = the cluster itself). values: what its sentence says."""

    about: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """hold_seconds: so long without a break before it fires; clear_seconds: so long gone before it is over (no flapping)."""

    name: str
    severity: Severity
    check: Callable[[ClusterReport, Limits], Iterator[Breach]]
    hold_seconds: float
    clear_seconds: float = CLEAR_SECONDS


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
            yield Breach(node.name)


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


def _standbys(report: ClusterReport) -> Iterator[NodeReport]:
    return (node for node in report.nodes if not node.is_the_primary and node.role != "primary")


ALL = (
    Rule("two_writers", "critical", _two_writers, 2),
    Rule("primary_down", "critical", _primary_down, 5),
    Rule("standby_disconnected", "critical", _disconnected, 15),
    Rule("node_not_seen", "warning", _not_seen, 30),
    Rule("other_timeline", "critical", _other_timeline, 30),
    Rule("lag_hard", "critical", _lag_hard, 15),
    Rule("lag_soft", "warning", _lag_soft, 15, 20),
    Rule("archiving_fails", "warning", _archiving_fails, 60, 30),
    Rule("slot_loses_wal", "critical", _slot_loses_wal, 10, 30),
)
RULES = {rule.name: rule for rule in ALL}


def breaches(report: ClusterReport, limits: Limits) -> dict[tuple[str, str], Breach]:
    """All that holds in this round, by rule and what it is about."""
    return {(rule.name, breach.about): breach for rule in ALL for breach in rule.check(report, limits)}
