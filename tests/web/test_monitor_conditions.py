"""What stands beside the looks: drift of managed blocks, marks for the charts, and alerts that no look shows."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.models import User
from clusters.models import Cluster, Credential, Grant, Node, NodeState
from clusters.signals import job_finished, job_moved
from monitor import books, drift, marks, panel_alerts
from monitor.conditions import Conditions
from monitor.host_look import Asked, HostSight, Space
from monitor.lag import Lag
from monitor.models import Alert, ManagedBlocks, Mark, Sample
from monitor.panel_alerts import is_behind, is_guessing
from monitor.probe import Server
from monitor.sight import Condition, Sight, Unseen
from monitor.stores import left_shown, until_shown
from monitor.watch import ClusterReport, ClusterTarget, NodeReport, NodeTarget
from remote.access import Access
from remote.facts import Slot

pytestmark = pytest.mark.django_db
MB = 1 << 20


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster.objects.create(name="registry")
    credential = Credential.objects.create(kind="ssh-key", label="key", cluster=made, sealed="-")
    for number in (1, 2):
        address = f"10.0.0.{number}"
        Node.objects.create(cluster=made, credential=credential, name=f"pg{number}", ssh_host=address, node_address=address)
    return made


def target(node: Node) -> NodeTarget:
    return NodeTarget(node.pk, node.name, Server(node.name, 5432), Access(host=node.name), node.name, "/d", "/b", "postgres", "15")


def report(cluster: Cluster, at: float, held: int = 0, **more: object) -> ClusterReport:
    """pg1 the primary with the slot of pg2, which is away."""
    one, two = cluster.nodes.order_by("name")
    slots = (Slot("pgpanel_pg2", "physical", False, restart_lsn=1, held_bytes=held),)
    seen = Sight(at, "tcp", 0.001, "15", "primary", True, 1, current_lsn=1000, slots=slots, started_at=500.0)
    looked = replace(seen, **more)  # type: ignore[arg-type]
    primary = NodeReport(one.pk, "pg1", at, looked, None, True, True, None, None, "", wal_bytes_per_second=MB)
    away = Unseen(at, "timeout", "no answer")
    lag = Lag("stale", "not-seen", flush_bytes=5 * MB)
    return ClusterReport(
        cluster.pk, "registry", at, (primary, NodeReport(two.pk, "pg2", at, None, away, False, False, lag, None, ""))
    )


# -- what hosts say joins the reports ----------------------------------------------------------------------------------------------


def test_a_host_s_answer_and_what_slots_held_over_time_complete_the_reports(cluster: Cluster, client: Client) -> None:
    now = time.time()
    asked: list[Asked] = []

    def look(_target: NodeTarget, what: Asked) -> HostSight:
        asked.append(what)
        return HostSight(now, wal=Space("/dev/b", 1000 * MB, 600 * MB))

    conditions = Conditions(60, lambda _target, _sight: ("pg_hba.conf",), look)
    conditions.retarget([ClusterTarget(cluster.pk, "registry", 1.0, tuple(target(node) for node in cluster.nodes.all()))])
    certificate = Condition(certificate_file="server.crt")
    first = report(cluster, now - 40, 0)
    conditions.complete([replace(first, nodes=(replace(first.nodes[0], condition=certificate), first.nodes[1]))])
    known = conditions._next()
    assert known is not None
    conditions._look_at(known)
    assert asked == [Asked("server.crt", 1, 1000)]
    for second in range(-38, 1, 2):
        (completed,) = conditions.complete([report(cluster, now + second, (second + 40) * MB)])
    primary, standby = completed.nodes
    assert primary.drifted == ("pg_hba.conf",)
    assert primary.forecasts["pgpanel_pg2"].seconds_left == pytest.approx(600, rel=0.02)
    assert standby.left is not None
    assert standby.left.by == "slot"
    books.write([completed])
    sample = NodeState.objects.get(node__name="pg1").sample
    assert sample["forecasts"]["pgpanel_pg2"]["word"] == "filling"
    assert sample["host"]["wal"]["free_bytes"] == 600 * MB
    viewer = User.objects.create_superuser("viewer")
    client.force_login(viewer)
    shown = client.get(reverse("monitor:stores", args=["registry"])).content.decode()
    assert "Fills the disk in 10 min" in shown
    (late,) = conditions.complete([report(cluster, now + 301, 400 * MB)])
    assert late.nodes[0].host is None


def test_a_host_that_does_not_answer_keeps_its_last_answer_and_is_asked_again(cluster: Cluster) -> None:
    answers: list[HostSight | Unseen] = [HostSight(time.time(), ready_count=3), Unseen(time.time(), "ssh-timeout", "no answer")]
    conditions = Conditions(60, lambda _target, _sight: (), lambda _target, _asked: answers.pop(0))
    conditions.retarget([ClusterTarget(cluster.pk, "registry", 1.0, (target(cluster.nodes.get(name="pg1")),))])
    for _ in range(2):
        known = conditions._next()
        assert known is not None
        conditions._look_at(known)
        assert conditions._next() is None  # not due for a minute
        conditions.look_again([known.target.node_id])
    (completed,) = conditions.complete([report(cluster, time.time())])
    assert completed.nodes[0].host is not None
    assert completed.nodes[0].host.ready_count == 3


# -- drift -----------------------------------------------------------------------------------------------------------------------


def test_a_block_that_is_not_as_the_last_job_left_it_has_drifted_until_a_job_writes_again(cluster: Cluster) -> None:
    node = cluster.nodes.get(name="pg1")

    def seen(checksum: str, late: float = 0.0) -> tuple[str, ...]:
        blocks = {"postgresql.conf": checksum, "pg_hba.conf": "-"}
        return drift._drifted(node.pk, HostSight(time.time() + late, blocks=blocks))

    assert seen("a") == ()
    assert seen("a") == ()
    assert seen("b") == ("postgresql.conf",)
    assert seen("-") == ("postgresql.conf",)
    job_moved.send(sender=None, job_id=7, status="running", cluster_id=cluster.pk)
    assert seen("c") == ()
    job_moved.send(sender=None, job_id=7, status="succeeded", cluster_id=cluster.pk)
    job_finished.send(sender=None, job_id=7, cluster_id=cluster.pk, kind="reload", status="succeeded")
    assert seen("b", late=-5) == ()  # a look that began before the job's end says nothing of what it wrote
    assert ManagedBlocks.objects.get(node=node).sums == {}
    assert seen("c", late=1) == ()
    assert seen("b", late=2) == ("postgresql.conf",)


# -- marks -----------------------------------------------------------------------------------------------------------------------


def test_restarts_and_role_changes_are_marked_once_and_a_first_look_is_none(cluster: Cluster) -> None:
    marker, now = marks.Marker(), time.time()
    marker.take_over([cluster.pk])
    marker.note([report(cluster, now), report(cluster, now + 1)])
    assert Mark.objects.count() == 0
    marker.note([report(cluster, now + 2, started_at=900.0), report(cluster, now + 3, started_at=900.0)])
    marker.note([report(cluster, now + 4, started_at=900.0, role="standby", timeline=2)])
    assert list(Mark.objects.values_list("kind", "node__name")) == [("restart", "pg1"), ("role", "pg1")]
    assert [mark["says"] for mark in marks.marks_of(cluster, timezone.now() - timedelta(hours=1))] == [
        "pg1 was restarted.", "pg1 became standby on timeline 2.",
    ]  # fmt: skip


def test_what_changed_while_no_collector_looked_is_marked_by_the_next_one(cluster: Cluster) -> None:
    now = time.time()
    books.write([report(cluster, now - 100)])
    marker = marks.Marker()
    marker.take_over([cluster.pk])
    marker.note([report(cluster, now, started_at=900.0)])
    assert Mark.objects.get().kind == "restart"


def test_a_job_is_one_mark_where_it_began_and_says_how_it_ended(cluster: Cluster) -> None:
    for status in ("queued", "running", "running", "failed"):
        job_moved.send(sender=None, job_id=7, status=status, cluster_id=cluster.pk)
    since = timezone.now() - timedelta(hours=1)
    says = [mark["says"] for mark in marks.marks_of(cluster, since) if mark["kind"] == "job"]
    assert says == ["Job 7 began."]
    job_finished.send(sender=None, job_id=7, cluster_id=cluster.pk, kind="restart", status="failed")
    found = marks.marks_of(cluster, since)
    assert [mark["says"] for mark in found if mark["kind"] == "job"] == ["Job 7 (restart): failed."]
    assert [mark["says"] for mark in found if mark["kind"] == "alert"] == ["Job 7 did not succeed (failed)."]


# -- alerts that no look shows -------------------------------------------------------------------------------------------------


def test_a_failed_job_is_told_until_a_job_goes_on(cluster: Cluster) -> None:
    job_moved.send(sender=None, job_id=7, status="failed", cluster_id=cluster.pk)
    job_moved.send(sender=None, job_id=7, status="failed", cluster_id=cluster.pk)
    assert list(Alert.objects.values_list("rule", "about")) == [("job_failed", "7")]
    job_moved.send(sender=None, job_id=7, status="queued", cluster_id=cluster.pk)
    assert Alert.objects.get().over_at is not None
    job_moved.send(sender=None, job_id=7, status="lost", cluster_id=cluster.pk)
    assert Alert.objects.get(over_at=None).rule == "job_lost"
    panel_alerts.watch(timezone.now() + timedelta(hours=25))
    assert not Alert.objects.filter(rule="job_lost", over_at=None).exists()


@pytest.mark.parametrize(
    ("age", "interval", "is_open", "behind"),
    [(14, 1, False, False), (16, 1, False, True), (10, 1, True, True), (7, 1, True, False),
     (500, 60, False, False), (700, 60, False, True)],
)  # fmt: skip
def test_a_collector_is_behind_by_its_newest_sample_and_over_when_it_is_much_younger(
    age: float, interval: float, is_open: bool, behind: bool
) -> None:
    assert is_behind(age, interval, is_open=is_open) is behind


def test_a_cluster_that_nobody_looks_at_is_told_and_over_when_somebody_does(cluster: Cluster) -> None:
    panel_alerts.watch()
    assert Alert.objects.count() == 0  # only just made
    panel_alerts.watch(timezone.now() + timedelta(seconds=40))
    assert Alert.objects.get(over_at=None).rule == "collector_behind"
    later = timezone.now() + timedelta(seconds=60)
    Sample.objects.create(node=cluster.nodes.order_by("pk")[0], at=later, state="primary")
    panel_alerts.watch(later + timedelta(seconds=2))
    assert not Alert.objects.filter(over_at=None).exists()


def test_repeated_wrong_passwords_are_told_of_the_clusters_of_that_person(cluster: Cluster) -> None:
    other = Cluster.objects.create(name="other")
    ada = User.objects.create_user("ada")
    Grant.objects.create(user=ada, cluster=cluster, role="operator")
    for _ in range(panel_alerts.GUESSES - 1):
        audit.record("login.failed", "ada", result="failed")
    panel_alerts.watch()
    assert not Alert.objects.filter(rule="wrong_passwords").exists()
    audit.record("login.failed", "ada", result="failed")
    audit.record("login.failed", "nobody-we-know", result="failed")
    panel_alerts.watch()
    alert = Alert.objects.get(rule="wrong_passwords")
    assert (alert.cluster, alert.about, alert.values) == (cluster, "ada", {"count": 10})
    assert alert.cluster != other
    panel_alerts.watch(timezone.now() + timedelta(minutes=20))
    assert Alert.objects.filter(rule="wrong_passwords", over_at=None).exists()
    panel_alerts.watch(timezone.now() + timedelta(minutes=31))
    assert not Alert.objects.filter(rule="wrong_passwords", over_at=None).exists()


def test_guessing_ends_half_an_hour_after_the_last_try() -> None:
    assert not is_guessing(9, 1, is_open=False)
    assert is_guessing(10, 1, is_open=False)
    assert is_guessing(0, 1700, is_open=True)
    assert not is_guessing(0, 1900, is_open=True)


# -- words of what is stored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slot", "forecast", "words"),
    [
        ({"is_active": True, "wal_status": "reserved"}, {}, ""),
        ({"is_active": False, "wal_status": "lost"}, {}, "has to be rebuilt"),
        ({"is_active": False, "wal_status": "reserved"}, {}, "Not watched for long enough"),
        (
            {"is_active": False, "wal_status": ""},
            {"word": "unknown", "bytes_per_second": 5.0 * MB, "seconds_left": None, "ends": "disk"},
            "nobody has seen the disk",
        ),
        (
            {"is_active": False, "wal_status": ""},
            {"word": "steady", "bytes_per_second": 5.0, "seconds_left": None, "ends": "slot"},
            "Does not grow",
        ),
        (
            {"is_active": False, "wal_status": "extended"},
            {"word": "filling", "bytes_per_second": 5.0 * MB, "seconds_left": 120.0, "ends": "slot"},
            "Let go in 2 min",
        ),
    ],
)
def test_what_becomes_of_a_slot_is_said_and_what_is_not_known_is_not(slot: dict, forecast: dict, words: str) -> None:
    said = until_shown(slot, forecast)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (None, ""),
        ({"by": "lost", "bytes": 0, "seconds": None}, "It has to be rebuilt"),
        ({"by": "slot", "bytes": None, "seconds": None}, "as long as the disk has room"),
        ({"by": "kept", "bytes": 5 * MB, "seconds": 60.0}, "at this rate"),
        ({"by": "kept", "bytes": 5 * MB, "seconds": None}, "more."),
    ],
)
def test_how_much_a_standby_may_still_miss_is_said(left: dict | None, words: str) -> None:
    assert words in left_shown(left)
    assert bool(left_shown(left)) == bool(words)
