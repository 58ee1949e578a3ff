"""Kind `rebuild` on real hosts: what was left behind becomes a standby again, and what only it had stays readable."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Refused
from parted import BOTH, LOST_ROWS, is_alike, kill_postmaster, pair, part, read, streaming, until

from lab import Host, Lab
from remote.lsn import parse, wal_file_name

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(("postgres", "layout"), [("15", "debian"), ("11", "cocca"), ("17", "custom")])
def test_a_crashed_primary_with_rows_of_its_own_is_rewound_and_they_stay_readable(new_lab: Any, postgres: str, layout: str) -> None:
    lab: Lab = new_lab()
    room = pair(lab, postgres, layout)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    part(room)
    plan = room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert "rebuilt by pg_rewind" in plan.summary[0]
    assert "standby.rewind#pg1" in room.acted()
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)
    assert pg2.sql("SELECT rolname FROM pg_roles WHERE rolname = 'pgpanel_rewind'") == []
    assert "pgpanel-rewind" not in pg2.run(["cat", f"{pg2.config_directory}/pg_hba.conf"]).stdout
    rows = read(room, "job-2", "rows")
    assert "table kept" in rows, rows
    assert rows.count("lost") >= 10
    lines = rows.splitlines()
    begin = next(number for number, line in enumerate(lines) if "table kept" in line)
    assert lines[begin + 2 : begin + 2 + LOST_ROWS] == [str(number) for number in range(1, LOST_ROWS + 1)]
    assert not pg1.run(f"ls '{pg1.data_directory}.old-job-2/postmaster.pid'", check=False).stdout
    assert [key for key, _how in room.walked if key.startswith("proof.")]
    again, _world = room.plan("rebuild", {"node": "pg2"}, BOTH, job="job-3")
    assert again.is_refused


def test_a_second_primary_that_still_takes_writes_is_fenced_and_stopped_first(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = pair(lab)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    part(room, kill=False)
    room.run("rebuild", {"node": "pg1", "keep_days": 3}, BOTH, job="job-2")
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert pg1.sql("SELECT pg_is_in_recovery()") == [["t"]]
    note = pg1.run(["cat", f"{pg1.data_directory}.old-job-2/pgpanel.old"]).stdout
    said = dict(line.split("=") for line in note.splitlines())
    assert int(said["until"]) - int(said["kept_at"]) == 3 * 86400
    assert int(said["bytes"]) > 20_000_000
    assert f"{LOST_ROWS}" in read(room, "job-2", "rows")


def start_word(host: Host) -> str:
    """Whether Debian starts it at boot."""
    return host.run(["tail", "-n", "1", f"{host.config_directory}/start.conf"]).stdout.strip()


def test_undo_puts_the_old_directory_back_read_only_and_another_rebuild_takes_it_again(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = pair(lab)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    part(room)
    room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert pg1.sql("SELECT to_regclass('kept')", database="registry") in ([], [[""]])

    room.run("undo_rebuild", {"node": "pg1"}, BOTH, job="job-3")
    assert not pg1.is_postgres_running()
    assert start_word(pg1) == "manual"
    assert pg2.sql("SELECT slot_name FROM pg_replication_slots") == []
    own = f"{room.spec('pg1').wal_archive_directory}/.pgpanel"
    path = f"{own}/read-job-3"
    pg1.run([path, "start"], user="postgres", timeout_seconds=120)
    connect = [
        "/usr/lib/postgresql/15/bin/psql",
        "-h",
        f"{room.spec('pg1').wal_archive_directory}/.pgpanel/read",
        "-AtX",
        "registry",
    ]
    assert pg1.run([*connect, "-c", "SELECT count(*) FROM kept"], user="postgres").stdout == f"{LOST_ROWS}\n"
    assert "read-only" in pg1.run([*connect, "-c", "DELETE FROM kept"], user="postgres", check=False).stderr
    pg1.run([path, "stop"], user="postgres")
    pg1.pg_start()  # somebody starts it all the same
    assert pg1.sql("SELECT pg_is_in_recovery()") == [["t"]]
    assert pg1.sql("SELECT count(*) FROM kept", database="registry") == [[str(LOST_ROWS)]]

    given_up = f"{pg1.data_directory}.new-job-2"
    pg1.run(["mkdir", "-p", f"{given_up}/base/1"])
    pg1.run(["chown", "-R", "postgres:", given_up])
    pg1.run(["mkdir", f"{pg1.data_directory}.new-job-0"])  # root's: somebody else's business
    room.run("rebuild", {"node": "pg1"}, BOTH, job="job-4")
    assert pg1.run(["ls", "-d", given_up], check=False).stdout == ""
    assert pg1.run(["ls", "-d", f"{pg1.data_directory}.new-job-0"]).stdout
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)
    assert start_word(pg1) == "auto"

    with pytest.raises(Refused, match="nothing is expired"):
        room.run("forget_old", {"node": "pg1", "only_expired": True}, ["pg1"], job="job-5")
    pg1.run(f"sed -i 's/^until=.*/until=1/' '{pg1.data_directory}.old-job-3/pgpanel.old'")
    room.run("forget_old", {"node": "pg1", "only_expired": True}, ["pg1"], job="job-6")
    assert "old-job-3" not in pg1.run(["ls", f"{pg1.data_directory}/.."]).stdout
    assert "old-job-4" in pg1.run(["ls", f"{pg1.data_directory}/.."]).stdout
    room.run("forget_old", {"node": "pg1"}, ["pg1"], job="job-7")
    assert "old-job" not in pg1.run(["ls", f"{pg1.data_directory}/.."]).stdout
    assert streaming(pg2) == [["pg1", "streaming"]]


@pytest.mark.parametrize(("postgres", "layout"), [("15", "debian"), ("11", "cocca")])
def test_without_checksums_and_hints_it_is_said_up_front_and_a_delta_is_copied(new_lab: Any, postgres: str, layout: str) -> None:
    lab: Lab = new_lab()
    room = pair(lab, postgres, layout, rewind_ready=False)
    pg2 = room.hosts["pg2"]
    part(room)
    plan, _world = room.plan("rebuild", {"node": "pg1", "method": "rewind"}, BOTH, job="job-2")
    assert [check.reason for check in plan.checks if check.level == "refused"] == [
        "neither data checksums nor wal_log_hints were on when it last ran"
    ]
    plan = room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert "neither data checksums nor wal_log_hints" in plan.summary[0]
    assert "standby.delta#pg1" in room.acted()
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)
    assert "pgpanel-copy" not in pg2.run("cat ~postgres/.ssh/authorized_keys").stdout
    assert f"\n{LOST_ROWS}\n" in read(room, "job-2", "rows")


def test_a_full_copy_leaves_the_nodes_own_files_its_own(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = pair(lab, "17", "custom")
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    pg1.sql("ALTER SYSTEM SET work_mem = '7MB'")
    pg1.run(f"echo mine >'{pg1.data_directory}/server.note'", user=pg1.postgres_user)
    part(room)
    room.run("rebuild", {"node": "pg1", "method": "copy"}, BOTH, job="job-2")
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)
    assert pg1.sql("SHOW work_mem") == [["7MB"]]
    assert pg1.run(["cat", f"{pg1.data_directory}/server.note"]).stdout == "mine\n"


def test_wal_that_was_recycled_is_fetched_from_an_archive_or_it_is_said_up_front(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = pair(lab)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    part(room, kill=False)
    for number in range(3):
        pg1.sql(f"SELECT pg_switch_wal(); CREATE TABLE more_{number} (id int)", database="registry")
        pg1.sql("CHECKPOINT")
    kill_postmaster(pg1)
    history = pg2.run(["cat", f"{pg2.data_directory}/pg_wal/00000002.history"]).stdout
    fork = wal_file_name(1, parse(history.split()[1]) - 1)
    # every file up to the fork, wherever it is: one of them has the checkpoint that both have
    away = 'mkdir -p /root/away; cd "$1"; for file in 00000001*; do '
    away += '[ ! -e "$file" ] || [ "$file" \\> "$2" ] || mv "$file" /root/away/; done'
    for host in (pg1, pg2):
        for place in (f"{host.data_directory}/pg_wal", room.spec(host.name).wal_archive_directory):
            host.run(["sh", "-c", away, "away", place, fork])
    plan, _world = room.plan("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert "does not lead back" in plan.summary[0]
    assert any("delta" in step.key for step in plan.steps)
    # as if only the archive that it had pushed to had them left
    pg2.run(f"mv /root/away/0* '{room.spec('pg2').wal_archive_directory}/'")
    room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert any("comes from the primary's" in line for line in room.said)
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)


def test_a_primary_that_dies_in_the_middle_leaves_the_old_directory_whole(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = pair(lab, domains=20_000)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    part(room)
    pg2.sql("CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 60000) n", database="registry")
    pg2.rate("40mbit")
    killed: list[str] = []

    def kill_the_source(key: str) -> None:
        copied = pg1.run("cat ~postgres/.pgpanel/jobs/job-2/*rewind*/log", check=False).stdout
        if not killed and key.startswith("standby.rewind") and "copied" in copied:
            killed.append(key)
            kill_postmaster(pg2)

    room.during = kill_the_source
    with pytest.raises(AssertionError, match=r"standby\.rewind#pg1 ended with"):
        room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert killed
    pg2.rate(None)
    assert not pg1.run(f"ls -d '{pg1.data_directory}'.old-*", check=False).stdout
    control = pg1.run([f"{pg1.bin_directory}/pg_controldata", pg1.data_directory]).stdout
    assert "in production" in control, "the old directory is as it was when its server died"
    pg2.pg_start()
    until(pg2.is_postgres_running, "the primary is back")
    pg1.run("rm -rf ~postgres/.pgpanel/jobs/job-2")  # what the engine does before another attempt
    room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)
    assert f"\n{LOST_ROWS}\n" in read(room, "job-2", "rows")


def test_a_broken_standby_is_filled_anew_from_what_differs(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room = pair(lab)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    pg2.pg_stop("immediate")
    pg1.sql("SELECT pg_drop_replication_slot('pgpanel_pg2'); CREATE TABLE taken AS SELECT generate_series(1, 40) AS id", "registry")
    files = pg2.run(f"find '{pg2.data_directory}/base' -size +300k -name '[0-9]*' | head -n 3").stdout.split()
    for file in files:  # as a disk that lies would leave it: of the right size and age
        damage = f"dd if=/dev/zero of='{file}' bs=8192 seek=3 count=2 conv=notrunc"
        pg2.run(f"touch -r '{file}' /tmp/age && {damage} && touch -r /tmp/age '{file}'")
    plan = room.run("rebuild", {"node": "pg2"}, BOTH, job="job-2")
    assert "both are on timeline 1" in plan.summary[0]
    assert streaming(pg1) == [["pg2", "streaming"]]
    assert is_alike(room)
    same = "SELECT sum(hashtext(contact::text)) FROM contact"
    assert pg1.sql(same, database="registry") == pg2.sql(same, database="registry")
