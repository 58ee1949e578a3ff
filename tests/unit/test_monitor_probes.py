"""What a load balancer is told of a node: a yes only for what was seen a moment ago."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.probes import PROBES, Looked, said_of, those

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
PRIMARY = Looked(
    "pg1", "10.0.0.1", 5432, "primary", is_writable=True, is_the_primary=True, is_reachable=True, is_quarantined=False,
    seen_at=NOW - timedelta(seconds=0.4), interval_seconds=1, timeline=7, state="primary",
)  # fmt: skip
STANDBY = replace(
    PRIMARY, name="pg2", address="fd12::2", role="standby", is_writable=False, is_the_primary=False, state="streaming",
    sync_state="async", lag_bytes=4096,
)  # fmt: skip
SYNC = replace(STANDBY, name="pg3", sync_state="sync", lag_bytes=0)


def yes(node: Looked, most_bytes: int | None = None) -> set[str]:
    return {probe for probe in PROBES if said_of(node, probe, NOW, most_bytes).is_yes}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (PRIMARY, {"primary", "read-write", "read-only", "health"}),
        (STANDBY, {"replica", "read-only", "asynchronous", "health"}),
        (SYNC, {"replica", "read-only", "synchronous", "health"}),
        (replace(SYNC, sync_state="quorum"), {"replica", "read-only", "synchronous", "health"}),
        (replace(PRIMARY, is_writable=False), {"health"}),
        (replace(PRIMARY, is_quarantined=True), {"health"}),
        (replace(PRIMARY, is_the_primary=False), {"health"}),
        (replace(STANDBY, role="unknown"), {"health"}),
        (replace(PRIMARY, is_reachable=False), set()),
        (replace(PRIMARY, seen_at=None), set()),
        (replace(PRIMARY, seen_at=NOW - timedelta(seconds=6.1)), set()),
        (replace(STANDBY, seen_at=NOW - timedelta(minutes=5)), set()),
    ],
)
def test_each_node_says_yes_to_what_it_is_and_nothing_when_it_was_not_just_seen(node, words):
    assert yes(node) == words


def test_a_cluster_that_is_looked_at_seldom_stays_fresh_for_as_long():
    node = replace(PRIMARY, seen_at=NOW - timedelta(seconds=50), interval_seconds=10)
    assert "primary" in yes(node)
    assert "primary" not in yes(replace(node, seen_at=NOW - timedelta(seconds=61)))


@pytest.mark.parametrize(
    ("lag_bytes", "most", "is_yes"), [(4096, 4096, True), (4097, 4096, False), (None, 4096, False), (None, None, True)]
)
def test_lag_is_held_against_the_limit_and_what_is_not_known_is_too_much(lag_bytes, most, is_yes):
    assert said_of(replace(STANDBY, lag_bytes=lag_bytes), "replica", NOW, most).is_yes is is_yes


def test_the_answer_says_why_and_how_old_it_is():
    said = said_of(replace(PRIMARY, seen_at=NOW - timedelta(seconds=9)), "primary", NOW)
    assert (said.is_yes, said.age_seconds) == (False, 9.0)
    assert said.why == "pg1: last seen 9.0 s ago, and older than 6 s counts for nothing"


def test_of_a_cluster_those_that_say_yes_with_where_they_are():
    found, said = those([PRIMARY, STANDBY, SYNC], "replica", NOW)
    assert [node.place for node in found] == ["[fd12::2]:5432", "[fd12::2]:5432"]
    assert said[0].why == "pg1: it is no standby: primary"
