"""Kinds `start`, `stop`, `restart`, `reload` on real hosts."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Refused, Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"]}


def started_at(host: Host) -> str:
    return host.sql("SELECT pg_postmaster_start_time()")[0][0]


def pair(lab: Lab, **wishes: Any) -> Room:
    pg1, pg2 = lab.up("pg1", **wishes), lab.up("pg2", create=False, **wishes)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, BOTH)
    return room


def test_each_node_is_stopped_started_restarted_and_reloaded_with_its_proof(new_lab: Any) -> None:
    room = pair(new_lab())
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    plan = room.run("stop", {"node": "pg2"}, BOTH, job="job-2")
    assert not pg2.is_postgres_running()
    assert "Meanwhile the slot pgpanel_pg2 on pg1 holds it, at most" in plan.summary[1]
    room.run("stop", {"node": "pg2"}, BOTH, job="job-3")
    assert room.acted() == ["node.look#pg2"]
    room.run("start", {"node": "pg2"}, BOTH, job="job-4")
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    before = started_at(pg1)
    pg1.sql("ALTER SYSTEM SET max_connections = 150")
    pg1.sql("ALTER SYSTEM SET work_mem = '9MB'")
    plan = room.run("reload", {"node": "pg1"}, BOTH, job="job-5")
    assert ["work_mem default → 9MB" in plan.summary[1], "max_connections 100 → 150" in plan.summary[2]] == [True, True]
    assert "max_connections waits for a restart" in room.said
    assert (pg1.sql("SHOW work_mem"), started_at(pg1)) == ([["9MB"]], before)
    pg1.sql("ALTER SYSTEM RESET max_connections")
    plan = room.run("restart", {"node": "pg1"}, BOTH, job="job-6")
    assert started_at(pg1) != before
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    before = started_at(pg2)
    room.run("restart", {"node": "pg2"}, BOTH, job="job-7")
    assert started_at(pg2) != before
    # the same job again, as after a crash of the panel: nothing is restarted twice
    before = started_at(pg2)
    room.run("restart", {"node": "pg2"}, BOTH, job="job-7")
    assert "node.restart#pg2" not in room.acted()
    assert started_at(pg2) == before


def test_a_wrong_line_is_named_and_a_second_primary_is_not_started(new_lab: Any) -> None:
    room = pair(new_lab(), postgres="13", layout="cocca")
    pg2 = room.hosts["pg2"]
    file = f"{pg2.config_directory}/postgresql.conf"
    pg2.run(f"echo \"work_mem = 'a lot'\" >>{file}")
    with pytest.raises(Exception, match="work_mem"):
        room.run("reload", {"node": "pg2"}, BOTH, job="job-2")
    pg2.run(["sed", "-i", "$d", file])
    room.run("reload", {"node": "pg2"}, BOTH, job="job-3")
    room.run("stop", {"node": "pg2"}, BOTH, job="job-4")
    pg2.run(["rm", f"{pg2.data_directory}/standby.signal"])
    for job, kind in enumerate(("start", "restart"), start=5):
        with pytest.raises(Refused, match="pg1 takes the writes: pg2 would be started as a second primary"):
            room.run(kind, {"node": "pg2"}, BOTH, job=f"job-{job}")
    assert not pg2.is_postgres_running()
