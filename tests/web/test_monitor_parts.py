"""The pieces that the collector's looks become: drawing, numbers, chart, what would be lost; and who may see them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, Credential, Grant, Node, NodeState
from monitor.models import Sample
from pgpanel import live

MB = 1 << 20
PARTS = ("topology", "nodes", "if_died", "card", "lag_chart", "lag_data")

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster.objects.create(name="registry")
    credential = Credential.objects.create(kind="ssh-key", label="key", cluster=cluster, sealed="x")
    for position, name in enumerate(("pg1", "pg2", "pg3")):
        node = Node.objects.create(
            cluster=cluster,
            credential=credential,
            name=name,
            ssh_host=f"10.0.0.{position + 1}",
            node_address=f"10.0.0.{position + 1}",
            postgres_major="15",
            position=position,
        )
        NodeState.objects.create(node=node)
    return cluster


@pytest.fixture
def viewer(cluster: Cluster) -> User:
    user = User.objects.create_user("ana")
    Grant.objects.create(user=user, cluster=cluster, role="viewer")
    return user


@pytest.fixture
def page(viewer: User) -> Client:
    client = Client()
    client.force_login(viewer)
    return client


def seen(cluster: Cluster, name: str, *, seconds_ago: float = 0.4, **fields: Any) -> None:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    common: dict[str, Any] = {"tried_at": timezone.now(), "seen_at": at, "is_reachable": True, "timeline": 7}
    NodeState.objects.filter(node__cluster=cluster, node__name=name).update(**(common | fields))


def primary(cluster: Cluster, name: str = "pg1", **fields: Any) -> None:
    sample = {"state": "primary", "is_the_primary": True} | fields.pop("sample", {})
    seen(cluster, name, role="primary", is_writable=True, current_lsn=7 << 32, sample=sample, **fields)


def standby(
    cluster: Cluster, name: str, state: str, *, upstream: str = "pg1", numbers: dict[str, Any] | None = None, **fields: Any
) -> None:
    sample = {"state": state, "upstream": upstream, "sync_state": "async"} | (numbers or {})
    seen(cluster, name, role="standby", is_writable=False, replay_lsn=7 << 32, sample=sample, **fields)


def numbers(size: int | None, seconds: float | None) -> dict[str, Any]:
    names = ("write_bytes", "flush_bytes", "replay_bytes")
    return dict.fromkeys(names, size) | {"replay_seconds": seconds, "flush_seconds": seconds}


def text(page: Client, part: str, cluster: Cluster) -> str:
    answer = page.get(reverse(f"monitor:{part}", args=[cluster.name]))
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("part", PARTS)
def test_a_person_without_a_right_on_the_cluster_does_not_learn_that_it_exists(part: str, cluster: Cluster) -> None:
    stranger = Client()
    stranger.force_login(User.objects.create_user("eve"))
    assert stranger.get(reverse(f"monitor:{part}", args=[cluster.name])).status_code == 404


@pytest.mark.parametrize("part", PARTS)
def test_nobody_sees_anything_without_signing_in(part: str, cluster: Cluster) -> None:
    assert Client().get(reverse(f"monitor:{part}", args=[cluster.name])).status_code == 302


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_whole_before_anything_was_seen(part: str, page: Client, cluster: Cluster) -> None:
    assert "0 B" not in text(page, part, cluster)


@pytest.mark.parametrize("part", PARTS)
def test_no_part_has_inline_style_or_script(part: str, page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "streaming", numbers=numbers(0, 0.004))
    assert not re.search(r"\sstyle=|\son\w+=|<script", text(page, part, cluster))


@pytest.mark.parametrize("part", PARTS)
def test_the_number_of_queries_does_not_grow_with_the_nodes(
    part: str, page: Client, cluster: Cluster, django_assert_max_num_queries: Any
) -> None:
    text(page, part, cluster)  # the first request of a session notes where it comes from
    with django_assert_max_num_queries(9):
        text(page, part, cluster)


def test_the_drawing_says_who_follows_whom_and_how_far_behind(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "streaming", numbers=numbers(0, 0.004))
    standby(cluster, "pg3", "catching-up", upstream="pg2", numbers=numbers(18 * MB, 3.1))
    drawing = text(page, "topology", cluster)
    assert drawing.count("<svg") == 2
    assert "pg2 follows pg1: streaming, 0 B and 4 ms behind." in drawing
    assert "pg3 follows pg2: catching up, 18.0 MB and 3.1 s behind." in drawing
    assert "PRIMARY · writable" in drawing
    assert "timeline 7" in drawing


def test_what_is_not_known_is_drawn_as_a_dash_never_as_zero(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "disconnected", numbers=numbers(None, None) | {"reason": "other-timeline"})
    drawing = text(page, "topology", cluster)
    assert "– · –" in drawing
    assert "0 B" not in drawing
    assert "another timeline" in drawing


def test_values_that_the_collector_has_not_refreshed_are_stale_not_streaming(page: Client, cluster: Cluster) -> None:
    primary(cluster, seconds_ago=60)
    standby(cluster, "pg2", "streaming", numbers=numbers(0, 0.004), seconds_ago=60)
    NodeState.objects.update(tried_at=timezone.now() - timedelta(seconds=60))
    table = text(page, "nodes", cluster)
    assert "stale sample" in table
    assert "streaming" not in table


def test_a_node_that_is_not_reached_says_what_its_last_answer_was(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "stale", numbers=numbers(5 * MB, 12.0) | {"reason": "not-seen", "cause": "timeout"},
            seconds_ago=12, is_reachable=False, error="no answer from 10.0.0.2:5432 within 2.5 s")  # fmt: skip
    drawing = text(page, "topology", cluster)
    assert "pg2: stale sample" in drawing
    assert "no answer from 10.0.0.2:5432" in drawing


def test_a_stopped_server_on_a_host_that_answers_is_not_running_rather_than_stale(page: Client, cluster: Cluster) -> None:
    primary(cluster, is_reachable=False, sample={"state": "unreachable", "cause": "stopped"}, seconds_ago=20)
    assert "not running" in text(page, "nodes", cluster)


def test_two_primaries_are_both_drawn_and_called_out(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    primary(cluster, "pg2", sample={"is_the_primary": False})
    assert "a second primary" in text(page, "topology", cluster)


def test_a_caught_up_idle_standby_would_lose_nothing_and_says_since_when_that_is_known(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "idle", numbers=numbers(0, 0.0))
    part = text(page, "if_died", cluster)
    assert "If pg1 died now" in part
    assert re.search(r'class="loss ok">0 B<', part)
    assert "plus up to 1.0 s of writes that nobody saw" in part


def test_a_standby_that_is_not_seen_never_promises_that_nothing_is_lost(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "stale", numbers=numbers(0, 0.0), seconds_ago=40, is_reachable=False)
    part = text(page, "if_died", cluster)
    assert 'class="loss ok"' not in part
    assert "40 s ago" in part


def test_the_least_loss_comes_first(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "catching-up", numbers=numbers(18 * MB, 3.1))
    standby(cluster, "pg3", "streaming", numbers=numbers(100, 0.01))
    part = text(page, "if_died", cluster)
    assert part.index("pg3") < part.index("pg2")


def test_received_but_unreplayed_wal_is_not_lost_but_must_be_replayed_first(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "paused", numbers=numbers(0, 0.0) | {"replay_bytes": 20 * MB, "replay_seconds": 20.0})
    part = text(page, "if_died", cluster)
    assert re.search(r'class="loss ok">0 B<', part)
    assert "20.0 MB to replay first" in part


def test_a_cluster_without_a_standby_says_that_everything_would_be_lost(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    Node.objects.exclude(name="pg1").delete()
    assert "Everything since the last backup would be lost" in text(page, "if_died", cluster)


def test_the_fleet_s_card_names_the_worst_node_first(page: Client, cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "catching-up", numbers=numbers(18 * MB, 3.1))
    standby(cluster, "pg3", "disconnected", numbers=numbers(18 * MB, 30.0) | {"reason": "no-receiver"})
    card = text(page, "card", cluster)
    assert "pg3: Its WAL receiver is not connected to anybody." in card
    assert "pg2: catching up</span>" not in card


def samples(cluster: Cluster, name: str, values: list[tuple[int | None, float | None]], state: str = "streaming") -> None:
    node = cluster.nodes.get(name=name)
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=len(values))
    Sample.objects.bulk_create(
        Sample(node=node, at=begin + timedelta(seconds=n), state=state, replay_bytes=size, replay_seconds=seconds)
        for n, (size, seconds) in enumerate(values)
    )


def test_the_chart_s_data_are_columns_with_null_for_what_is_not_known(page: Client, cluster: Cluster) -> None:
    samples(cluster, "pg1", [(None, None)] * 3, state="primary")
    samples(cluster, "pg2", [(0, 0.0), (None, None), (MB, 1.5)])
    data = page.get(reverse("monitor:lag_data", args=["registry"]), {"range": "1m"}).json()
    assert len(data["at"]) == 3
    assert list(data["nodes"]) == ["pg2"]
    assert data["nodes"]["pg2"]["bytes"] == [0, None, MB]
    assert data["nodes"]["pg2"]["seconds"] == [0.0, None, 1.5]
    assert data["nodes"]["pg2"]["state"] == ["streaming"] * 3


def test_an_hour_of_samples_is_thinned_without_losing_its_worst_moment(page: Client, cluster: Cluster) -> None:
    samples(cluster, "pg2", [(0, 0.0)] * 1500 + [(MB, 7.5)] + [(0, 0.0)] * 1500)
    data = page.get(reverse("monitor:lag_data", args=["registry"]), {"seconds": "3600"}).json()
    assert len(data["at"]) <= 400
    assert max(value for value in data["nodes"]["pg2"]["seconds"] if value is not None) == 7.5


@pytest.mark.parametrize("asked", ["seconds=abc", "seconds=-5", "seconds=99999999999", "range=1y", ""])
def test_a_senseless_range_is_answered_not_failed(asked: str, page: Client, cluster: Cluster) -> None:
    assert page.get(reverse("monitor:lag_data", args=["registry"]) + "?" + asked).status_code == 200


def test_live_samples_are_heard_only_by_those_who_may_see_the_cluster(viewer: User, cluster: Cluster) -> None:
    topic = live.TOPICS["cluster"]
    assert topic.may(viewer, str(cluster.pk))
    assert not topic.may(User.objects.create_user("eve"), str(cluster.pk))
    assert not topic.may(viewer, "0")
    assert not topic.may(viewer, "no number")


def test_a_page_that_opens_hears_the_newest_look_at_once(cluster: Cluster) -> None:
    primary(cluster)
    standby(cluster, "pg2", "streaming", numbers=numbers(4096, 0.004))
    (event,) = live.TOPICS["cluster"].replay(str(cluster.pk), 0)
    assert event.name == "sample"
    assert event.data["nodes"]["pg2"]["replay_bytes"] == 4096
    assert event.data["nodes"]["pg3"]["replay_bytes"] is None
