"""A cluster in one word and one sentence: the worst first, and never green without knowing."""

from datetime import timedelta

import pytest
from cluster_world import cluster_of_two
from django.utils import timezone

from clusters.condition import worst_of
from clusters.models import NodeState

pytestmark = pytest.mark.django_db


def condition(first: dict, second: dict) -> tuple[str, str]:
    cluster, *nodes = cluster_of_two()
    now = timezone.now()
    for node, fields in zip(nodes, (first, second), strict=True):
        NodeState.objects.filter(node=node).update(**{"tried_at": now, "seen_at": now, "is_reachable": True} | fields)
    return worst_of(list(cluster.nodes.select_related("state", "cluster")))


PRIMARY, STANDBY = {"role": "primary"}, {"role": "standby"}


def lagging(state: str) -> dict:
    return STANDBY | {"sample": {"state": state}}


@pytest.mark.parametrize(
    ("first", "second", "word", "words"),
    [
        (PRIMARY, lagging("streaming"), "streaming", ""),
        (PRIMARY, lagging("idle"), "streaming", ""),
        (PRIMARY, PRIMARY, "broken", "pg1, pg2 all run as primary."),
        (PRIMARY, STANDBY | {"is_reachable": False}, "broken", "does not reach pg2"),
        (PRIMARY | {"is_reachable": False}, STANDBY, "broken", "does not reach pg1"),
        (STANDBY, STANDBY, "broken", "No node runs as primary."),
        (PRIMARY, lagging("disconnected"), "disconnected", "pg2 does not receive"),
        (PRIMARY, lagging("stalled"), "stalled", "pg2 is stalled"),
        (PRIMARY, lagging("paused"), "paused", "paused on pg2"),
        (PRIMARY, lagging("catching-up"), "catching-up", "pg2 is catching up"),
        (PRIMARY, {"role": "unknown"}, "idle", "No replication on pg2 yet."),
        (PRIMARY, STANDBY | {"seen_at": None}, "stale", "pg2: never looked at"),
    ],
)
def test_the_worst_problem_is_named_with_its_node(first, second, word, words):
    found = condition(first, second)
    assert found[0] == word
    assert words in found[1]


def test_when_nobody_looks_any_more_it_is_stale_and_not_streaming():
    old = {"tried_at": timezone.now() - timedelta(minutes=3)}
    assert condition(PRIMARY | old, lagging("streaming") | old)[0] == "stale"


def test_a_single_server_has_no_standby():
    cluster, _first, second = cluster_of_two()
    second.delete()
    now = timezone.now()
    NodeState.objects.update(role="primary", tried_at=now, seen_at=now, is_reachable=True)
    assert worst_of(list(cluster.nodes.all())) == ("idle", "There is no standby yet.")
