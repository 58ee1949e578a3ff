"""While a job runs and after it: no secret where others can see it, no acknowledged row lost or different."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kinds_walk import PASSWORD, WATCHING, Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"]}
OTHERS_CAN_READ = "find /var /etc /tmp /srv -xdev -type f -perm /077 -newermt '{since}'"


def readable_by_others(host: Host, since: str, secret: str) -> str:
    """Files with that text that an account other than the owner could read, of those written since."""
    found = host.run(f"{OTHERS_CAN_READ.format(since=since)} -print0 | xargs -0 -r grep -l -F -e '{secret}'", check=False)
    return found.stdout


def test_no_secret_is_seen_and_no_row_is_lost_while_a_standby_is_made(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    lab.registry(pg1, 2000)
    since = pg1.run(["date", "+%Y-%m-%d %H:%M:%S"]).stdout.strip()
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    seen: list[str] = []
    room.during = lambda _key: seen.extend(line for host in (pg1, pg2) for _pid, line in host.processes())
    writer = lab.writer([pg1])
    writer.start()
    room.run("setup", SETUP, BOTH)
    report = writer.stop()
    assert report.acknowledged > 0
    assert (report.lost, report.doubled) == (0, 0)
    secrets = [PASSWORD, WATCHING, "SCRAM-SHA-256$4096", *(key.value.splitlines()[1] for key, _public in room.keys.values())]
    assert len(seen) > 20
    for secret in secrets:
        assert not [line for line in seen if secret in line]
        assert not [line for line in room.said if secret in line]
        for host in (pg1, pg2):
            assert secret not in host.pg_log_tail(100_000)
            assert readable_by_others(host, since, secret) == ""
    sums = "SELECT count(*), coalesce(sum(hashtext(t::text)), 0) FROM {} t"
    tables = [row[0] for row in pg1.sql("SELECT relname FROM pg_stat_user_tables ORDER BY 1", database="registry")]
    assert tables
    pg2.sql(f"SELECT pg_is_in_recovery() -- {tables}")
    for table in tables:
        deadline = time.monotonic() + 10
        while pg1.sql(sums.format(table), database="registry") != pg2.sql(sums.format(table), database="registry"):
            assert time.monotonic() < deadline, table
            time.sleep(0.2)
