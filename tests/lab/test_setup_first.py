"""Kind `setup` on real hosts: from a primary and a bare host to proven streaming."""

from __future__ import annotations

import pytest
from kinds_walk import Room

from lab import Lab

pytestmark = pytest.mark.lab


def test_a_bare_host_becomes_a_streaming_standby(lab: Lab) -> None:
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    plan = room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"])
    print([c for c in plan.checks if c.level != "ok"], plan.summary)
    print(room.seconds, sum(room.seconds.values()))
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"], job="job-2")
    assert room.acted() == ["proof.write"]
