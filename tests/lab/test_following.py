"""Who follows whom, changed on real hosts: a cascade made and undone, and a standby that leaves nothing behind."""

from __future__ import annotations

import pytest
from kinds_walk import Refused, Room

from lab import Lab

pytestmark = pytest.mark.lab

ALL = ["pg1", "pg2", "pg3"]


@pytest.mark.parametrize("major", [11, 15])
def test_a_standby_is_repointed_to_another_and_back_and_leaves_at_last(lab: Lab, major: int) -> None:
    layout = {} if major == 15 else {"layout": "custom", "postgres": str(major)}
    names = [f"pg{number}-{major}" for number in (1, 2, 3)]
    pg1, pg2, pg3 = (lab.up(name, create=number == 0, **layout) for number, name in enumerate(names))
    room = Room(lab, dict(zip(names, (pg1, pg2, pg3), strict=True)))
    room.run("setup", {"primary": names[0], "standbys": names[1:], "retention": "slots"}, names)
    plan = room.run("repoint", {"node": names[2], "upstream": names[1]}, names, job="job-2")
    assert bool([step for step in plan.steps if step.restarts]) is (major == 11)
    assert pg2.sql("SELECT application_name, state FROM pg_stat_replication") == [[names[2], "streaming"]]
    slots = "SELECT slot_name FROM pg_replication_slots ORDER BY 1"
    assert pg1.sql(slots) == [[f"pgpanel_{names[1].replace('-', '_')}"]]
    assert pg2.sql(slots) == [[f"pgpanel_{names[2].replace('-', '_')}"]]
    with pytest.raises(Refused, match="follows it"):
        room.run("remove_standby", {"node": names[1]}, names, job="job-3")
    with pytest.raises(Refused, match=r"follows .* itself"):
        room.run("repoint", {"node": names[1], "upstream": names[2]}, names, job="job-3")
    room.run("setup", {"primary": names[0], "standbys": names[1:], "retention": "slots"}, names, job="job-4")
    room.run("repoint", {"node": names[2], "upstream": names[0]}, names, job="job-5")
    assert pg2.sql(slots) == []
    pg1.sql(f'ALTER SYSTEM SET synchronous_standby_names = \'ANY 2 ("{names[1]}", "{names[2]}")\'')
    pg1.sql("SELECT pg_reload_conf()")
    room.run("remove_standby", {"node": names[2]}, names, job="job-6")
    assert pg1.sql("SHOW synchronous_standby_names") == [[f'ANY 1 ("{names[1]}")']]
    assert pg1.sql(slots) == [[f"pgpanel_{names[1].replace('-', '_')}"]]
    assert names[2] not in pg1.run(["sh", "-c", f"cat {room.spec(names[0]).config_directory}/pg_hba.conf"]).stdout
    assert pg1.sql("SELECT 1") == [["1"]]
    assert not pg3.run(["pgrep", "-x", "postgres"], check=False).stdout.strip()
