"""The receiver has lost its primary right at the stop: what never arrived is handed in, and the switchover is done all the same."""

from __future__ import annotations

import pytest
from gap_pair import GapPair, fault
from kinds_walk import Room

from lab import Lab

pytestmark = pytest.mark.lab
SETUP = {"primary": "pg1", "standbys": ["pg2"], "retention": "segments", "archive": True}


@pytest.fixture(scope="module")
def pair(lab: Lab) -> GapPair:
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    lab.registry(pg1)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, ["pg1", "pg2"])
    return GapPair(room, is_archiving=True)


def test_what_the_candidate_never_received_is_handed_in_over_ssh(lab: Lab, pair: GapPair) -> None:
    step, writer = pair.prepare(), lab.writer([pair.old_host, pair.new_host])
    new = pair.new_host

    def deafen() -> None:
        """Its receiver ends at once, and finds nobody any more."""
        new.sql("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
        new.sql("SELECT pg_reload_conf()")
        pair.old_host.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        before = writer.acknowledged()
        while writer.acknowledged() < before + 20:  # these have not gone to the candidate
            pass

    writer.start()
    word = pair.ended(step, fault("before stop", lambda _cues: deafen()))
    assert word == "done", "\n".join(pair.spoken)
    assert any("taken" in line for line in pair.spoken), pair.spoken
    assert not any(len(line) > 1200 for line in pair.spoken)  # no content of the WAL is kept
    assert pair.primaries() == [pair.new]
    new.sql("ALTER SYSTEM RESET primary_conninfo")
    pair.go_on(word)
    report = writer.stop()
    assert report.lost == 0, (report, pair.spoken)
