"""The start guard: an old primary that boots by itself, a writer already dialling it, after another node was promoted."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kinds_walk import Room

from jobs.blocks.guard import is_guarded
from lab import Lab
from lab.host import Host
from remote import guard

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"]}


def a_pair(lab: Lab, postgres: str, layout: str, **params: Any) -> tuple[Room, Host, Host]:
    pg1 = lab.up("pg1", postgres=postgres, layout=layout)
    pg2 = lab.up("pg2", postgres=postgres, layout=layout, create=False)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP | params, BOTH)
    return room, pg1, pg2


def promote_by_hand(host: Host) -> None:
    host.run([f"{host.bin_directory}/pg_ctl", "-D", host.data_directory, "promote"], user="postgres")
    deadline = time.monotonic() + 20
    while host.sql("SELECT pg_is_in_recovery()") != [["f"]]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_streaming(upstream: Host) -> None:
    deadline = time.monotonic() + 20
    while upstream.sql("SELECT state FROM pg_stat_replication") != [["streaming"]]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_read_only(host: Host) -> bool:
    return host.sql("SELECT pg_is_in_recovery()") == [["t"]]


def standing(room: Room, name: str) -> guard.Standing:
    spec = room.spec(name)
    _plan, world = room.plan("setup", SETUP, BOTH, job="job-look")
    facts = world.facts(name)
    assert is_guarded(world, spec) == guard.standing(spec, facts).is_guarded
    return guard.standing(spec, facts)


@pytest.mark.parametrize(
    ("postgres", "layout", "is_ahead"),
    [
        ("15", "debian", False),
        ("15", "debian", True),
        ("17", "debian", True),
        ("11", "cocca", False),
        ("11", "cocca", True),
        ("17", "cocca", False),
    ],
)
def test_an_old_primary_that_boots_by_itself_never_accepts_a_write(
    new_lab: Any, postgres: str, layout: str, is_ahead: bool
) -> None:
    lab: Lab = new_lab()
    room, pg1, pg2 = a_pair(lab, postgres, layout)
    assert standing(room, "pg1").is_guarded
    assert standing(room, "pg2").is_guarded
    writer = lab.writer([pg1])
    writer.start()
    time.sleep(0.5)
    if is_ahead:  # rows that never left it, below a checkpoint that never did either
        pg2.run("pkill -STOP -f 'wal ?receiver'")
        pg1.sql("CREATE TABLE never_left AS SELECT generate_series(1, 1000)")
        pg1.sql("CHECKPOINT")
    pg1.kill()
    if is_ahead:
        pg2.run("pkill -KILL -f 'wal ?receiver'", check=False)
        pg2.wait_postgres()
    promote_by_hand(pg2)
    before = writer.acknowledged()
    pg1.start()
    pg1.wait_postgres()
    time.sleep(2)
    assert is_read_only(pg1)
    assert not is_ahead or pg1.sql("SELECT count(*) FROM never_left") == [["1000"]]
    assert writer.acknowledged() == before
    pg1.kill()  # what holds it back stays on its disk, whoever is there to be asked
    pg2.kill()
    pg1.start()
    pg1.wait_postgres()
    assert is_read_only(pg1)
    assert writer.stop().acknowledged == before
    held = standing(room, "pg1").held_back if pg2.start() is None else {}
    assert (held["peer"], held["peer_timeline"], held["timeline"]) == ("pg2", "2", "1")
    assert standing(room, "pg1").failed == ""


def test_without_the_guard_it_does(new_lab: Any) -> None:
    lab: Lab = new_lab()
    room, pg1, pg2 = a_pair(lab, "15", "debian", start_guard=False)
    assert not standing(room, "pg1").is_guarded
    writer = lab.writer([pg1])
    writer.start()
    pg1.kill()
    promote_by_hand(pg2)
    before = writer.acknowledged()
    pg1.start()
    pg1.wait_postgres()
    time.sleep(1)
    assert not is_read_only(pg1)
    assert writer.stop().acknowledged > before


@pytest.mark.parametrize("layout", ["debian", "cocca"])
def test_when_nobody_answers_it_starts_as_it_is(new_lab: Any, layout: str) -> None:
    """A power failure of the whole site must come back by itself, and in a bounded time."""
    lab: Lab = new_lab()
    room, pg1, pg2 = a_pair(lab, "15" if layout == "debian" else "11", layout)
    for host in (pg1, pg2):
        host.kill()
    began = time.monotonic()
    pg1.start()
    pg1.wait_postgres(timeout_seconds=40)
    assert not is_read_only(pg1)
    assert time.monotonic() - began < 25
    pg2.start()
    if layout == "cocca":  # nothing but its ctl script starts it: no init of its own was made for the new standby
        pg2.pg_start()
    pg2.wait_postgres()
    wait_streaming(pg1)
    assert "0 of 1 other nodes answered" in standing(room, "pg1").said
    assert "starts as a standby" in standing(room, "pg2").said


def test_a_debian_without_systemd_asks_in_its_init_script(lab: Lab) -> None:
    init = "/etc/init.d/postgresql"
    room, pg1, pg2 = a_pair(lab, "15", "debian")
    plain = lab.up("plain", create=False).run(["cat", init]).stdout
    pg1.pg_stop()
    promote_by_hand(pg2)
    pg1.run([init, "start"])
    assert is_read_only(pg1)
    wait_streaming(pg2)  # stopped in order it has nothing of its own: it follows at once
    params = {"primary": "pg2", "standbys": ["pg1"], "start_guard": False}
    room.run("setup", params, BOTH, job="job-2")
    assert {"guard.remove#pg1", "guard.remove#pg2"} <= set(room.acted())
    room.run("setup", params, BOTH, job="job-3")
    assert room.acted() == ["proof.write"]
    for host in (pg1, pg2):
        assert host.run(["cat", init]).stdout == plain
        assert (
            host.run("ls /var/lib/postgresql/15/wals/.pgpanel /etc/systemd/system/postgresql@15-main.service.d").stdout.count(
                "guard"
            )
            == 0
        )


def test_of_two_writable_ones_on_the_same_timeline_the_one_that_serves_stays(new_lab: Any) -> None:
    room, pg1, pg2 = a_pair(new_lab(), "17", "cocca")
    pg1.kill()
    pg2.pg_stop()
    pg2.run(["rm", f"{pg2.data_directory}/standby.signal"])
    pg2.pg_start()
    pg1.start()
    pg1.wait_postgres()
    assert is_read_only(pg1)
    assert not is_read_only(pg2)
    assert standing(room, "pg1").held_back["why"] == "pg2 takes writes on timeline 1"
