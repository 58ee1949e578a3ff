"""Kind `setup` joins what is there: a third node to the pair of the source page, a cluster that the package made, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Refused, Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab


def started_at(host: Host) -> str:
    return host.sql("SELECT pg_postmaster_start_time()")[0][0]


@pytest.mark.parametrize("postgres", ["11", "13"])
def test_a_third_node_joins_the_pair_of_the_source_page_without_an_unannounced_restart(new_lab: Any, postgres: str) -> None:
    lab: Lab = new_lab()
    pair = lab.source_page_pair(postgres=postgres, registry_rows=50)
    third = lab.up("p3", postgres=postgres, layout="cocca", create=False)
    room = Room(lab, {"p1": pair.primary, "p2": pair.standby, "p3": third})
    before = started_at(pair.primary)
    plan = room.run("add_standby", {"primary": "p1", "standbys": ["p3"], "rewind_ready": False}, ["p1", "p2", "p3"])
    assert not [step.key for step in plan.steps if step.key.startswith("primary.restart") and step.is_needed]
    assert started_at(pair.primary) == before
    streaming = pair.primary.sql("SELECT application_name, state, usename FROM pg_stat_replication ORDER BY 1")
    assert streaming == [["p2", "streaming", "pgpanel_replication"], ["p3", "streaming", "pgpanel_replication"]]
    # what the page left open is mended on the standby that it made
    recovery = pair.standby.run(
        f"cat {pair.standby.data_directory}/recovery.conf {pair.standby.data_directory}/postgresql.conf", check=False
    )
    assert "/tmp/pgsql.trigger" not in recovery.stdout.partition(">>> pgpanel")[2]
    assert pair.standby.sql("SELECT pg_is_in_recovery()") == [["t"]]


def test_the_empty_cluster_of_the_package_is_moved_aside_and_somebodys_is_not(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1 = lab.up("pg1")
    pg2, pg3 = lab.up("pg2", create=False), lab.up("pg3")
    pg2.run(["pg_createcluster", "15", "main", "--start", "--", "--no-sync"])
    identifier = pg2.sql("SELECT system_identifier FROM pg_control_system()")[0][0]
    room = Room(lab, {"pg1": pg1, "pg2": pg2, "pg3": pg3})
    kept = "stat -c '%n %i %Y' /etc/postgresql/15/main/* /var/lib/postgresql/15/main /var/lib/postgresql/15/main/postmaster.pid"
    before = pg3.run(kept).stdout
    with pytest.raises(Refused, match=r"holds another database cluster \(running"):
        room.run("setup", {"primary": "pg1", "standbys": ["pg3"]}, ["pg1", "pg3"])
    assert pg3.run(kept).stdout == before
    plan = room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"])
    assert [step.destroys for step in plan.steps if step.destroys] == [
        "the empty cluster in /var/lib/postgresql/15/main is stopped and moved aside"
    ]
    old = pg2.run(["/usr/lib/postgresql/15/bin/pg_controldata", "/var/lib/postgresql/15/main.old-job-1"], user="postgres").stdout
    assert identifier in old
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]


def test_each_refusal_names_its_mend_and_nothing_was_changed(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False, disk_mb=300)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    pg2.fill_disk(20 * 1024**2)
    with pytest.raises(Refused, match=r"MB needed, .* MB free .*free some space on pg2"):
        room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"])
    with pytest.raises(Refused, match="there is no database cluster"):
        room.run("setup", {"primary": "pg2", "standbys": ["pg1"]}, ["pg1", "pg2"])
    pg1.sql("CREATE TABLE space (id int)")
    pg1.run("mkdir /srv/ts && chown postgres /srv/ts")
    pg1.sql("CREATE TABLESPACE other LOCATION '/srv/ts'")
    with pytest.raises(Refused, match="no place on the standbys is given for /srv/ts"):
        room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"])
    pg2.run(["mkdir", "-p", "/var/lib/postgresql/15/main"])
    pg2.run(["tee", "/var/lib/postgresql/15/main/precious"], input="mine\n")
    with pytest.raises(Refused, match="holds files of somebody's"):
        room.run("setup", {"primary": "pg1", "standbys": ["pg2"]}, ["pg1", "pg2"])
    assert pg2.run(["cat", "/var/lib/postgresql/15/main/precious"]).stdout == "mine\n"
    assert pg1.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgpanel%'") == []
