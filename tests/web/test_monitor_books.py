"""Leases, samples into the database, what is remembered over a restart, and a database that is locked meanwhile."""

from __future__ import annotations

import sqlite3
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from clusters.models import Cluster, Credential, Node, NodeState
from clusters.secrets import seal
from clusters.signals import job_finished
from monitor import books, leases
from monitor.history import Position
from monitor.lag import Lag
from monitor.ledger import Ledger
from monitor.models import Lease, Sample
from monitor.past import past_of
from monitor.sight import Sight, Unseen
from monitor.watch import ClusterMemory, ClusterReport, NodeReport

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def key(settings) -> None:
    settings.ENCRYPTION_KEYS = ["3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]


def make(name: str, nodes: int = 2) -> Cluster:
    cluster = Cluster.objects.create(name=name)
    credential = Credential.objects.create(kind="ssh-key", label="key", cluster=cluster, sealed=seal("a key"))
    for number in range(1, nodes + 1):
        Node.objects.create(cluster=cluster, credential=credential, name=f"pg{number}", ssh_host=f"10.0.0.{number}",
                            node_address=f"10.0.0.{number}", postgres_major="15")  # fmt: skip
    return cluster


def sight(at: float, role: str = "primary", lsn: int = 5000) -> Sight:
    is_primary = role == "primary"
    return Sight(
        at=at, way="tcp", round_trip_seconds=0.001, major="15", role=role, is_writable=is_primary, timeline=3,  # type: ignore[arg-type]
        current_lsn=lsn if is_primary else 0, replay_lsn=0 if is_primary else lsn,
    )  # fmt: skip


def report(cluster: Cluster, at: float | None = None, **more: Any) -> ClusterReport:
    """pg1 is the primary, the others have all that it wrote."""
    at = at or time.time()
    lag = Lag("streaming", replay_bytes=0, replay_seconds=0.0, primary_lsn=5000)
    nodes = []
    for node in cluster.nodes.all():
        is_primary = node.name == "pg1"
        given: dict[str, Any] = {"unseen": None, "is_fresh": True, "is_the_primary": is_primary, "sender": None}
        given |= {"sight": sight(at, "primary" if is_primary else "standby"), "lag": None if is_primary else lag}
        given |= {"upstream": "" if is_primary else "pg1"} | more
        nodes.append(NodeReport(node_id=node.pk, name=node.name, tried_at=at, **given))
    return ClusterReport(cluster.pk, cluster.name, at, tuple(nodes))


# -- leases --------------------------------------------------------------------------------------------------------------------


def test_a_cluster_is_watched_by_one_collector_only() -> None:
    cluster = make("a")
    assert leases.unwatched()
    assert list(leases.claim("one", 100)) == [cluster.pk]
    assert leases.claim("two", 100) == {}
    assert not leases.unwatched()


def test_a_lease_that_was_not_renewed_goes_to_the_next_one() -> None:
    cluster = make("a")
    leases.claim("one", 100)
    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert list(leases.claim("two", 100)) == [cluster.pk]
    assert leases.renew("one", 100) == {}


def test_what_is_given_back_is_free_at_once() -> None:
    make("a")
    leases.claim("one", 100)
    leases.give_back("one")
    assert leases.unwatched()


def test_a_collector_takes_no_more_than_it_can_watch_but_one_cluster_at_least() -> None:
    for name in ("a", "b", "c"):
        make(name, nodes=3)
    assert len(leases.claim("one", 6)) == 2
    assert len(leases.claim("two", 1)) == 1


def test_a_cluster_without_nodes_needs_nobody() -> None:
    Cluster.objects.create(name="empty")
    assert not leases.unwatched()
    assert leases.claim("one", 100) == {}


def test_a_new_cluster_is_taken_by_the_collector_that_runs() -> None:
    make("a")
    leases.claim("one", 100)
    later = make("b")
    assert later.pk in leases.renew("one", 100)


@pytest.mark.parametrize("change", ["node", "cluster", "credential", "job"])
def test_a_change_reaches_the_collector_that_watches(change: str) -> None:
    cluster = make("a")
    before = leases.claim("one", 100)
    if change == "node":
        cluster.nodes.get(name="pg1").save()
    elif change == "cluster":
        cluster.save()
    elif change == "credential":
        Credential.objects.get(cluster=cluster).save()
    else:
        job_finished.send(sender=None, job_id=1, cluster_id=cluster.pk, kind="setup", status="succeeded")
    assert leases.renew("one", 100) != before


def test_an_undecryptable_credential_leaves_the_node_watched_without_it(settings, caplog) -> None:
    cluster = make("a")
    settings.ENCRYPTION_KEYS = ["Zm9yZ290dGVuIGtleSwgYW5vdGhlciBvbmUgbm93ISE="]
    (target,) = leases.read_targets(leases.claim("one", 100))
    assert target.cluster_id == cluster.pk
    assert target.nodes[0].access.private_key is None


def test_a_node_with_an_unreadable_layout_does_not_keep_the_others_from_being_watched() -> None:
    cluster = make("a")
    cluster.nodes.filter(name="pg1").update(layout="of another age")
    (target,) = leases.read_targets(leases.claim("one", 100))
    assert [node.name for node in target.nodes] == ["pg2"]


# -- samples -------------------------------------------------------------------------------------------------------------------


def test_samples_and_last_looks_are_written_together_whatever_has_piled_up() -> None:
    cluster = make("a")
    now = time.time()
    assert books.write([report(cluster, now - 2), report(cluster, now - 1), report(cluster, now)]) == 6
    assert Sample.objects.count() == 6
    state = NodeState.objects.get(node__name="pg2")
    assert state.seen_at is not None
    assert abs(state.seen_at.timestamp() - now) < 0.01
    assert (state.role, state.timeline, state.is_reachable, state.sample["upstream"]) == ("standby", 3, True, "pg1")


def test_facts_that_somebody_else_keeps_are_left_alone() -> None:
    cluster = make("a")
    NodeState.objects.create(node=cluster.nodes.get(name="pg1"), facts={"hostname": "h"}, facts_at=timezone.now())
    books.write([report(cluster)])
    assert NodeState.objects.get(node__name="pg1").facts == {"hostname": "h"}


def test_a_node_never_seen_keeps_what_was_known_of_it() -> None:
    cluster = make("a")
    NodeState.objects.create(node=cluster.nodes.get(name="pg1"), role="primary", timeline=9)
    unseen = Unseen(time.time(), "timeout", "no answer")
    books.write([report(cluster, sight=None, unseen=unseen, is_fresh=False)])
    state = NodeState.objects.get(node__name="pg1")
    assert (state.role, state.timeline, state.is_reachable, state.error) == ("primary", 9, False, "no answer")


def test_a_bare_host_that_answers_is_reachable() -> None:
    cluster = make("a")
    unseen = Unseen(time.time(), "stopped", "PostgreSQL is not running")
    books.write([report(cluster, sight=None, unseen=unseen, is_fresh=False)])
    assert NodeState.objects.get(node__name="pg1").is_reachable


def test_a_node_deleted_meanwhile_does_not_spoil_the_others_samples() -> None:
    cluster = make("a")
    late = report(cluster)
    cluster.nodes.get(name="pg2").delete()
    assert books.write([late]) == 1
    assert Sample.objects.get().node.name == "pg1"


def test_samples_past_their_hour_go_in_small_bites() -> None:
    cluster = make("a")
    node = cluster.nodes.get(name="pg1")
    old = timezone.now() - timedelta(hours=2)
    Sample.objects.bulk_create(Sample(node=node, at=old + timedelta(seconds=n), state="primary") for n in range(1500))
    books.write([report(cluster)])
    assert books.prune() == books.PRUNE_BITE
    assert books.prune() == 500
    assert books.prune() == 0
    assert Sample.objects.count() == 2


def test_a_restarted_collector_remembers_where_the_primary_was_and_when() -> None:
    cluster = make("a")
    now = time.time()
    books.write([report(cluster, now - 2), report(cluster, now - 1)])
    past = past_of([cluster.pk])[cluster.pk]
    assert past.positions[-1] == Position(pytest.approx(now - 1, abs=0.01), 5000, 3)
    (target,) = leases.read_targets({cluster.pk: 0}, [cluster.pk])
    memory = ClusterMemory(target)
    (primary, standby) = memory.report(now + 60).nodes
    assert (primary.state, standby.state) == ("unreachable", "stale")
    assert standby.lag is not None
    assert standby.lag.replay_bytes == 0


def test_a_locked_database_delays_samples_and_loses_none(monkeypatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.2)
    if connection.vendor != "sqlite":
        pytest.skip("locks of the embedded database")
    cluster = make("a")
    ledger = Ledger()
    assert ledger.claim()
    blocker = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    ledger.start()
    try:
        for _ in range(3):
            ledger.take(report(cluster))
            time.sleep(0.6)
        blocker.execute("ROLLBACK")
        until = time.monotonic() + 10
        while Sample.objects.count() < 6:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        blocker.close()
        ledger.stop()
    assert leases.unwatched()
