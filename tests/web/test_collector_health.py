"""The collector's own health: honest when none runs, when one hangs, when it is behind; and each person sees his part of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from api_world import Api, token_of
from cluster_world import cluster_of_two, person
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, NodeState
from monitor.collector import Pulse
from monitor.ledger import Ledger
from monitor.models import Lease, Watcher
from monitor.watchers import SILENT_SECONDS, Condition, health_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = ["3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]


@pytest.fixture
def cluster() -> Cluster:
    return cluster_of_two()[0]


def watched_by(holder: str, cluster: Cluster, **felt: Any) -> Condition:
    """A collector that holds the cluster, has just looked, and says so."""
    now = timezone.now()
    Lease.objects.update_or_create(cluster=cluster, defaults={"holder": holder, "until": now + timedelta(seconds=9)})
    for node in cluster.nodes.all():
        NodeState.objects.update_or_create(node=node, defaults={"tried_at": now, "seen_at": now})
    condition = Condition(holder, 600)
    condition.feel(Pulse(**{"seconds": 1.0, "nodes": 2, "lines": 2, "looks": 2, "behind_seconds": 0.01} | felt))
    condition.has_written()
    condition.say(waiting=0)
    return condition


def text_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.get(reverse("monitor:collector")).content.decode()


def test_without_a_collector_the_page_says_that_nothing_is_newer_than_its_age(cluster: Cluster) -> None:
    everyone = person("ana", "viewer")
    assert health_of(everyone).state == "none"
    assert "No collector runs" in text_of(everyone)
    assert "nobody" in text_of(everyone)


def test_a_panel_without_clusters_has_nothing_to_watch(client: Client) -> None:
    assert health_of(person("ana", "viewer")).state == "idle"


def test_a_collector_that_watches_everything_in_time_is_said_to_do_so(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster)
    everyone = person("ana", "viewer")
    assert health_of(everyone).state == "watching"
    assert "panel:1:a" in text_of(everyone)


def test_one_that_hangs_with_its_lease_is_not_taken_for_one_that_watches(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster)
    Watcher.objects.update(said_at=timezone.now() - timedelta(seconds=SILENT_SECONDS + 1))
    everyone = person("ana", "viewer")
    assert health_of(everyone).state == "none"
    assert [row.holder for row in health_of(everyone).gone] == ["panel:1:a"]


def test_looks_that_are_too_old_are_late_whatever_the_lease_says(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster)
    NodeState.objects.update(tried_at=timezone.now() - timedelta(seconds=30))
    assert health_of(person("ana", "viewer")).state == "late"


def test_a_cluster_for_which_no_collector_has_room_is_named_first(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster)
    cluster_of_two("zz-left-over")
    health = health_of(person("ana", "viewer"))
    assert (health.state, health.clusters[0].name, health.clusters[0].holder) == ("late", "zz-left-over", "")


def test_how_far_behind_is_a_number_and_not_a_feeling(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster, behind_seconds=2.4)
    everyone = person("ana", "viewer")
    assert health_of(everyone).state == "behind"
    assert "2.4 s behind" in text_of(everyone)


def test_rounds_that_the_database_does_not_take_are_said_to_wait(cluster: Cluster) -> None:
    condition = watched_by("panel:1:a", cluster)
    condition.note("the panel's database did not take the samples: database is locked\x1b[31m")
    condition.say(waiting=40)
    Watcher.objects.update(written_at=timezone.now() - timedelta(seconds=20))
    everyone = person("ana", "viewer")
    assert health_of(everyone).state == "unwritten"
    assert "database is locked" in text_of(everyone)
    assert "\x1b" not in Watcher.objects.get().last_error


def test_one_that_ends_says_so(cluster: Cluster) -> None:
    condition = watched_by("panel:1:a", cluster)
    condition.end()
    (gone,) = health_of(person("ana", "viewer")).gone
    assert gone.ended_at


def test_who_may_see_one_cluster_sees_its_collector_and_nothing_of_the_others(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster).note("elsewhere could not be judged")
    other = cluster_of_two("elsewhere")[0]
    watched_by("panel:2:b", other)
    ana = person("ana", "viewer", cluster)
    health = health_of(ana)
    assert [found.name for found in health.clusters] == ["registry"]
    assert [row.holder for row in health.watchers] == ["panel:1:a"]
    page = text_of(ana)
    assert "elsewhere" not in page
    assert "panel:2:b" not in page
    answer = Api(token_of(ana, "viewer")).get("/collector").json()
    assert [row["nodes"] for row in answer["watchers"]] == [None]
    assert "elsewhere" not in str(answer)


def test_by_the_api_one_reads_the_state_and_by_how_much(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster, behind_seconds=2.4)
    answer = Api(token_of(person("ana", "viewer"), "viewer")).get("/collector").json()
    assert (answer["state"], answer["behind_seconds"]) == ("behind", 2.4)
    assert answer["watchers"][0]["looks_a_second"] == 2.0
    assert answer["clusters"][0] | {"looked_at": ""} == {
        "cluster": "registry", "nodes": 2, "holder": "panel:1:a", "looked_at": "", "is_late": False,
    }  # fmt: skip


def test_the_questions_do_not_grow_with_the_clusters(cluster: Cluster, django_assert_num_queries: Any) -> None:
    everyone = person("ana", "viewer")
    watched_by("panel:1:a", cluster)
    with django_assert_num_queries(4):
        health_of(everyone)
    for number in range(8):
        watched_by(f"panel:{number}:b", cluster_of_two(f"more-{number}")[0])
    with django_assert_num_queries(4):
        health_of(everyone)


def test_a_ledger_says_how_it_is_whenever_it_renews(cluster: Cluster) -> None:
    ledger = Ledger(100)
    assert ledger.claim()
    ledger.feel(Pulse(seconds=1.0, nodes=2, lines=1, looks=1, behind_seconds=0.2))
    ledger._renew()
    row = Watcher.objects.get()
    assert (row.holder, row.capacity, row.nodes, row.lines, row.behind_seconds) == (ledger.holder, 100, 2, 1, 0.2)


def test_a_faster_interval_takes_more_of_a_collector_s_room(cluster: Cluster) -> None:
    Cluster.objects.update(sample_interval_seconds=0.5)
    other = cluster_of_two("second")[0]
    ledger = Ledger(4)
    ledger.claim()
    assert set(ledger._held) == {cluster.pk}
    Cluster.objects.update(sample_interval_seconds=60)
    ledger._renew()
    assert set(ledger._held) == {cluster.pk, other.pk}


def test_the_fleet_s_foot_gets_one_line_of_it_and_the_page_its_middle(cluster: Cluster) -> None:
    watched_by("panel:1:a", cluster)
    client = Client()
    client.force_login(person("ana", "viewer"))
    assert reverse("monitor:collector") + "?line=1" in client.get(reverse("clusters:fleet")).content.decode()
    line = client.get(reverse("monitor:collector"), {"line": "1"}).content.decode()
    assert "One cluster is watched." in line
    assert "<html" not in line
    assert "panel:1:a" not in line
    middle = client.get(reverse("monitor:collector"), headers={"HX-Request": "true"}).content.decode()
    assert "One cluster is watched." in middle
    assert "panel:1:a" in middle
    assert "<html" not in middle
