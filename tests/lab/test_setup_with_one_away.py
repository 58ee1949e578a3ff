"""A dead standby holds up nothing: its replacement is added beside it, and when it boots again it streams on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kinds_walk import Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab


def wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.3)


def streaming(primary: Host) -> list[str]:
    return [row[0] for row in primary.sql("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1")]


def replication_lines(host: Host) -> list[str]:
    text = host.run(f"cat {host.config_directory}/pg_hba.conf").stdout
    return [line.rpartition("# ")[2] for line in text.splitlines() if line.startswith("host replication pgpanel")]


def test_a_replacement_is_added_while_a_standby_is_dead_and_that_one_streams_on_when_it_boots(new_lab: Any) -> None:
    lab: Lab = new_lab()
    hosts = {"pg1": lab.up("pg1"), **{name: lab.up(name, create=False) for name in ("pg2", "pg3", "pg4")}}
    room = Room(lab, hosts)
    room.run("setup", {"primary": "pg1", "standbys": ["pg2", "pg3"]}, ["pg1", "pg2", "pg3"])
    wals = room.spec("pg2").wal_archive_directory
    hosts["pg2"].kill()

    added = {"primary": "pg1", "standbys": ["pg4"]}
    plan = room.run("add_standby", added, list(hosts), job="job-2")
    warned = next(check for check in plan.checks if check.key == "host.reachable#pg2")
    assert warned.level == "warning"
    assert "Nothing is done on it" in warned.reason
    assert "knows nothing of pg4" in warned.reason
    assert not [step.key for step in plan.steps if "pg2" in (step.node, step.key.rpartition("#")[2])]
    assert streaming(hosts["pg1"]) == ["pg3", "pg4"]
    for name in ("pg1", "pg3", "pg4"):
        assert replication_lines(hosts[name]) == ["pg1", "pg2", "pg3", "pg4"]
    slots = hosts["pg1"].sql("SELECT slot_name, active FROM pg_replication_slots ORDER BY 1")
    assert slots == [["pgpanel_pg2", "f"], ["pgpanel_pg3", "t"], ["pgpanel_pg4", "t"]]
    waiting = hosts["pg1"].run(f"ls {wals}/.pgpanel/spool/pg2").stdout.split()
    assert waiting, "WAL for its archive waits on the primary"

    hosts["pg1"].sql("CREATE TABLE written_meanwhile AS SELECT 7 AS id")
    hosts["pg2"].start()
    wait_for(lambda: streaming(hosts["pg1"]) == ["pg2", "pg3", "pg4"])
    wait_for(lambda: hosts["pg2"].sql("SELECT to_regclass('written_meanwhile') IS NOT NULL") == [["t"]])
    assert hosts["pg2"].sql("SELECT id FROM written_meanwhile") == [["7"]]

    # once more, now that all answer: it is brought into line, nothing is copied, nothing restarts
    started = [host.sql("SELECT pg_postmaster_start_time()") for host in hosts.values()]
    room.run("add_standby", added, list(hosts), job="job-3")
    assert {key for key in room.acted() if not key.startswith("proof")} == {
        "node.prepare#pg2",
        "standby.configure#pg2",
        "guard.install#pg2",
    }
    assert replication_lines(hosts["pg2"]) == ["pg1", "pg2", "pg3", "pg4"]
    assert [host.sql("SELECT pg_postmaster_start_time()") for host in hosts.values()] == started
    assert set(waiting) <= set(hosts["pg2"].run(f"ls {wals}").stdout.split())
