"""What wakes somebody, and what does not: rules over single rounds, and what becomes of breaches over time."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from monitor.alert_words import WORDS
from monitor.breaches import Followed
from monitor.forecast import Forecast, Left
from monitor.host_look import HostSight, Space
from monitor.lag import Lag
from monitor.rules import ALL, BY_JOB, RULES, Breach, Limits, Rule, breaches
from monitor.sight import Condition, Sight, Unseen
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


# -- what is seen of hosts and over time -------------------------------------------------------------------------------------------

GB = 1 << 30
HOST = HostSight(T, Space("/dev/a", 100 * GB, 50 * GB), Space("/dev/b", 100 * GB, 50 * GB))
FILLING = Forecast("filling", float(1 << 20), 3600.0, 3600 << 20)


@pytest.mark.parametrize(
    ("forecast", "expected"),
    [
        (FILLING, {("slot_fills_disk", "pgpanel_pg2")}),
        (replace(FILLING, seconds_left=5 * 3600.0), set()),
        (replace(FILLING, word="unknown", seconds_left=None), set()),
        (replace(FILLING, word="steady", seconds_left=None), set()),
    ],
)
def test_a_slot_that_fills_the_disk_is_told_hours_before(forecast: Forecast, expected: set[tuple[str, str]]) -> None:
    assert found(replace(PRIMARY, forecasts={"pgpanel_pg2": forecast}), STANDBY) == expected


def test_a_disk_is_low_under_its_share_and_one_disk_is_told_once() -> None:
    low = Space("/dev/b", 100 * GB, 9 * GB)
    assert found(replace(PRIMARY, host=HOST), STANDBY) == set()
    assert found(replace(PRIMARY, host=replace(HOST, wal=low)), STANDBY) == {("disk_low", "pg1 wal")}
    assert found(replace(PRIMARY, host=replace(HOST, wal=low)), STANDBY, limits=Limits(disk_low_percent=5)) == set()
    assert found(replace(PRIMARY, host=replace(HOST, wal=low, data=low)), STANDBY) == {("disk_low", "pg1 data")}


def test_a_node_beyond_the_point_where_its_timeline_was_left_is_a_fork_and_one_before_it_is_none() -> None:
    host = replace(HOST, history_of=2, switches=((1, 5000),))
    primary = replace(PRIMARY, host=host, sight=replace(sight("primary"), timeline=2))
    other = Lag("disconnected", "other-timeline")
    behind = replace(STANDBY, lag=other, sight=replace(sight(), receive_lsn=5000, replay_lsn=4000))
    beyond = replace(STANDBY, lag=other, sight=replace(sight(), receive_lsn=5001, replay_lsn=4000))
    old_primary = replace(STANDBY, lag=None, sight=replace(sight("primary"), current_lsn=9000))
    assert ("fork", "pg2") not in found(primary, behind)
    assert ("fork", "pg2") in found(primary, beyond)
    assert ("fork", "pg2") in found(primary, old_primary)
    assert ("fork", "pg2") not in found(replace(primary, host=None), beyond)


def test_a_zombie_is_a_quarantined_node_that_answers_as_a_primary() -> None:
    zombie = replace(STANDBY, lag=None, is_quarantined=True, sight=sight("primary"))
    assert ("zombie_back", "pg2") in found(PRIMARY, zombie)
    assert ("zombie_back", "pg2") not in found(PRIMARY, replace(zombie, is_fresh=False, unseen=AWAY))
    assert found(PRIMARY, replace(STANDBY, is_quarantined=True)) == set()


def test_drift_names_the_files() -> None:
    drifted = replace(STANDBY, drifted=("pg_hba.conf",))
    assert found(PRIMARY, drifted) == {("drift", "pg2")}


@pytest.mark.parametrize(("days", "is_told"), [(-1, True), (13, True), (15, False)])
def test_what_expires_is_told_two_weeks_before(days: int, is_told: bool) -> None:
    until = T + days * 86_400
    assert found(PRIMARY, replace(STANDBY, host=replace(HOST, certificate_until=until))) == (
        {("certificate_expires", "pg2")} if is_told else set()
    )
    condition = Condition(expiring=(("replicator", until),))
    assert found(replace(PRIMARY, condition=condition), replace(STANDBY, condition=condition)) == (
        {("password_expires", "replicator")} if is_told else set()
    )


def test_every_rule_has_words_that_its_own_values_fill() -> None:
    assert set(WORDS) == set(RULES)
    slots = (Slot("pgpanel_pg2", "physical", False, wal_status="lost", held_bytes=7),)
    failed = Archiver(5, 2, "A0", "A1", "", "1800000090.1")
    full = replace(HOST, data=Space("/dev/a", GB, 0), certificate_until=T, history_of=2, switches=((1, 10),))
    rounds = [
        (
            replace(PRIMARY, archiver=failed, sight=sight("primary", slots=slots)),
            replace(STANDBY, sight=sight("primary"), lag=None, is_quarantined=True),
        ),
        (replace(PRIMARY, is_fresh=False, unseen=AWAY), lagging("stalled", replay_seconds=700.0, replay_bytes=1 << 20)),
        (PRIMARY, lagging("disconnected", replay_seconds=None)),
        (PRIMARY, replace(lagging("disconnected"), left=Left("kept", 1 << 20, 60.0))),
        (PRIMARY, replace(lagging("disconnected"), left=Left("lost", 0))),
        (PRIMARY, replace(lagging("disconnected"), left=Left("slot"))),
        (PRIMARY, replace(STANDBY, lag=Lag("unknown", "other-timeline"))),
        (PRIMARY, replace(STANDBY, is_fresh=False, unseen=AWAY)),
        (
            replace(
                PRIMARY, host=full, sight=replace(sight("primary"), timeline=2), forecasts={"pgpanel_pg2": FILLING},
                condition=Condition(expiring=(("replicator", T),)),
            ),
            replace(STANDBY, drifted=("postgresql.conf",)),
        ),
        (replace(PRIMARY, forecasts={"pgpanel_pg2": replace(FILLING, ends="slot")}), STANDBY),
    ]  # fmt: skip
    told = [
        (rule, about, dict(breach.values))
        for nodes in rounds
        for (rule, about), breach in breaches(ClusterReport(1, "shop", T, nodes), Limits()).items()
    ]
    told += [
        ("job_failed", "7", {"job": 7, "status": "failed"}), ("job_lost", "7", {"job": 7, "status": "lost"}),
        ("collector_behind", "", {"seconds": 40}), ("wrong_passwords", "ada", {"count": 12}),
    ]  # fmt: skip
    for rule, about, values in told:
        said = WORDS[rule].says(about, values)
        assert "%(" not in said
        assert not about or set(about.split()) & set(re.split(r"[ :.,“”]", said)), said
    assert {rule for rule, _about, _values in told} == {rule.name for rule in ALL}


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
    assert take(followed, 0, 5, 60, breach=DOWN, held_back={"primary_down"}) == []
    assert take(followed, 61, breach=DOWN) == ["fires"]


def test_a_job_explains_no_full_disk() -> None:
    assert "primary_down" in BY_JOB
    assert not BY_JOB & {"slot_fills_disk", "disk_low", "certificate_expires", "password_expires"}


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.clear_seconds], ids=lambda rule: rule.name)
def test_no_rule_is_over_at_its_first_good_round(rule: Rule) -> None:
    followed = Followed()
    key, breach = (rule.name, "x"), Breach("x")
    followed.take(T, {key: breach})
    fired = followed.take(T + rule.hold_seconds, {key: breach}) if rule.hold_seconds else []
    assert [change.what for change in fired] == (["fires"] if rule.hold_seconds else [])
    assert followed.take(T + rule.hold_seconds + 1, {}) == []
    assert followed.take(T + rule.hold_seconds + 2, {key: breach}) == []
    assert followed.take(T + rule.hold_seconds + 3, {}) == []
    over = followed.take(T + rule.hold_seconds + 3 + rule.clear_seconds, {})
    assert [change.what for change in over] == ["clears"]


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
