"""Kind `rotate_password` on real hosts: nobody who writes notices, the old password opens nothing, none is seen anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kinds_walk import PASSWORD, WATCHING, Room

from jobs.recipe import Brief
from lab import Lab
from remote.command import Secret

pytestmark = pytest.mark.lab

ALL = ["pg1", "pg2", "pg3"]
NEXT = {"replication": "Sesame-Next-Replication-5d1", "monitoring": "Sesame-Next-Monitoring-77e"}


class RotatingRoom(Room):
    """Its brief also has the passwords that are to come, as the panel's has for such a job."""

    def brief(self, job: str, names: Any) -> Brief:
        brief = super().brief(job, names)
        following = {f"{purpose}.next_password": Secret(f"next {purpose} password", text) for purpose, text in NEXT.items()}
        return replace(brief, secrets={**brief.secrets, **following})


def senders(room: Room) -> dict[str, str]:
    rows = room.hosts["pg1"].sql("SELECT application_name, pid FROM pg_stat_replication WHERE state = 'streaming'")
    return dict(rows)


@pytest.mark.parametrize("postgres", ["15", "11"])
def test_both_passwords_are_changed_under_load_and_only_the_new_ones_open_anything(new_lab: Any, postgres: str) -> None:
    lab: Lab = new_lab()
    wishes: dict[str, Any] = {"postgres": postgres, "layout": "debian" if postgres == "15" else "cocca"}
    pg1 = lab.up("pg1", **wishes)
    hosts = {"pg1": pg1} | {name: lab.up(name, create=False, **wishes) for name in ALL[1:]}
    room = RotatingRoom(lab, hosts)
    room.run("setup", {"primary": "pg1", "standbys": ["pg2", "pg3"], "method": "pg_basebackup"}, ALL)
    before = senders(room)
    assert set(before) == {"pg2", "pg3"}
    writer = lab.writer([pg1], database="registry")
    lab.registry(pg1, 100)
    writer.start()
    held = "SELECT pid, backend_start FROM pg_stat_activity WHERE datname = 'registry' ORDER BY 1"
    sessions = pg1.sql(held)
    seen: list[str] = []
    room.during = lambda _key: None
    plan = room.run("rotate_password", {"purpose": "replication"}, ALL, job="job-2")
    assert pg1.sql(held) == sessions
    report = writer.stop()
    assert (report.lost, report.doubled) == (0, 0)
    assert not [step for step in plan.steps if step.restarts]
    after = senders(room)
    assert set(after) == {"pg2", "pg3"}
    assert all(after[name] != before[name] for name in after)
    room.run("rotate_password", {"purpose": "monitoring"}, ALL, job="job-3")
    assert {f"password.replayed#{name}" for name in ALL[1:]} <= {key for key, _how in room.walked}
    seen += [line for host in hosts.values() for _pid, line in host.processes()]
    for secret in (PASSWORD, WATCHING, *NEXT.values(), "SCRAM-SHA-256$4096"):
        assert not [line for line in (*seen, *room.said) if secret in line]
        assert not [host.name for host in hosts.values() if secret in host.pg_log_tail(100_000)]
    # the same job, taken up again: what is changed stays changed
    room.run("rotate_password", {"purpose": "replication"}, ALL, job="job-4")
    assert not [key for key in room.acted() if key.startswith("password.file")]
    # the last of the passwords is in every node's file, and nowhere the one before
    for host in hosts.values():
        found = host.run("find / -xdev -name pgpass -path '*pgpanel*' 2>/dev/null | xargs -r cat", check=False).stdout
        assert NEXT["replication"] in found
        assert PASSWORD not in found
