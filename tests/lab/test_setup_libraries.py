"""Extensions: replication brings their names to a standby, only a package brings their libraries. So they are looked for before."""

from __future__ import annotations

from typing import Any

import pytest
from kinds_walk import Refused, Room

from lab import Lab
from lab.host import Host

pytestmark = pytest.mark.lab
LIBRARY = "/usr/lib/postgresql/15/lib/shopping.so"
SHARE = "/usr/share/postgresql/15/extension"


def install(host: Host) -> None:
    """An extension of somebody's own, as a package of it would put it there."""
    host.run(f"cp /usr/lib/postgresql/15/lib/tcn.so {LIBRARY}")
    host.run(f"sed 's#/tcn#/shopping#' {SHARE}/tcn.control > {SHARE}/shopping.control")
    host.run(f"sed 's/EXTENSION tcn/EXTENSION shopping/' {SHARE}/tcn--1.0.sql > {SHARE}/shopping--1.0.sql")
    host.run(f"printf '%s\\n' /. {LIBRARY} > /var/lib/dpkg/info/postgresql-15-shopping:amd64.list")


def test_an_extension_that_only_the_primary_has_is_refused_with_its_package_before_anything_is_changed(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    install(pg1)
    pg1.sql("CREATE EXTENSION shopping", database="registry")  # not in the database that every look asks
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    wanted = {"primary": "pg1", "standbys": ["pg2"]}
    plan, world = room.plan("setup", wanted, ["pg1", "pg2"])
    assert world.facts("pg1").clusters[0].libraries == ("$libdir/shopping",)
    (refused,) = [check for check in plan.checks if check.level == "refused"]
    assert (refused.node, refused.title) == ("pg2", "Extension libraries")
    assert refused.reason == "shopping is not installed here: what uses it on pg1 would fail after a switchover"
    assert refused.mend_command == "apt-get install postgresql-15-shopping"
    with pytest.raises(Refused):
        room.run("setup", wanted, ["pg1", "pg2"])
    assert pg1.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgpanel%'") == []

    install(pg2)
    room.run("setup", wanted, ["pg1", "pg2"])
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    assert any("has_libraries" in text or "shopping" in text for text in room.said), "asked again right before the copy"
