"""The write gap of a switchover on two real hosts: how short it is, and what becomes of it when anything breaks in the middle."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from gap_pair import GapPair, wait_for
from kinds_walk import Room

from lab import Lab
from lab.writer import Writer

pytestmark = pytest.mark.lab
SETUP = {"primary": "pg1", "standbys": ["pg2"], "retention": "segments", "archive": False}


WORDS = 36
"""More than a whole run has, said and heard."""


@pytest.fixture(scope="module")
def pair(lab: Lab) -> GapPair:
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    lab.registry(pg1)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, ["pg1", "pg2"])
    return GapPair(room)


def test_the_roles_are_exchanged_ten_times_without_a_lost_row(lab: Lab, pair: GapPair) -> None:
    gaps, inner = [], []
    for _ in range(10):
        step = pair.prepare()
        writer = lab.writer([pair.old_host, pair.new_host])
        writer.start()
        time.sleep(0.5)
        assert not step.done(pair.world())
        ending = pair.conduct(step)
        time.sleep(0.5)
        report = writer.stop()
        assert ending.word == "done"
        assert ending.report["timeline_after"] == ending.report["timeline_before"] + 1
        assert step.done(pair.world())
        assert (report.lost, report.unacknowledged_present in (0, 1)) == (0, True), report
        gaps.append(report.longest_gap_ms)
        inner.append(ending.report["gap_ms"])
        pair.go_on("done")
    print(f"\nwrite gap ms: {sorted(gaps)}, median {statistics.median(gaps)}; stop to promoted: {sorted(inner)}")
    print("\n".join(pair.spoken[-30:]))


@contextmanager
def written(lab: Lab, pair: GapPair) -> Iterator[Writer]:
    """A client writes throughout; in the end not one acknowledged row may be lost, and exactly one server may take writes."""
    writer = lab.writer([pair.room.hosts["pg1"], pair.room.hosts["pg2"]])
    writer.start()
    yield writer
    assert len(pair.primaries()) == 1, (pair.primaries(), pair.spoken)
    before = writer.acknowledged()
    wait_for(lambda: writer.acknowledged() > before, 20)
    report = writer.stop()
    assert report.lost == 0, (report, pair.spoken)


def test_a_worker_killed_after_any_word_leaves_one_primary_and_the_next_one_ends_it(lab: Lab, pair: GapPair) -> None:
    seen = []
    for after in range(1, WORDS + 1):
        step = pair.prepare()
        with written(lab, pair):
            was_killed = pair.killed(step, after)
            word = pair.ended(step)
        seen.append((after, word, was_killed))
        print(after, word, was_killed, pair.spoken[-1], flush=True)
        assert word in ("done", "rolled_back"), pair.spoken
        assert word == "done" or pair.starts_by_itself()
        pair.go_on(word)
        assert pair.left_behind() == []
        if not was_killed:
            break
    assert not was_killed, "it has more words than were tried"
    assert {word for _after, word, _was in seen} == {"done", "rolled_back"}


@pytest.mark.parametrize(("version", "layout"), [("11", "custom"), ("17", "cocca"), ("18", "custom")])
def test_every_version_is_promoted_in_its_own_way(new_lab: Callable[..., Lab], version: str, layout: str) -> None:
    lab = new_lab()
    pg1, pg2 = lab.up("pg1", postgres=version, layout=layout), lab.up("pg2", postgres=version, layout=layout, create=False)
    lab.registry(pg1)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, ["pg1", "pg2"])
    pair = GapPair(room)
    for _ in range(2):
        step = pair.prepare()
        with written(lab, pair):
            ending = pair.conduct(step)
        assert (ending.word, pair.primaries()) == ("done", [pair.new])
        pair.go_on("done")
    step = pair.prepare()
    with written(lab, pair):
        assert pair.killed_at(step, "→ stop")
        assert pair.ended(step) == "rolled_back"
    assert pair.primaries() == [pair.old]
