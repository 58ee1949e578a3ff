"""What else can break in a write gap: the candidate, its receiver, either host, the line. One primary, no lost row."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gap_pair import FaultyCues, GapPair, fault, wait_for
from kinds_walk import Room

from lab import Host as LabHost
from lab import Lab
from lab.writer import Writer, WriterReport

pytestmark = pytest.mark.lab
SETUP = {"primary": "pg1", "standbys": ["pg2"], "retention": "segments", "archive": False}


@pytest.fixture(scope="module")
def pairs(lab: Lab) -> list[GapPair]:
    return []


@pytest.fixture
def pair(lab: Lab, pairs: list[GapPair], request: pytest.FixtureRequest) -> Iterator[GapPair]:
    """One pair goes from test to test; what a failed one leaves behind is nobody else's."""
    if not pairs:
        for host in lab.hosts.values():
            host.down()
        pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
        lab.registry(pg1)
        room = Room(lab, {"pg1": pg1, "pg2": pg2})
        room.run("setup", SETUP, ["pg1", "pg2"])
        pairs.append(GapPair(room, catch_up_seconds=2))
    failed = request.session.testsfailed
    yield pairs[0]
    if request.session.testsfailed > failed:
        pairs.clear()


@contextmanager
def written(lab: Lab, pair: GapPair) -> Iterator[list[WriterReport]]:
    """A client writes throughout; in the end exactly one server takes writes, and it has every acknowledged row."""
    writer = lab.writer([pair.room.hosts["pg1"], pair.room.hosts["pg2"]])
    writer.start()
    told: list[WriterReport] = []
    try:
        yield told
        assert len(pair.primaries()) == 1, (pair.primaries(), pair.spoken)
        writes_again(writer)
    finally:
        told.append(writer.stop())
    assert told[0].lost == 0, (told[0], pair.spoken)


def writes_again(writer: Writer) -> None:
    before = writer.acknowledged()
    wait_for(lambda: writer.acknowledged() > before, 30)


def signalled(host: LabHost, title: str, how: str) -> None:
    pids = [str(pid) for pid, line in host.processes() if title in line]
    assert pids, f"no {title} on {host.name}"
    for pid in pids:  # one of them may be a child of the postmaster that has no title yet, and be gone a moment later
        host.run(["kill", f"-{how}", pid], check=len(pids) == 1)


def test_a_candidate_whose_receiver_stands_still_is_found_before_anything_is_stopped(lab: Lab, pair: GapPair) -> None:
    step = pair.prepare()
    with written(lab, pair) as told:
        signalled(pair.new_host, "walreceiver", "STOP")
        word = pair.ended(step)
        signalled(pair.new_host, "walreceiver", "CONT")
    assert (word, pair.primaries()) == ("", [pair.old])
    assert re.search("does not keep up.*Nothing was stopped", pair.spoken[-1])
    assert told[0].longest_gap_ms < 1500
    assert pair.starts_by_itself()
    assert pair.left_behind() == []
    pair.go_on(word)


def test_a_receiver_that_stands_still_in_the_gap_rolls_it_back(lab: Lab, pair: GapPair) -> None:
    step = pair.prepare()
    with written(lab, pair) as told:
        word = pair.ended(step, fault("before stop", lambda _cues: signalled(pair.new_host, "walreceiver", "STOP")))
        signalled(pair.new_host, "walreceiver", "KILL")
    print(told[0].longest_gap_ms, *pair.spoken[-20:], sep="\n")
    assert (word, pair.primaries()) == ("rolled_back", [pair.old])
    assert pair.starts_by_itself()
    pair.go_on(word)


def test_a_candidate_whose_server_crashes_in_the_gap_is_not_waited_for(lab: Lab, pair: GapPair) -> None:
    step = pair.prepare()
    with written(lab, pair) as told:
        word = pair.ended(step, fault("← stopped", lambda _cues: signalled(pair.new_host, "/bin/postgres -D", "KILL")))
    print(told[0].longest_gap_ms, *pair.spoken[-20:], sep="\n")
    assert (word, pair.primaries()) == ("rolled_back", [pair.old])
    assert told[0].longest_gap_ms < 10_000
    wait_for(lambda: "postgres:" not in str(pair.new_host.processes()), 20)
    pair.new_host.pg_start()
    pair.go_on(word)


def test_a_candidate_whose_host_dies_before_the_promotion_is_given_up(lab: Lab, pair: GapPair) -> None:
    step = pair.prepare()
    with written(lab, pair) as told:
        word = pair.ended(step, fault("← stopped", lambda _cues: pair.new_host.kill()))
    print(told[0].longest_gap_ms, *pair.spoken[-20:], sep="\n")
    assert (word, pair.primaries()) == ("rolled_back", [pair.old])
    pair.new_host.start()
    pair.new_host.wait_postgres()
    pair.go_on(word)


def test_a_line_lost_after_the_word_to_promote_is_taken_up_again(lab: Lab, pair: GapPair) -> None:
    step = pair.prepare()
    with written(lab, pair) as told:
        word = pair.ended(step, fault("→ promote", lambda cues: cues.lose_line("new")))
    print(told[0].longest_gap_ms, *pair.spoken[-20:], sep="\n")
    assert (word, pair.primaries()) == ("done", [pair.new])
    pair.go_on(word)


def test_a_host_cut_off_after_the_word_to_promote_is_unknown_until_it_answers(lab: Lab, pair: GapPair) -> None:
    step = pair.prepare()

    def cut(cues: FaultyCues) -> None:
        time.sleep(0.005)  # the word is through, the promotion is not: that takes 30 ms at least, and a cut takes as long
        pair.new_host.pause()
        pair.new_host.cut()
        pair.new_host.resume()

    with written(lab, pair):
        try:
            word = pair.ended(step, fault("→ promote", cut))
            assert word == "unknown", pair.spoken
            assert "nothing was rolled back" in pair.spoken[-1]
            assert pair.old not in pair.primaries()
        finally:
            pair.new_host.heal()
        assert pair.ended(step) == "done", pair.spoken
    assert pair.primaries() == [pair.new]
    pair.go_on("done")


@pytest.mark.parametrize(("at", "first"), [("← stopped", "unknown"), ("← fenced", "done")])
def test_an_old_primary_whose_host_dies_after_its_stop_is_ended_by_the_next_worker(
    lab: Lab, pair: GapPair, at: str, first: str
) -> None:
    step, old = pair.prepare(), pair.old_host
    with written(lab, pair):
        word = pair.ended(step, fault(at, lambda _cues: old.kill()))
        print(word, pair.spoken[-1])
        assert word == first, pair.spoken
        assert old.name not in pair.primaries()
        old.start()
        old.wait_ssh()
        assert pair.ended(step) == "done", pair.spoken
    assert pair.primaries() == [pair.new]
    pair.go_on("done")


@pytest.mark.parametrize("at", ["→ stop", "← stopped", "→ fence", "← fenced", "→ promote"])
def test_a_worker_that_sleeps_promotes_nothing_when_it_wakes(lab: Lab, pair: GapPair, at: str) -> None:
    step = pair.prepare()
    with written(lab, pair):
        child = pair.asleep(step, at)
        time.sleep(4)
        word = pair.ended(step)
        assert word in ("done", "rolled_back"), pair.spoken
        child.wake()
        assert len(pair.primaries()) == 1, pair.spoken
    pair.go_on(word)
    assert pair.left_behind() == []
