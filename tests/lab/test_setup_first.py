"""Kind `setup` on real hosts: from a primary and a bare host to proven streaming."""

from __future__ import annotations

import pytest
from kinds_walk import Room

from lab import Lab

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"], "tablespaces": {"/srv/ts": "/srv/other place"}}


def test_a_bare_host_becomes_a_standby_by_sudo_whatever_alter_system_said(lab: Lab) -> None:
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    pg1.run("install -d -o postgres /srv/ts")
    pg1.sql("CREATE TABLESPACE ts LOCATION '/srv/ts'")
    pg1.sql("CREATE TABLE elsewhere TABLESPACE ts AS SELECT generate_series(1, 100) AS id")
    pg1.sql("ALTER SYSTEM SET wal_receiver_timeout = '3min'")
    pg1.sql("ALTER SYSTEM SET work_mem = '8MB'")
    room = Room(lab, {"pg1": pg1, "pg2": pg2}, user="ops")
    plan = room.run("setup", SETUP, BOTH)
    assert "configuration.reset#pg1" in room.acted()
    assert [step.key for step in plan.steps if step.is_needed and step.restarts] == ["primary.restart#pg1"]
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    for host in (pg1, pg2):
        assert host.sql("SHOW wal_receiver_timeout") == [["20s"]]
        assert host.sql("SHOW work_mem") == [["8MB"]]
    assert pg2.sql("SELECT count(*) FROM elsewhere") == [["100"]]
    assert pg2.run(["ls", "/srv/other place"]).stdout != ""
    room.run("setup", SETUP, BOTH, job="job-2")
    assert room.acted() == ["proof.write"]
