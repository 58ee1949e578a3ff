"""What a round says of a cluster: who is primary, who follows whom, and what the primary knows of a standby nobody else sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitor.probe import Server
from monitor.sight import Receiver, Sight, Unseen
from monitor.watch import ClusterMemory, ClusterReport, ClusterTarget, NodeReport, NodeTarget
from monitor.ways import SSH_GRACE_SECONDS, NodeWatch
from remote.access import Access
from remote.facts import WalSender

MB = 1 << 20
T = 1_000_000.0


def node(number: int) -> NodeTarget:
    address = f"10.0.0.{number}"
    return NodeTarget(number, f"pg{number}", Server(address, 5432), Access(address), address, "/data", "/bin", "postgres", "15")


def cluster(nodes: int = 3) -> ClusterMemory:
    return ClusterMemory(ClusterTarget(1, "registry", 1.0, tuple(node(number) for number in range(1, nodes + 1))))


def primary(at: float, lsn: int, senders: tuple[WalSender, ...] = (), timeline: int = 1) -> Sight:
    return Sight(at, "tcp", 0.001, "15", "primary", True, timeline, current_lsn=lsn, senders=senders)


def standby(at: float, lsn: int, follows: int = 1, timeline: int = 1, **more: Any) -> Sight:
    receiver = Receiver(
        "streaming", f"10.0.0.{follows}", 5432, timeline=timeline, written_lsn=lsn, flushed_lsn=lsn, heard_seconds=0.1
    )
    seen = Sight(
        at, "tcp", 0.001, "15", "standby", False, timeline, receive_lsn=lsn, replay_lsn=lsn, knows_receiver=True, receiver=receiver
    )
    return replace(seen, **more)


def sender(name: str, address: str, lsn: int) -> WalSender:
    return WalSender(name, address, "streaming", "async", sent_lsn=lsn, write_lsn=lsn, flush_lsn=lsn, replay_lsn=lsn)


def named(report: ClusterReport, name: str) -> NodeReport:
    return next(each for each in report.nodes if each.name == name)


def test_who_follows_whom_comes_from_what_the_receivers_say() -> None:
    memory = cluster()
    memory.take(1, primary(T, MB))
    memory.take(2, standby(T, MB))
    memory.take(3, standby(T, MB, follows=2))
    report = memory.report(T)
    assert [each.upstream for each in report.nodes] == ["", "pg1", "pg2"]
    assert [each.state for each in report.nodes] == ["primary", "streaming", "streaming"]


def test_where_no_receiver_can_be_seen_the_upstream_s_senders_tell() -> None:
    """Up to 9.5 there is no pg_stat_wal_receiver."""
    memory = cluster(2)
    memory.take(1, primary(T, MB, (sender("walreceiver", "10.0.0.2", MB),)))
    memory.take(2, standby(T, MB, knows_receiver=False, receiver=None))
    found = named(memory.report(T), "pg2")
    assert (found.upstream, found.state) == ("pg1", "streaming")
    memory.take(1, primary(T + 1, MB))
    memory.take(2, standby(T + 1, MB, knows_receiver=False, receiver=None))
    assert named(memory.report(T + 1), "pg2").state == "disconnected"


def test_of_two_primaries_the_one_on_the_newer_timeline_counts() -> None:
    memory = cluster(2)
    memory.take(1, primary(T, 5 * MB, timeline=1))
    memory.take(2, primary(T, 4 * MB, timeline=2))
    report = memory.report(T)
    assert [each.is_the_primary for each in report.nodes] == [False, True]
    assert named(report, "pg1").lag is None


def test_a_primary_that_is_gone_stays_the_primary_until_another_is_seen() -> None:
    memory = cluster(2)
    memory.take(1, primary(T, 5 * MB))
    memory.take(2, standby(T, 5 * MB))
    memory.report(T)
    memory.take(1, Unseen(T + 5, "timeout", "no answer"))
    memory.take(2, standby(T + 5, 5 * MB, receiver=None))
    report = memory.report(T + 5)
    assert (named(report, "pg1").state, named(report, "pg2").state) == ("unreachable", "disconnected")
    memory.take(2, primary(T + 6, 5 * MB, timeline=2))
    assert named(memory.report(T + 6), "pg2").is_the_primary


def test_a_demoted_primary_is_forgotten_as_primary() -> None:
    memory = cluster(2)
    memory.take(1, primary(T, 5 * MB))
    memory.report(T)
    memory.take(1, standby(T + 1, 5 * MB, follows=2))
    assert not named(memory.report(T + 1), "pg1").is_the_primary


def test_a_standby_that_only_the_primary_sees_is_streaming_while_its_row_moves() -> None:
    memory = cluster(2)
    memory.take(1, primary(T, MB, (sender("pg2", "10.0.0.2", MB),)))
    memory.take(2, standby(T, MB))
    memory.report(T)
    memory.take(2, Unseen(T + 1, "timeout", "no answer"))
    for second in range(1, 9):
        lsn = MB * (second + 1)
        memory.take(1, primary(T + second, lsn, (sender("pg2", "10.0.0.2", lsn),)))
        report = memory.report(T + second)
    assert named(report, "pg2").state == "streaming"


def test_a_row_that_stands_still_is_no_proof_that_a_standby_lives() -> None:
    """A host that was switched off stands as streaming in pg_stat_replication until the sender's timeout."""
    memory = cluster(2)
    memory.take(2, standby(T, MB))
    for second in range(9):
        memory.take(1, primary(T + second, MB, (sender("pg2", "10.0.0.2", MB),)))
        report = memory.report(T + second)
    assert named(report, "pg2").state == "stale"


@pytest.mark.parametrize("change", ["added", "removed", "moved"])
def test_what_is_known_of_the_other_nodes_survives_a_change(change: str) -> None:
    memory = cluster(3)
    memory.take(1, primary(T, MB))
    memory.take(2, standby(T, MB))
    kept = memory.target.nodes[:2]
    more = {"added": (*memory.target.nodes, node(4)), "removed": kept, "moved": (*kept, replace(node(3), ssh_host="10.9.9.9"))}[
        change
    ]
    memory.retarget(replace(memory.target, nodes=more))
    report = memory.report(T)
    assert [each.state for each in report.nodes[:2]] == ["primary", "streaming"]
    assert all(each.state == "unknown" for each in report.nodes[2:])


def test_a_round_s_links_change_with_a_state_but_not_with_numbers() -> None:
    memory = cluster(2)
    memory.take(1, primary(T, MB))
    memory.take(2, standby(T, MB))
    first = memory.report(T).links
    memory.take(1, primary(T + 1, MB + 9))
    memory.take(2, standby(T + 1, MB))
    assert memory.report(T + 1).links == first
    memory.take(2, standby(T + 2, MB, receiver=None))
    assert memory.report(T + 2).links != first


@pytest.mark.parametrize(
    ("is_quarantined", "has_answered", "at_once"), [(False, True, False), (True, True, True), (False, False, True)]
)
def test_a_line_that_broke_is_not_followed_by_a_login_at_once(is_quarantined: bool, has_answered: bool, at_once: bool) -> None:
    """A server that is just restarting or handing over; but never where a zombie is waited for, or nothing was seen yet."""
    watch = NodeWatch(replace(node(1), server=Server("10.0.0.1", 5432, "pgpanel_monitor"), is_quarantined=is_quarantined))
    if has_answered:
        watch.line_answered(T, primary(T, MB))
    watch.line_answered(T + 1, Unseen(T + 1, "server", "the database system is shutting down"))
    assert watch.is_ssh_due(T + 1) is at_once
    assert watch.is_ssh_due(T + 1 + SSH_GRACE_SECONDS)
