"""Kind `repair` on real hosts: each thing that can be wrong is found, and cured by the mildest cure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kinds_walk import Refused, Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab

ALL = ["pg1", "pg2", "pg3"]
WALS = "/var/lib/postgresql/15/wals"


def eventually(true: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.1)


def streaming(host: Host) -> list[str]:
    return [row[0] for row in host.sql("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1")]


def write_segments(pg1: Host, pg3: Host, count: int, wals: str = WALS) -> None:
    """So much that the primary removes what it does not have to keep; pg3's archive has all of it."""
    for _each in range(count):
        pg1.sql("CREATE TABLE IF NOT EXISTS filler AS SELECT 1 AS id; INSERT INTO filler SELECT 1; SELECT pg_switch_wal();")
    last = pg1.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]
    before = f"{int(last, 16) - 2:024X}"
    eventually(lambda: before in pg3.run(["ls", wals]).stdout)
    pg1.sql("CHECKPOINT")
    pg1.sql("CHECKPOINT")


def leave_behind(pg1: Host, pg2: Host, pg3: Host, without: tuple[Host, ...]) -> None:
    """pg2 needs WAL that the primary has removed, and that is in no archive of `without`."""
    pg2.pg_stop()
    write_segments(pg1, pg3, 8)
    for host in without:
        host.run(f"rm -f {WALS}/0000*")
        if host == pg3:  # a restartpoint: its pg_wal lets go too, and it would clean its archive
            host.sql("CHECKPOINT")
    pg2.pg_start()
    eventually(lambda: "has already been removed" in pg2.pg_log_tail(20))


def test_missing_wal_is_bridged_and_the_mildest_cure_is_taken(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1 = lab.up("pg1")
    pg1.sql("ALTER SYSTEM SET min_wal_size = '32MB'")
    pg1.sql("SELECT pg_reload_conf()")
    pg2, pg3 = lab.up_all(["pg2", "pg3"], create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2, "pg3": pg3})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2", "pg3"], "retention": "segments", "keep_megabytes": 32}, ALL)

    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-2")
    assert plan.summary == ("Nothing to repair: pg2 streams.",)
    assert room.acted() == []

    pg2.pg_stop()
    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-3")
    assert room.acted() == ["node.start#pg2"]
    assert streaming(pg1) == ["pg2", "pg3"]

    # WAL that is gone from the primary and from its own archive, while pg3's archive has it
    leave_behind(pg1, pg2, pg3, (pg2,))
    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-4")
    assert "Bridging is possible" in plan.summary[0]
    assert "has already been removed" in next(check.reason for check in plan.checks if check.key.startswith("repair.wal"))
    assert [key for key in room.acted() if key.startswith("bridge")] == [
        "bridge.open#pg1", "bridge.open#pg3", "bridge.fetch#pg2", "bridge.close#pg1", "bridge.close#pg3",
    ]  # fmt: skip
    assert streaming(pg1) == ["pg2", "pg3"]
    for host in (pg1, pg3):
        assert "pgpanel-bridge" not in host.run("cat /var/lib/postgresql/.ssh/authorized_keys").stdout

    # the segment that its own recovery begins with
    pg2.sql("CHECKPOINT")
    pg2.pg_stop()
    redo = pg2.run(
        "/usr/lib/postgresql/15/bin/pg_controldata /var/lib/postgresql/15/main | sed -n 's/.*REDO WAL file: *//p'"
    ).stdout
    write_segments(pg1, pg3, 8)
    pg2.run(f"rm -f /var/lib/postgresql/15/main/pg_wal/0000* {WALS}/0000*")
    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-5")
    assert redo.strip() in plan.summary[0]
    assert {"bridge.fetch#pg2", "node.start#pg2"} <= set(room.acted())
    assert streaming(pg1) == ["pg2", "pg3"]
    assert pg2.sql("SELECT count(*) FROM filler") == pg1.sql("SELECT count(*) FROM filler")

    # it follows an address where nobody is
    pg2.sql("ALTER SYSTEM SET primary_conninfo = 'host=10.99.250.250 user=pgpanel_replication connect_timeout=2'")
    pg2.sql("SELECT pg_reload_conf()")
    eventually(lambda: streaming(pg1) == ["pg3"])
    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-6")
    assert "It is told to follow none of the nodes" in plan.summary[0]
    assert streaming(pg1) == ["pg2", "pg3"]

    pg2.sql("SELECT pg_wal_replay_pause()")
    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-7")
    assert room.acted() == ["replay.resume#pg2"]

    # and where nobody has it any more
    leave_behind(pg1, pg2, pg3, (pg2, pg3))
    with pytest.raises(Refused, match=r"is on none of the nodes any more.*Rebuild pg2"):
        room.run("repair", {"node": "pg2"}, ALL, job="job-8")


def test_a_lost_slot_is_made_anew(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1", postgres="13", layout="cocca"), lab.up("pg2", postgres="13", layout="cocca", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ALL[:2])
    pg2.pg_stop()
    pg1.sql("SELECT pg_drop_replication_slot('pgpanel_pg2')")
    pg2.pg_start()
    eventually(lambda: 'replication slot "pgpanel_pg2" does not exist' in pg2.pg_log_tail(20))
    plan = room.run("repair", {"node": "pg2"}, ALL[:2], job="job-2")
    assert plan.summary == ("Its slot pgpanel_pg2 is not on pg1. The slot is made anew.",)
    assert room.acted() == ["slots.make#pg1.pg2"]
    assert pg1.sql("SELECT slot_name, active FROM pg_replication_slots") == [["pgpanel_pg2", "t"]]
    with pytest.raises(Refused, match="it is the primary"):
        room.run("repair", {"node": "pg1"}, ALL[:2], job="job-3")


def test_the_label_of_a_primary_that_crashed_in_an_exclusive_backup_is_moved_aside_and_a_copy_s_is_not(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1 = lab.up("pg1", postgres="13", layout="cocca")
    room = Room(lab, {"pg1": pg1})
    data = pg1.data_directory
    time.sleep(1.5)  # the directory is older than the backup, to the second
    pg1.sql("SELECT pg_start_backup('by hand', true)")
    time.sleep(6)
    for _each in range(6):
        pg1.sql("CREATE TABLE IF NOT EXISTS filler AS SELECT 1 AS id; INSERT INTO filler SELECT 1; SELECT pg_switch_wal()")
    pg1.sql("ALTER SYSTEM SET wal_keep_size = 0; ")
    pg1.sql("SELECT pg_reload_conf()")
    pg1.sql("CHECKPOINT")
    pg1.run(f"kill -9 $(head -n 1 {data}/postmaster.pid)")
    eventually(lambda: not pg1.is_postgres_running())
    first = pg1.run(f"sed -n 's/^START WAL.*file \\([0-9A-F]*\\)).*/\\1/p' {data}/backup_label").stdout.strip()
    pg1.run(f"rm -f {data}/pg_wal/{first}")
    with pytest.raises(Exception, match="did not start"):
        pg1.pg_start()
    pg1.run(["cp", "-a", data, "/srv/copy"])
    plan = room.run("repair", {"node": "pg1"}, ["pg1"], job="job-2")
    assert "exclusive backup" in plan.summary[0]
    assert room.acted() == ["label.aside#pg1", "node.start#pg1"]
    assert pg1.sql("SELECT count(*) FROM filler") == [["7"]]
    # the same files as a copy
    pg1.pg_stop()
    pg1.run(f"rm -rf {data} && mv /srv/copy {data}")
    with pytest.raises(Exception, match="did not start"):
        pg1.pg_start()
    with pytest.raises(Exception, match=r"backup_label stays: it was put here .* this is a copy"):
        room.run("repair", {"node": "pg1"}, ["pg1"], job="job-3")
    assert pg1.run(["ls", f"{data}/backup_label"]).returncode == 0


def test_a_copy_with_its_label_gets_its_wal_into_pg_wal_where_it_restores_from_no_archive(new_lab: Any) -> None:
    """The label stays; without the WAL that it names the server would wait for ever."""
    lab: Lab = new_lab()
    wishes: dict[str, Any] = {"postgres": "11", "layout": "cocca"}
    pg1 = lab.up("pg1", **wishes)
    pg2, pg3 = lab.up_all(["pg2", "pg3"], create=False, **wishes)
    room = Room(lab, {"pg1": pg1, "pg2": pg2, "pg3": pg3})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2", "pg3"], "retention": "segments", "keep_megabytes": 32}, ALL)
    pg2.pg_stop()
    data, wals, bin_directory = pg2.data_directory, "/opt/cocca-8/postgresql/wals", pg2.bin_directory
    copy = f"{bin_directory}/pg_basebackup -X none -c fast -D {data}.new -h {pg1.ip} -U pgpanel_replication"
    pg2.run(f"PGPASSFILE={wals}/.pgpanel/pgpass {copy}", user="postgres")
    pg2.run(f"grep -v -e restore_command -e cleanup {data}/recovery.conf >{data}.new/recovery.conf", user="postgres")
    pg2.run(f"mv {data} {data}.aside && mv {data}.new {data} && rm -f {wals}/0000*")
    write_segments(pg1, pg3, 8, wals)
    label = pg2.run(["cat", f"{data}/backup_label"]).stdout
    plan = room.run("repair", {"node": "pg2"}, ALL, job="job-2")
    assert label.partition("(file ")[2][:24] in plan.summary[0]
    assert {"bridge.fetch#pg2", "node.start#pg2"} <= set(room.acted())
    assert streaming(pg1) == ["pg2", "pg3"]
    assert pg2.sql("SELECT count(*) FROM filler") == pg1.sql("SELECT count(*) FROM filler")
    assert [line for line in room.said if "16777216" in line and f"{data}/pg_wal" in line]
