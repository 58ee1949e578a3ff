"""Kind `promote` on real hosts, walked by hand: salvage, the fence, trigger files, a standby that is ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from kinds_walk import Refused, Room

from lab import Host, Lab

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """One for each test: the hosts are broken on purpose."""
    return new_lab()


def made(lab: Lab, names: Sequence[str], **wishes: object) -> Room:
    """A primary and its standbys, set up by pgpanel."""
    first, *others = names
    hosts = {first: lab.up(first, **wishes)} | {name: lab.up(name, create=False, **wishes) for name in others}  # type: ignore[arg-type]
    room = Room(lab, hosts)
    room.run("setup", {"primary": first, "standbys": list(others)}, names)
    return room


def kill_postmaster(host: Host) -> None:
    pid = host.run(["head", "-n", "1", f"{host.data_directory}/postmaster.pid"]).stdout.strip()
    host.run(["kill", "-9", pid])


def rows_behind(primary: Host, standby: Host, count: int = 500) -> None:
    """Rows that the primary has acknowledged and that never left it: the line between the two is cut meanwhile."""
    primary.split(standby)
    primary.sql(f"CREATE TABLE kept AS SELECT generate_series(1, {count}) AS id")


def promoted(room: Room, names: Sequence[str], job: str = "job-2", **params: object) -> None:
    """Behind every step another worker could go on."""
    room.resumes = True
    room.run("promote", params, names, job=job)


def test_after_kill_9_of_the_postmaster_its_wal_is_fetched_and_any_start_of_it_is_a_standbys(lab: Lab) -> None:
    room = made(lab, ["pg1", "pg2"])
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    rows_behind(pg1, pg2)
    kill_postmaster(pg1)
    pg1.unsplit()
    promoted(room, ["pg1", "pg2"], candidate="pg2", primary="pg1")
    assert pg2.sql("SELECT count(*) FROM kept") == [["500"]]
    assert pg2.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0].startswith("00000002")
    assert "serve-pg2" not in pg1.run(["ls", "/var/lib/postgresql/15/wals/.pgpanel"]).stdout
    assert "salvage" not in pg1.run(["cat", "/var/lib/postgresql/.ssh/authorized_keys"]).stdout
    assert pg1.run(["cat", "/etc/postgresql/15/main/start.conf"]).stdout.split()[-1] == "manual"
    pg1.pg_start()
    assert pg1.sql("SELECT pg_is_in_recovery()") == [["t"]]


def test_a_standby_that_has_replayed_exactly_to_the_end_of_a_wal_file_lacks_nothing(lab: Lab) -> None:
    room = made(lab, ["pg1", "pg2"])
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    pg1.sql("CREATE TABLE kept AS SELECT 1 AS id")
    end = pg1.sql("SELECT pg_switch_wal(); SELECT pg_current_wal_lsn()")[-1][0]
    assert end.endswith("000000"), "something was written meanwhile"
    wait_for(lambda: pg2.sql("SELECT pg_last_wal_replay_lsn()") == [[end]])
    kill_postmaster(pg1)
    promoted(room, ["pg1", "pg2"], candidate="pg2", primary="pg1")
    assert pg2.sql("SELECT pg_is_in_recovery(), (SELECT count(*) FROM kept)") == [["f", "1"]]


def test_a_primary_that_was_shut_down_in_good_order_comes_back_as_a_standby(lab: Lab) -> None:
    room = made(lab, ["pg1", "pg2"])
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    rows_behind(pg1, pg2)
    pg1.pg_stop("fast")
    pg1.unsplit()
    promoted(room, ["pg1", "pg2"], candidate="pg2", primary="pg1")
    assert "standby.start#pg1" in room.acted()
    assert pg2.sql("SELECT count(*) FROM kept") == [["500"]]
    assert pg2.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg1", "streaming"]]
    assert pg1.sql("SELECT count(*) FROM kept") == [["500"]]


def test_a_postmaster_that_hangs_is_killed_with_all_that_it_left_before_anybody_is_promoted(lab: Lab) -> None:
    room = made(lab, ["pg1", "pg2"])
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    rows_behind(pg1, pg2)
    pg1.run("pkill -STOP -x postgres")
    pg1.unsplit()
    promoted(room, ["pg1", "pg2"], candidate="pg2", primary="pg1")
    assert "old.stop#pg1" in room.acted()
    assert pg1.run("pgrep -x postgres", check=False).stdout == ""
    assert pg2.sql("SELECT count(*) FROM kept") == [["500"]]


def test_a_standby_that_is_behind_another_is_refused_or_fetches_from_it_first(lab: Lab) -> None:
    names = ["pg1", "pg2", "pg3"]
    room = made(lab, names)
    pg1, pg2, pg3 = (room.hosts[name] for name in names)
    rows_behind(pg1, pg3)
    wait_for(lambda: pg2.sql("SELECT to_regclass('kept') IS NOT NULL") == [["t"]])
    pg1.kill()
    pg1.unsplit()
    wait_for(lambda: pg2.sql("SELECT count(*) FROM kept") == [["500"]])
    words = {"candidate": "pg3", "primary": "pg1", "attested": "pg1", "accept_loss": True}
    with pytest.raises(Refused, match=r"pg2 has .* more"):
        room.run("promote", words, names, job="job-2")
    promoted(room, names, job="job-3", **words, fetch_from="pg2")
    assert pg3.sql("SELECT count(*) FROM kept") == [["500"]]
    assert pg3.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]


@pytest.mark.parametrize("by", ["trigger", "auto"])
def test_the_pages_pair_on_11_is_promoted_without_ever_having_been_set_up(lab: Lab, by: str) -> None:
    pair = lab.source_page_pair(postgres="11", registry_rows=200)
    names = [pair.primary.name, pair.standby.name]
    room = Room(lab, {host.name: host for host in (pair.primary, pair.standby)})
    room.brief("job-0", names)  # its host key is known from before
    pair.primary.kill()
    promoted(room, names, candidate=names[1], primary=names[0], attested=names[0], accept_loss=True, by=by)
    assert pair.standby.sql("SELECT pg_is_in_recovery()") == [["f"]]
    assert pair.standby.run(["ls", f"{pair.standby.data_directory}/pg_wal"]).stdout.count("00000002.history") >= 1


def test_the_pages_pair_loses_nothing_when_only_its_postmaster_is_killed(lab: Lab) -> None:
    pair = lab.source_page_pair(postgres="11", registry_rows=200)
    room = Room(lab, {host.name: host for host in (pair.primary, pair.standby)})
    rows_behind(pair.primary, pair.standby)
    kill_postmaster(pair.primary)
    pair.primary.unsplit()
    room.run("promote", {"candidate": pair.standby.name, "primary": pair.primary.name}, list(room.hosts))
    assert pair.standby.sql("SELECT count(*) FROM kept") == [["500"]]
    assert "recovery.conf" in pair.primary.run(["ls", pair.primary.data_directory]).stdout


@pytest.mark.parametrize(("postgres", "layout"), [("13", "cocca"), ("18", "cocca"), ("17", "debian")])
def test_salvage_on_other_versions(lab: Lab, postgres: str, layout: str) -> None:
    room = made(lab, ["pg1", "pg2"], postgres=postgres, layout=layout)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    rows_behind(pg1, pg2)
    kill_postmaster(pg1)
    pg1.unsplit()
    promoted(room, ["pg1", "pg2"], candidate="pg2", primary="pg1")
    assert pg2.sql("SELECT count(*) FROM kept") == [["500"]]


def wait_for(holds: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)
