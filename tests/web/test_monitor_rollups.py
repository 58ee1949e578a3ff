"""Samples become coarser as they age: nothing is rolled up twice, no peak is lost, and what is kept has an end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from clusters.models import Cluster, Credential, Node
from monitor import rollups
from monitor.models import Lease, Rollup, Sample
from monitor.rollups import LEVELS, RAW, Row, moment, rolled

pytestmark = pytest.mark.django_db

NOW = 1_800_000_000.0 + 47  # within a minute
MB = 1 << 20


@pytest.fixture
def node() -> Node:
    cluster = Cluster.objects.create(name="shop")
    credential = Credential.objects.create(kind="ssh-key", label="key", cluster=cluster, sealed="-")
    Lease.objects.create(cluster=cluster)
    return Node.objects.create(cluster=cluster, credential=credential, name="pg2", ssh_host="10.0.0.2", node_address="10.0.0.2")


def sampled(node: Node, since: float, until: float, **more: Any) -> None:
    given: dict[str, Any] = {"state": "streaming", "replay_bytes": 10, "replay_seconds": 0.1, "primary_lsn": 1000} | more
    Sample.objects.bulk_create(Sample(node=node, at=moment(at), **given) for at in range(int(since), int(until)))


def kept(seconds: int) -> list[tuple[Any, ...]]:
    found = Rollup.objects.filter(seconds=seconds).order_by("at")
    return list(found.values_list("at", "samples", "unknown", "state", "replay_bytes", "replay_seconds"))


def test_only_stretches_that_are_over_are_rolled_up(node: Node) -> None:
    sampled(node, NOW - 47, NOW)  # from a full ten seconds on
    rollups.roll_up([node.cluster_id], NOW)
    assert [samples for _at, samples, *_rest in kept(10)] == [10, 10, 10, 10]
    assert kept(60) == []
    sampled(node, NOW, NOW + 20)
    rollups.roll_up([node.cluster_id], NOW + 20)
    assert [samples for _at, samples, *_rest in kept(10)] == [10] * 6


def test_a_peak_of_one_second_and_the_gravest_state_reach_the_coarsest_level(node: Node) -> None:
    begin = NOW - NOW % 3600
    sampled(node, begin, begin + 3600)
    Sample.objects.filter(at=moment(begin + 1234)).update(replay_bytes=7 * MB, replay_seconds=42.5)
    Sample.objects.filter(at=moment(begin + 2000)).update(state="disconnected", replay_bytes=None, replay_seconds=None)
    rollups.roll_up([node.cluster_id], begin + 1810)
    rollups.roll_up([node.cluster_id], begin + 3610)
    assert kept(3600) == [(moment(begin), 3600, 1, "disconnected", 7 * MB, 42.5)]
    assert len(kept(10)) == 360
    assert len(kept(60)) == 60


def test_a_collector_that_takes_over_makes_nothing_twice(node: Node) -> None:
    sampled(node, NOW - 107, NOW)
    assert rollups.roll_up([node.cluster_id], NOW) > 0
    before = kept(10)
    assert rollups.roll_up([node.cluster_id], NOW) == 0
    Lease.objects.update(rolled_up={})  # its books were lost: what is there stays as it is
    rollups.roll_up([node.cluster_id], NOW)
    assert kept(10) == before


def test_after_a_long_absence_it_goes_on_in_bites_from_what_is_still_there(node: Node) -> None:
    day = 86_400
    Rollup.objects.bulk_create(
        Rollup(node=node, seconds=10, at=moment(NOW - 7 - at), state="streaming", samples=10, unknown=0) for at in range(0, day, 10)
    )
    turns = 0
    while rollups.roll_up([node.cluster_id], NOW) and turns < 100:
        turns += 1
    assert 20 < turns < 30  # an hour each
    assert len(kept(60)) == pytest.approx(day / 60, abs=2)


def test_what_is_not_known_stays_unknown() -> None:
    (row,) = rolled([Row(1, 100.0, "disconnected", 1, 1), Row(1, 101.0, "disconnected", 1, 1)], 10)
    assert (row.samples, row.unknown, row.replay_bytes, row.replay_seconds) == (2, 2, None, None)


@pytest.mark.parametrize(("seconds", "levels"), [(60, 1), (3600, 1), (3601, 2), (86_400, 2), (7 * 86_400, 3), (30 * 86_400, 4)])
def test_a_chart_begins_with_the_level_that_fits_its_length(seconds: int, levels: int) -> None:
    assert rollups.levels_for(seconds) == (RAW, *LEVELS)[:levels]


def test_a_long_chart_ends_with_the_newest_sample_not_with_the_last_whole_stretch(node: Node) -> None:
    sampled(node, NOW - 3000, NOW)
    while rollups.roll_up([node.cluster_id], NOW):
        pass
    rows = list(rollups.history(node.cluster_id, NOW - 86_400, NOW))
    assert rows[-1].at == int(NOW) - 1
    assert sum(row.samples for row in rows) == 3000  # none twice, none left out
    assert [row.at for row in rows] == sorted(row.at for row in rows)


def test_every_level_has_an_end(node: Node) -> None:
    for level in LEVELS:
        for age in (level.kept_seconds + 60, level.kept_seconds - 60):
            Rollup.objects.create(
                node=node,
                seconds=level.seconds,
                at=timezone.now() - timedelta(seconds=age),
                state="streaming",
                samples=1,
                unknown=0,
            )
    assert rollups.prune() == len(LEVELS)
    assert rollups.prune() == 0
    assert Rollup.objects.count() == len(LEVELS)


def test_a_node_that_is_removed_takes_its_history_along(node: Node) -> None:
    sampled(node, NOW - 47, NOW)
    rollups.roll_up([node.cluster_id], NOW)
    node.delete()
    assert Rollup.objects.count() == 0
