"""The write gap of a switchover on two real hosts: how short it is, and what becomes of it when anything breaks in the middle."""

from __future__ import annotations

import statistics
import time

import pytest
from gap_pair import GapPair
from kinds_walk import Room

from lab import Lab

pytestmark = pytest.mark.lab
SETUP = {"primary": "pg1", "standbys": ["pg2"], "retention": "segments", "archive": False}


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
        pair.follow()
        pair.swapped()
    print(f"\nwrite gap ms: {sorted(gaps)}, median {statistics.median(gaps)}; stop to promoted: {sorted(inner)}")
    print("\n".join(pair.spoken[-30:]))
    assert statistics.median(gaps) <= 300
