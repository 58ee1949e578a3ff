"""The fleet page with many clusters: what it asks the database does not grow with them, and its cards come in one answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cluster_world import person
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from clusters.models import Cluster, Credential, Node, NodeState
from monitor.models import Rollup, Sample
from monitor.sparks import FINEST, HEIGHT, lines_of, sparks_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def add(settings: Any) -> Callable[[int], None]:
    settings.ENCRYPTION_KEYS = ["3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
    now = timezone.now()

    def clusters(count: int) -> None:
        """Three nodes each, watched, one standby behind, history kept."""
        for number in range(Cluster.objects.count(), Cluster.objects.count() + count):
            cluster = Cluster.objects.create(name=f"c{number}")
            credential = Credential.objects.create(kind="ssh-key", label="key", cluster=cluster, sealed="x")
            for place in (1, 2, 3):
                is_primary = place == 1
                node = Node.objects.create(cluster=cluster, credential=credential, name=f"pg{place}", ssh_host=f"h{place}",
                                           node_address=f"10.0.0.{place}", postgres_major="15")  # fmt: skip
                state = "primary" if is_primary else "stalled" if place == 2 else "idle"
                sample = {"is_the_primary": is_primary, "state": state, "replay_bytes": 8192, "replay_seconds": 12.0}
                NodeState.objects.create(
                    node=node,
                    tried_at=now,
                    seen_at=now,
                    is_reachable=True,
                    role="primary" if is_primary else "standby",
                    sample=sample,
                )
                Rollup.objects.create(
                    node=node, seconds=10, at=now - timedelta(minutes=5), state=state, samples=10, unknown=0, replay_seconds=12.0
                )
                Sample.objects.create(node=node, at=now, state=state, replay_seconds=12.0)

    return clusters


@pytest.fixture
def page() -> Client:
    client = Client()
    client.force_login(person("ana", "viewer"))
    return client


def asked(page: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert page.get(url).status_code == 200
    return len(queries)


@pytest.mark.parametrize("name", ["clusters:fleet", "monitor:cards", "monitor:collector"])
def test_the_questions_to_the_database_do_not_grow_with_the_clusters(page: Client, add: Callable[[int], None], name: str) -> None:
    add(2)
    page.get(reverse(name))  # the session is noted once
    few = asked(page, reverse(name))
    add(30)
    assert asked(page, reverse(name)) == few
    assert few <= 14


def test_the_page_asks_for_all_cards_at_once(page: Client, add: Callable[[int], None]) -> None:
    add(5)
    html = page.get(reverse("clusters:fleet")).content.decode()
    assert html.count(reverse("monitor:cards")) == 1
    assert not re.search(r'hx-get="[^"]*/card/"', html)
    places = set(re.findall(r'id="(card-\d+)"', html))
    cards = page.get(reverse("monitor:cards")).content.decode()
    assert set(re.findall(r'hx-swap-oob="innerHTML:#(card-\d+)"', cards)) == places
    assert len(places) == 5


def test_cards_are_of_the_clusters_that_one_may_see(add: Callable[[int], None]) -> None:
    add(2)
    client = Client()
    client.force_login(person("bob", "viewer", Cluster.objects.get(name="c1")))
    cards = client.get(reverse("monitor:cards")).content.decode()
    assert re.findall(r"#card-(\d+)", cards) == [str(Cluster.objects.get(name="c1").pk)]


def test_a_spark_has_the_rolled_up_part_and_the_newest_one(add: Callable[[int], None]) -> None:
    add(1)
    cluster = Cluster.objects.get()
    newest = timezone.now() - timedelta(seconds=10)
    standby = cluster.nodes.get(name="pg2")
    Sample.objects.create(node=standby, at=newest, state="stalled", replay_seconds=6.0)
    Sample.objects.filter(node__name="pg1").update(replay_seconds=999.0)
    (line,) = sparks_of([cluster.pk])[cluster.pk]  # the old stretch stands alone: a point is no line
    heights = [float(point.split(",")[1]) for point in line.split()]
    assert heights == [HEIGHT - 2 - 0.5 * (HEIGHT - 4), 2.0]


def test_a_spark_breaks_where_nothing_was_known_and_where_nobody_looked() -> None:
    begin = 1000 * FINEST
    worst = {1000: 0.0, 1001: 0.5, 1002: None, 1003: 1.0, 1004: 2.0, 1010: 1.0, 1011: 1.0}
    first, second, third = lines_of(worst, begin)
    assert first.split()[0] == f"1.0,{HEIGHT - 2:.1f}"
    assert [line.count(",") for line in (first, second, third)] == [2, 2, 2]
    assert second.split()[1].endswith(",2.0")
