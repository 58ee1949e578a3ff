"""Kind `fence` on real hosts: who takes writes is stopped, and any later start of it is a standby's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kinds_walk import Refused, Room

from lab import Lab

pytestmark = pytest.mark.lab

MEANT = {"node": "pg1", "attested": "pg1"}


@pytest.fixture
def lab(new_lab: Callable[[], Lab]) -> Lab:
    return new_lab()


@pytest.mark.parametrize(("postgres", "layout"), [("15", "debian"), ("11", "cocca"), ("18", "custom")])
def test_a_writable_server_is_stopped_and_starts_read_only_ever_after(lab: Lab, postgres: str, layout: str) -> None:
    pg1 = lab.up("pg1", postgres=postgres, layout=layout)
    room = Room(lab, {"pg1": pg1})
    with pytest.raises(Refused, match="it is not under quarantine"):
        room.run("fence", {"node": "pg1"}, ["pg1"])
    assert pg1.is_postgres_running()
    room.run("fence", MEANT, ["pg1"])
    assert not pg1.is_postgres_running()
    print(room.seconds)
    pg1.pg_start()
    assert pg1.sql("SELECT pg_is_in_recovery()") == [["t"]]
    room.run("fence", MEANT, ["pg1"], job="job-2")
    assert pg1.is_postgres_running(), "a standby takes no writes: it is left alone"


def test_a_server_that_hangs_is_killed(lab: Lab) -> None:
    pg1 = lab.up("pg1")
    room = Room(lab, {"pg1": pg1})
    pg1.run("pkill -STOP -x postgres")
    room.run("fence", MEANT, ["pg1"])
    assert pg1.run("pgrep -x postgres", check=False).stdout == ""
