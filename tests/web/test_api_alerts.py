"""Alerts and metrics by the API: the same services as the pages, the same rights, and nothing of other people's clusters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from api_world import Api, token_of, user
from cluster_world import cluster_of_two
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from clusters.models import Cluster, NodeState
from monitor.models import Alert, Maintenance

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster() -> Cluster:
    found, pg1, pg2 = cluster_of_two()
    now = timezone.now()
    seen = {"seen_at": now, "is_reachable": True, "timeline": 3}
    slots = [{"name": "pgpanel_pg2", "is_active": True, "held_bytes": 4096}]
    NodeState.objects.update_or_create(
        node=pg1, defaults=seen | {"is_writable": True, "sample": {"is_the_primary": True, "state": "primary", "slots": slots}}
    )
    lag = {"state": "stalled", "replay_bytes": 20_000, "replay_seconds": 75.5, "flush_bytes": None}
    NodeState.objects.update_or_create(node=pg2, defaults=seen | {"is_writable": False, "sample": lag})
    Alert.objects.create(
        cluster=found, rule="lag_soft", about="pg2", severity="warning", values={"seconds": 75.5}, fired_at=now,
        since=now - timedelta(seconds=20),
    )  # fmt: skip
    return found


def of(role: str, cluster: Cluster) -> Api:
    return Api(token_of(user(f"{role}-{cluster}", role, cluster), role))


def samples(answer: Any) -> dict[tuple[str, str, str], float]:
    """By metric, node or rule, and what else tells it apart."""
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            first = labels.pop("node", labels.get("rule", ""))
            found[sample.name, first, labels.get("state") or labels.get("slot") or ""] = sample.value
    return found


def test_an_open_alert_says_what_is_wrong_and_what_to_do(cluster: Cluster) -> None:
    (alert,) = of("viewer", cluster).get("/alerts?open=true").json()["items"]
    assert alert["sentence"] == "pg2 is 1 min 16 s behind and does not catch up."
    assert alert["action"]
    assert alert["path"].startswith("/")
    assert of("operator", cluster).get("/alerts?open=false").json()["items"] == []


def test_an_operator_takes_it_on_a_viewer_may_not_and_a_stranger_does_not_see_it(cluster: Cluster) -> None:
    path, stranger = f"/alerts/{Alert.objects.get().pk}/acknowledge", of("operator", Cluster.objects.create(name="other"))
    assert of("viewer", cluster).post(path, {}).status_code == 403
    assert stranger.post(path, {}).status_code == 404
    assert stranger.get("/alerts").json()["items"] == []
    answer = of("operator", cluster).post(path, {"comment": "on it"})
    assert (answer.status_code, answer.json()["acknowledged_by"], answer.json()["comment"]) == (200, "operator-registry", "on it")


def test_a_maintenance_window_is_begun_and_ended(cluster: Cluster) -> None:
    operator = of("operator", cluster)
    answer = operator.post("/clusters/registry/maintenance", {"minutes": 30, "reason": "new disks"})
    assert answer.status_code == 201
    assert operator.get("/clusters/registry/maintenance").json()["items"][0]["reason"] == "new disks"
    assert of("viewer", cluster)("DELETE", f"/maintenance/{answer.json()['id']}").status_code == 403
    assert operator("DELETE", f"/maintenance/{answer.json()['id']}").status_code == 204
    assert Maintenance.objects.get().ends_at <= timezone.now()
    assert operator.post("/clusters/registry/maintenance", {"minutes": 0, "reason": "x"}).status_code == 422


def test_metrics_have_what_is_known_and_no_sample_for_what_is_not(cluster: Cluster) -> None:
    answer = of("viewer", cluster).get("/metrics")
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    found = samples(answer)
    assert found["pgpanel_node_is_primary", "pg1", ""] == 1
    assert found["pgpanel_replay_lag_bytes", "pg2", ""] == 20_000
    assert found["pgpanel_replay_lag_seconds", "pg2", ""] == 75.5
    assert ("pgpanel_flush_lag_bytes", "pg2", "") not in found
    assert found["pgpanel_node_state", "pg2", "stalled"] == 1
    assert found["pgpanel_node_state", "pg2", "streaming"] == 0
    assert found["pgpanel_replication_slot_held_bytes", "pg1", "pgpanel_pg2"] == 4096
    assert found["pgpanel_alerts_open", "lag_soft", ""] == 1
    assert found["pgpanel_alerts_open", "primary_down", ""] == 0


def test_metrics_are_of_one_s_own_clusters(cluster: Cluster) -> None:
    other = Cluster.objects.create(name="other")
    assert b"registry" not in of("viewer", other).get("/metrics").content
    assert Api().get("/metrics").status_code == 401


def test_the_questions_for_metrics_do_not_grow_with_the_nodes(cluster: Cluster, django_assert_max_num_queries: Any) -> None:
    viewer = of("viewer", cluster)
    viewer.get("/metrics")
    with django_assert_max_num_queries(14):
        viewer.get("/metrics")
