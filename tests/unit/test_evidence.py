"""Is the primary dead, or can only the panel not see it? Four verdicts and "alive", and what each standby would lose."""

import pytest

from clusters.evidence import (
    PANEL,
    Known,
    Observation,
    Place,
    candidates,
    loss_sentence,
    observations_of,
    verdict,
)
from remote.facts import Control, Facts, Identified, Postgres, Reach, Unreachable, WalReceiver

NOW = 1_000_000.0


def seen(observer: str, by: str, says: str, age: float = 1.0) -> Observation:
    return Observation(observer, by, says, NOW - age)  # type: ignore[arg-type]


SILENT_PANEL = [seen(PANEL, "ssh", "no-answer"), seen(PANEL, "tcp", "no-answer"), seen(PANEL, "sql", "no-answer")]
SILENT_STANDBY = [seen("pg2", "tcp", "no-answer"), seen("pg2", "sql", "no-answer")]


def test_a_primary_that_answers_sql_lives() -> None:
    found = verdict("pg1", [seen(PANEL, "ssh", "alive"), seen(PANEL, "sql", "alive"), seen("pg2", "sql", "alive")], NOW)
    assert (found.kind, found.way) == ("alive", "")
    assert "the panel and pg2" in found.sentence


def test_a_primary_whose_host_cannot_be_logged_in_to_but_that_answers_the_panel_lives() -> None:
    found = verdict("pg1", [seen(PANEL, "ssh", "unknown"), seen(PANEL, "sql", "alive"), *SILENT_STANDBY], NOW)
    assert (found.kind, found.way) == ("alive", "")


def test_a_server_that_runs_and_answers_nobody_may_be_stopped_and_salvaged() -> None:
    found = verdict(
        "pg1", [seen(PANEL, "ssh", "alive"), seen(PANEL, "tcp", "alive"), seen(PANEL, "sql", "no-answer"), *SILENT_STANDBY], NOW
    )
    assert (found.kind, found.way) == ("alive", "salvage")
    assert "answers nobody" in found.sentence


def test_stopped_is_proven_by_a_look_inside_its_host() -> None:
    found = verdict("pg1", [seen(PANEL, "ssh", "stopped"), seen(PANEL, "tcp", "stopped"), seen("pg2", "sql", "no-answer")], NOW)
    assert (found.kind, found.way) == ("stopped_proven", "salvage")


def test_stopped_is_proven_by_its_fence_command_even_an_hour_later() -> None:
    found = verdict("pg1", [*SILENT_PANEL, *SILENT_STANDBY, seen(PANEL, "fence", "stopped", age=3000)], NOW)
    assert (found.kind, found.way) == ("stopped_proven", "fence")


def test_a_fenced_node_that_is_seen_alive_afterwards_is_not_stopped() -> None:
    found = verdict("pg1", [seen(PANEL, "ssh", "alive"), seen(PANEL, "sql", "alive"), seen(PANEL, "fence", "stopped", age=60)], NOW)
    assert found.kind == "alive"


def test_silence_from_everywhere_is_unreachable_and_never_stopped() -> None:
    found = verdict("pg1", [*SILENT_PANEL, *SILENT_STANDBY], NOW)
    assert (found.kind, found.way) == ("unreachable", "fence")
    assert "may still serve somebody" in found.sentence


@pytest.mark.parametrize(("says", "words"), [("stopped", "Nothing listens"), ("alive", "still accepts connections")])
def test_what_its_port_says_is_told_but_proves_nothing(says: str, words: str) -> None:
    port = [seen(PANEL, "ssh", "no-answer"), seen(PANEL, "tcp", says), seen(PANEL, "sql", "no-answer")]
    found = verdict("pg1", [*port, *SILENT_STANDBY], NOW)
    assert found.kind == "unreachable"
    assert words in found.sentence


def test_a_standby_that_could_not_be_asked_is_named_in_an_unreachable_verdict() -> None:
    found = verdict("pg1", [*SILENT_PANEL, *SILENT_STANDBY, seen("pg3", "sql", "unknown")], NOW)
    assert found.kind == "unreachable"
    assert "pg3 could not be asked" in found.sentence


@pytest.mark.parametrize(
    "hears",
    [[seen("pg2", "sql", "alive")], [seen("pg2", "tcp", "alive")], [seen("pg2", "tcp", "alive"), seen("pg2", "sql", "unknown")]],
)
def test_a_standby_that_hears_it_means_do_not_promote(hears: list[Observation]) -> None:
    found = verdict("pg1", [*SILENT_PANEL, *hears, seen("pg3", "sql", "no-answer")], NOW)
    assert (found.kind, found.way) == ("only_panel_blind", "")
    assert "Do not promote" in found.sentence
    assert "pg2 still hears" in found.sentence


def test_a_port_that_opens_for_a_standby_without_a_word_behind_it_is_no_life() -> None:
    found = verdict("pg1", [*SILENT_PANEL, seen("pg2", "tcp", "alive"), seen("pg2", "sql", "no-answer")], NOW)
    assert found.kind == "unreachable"


def test_a_receiver_that_still_says_streaming_is_weak_against_an_active_question() -> None:
    found = verdict("pg1", [*SILENT_PANEL, *SILENT_STANDBY, seen("pg2", "receiver", "alive")], NOW)
    assert found.kind == "unreachable"


def test_a_receiver_that_says_streaming_where_nobody_could_ask_leaves_it_open() -> None:
    found = verdict("pg1", [*SILENT_PANEL, *SILENT_STANDBY, seen("pg3", "receiver", "alive")], NOW)
    assert found.kind == "cannot_tell"


def test_a_panel_that_reaches_no_standby_either_cannot_tell() -> None:
    found = verdict("pg1", [*SILENT_PANEL, seen("pg2", "sql", "unknown")], NOW)
    assert (found.kind, found.way) == ("cannot_tell", "")
    assert "panel itself may be cut off" in found.sentence


@pytest.mark.parametrize("observations", [[], [seen(PANEL, "ssh", "stopped", age=31)], SILENT_STANDBY])
def test_without_fresh_observations_of_the_panel_nothing_can_be_told(observations: list[Observation]) -> None:
    assert verdict("pg1", observations, NOW).kind == "cannot_tell"


def test_an_answer_at_the_address_of_a_stopped_primary_is_somebody_else() -> None:
    found = verdict("pg1", [seen(PANEL, "ssh", "stopped"), seen("pg2", "sql", "alive")], NOW)
    assert found.kind == "cannot_tell"
    assert "another machine may have it" in found.sentence


def test_the_newest_observation_counts() -> None:
    old_and_new = [
        seen(PANEL, "ssh", "alive", age=20),
        seen(PANEL, "ssh", "stopped", age=2),
        seen("pg2", "sql", "alive", age=20),
        seen("pg2", "sql", "no-answer", age=2),
    ]
    assert verdict("pg1", old_and_new, NOW).kind == "stopped_proven"


# -- what facts say ------------------------------------------------------------------------------------------------------------

PG1, PG2 = Place("pg1", "10.0.0.1", 5432, "/data"), Place("pg2", "10.0.0.2", 5432, "/data")
CONTROL = Control("7302510413205872893", "in production", 1, 0, 0, "")


def host(postgres: Postgres, **more: object) -> Facts:
    return Facts(hostname="host", clusters=(postgres,), **more)  # type: ignore[arg-type]


def server(**more: object) -> Postgres:
    return Postgres("/data", "postgres", "15", **({"control": CONTROL} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "says", "detail"),
    [
        (host(server(is_running=True, postmaster_pid=7)), "alive", "postmaster 7 runs"),
        (host(server(stray_pids=(8, 9))), "alive", "its postmaster is gone, but processes of it are left: 8, 9"),
        (host(server()), "stopped", "no postmaster, no backend; its control file says “in production”"),
        (host(server(is_denied=True)), "unknown", "cannot be seen"),
        (Facts(hostname="host"), "unknown", "cannot be seen"),
        (Unreachable("timeout", "no answer"), "no-answer", "no answer"),
        (Unreachable("host-key", "another key"), "unknown", "another key"),
    ],
)
def test_a_look_inside_the_host(facts: Facts | Unreachable, says: str, detail: str) -> None:
    found = observations_of(PG1, [PG1], {"pg1": facts}, NOW)[0]
    assert (found.observer, found.by, found.says) == (PANEL, "ssh", says)
    assert detail in found.detail


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (host(server(is_running=True, answers_sql=True)), {"ssh": "alive", "sql": "alive"}),
        (host(server(is_running=True, sql_error="no answer")), {"ssh": "alive", "sql": "no-answer"}),
        (host(server()), {"ssh": "stopped"}),
        (Unreachable("timeout", "no answer"), {"ssh": "no-answer"}),
        (Unreachable("timeout", "no answer", postgres="speaks"), {"ssh": "no-answer", "tcp": "alive", "sql": "alive"}),
        (Unreachable("timeout", "no answer", postgres="open"), {"ssh": "no-answer", "tcp": "alive", "sql": "no-answer"}),
        (Unreachable("timeout", "no answer", postgres="refused"), {"ssh": "no-answer", "tcp": "stopped", "sql": "no-answer"}),
        (Unreachable("timeout", "no answer", postgres="silent"), {"ssh": "no-answer", "tcp": "no-answer", "sql": "no-answer"}),
    ],
)
def test_what_the_panel_itself_hears(facts: Facts | Unreachable, says: dict[str, str]) -> None:
    assert {one.by: one.says for one in observations_of(PG1, [PG1], {"pg1": facts}, NOW)} == says


def heard(reach: Reach | None = None, identified: Identified | None = None, receiver: WalReceiver | None = None) -> dict[str, str]:
    facts = host(
        server(receiver=receiver), reach={"10.0.0.1:5432": reach} if reach else {},
        identified={"10.0.0.1:5432": identified} if identified else {},
    )  # fmt: skip
    return {one.by: one.says for one in observations_of(PG1, [PG1, PG2], {"pg2": facts}, NOW, CONTROL.system_identifier)}


def test_what_a_standbys_host_hears() -> None:
    streaming = WalReceiver("streaming", "10.0.0.1", 5432)
    answered = Identified(True, CONTROL.system_identifier, 1)
    assert heard(Reach(True), answered, streaming) == {"tcp": "alive", "sql": "alive", "receiver": "alive"}
    assert heard(Reach(False, "Connection refused"), Identified(False, error="refused")) == {"tcp": "stopped", "sql": "no-answer"}
    assert heard(Reach(False, "no answer within 2 s"), Identified(None)) == {"tcp": "no-answer", "sql": "unknown"}
    assert heard(identified=Identified(True, error="no pg_hba.conf entry")) == {"sql": "alive"}
    assert heard(identified=Identified(True, "7302510413205872999", 1)) == {"sql": "unknown"}
    assert heard(receiver=WalReceiver("streaming", "10.0.0.9")) == {}


def test_a_standby_that_does_not_answer_could_not_be_asked() -> None:
    (found,) = observations_of(PG1, [PG1, PG2], {"pg2": Unreachable("timeout", "gone")}, NOW)
    assert (found.observer, found.by, found.says) == ("pg2", "sql", "unknown")


# -- candidates ----------------------------------------------------------------------------------------------------------------

PRIMARY = Known("pg1", 5_000_000, 1, NOW - 2)
UNREACHABLE = verdict("pg1", [*SILENT_PANEL, *SILENT_STANDBY], NOW)
STOPPED = verdict("pg1", [seen(PANEL, "ssh", "stopped")], NOW)


def standby(name: str, lsn: int, **more: object) -> Known:
    return Known(name, lsn, **({"timeline": 1, "at": NOW, "replay_lsn": lsn} | more))  # type: ignore[arg-type]


def test_the_one_with_most_is_best_and_says_what_it_would_lose() -> None:
    best, other = candidates(PRIMARY, [standby("pg2", 1_000_000), standby("pg3", 1_800_000)], UNREACHABLE, NOW)
    assert (best.name, best.is_best, best.why_not) == ("pg3", True, "")
    assert best.sentence == "3.2 MB behind at the last look, plus up to 2 s that nobody saw."
    assert other.why_not == "pg3 has 800.0 kB more."


def test_zero_is_only_said_after_salvage_or_with_proven_synchronous_replication() -> None:
    (level,) = candidates(PRIMARY, [standby("pg2", 5_000_000)], UNREACHABLE, NOW)
    assert level.sentence == "0 B behind at the last look, plus up to 2 s that nobody saw."
    (salvaged,) = candidates(PRIMARY, [standby("pg2", 1_000_000)], STOPPED, NOW)
    assert salvaged.is_zero_after_salvage
    assert salvaged.sentence.startswith("Nothing is lost: what it lacks is fetched")
    (sync,) = candidates(PRIMARY, [standby("pg2", 1_000_000, sync_state="sync")], UNREACHABLE, NOW)
    assert sync.is_proven_zero
    assert sync.sentence.startswith("Nothing acknowledged is lost")


def test_a_synchronous_standby_proves_nothing_while_another_that_may_confirm_is_away_or_ahead() -> None:
    away = standby("pg3", 900_000, sync_state="potential", is_reachable=False)
    assert not any(
        one.is_proven_zero for one in candidates(PRIMARY, [standby("pg2", 1_000_000, sync_state="sync"), away], UNREACHABLE, NOW)
    )
    quorum = [standby("pg2", 1_000_000, sync_state="quorum"), standby("pg3", 1_200_000, sync_state="quorum")]
    assert [(one.name, one.is_proven_zero) for one in candidates(PRIMARY, quorum, UNREACHABLE, NOW)] == [
        ("pg3", True),
        ("pg2", False),
    ]
    only_async = [standby("pg2", 1_000_000, sync_state="potential")]
    assert not candidates(PRIMARY, only_async, UNREACHABLE, NOW)[0].is_proven_zero


def test_a_primary_that_was_never_seen_leaves_the_loss_unknown() -> None:
    for primary in (None, Known("pg1", 0, 0, 0.0)):
        (found,) = candidates(primary, [standby("pg2", 1_000_000)], UNREACHABLE, NOW)
        assert found.sentence == loss_sentence(None, None)
        assert "not known" in found.sentence


def test_an_older_timeline_and_an_absent_host_are_no_choice() -> None:
    nodes = [
        standby("pg2", 9_000_000),
        standby("pg3", 1_000, timeline=2),
        standby("pg4", 1, is_reachable=False),
        standby("pg5", 1, is_standby=False),
    ]
    found = {one.name: one.why_not for one in candidates(PRIMARY, nodes, UNREACHABLE, NOW)}
    assert found == {
        "pg3": "", "pg2": "It is on timeline 1, pg3 on 2.",
        "pg4": "Its host does not answer.", "pg5": "It is no standby that runs.",
    }  # fmt: skip


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (119, "119 s"), (180, "3 min"), (9000, "2 h")])
def test_time_that_nobody_saw_is_rounded_for_people(seconds: float, words: str) -> None:
    assert f"plus up to {words} that nobody saw" in loss_sentence(0, seconds)
