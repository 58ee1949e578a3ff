"""What wakes somebody, and what does not: rules over single rounds, and what becomes of breaches over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitor.alert_words import WORDS
from monitor.breaches import Followed
from monitor.lag import Lag
from monitor.rules import ALL, RULES, Breach, Limits, breaches
from monitor.sight import Sight, Unseen
from monitor.watch import ClusterReport, NodeReport
from remote.facts import Archiver, Slot

T = 1_800_000_000.0
KEY = ("primary_down", "pg1")


def sight(role: str = "standby", **more: Any) -> Sight:
    return Sight(T, "tcp", 0.001, "15", role, role == "primary", 1, current_lsn=1000, replay_lsn=1000, **more)  # type: ignore[arg-type]


PRIMARY = NodeReport(1, "pg1", T, sight("primary"), None, True, True, None, None, "")
STANDBY = NodeReport(2, "pg2", T, sight(), None, True, False, Lag("streaming", replay_bytes=0, replay_seconds=0.0), None, "pg1")
AWAY = Unseen(T, "timeout", "no answer from 10.0.0.1")


def found(*nodes: NodeReport, limits: Limits | None = None) -> set[tuple[str, str]]:
    return set(breaches(ClusterReport(1, "shop", T, nodes), limits or Limits()))


def lagging(state: str, **more: Any) -> NodeReport:
    return replace(STANDBY, lag=Lag(state, **more))  # type: ignore[arg-type]


def test_a_cluster_that_is_well_wakes_nobody() -> None:
    assert found(PRIMARY, STANDBY) == set()


def test_a_primary_that_is_not_seen_is_one_alert_and_no_second_one_for_the_same() -> None:
    assert found(replace(PRIMARY, is_fresh=False, unseen=AWAY), STANDBY) == {KEY}


def test_two_that_take_writes_are_the_clusters_alert() -> None:
    other = replace(STANDBY, sight=sight("primary"), lag=None)
    assert found(PRIMARY, other) == {("two_writers", "")}
    assert found(PRIMARY, replace(other, is_fresh=False, unseen=AWAY)) == {("node_not_seen", "pg2")}


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (lagging("disconnected", replay_seconds=20.0), "standby_disconnected"),
        (lagging("unknown", reason="other-timeline"), "other_timeline"),
        (lagging("stalled", replay_seconds=45.0), "lag_soft"),
        (lagging("paused", replay_seconds=45.0), "lag_soft"),
        (lagging("streaming", replay_seconds=1.0, replay_bytes=9 << 30), "lag_hard"),
        (replace(STANDBY, is_fresh=False, unseen=AWAY), "node_not_seen"),
    ],
)
def test_what_is_wrong_with_a_standby_has_one_name(node: NodeReport, rule: str) -> None:
    assert found(PRIMARY, node) == {(rule, "pg2")}


def test_a_standby_that_catches_up_wakes_nobody_before_the_hard_limit() -> None:
    assert found(PRIMARY, lagging("catching-up", replay_seconds=300.0, eta_seconds=20.0)) == set()
    assert found(PRIMARY, lagging("catching-up", replay_seconds=601.0, eta_seconds=20.0)) == {("lag_hard", "pg2")}
    assert found(PRIMARY, lagging("catching-up", replay_seconds=60.0)) == {("lag_soft", "pg2")}


def test_a_clusters_own_limits_count() -> None:
    assert found(PRIMARY, lagging("stalled", replay_seconds=45.0), limits=Limits(lag_soft_seconds=60)) == set()
    many_bytes = lagging("stalled", replay_seconds=1.0, replay_bytes=600 << 20)
    assert found(PRIMARY, many_bytes) == {("lag_soft", "pg2")}
    assert found(PRIMARY, many_bytes, limits=Limits(lag_soft_bytes=1 << 30)) == set()


def test_archiving_fails_only_while_nothing_was_archived_since() -> None:
    failed = Archiver(5, 2, "0000000100000000000000A0", "0000000100000000000000A1", "1800000000.5", "1800000090.1")
    assert found(replace(PRIMARY, archiver=failed)) == {("archiving_fails", "pg1")}
    assert found(replace(PRIMARY, archiver=replace(failed, last_archived_at="1800000100"))) == set()
    assert found(replace(PRIMARY, archiver=replace(failed, last_archived_at=""))) == {("archiving_fails", "pg1")}


@pytest.mark.parametrize(("status", "expected"), [("reserved", set()), ("lost", {("slot_loses_wal", "pgpanel_pg2")})])
def test_a_slot_that_loses_wal_is_told(status: str, expected: set[tuple[str, str]]) -> None:
    slots = (Slot("pgpanel_pg2", "physical", False, wal_status=status, held_bytes=7),)
    assert found(replace(PRIMARY, sight=sight("primary", slots=slots)), STANDBY) == expected


def test_every_rule_has_words_that_its_own_values_fill() -> None:
    assert set(WORDS) == set(RULES)
    slots = (Slot("pgpanel_pg2", "physical", False, wal_status="lost", held_bytes=7),)
    failed = Archiver(5, 2, "A0", "A1", "", "1800000090.1")
    rounds = [
        (
            replace(PRIMARY, archiver=failed, sight=sight("primary", slots=slots)),
            replace(STANDBY, sight=sight("primary"), lag=None),
        ),
        (replace(PRIMARY, is_fresh=False, unseen=AWAY), lagging("stalled", replay_seconds=700.0, replay_bytes=1 << 20)),
        (PRIMARY, lagging("disconnected", replay_seconds=None)),
        (PRIMARY, replace(STANDBY, lag=Lag("unknown", "other-timeline"))),
        (PRIMARY, replace(STANDBY, is_fresh=False, unseen=AWAY)),
    ]
    seen = set()
    for nodes in rounds:
        for (rule, about), breach in breaches(ClusterReport(1, "shop", T, nodes), Limits()).items():
            seen.add(rule)
            said = WORDS[rule].says(about, dict(breach.values))
            assert about in said or not about
            assert "%(" not in said
    assert seen == {rule.name for rule in ALL}


# -- over time ---------------------------------------------------------------------------------------------------------------------


def take(followed: Followed, *seconds: float, breach: Breach | None = None, **more: Any) -> list[str]:
    told = []
    for at in seconds:
        told += [change.what for change in followed.take(T + at, {KEY: breach} if breach else {}, **more)]
    return told


DOWN = Breach("pg1", {"why": "no answer"})


def test_it_fires_once_when_it_has_held_for_long_enough() -> None:
    followed = Followed()
    assert take(followed, 0, 1, 2, 3, 4, breach=DOWN) == []
    assert take(followed, 5, 6, 7, 60, breach=DOWN) == ["fires"]


def test_a_cluster_that_is_looked_at_seldom_is_seen_in_so_many_rounds_before_it_fires() -> None:
    followed = Followed()
    assert take(followed, 0, 60, breach=DOWN, in_a_row=3) == []
    assert take(followed, 61, in_a_row=3) == []
    assert take(followed, 120, 180, breach=DOWN, in_a_row=3) == []
    assert take(followed, 240, breach=DOWN, in_a_row=3) == ["fires"]


def test_what_comes_and_goes_fires_nothing() -> None:
    followed = Followed()
    for at in range(0, 60, 4):
        assert take(followed, at, at + 2, breach=DOWN) == []
        assert take(followed, at + 3) == []


def test_it_is_over_only_when_it_has_been_gone_for_a_while() -> None:
    followed = Followed()
    assert take(followed, 0, 5, breach=DOWN) == ["fires"]
    assert take(followed, 6, 10, 14) == []
    assert take(followed, 15, breach=DOWN) == []  # it flaps: the same alert, nobody is told anew
    assert take(followed, 16, 20, 25) == []
    assert take(followed, 26) == ["clears"]
    assert take(followed, 40, 45, breach=DOWN) == ["fires"]


def test_what_a_job_explains_fires_when_the_job_is_over_and_it_still_holds() -> None:
    followed = Followed()
    assert take(followed, 0, 5, 60, breach=DOWN, is_held_back=True) == []
    assert take(followed, 61, breach=DOWN) == ["fires"]


def test_what_was_open_before_a_restart_is_not_told_again_but_can_be_over() -> None:
    followed = Followed()
    followed.recall(*KEY, T - 100)
    assert "fires" not in take(followed, 0, 10, breach=DOWN)
    assert take(followed, 11, 22) == ["clears"]


def test_other_values_of_a_firing_one_are_said() -> None:
    followed = Followed()
    take(followed, 0, 5, breach=DOWN)
    assert take(followed, 6, breach=Breach("pg1", {"why": "refused"})) == ["says"]
    assert take(followed, 7, breach=Breach("pg1", {"why": "refused"})) == []
