"""Kind `setup` by version and layout: from a primary and a bare host to proven streaming, twice."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
PARAMS = {"primary": "pg1", "standbys": ["pg2"]}


def started_at(host: Host) -> str:
    return host.sql("SELECT pg_postmaster_start_time()")[0][0]


@pytest.mark.parametrize(
    ("postgres", "options"),
    [
        ("11", {"layout": "custom"}),
        ("13", {"layout": "cocca"}),
        ("17", {"layout": "debian"}),
        ("18", {"layout": "custom", "data_directory": "/srv/with space/data", "pg_port": 6543, "ssh_port": 2222}),
    ],
    ids=["11-custom", "13-cocca", "17-debian", "18-space-ports"],
)
def test_a_standby_streams_and_a_second_run_changes_nothing(new_lab: Any, postgres: str, options: dict[str, Any]) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1", postgres=postgres, **options), lab.up("pg2", postgres=postgres, create=False, **options)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", PARAMS, BOTH)
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    assert pg2.sql("SELECT pg_is_in_recovery()") == [["t"]]
    before = [started_at(host) for host in (pg1, pg2)]
    plan = room.run("setup", PARAMS, BOTH, job="job-2")
    assert [step.key for step in plan.steps if step.is_needed] == [
        "proof.streaming#pg2", "proof.write", "proof.replayed#pg2", "proof.archived#pg2",
    ]  # fmt: skip
    # the archive receives the file a moment after it is finished: waiting for that is no action
    assert room.acted() in (["proof.write"], ["proof.write", "proof.archived#pg2"])
    assert [started_at(host) for host in (pg1, pg2)] == before
