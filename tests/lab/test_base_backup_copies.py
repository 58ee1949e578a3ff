"""Copies by either method: a standby copied anew, a standalone copy that starts, rsync inside one held backup session."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Room

from lab import Lab

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"]}


@pytest.mark.parametrize(("postgres", "layout"), [("11", "cocca"), ("15", "debian")])
def test_rsync_copies_while_the_primary_is_written_to_and_its_key_is_gone_after(new_lab: Any, postgres: str, layout: str) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1", postgres=postgres, layout=layout), lab.up("pg2", postgres=postgres, layout=layout, create=False)
    lab.registry(pg1, 3000)
    writer = lab.writer([pg1])
    writer.start()
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP | {"method": "rsync", "link_megabits": 100}, BOTH)
    report = writer.stop()
    assert report.acknowledged > 0
    assert report.lost == 0
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    keys = pg1.run("cat ~postgres/.ssh/authorized_keys").stdout
    assert "pgpanel-copy" not in keys
    assert "pgpanel-archive" in keys
    own = f"{room.spec('pg2').wal_archive_directory}/.pgpanel"
    assert "copy_key" not in pg2.run(["ls", own]).stdout
    check = "SELECT count(*), sum(hashtext(domain::text)) FROM domain"
    assert pg1.sql(check, database="registry") == pg2.sql(check, database="registry")


def test_rsync_waits_for_every_stream_before_the_copy_counts_as_whole(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    rows = "SELECT n, md5(random()::text) || md5(random()::text) AS noise FROM generate_series(1, 1000000) n"
    pg1.sql(f"CREATE TABLE large AS {rows}", database="registry")
    pg2.rate("100mbit")  # some seconds for what the rest of the script does in one
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP | {"method": "rsync"}, BOTH)
    check = "SELECT count(*), sum(hashtext(noise)) FROM large"
    assert pg1.sql(check, database="registry") == pg2.sql(check, database="registry")


def test_a_standby_is_copied_anew_and_its_old_directory_is_kept(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1", layout="custom"), lab.up("pg2", layout="custom", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, BOTH)
    conf = pg2.run(["cat", f"{pg2.config_directory}/postgresql.conf"]).stdout
    room.run("base_backup", {"source": "pg1", "target": "pg2"}, BOTH, job="job-2")
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    assert pg2.run(["cat", f"{pg2.data_directory}/pgpanel.job"]).stdout == "job-2\n"
    assert pg2.run(["cat", f"{pg2.data_directory}.old-job-2/pgpanel.job"]).stdout == "job-1\n"
    assert pg2.run(["cat", f"{pg2.config_directory}/postgresql.conf"]).stdout == conf
    assert pg1.sql("SELECT slot_name FROM pg_replication_slots WHERE NOT temporary") == [["pgpanel_pg2"]]


@pytest.mark.parametrize("method", ["pg_basebackup", "rsync"])
def test_a_standalone_copy_is_complete_in_itself(new_lab: Any, method: str) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP, BOTH)
    pg1.sql("CREATE TABLE precious AS SELECT generate_series(1, 1000) AS id")
    params = {"source": "pg1", "target": "pg2", "directory": "/var/lib/postgresql/a copy", "method": method}
    room.run("base_backup", params, BOTH, job="job-2")
    copy, own = (
        "'/var/lib/postgresql/a copy'",
        "-p 5544 -c hba_file=/tmp/hba.conf -c archive_mode=off -c unix_socket_directories=/tmp",
    )
    start = f"echo 'local all all trust' >/tmp/hba.conf; touch {copy}/pg_ident.conf {copy}/postgresql.conf"
    start += f"; /usr/lib/postgresql/15/bin/pg_ctl -w -D {copy} -l /tmp/log -o '{own}' start; cat /tmp/log"
    said = pg2.run(start, user="postgres", check=False).stdout
    count = ["/usr/lib/postgresql/15/bin/psql", "-h", "/tmp", "-p", "5544", "-AtXc", "SELECT count(*) FROM precious", "postgres"]
    assert pg2.run(count, user="postgres", check=False).stdout == "1000\n", said
