"""Kind `set_parameter` on real hosts: the order that standbys need, what the server refuses, and that later jobs keep it."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Refused, Room

from jobs.recipe import ParamsError
from lab import Lab

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"]}


def connections(value: int) -> dict[str, str]:
    return {"name": "max_connections", "value": str(value)}


def changed(room: Room) -> list[str]:
    return [key for key in room.acted() if key.startswith("parameter.")]


@pytest.mark.parametrize(("postgres", "layout"), [("15", "debian"), ("11", "cocca")])
def test_max_connections_is_raised_on_the_standby_first_and_lowered_on_the_primary_first(
    new_lab: Any, postgres: str, layout: str
) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1", postgres=postgres, layout=layout), lab.up("pg2", postgres=postgres, layout=layout, create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, BOTH)
    pg1.sql("ALTER SYSTEM SET max_connections = 120")
    room.run("set_parameter", connections(180), BOTH, job="job-2")
    assert changed(room) == ["parameter.reset#pg1", "parameter.apply#pg2", "parameter.apply#pg1"]
    assert [host.sql("SHOW max_connections") for host in (pg1, pg2)] == [[["180"]], [["180"]]]
    room.run("set_parameter", connections(180), BOTH, job="job-3")
    assert room.acted() == []
    room.run("set_parameter", connections(90), BOTH, job="job-4")
    assert changed(room) == ["parameter.apply#pg1", "parameter.replayed#pg2", "parameter.lower#pg2"]
    assert [host.sql("SHOW max_connections") for host in (pg1, pg2)] == [[["90"]], [["90"]]]
    # a reload is enough for others, and a later job that writes the block anew keeps both
    room.run("set_parameter", {"name": "Work_Mem", "value": "12MB"}, BOTH, job="job-5")
    room.run("setup", SETUP | {"keep_megabytes": 512}, BOTH, job="job-6")
    assert "configuration.write#pg1" in room.acted()
    for host in (pg1, pg2):
        assert [host.sql("SHOW work_mem"), host.sql("SHOW max_connections")] == [[["12MB"]], [["90"]]]
    room.run("setup", SETUP | {"keep_megabytes": 512}, BOTH, job="job-7")
    assert [key for key in room.acted() if not key.startswith("proof.")] == []


def test_the_server_itself_says_what_is_wrong_with_a_value(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = Room(lab, {"pg1": lab.up("pg1")})
    for name, value, why in (
        ("work_mem", "plenty", 'invalid value for parameter "work_mem": "plenty".*from 64 to .*units of kB'),
        ("work_mem", "1kB", "outside the valid range"),
        ("synchronous_commit", "maybe", "one of local, remote_write, remote_apply, on, off"),
        ("shared_bufers", "1GB", "has no setting of this name"),
        ("block_size", "8192", "fixed when the server"),
        ("max_connections", "3", "none would be left"),
        ("shared_buffers", "900GB", "that the host has"),
    ):
        with pytest.raises(Refused, match=why):
            room.run("set_parameter", {"name": name, "value": value}, ["pg1"])
    with pytest.raises(ParamsError, match="Set up replication"):
        room.run("set_parameter", {"name": "archive_command", "value": "true"}, ["pg1"])
    room.run("set_parameter", {"name": "log_line_prefix", "value": "%m it's [%p] "}, ["pg1"])
    assert room.hosts["pg1"].sql("SHOW log_line_prefix") == [["%m it's [%p]"]]
