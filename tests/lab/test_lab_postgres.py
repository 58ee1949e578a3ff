"""PostgreSQL of every age on every layout, the page's hand-made pair, and the clients."""

from __future__ import annotations

import time

import pytest

from lab import Lab, LabError, MissingOnMachine, postgres_builds

pytestmark = pytest.mark.lab
MAJORS = ["11", "13", "14", "15", "16", "17", "18"]


@pytest.mark.parametrize("major", MAJORS)
def test_every_version_boots_as_debian_lays_it_out(lab: Lab, major: str) -> None:
    host = lab.up(f"d{major}", postgres=major, layout="debian")
    assert host.sql("SHOW server_version")[0][0].startswith(major)
    assert host.run(["pg_lsclusters", "-h"]).stdout.split()[:4] == [major, "main", "5432", "online"]
    assert host.sql("SHOW fsync") == [["off"]]
    host.down()


@pytest.mark.parametrize("major", MAJORS)
def test_every_version_boots_as_cocca_lays_it_out(lab: Lab, major: str) -> None:
    host = lab.up(f"c{major}", postgres=major, layout="cocca")
    assert host.data_directory == "/opt/cocca-8/postgresql/data"
    host.run(["/opt/cocca-8/postgresql/scripts/ctl", "restart"])
    assert host.sql("SHOW server_version")[0][0].startswith(major)
    assert host.run("command -v pg_lsclusters", check=False).returncode != 0, "a trace of Debian's packages"
    host.kill()
    host.start()
    host.wait_postgres()
    host.down()


@pytest.mark.parametrize("major", ["11", "15", "18"])
def test_a_custom_host_has_a_space_in_its_path_and_ports_of_its_own(lab: Lab, major: str) -> None:
    host = lab.up(f"x{major}", postgres=major, layout="custom", data_directory="/srv/pg data/main", ssh_port=2222, pg_port=6543)
    assert host.sql("SHOW data_directory") == [["/srv/pg data/main"]]
    assert host.sql("SHOW port") == [["6543"]]
    assert "/srv/pg data/main" in " ".join(argv for _, argv in host.processes())
    host.kill()
    host.start()
    host.wait_postgres()
    host.down()


def test_any_install_prefix_will_do(lab: Lab) -> None:
    prefix = postgres_builds.find("16").prefix
    host = lab.up("prefix", postgres=str(prefix), layout="custom")
    assert host.postgres_major == 16
    host.down()


def test_an_unknown_version_is_refused_with_what_there_is(lab: Lab) -> None:
    with pytest.raises(MissingOnMachine, match="known: 11, 13, 14, 15, 16, 17, 18"):
        lab.up("old", postgres="9")
    assert "old" not in lab.hosts


def test_checksums_and_fsync_are_as_asked(lab: Lab) -> None:
    host = lab.up("sums", checksums=True, fsync=True)
    assert host.sql("SELECT current_setting('data_checksums'), current_setting('fsync')") == [["on", "on"]]
    host.down()


@pytest.mark.parametrize("major", ["11", "13", "15", "18"])
def test_the_pair_of_the_source_page_streams(new_lab: object, major: str) -> None:
    pair = new_lab().source_page_pair(postgres=major)  # type: ignore[operator]
    assert pair.standby.sql("SELECT pg_is_in_recovery()") == [["t"]]
    pair.primary.sql("CREATE TABLE streamed AS SELECT 42 AS n; SELECT pg_switch_wal()")
    deadline = time.monotonic() + 15
    while not int(pair.primary.sql("SELECT archived_count FROM pg_stat_archiver")[0][0]) or not _has_table(pair.standby):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert pair.standby.sql("SELECT n FROM streamed") == [["42"]]
    has_recovery_conf = (
        pair.standby.run(["test", "-e", f"{pair.standby.data_directory}/recovery.conf"], check=False).returncode == 0
    )
    assert has_recovery_conf == (int(major) < 12)


def _has_table(host: object) -> bool:
    return host.sql("SELECT to_regclass('streamed') IS NOT NULL") == [["t"]]  # type: ignore[attr-defined]


def test_a_registry_has_the_rows_asked_for_and_a_trickle_adds_to_them(lab: Lab) -> None:
    host = lab.up("reg")
    lab.registry(host, rows=500)
    assert host.sql("SELECT count(*) FROM domain", database="registry") == [["500"]]
    lab.trickle(host, writes_per_second=50)
    deadline = time.monotonic() + 10
    while int(host.sql("SELECT count(*) FROM transaction_log", database="registry")[0][0]) < 520:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert int(host.sql("SELECT count(*) FROM domain", database="registry")[0][0]) > 500


def test_the_writer_loses_nothing_when_its_primary_restarts(lab: Lab) -> None:
    host = lab.up("w1")
    writer = lab.writer([host])
    writer.start()
    time.sleep(0.5)
    host.pg_stop()
    time.sleep(0.3)
    host.pg_start()
    time.sleep(0.5)
    report = writer.stop()
    assert report.lost == 0
    assert report.acknowledged > 100
    assert 300 < report.longest_gap_ms < 10_000
    assert report.gap_from < report.gap_to
    assert report.server == host.ip
    assert report.errors


def test_the_writer_gives_up_on_a_server_that_has_frozen(lab: Lab) -> None:
    host = lab.up("w2")
    writer = lab.writer([host])
    writer.start()
    host.pause()
    time.sleep(2.5)
    host.resume()
    time.sleep(0.5)
    report = writer.stop()
    assert report.lost == 0
    assert report.longest_gap_ms > 2000
    assert report.attempts > 1, "it had gone on to look for another server"


def test_a_writer_that_cannot_start_says_why(lab: Lab) -> None:
    bare = lab.up("w3", create=False)
    with pytest.raises(LabError, match="could not write"):
        lab.writer([bare]).start(timeout_seconds=1)
