"""Names, passwords, paths and values that SQL, a shell and configuration files read each in a way of its own, on real servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kinds_walk
import pytest
from kinds_walk import Room

from jobs.recipe import Brief, ParamsError
from lab import Lab
from lab.host import Host
from remote.command import Secret

pytestmark = pytest.mark.lab

BOTH = ["pg1", "pg2"]
REPLICATION, MONITORING = "pgpanel_$$x$1", "select"
"""What the form takes as a role: what would end a quoted text of SQL ($$) or be a parameter ($1), and a word of SQL."""
PASSWORD = r"""it's \ "a" : $1 $$ %s {b} ; DROP DATABASE registry; -- $(touch /tmp/owned) `touch /tmp/owned`"""
FOLLOWING = r"""'' || \' \\ \n ":*:" $(touch /tmp/owned) E'\\' next"""
DATABASES = ['a"b', "it's", "x; DROP DATABASE registry; --", "$(touch /tmp/owned)", r"back\slash", "é 字 {}", "-d", "%s"]
TABLESPACE, THERE = "/srv/ts (touch /tmp/owned) ;x", "/srv/& touch /tmp/owned & ts * ?"
COPY = "/srv/copy ; touch /tmp/owned # & | < * ?"
REFUSED = "/srv/copy $(touch /tmp/owned)"
"""PostgreSQL's own tools would run that."""
SETTINGS = {
    "log_line_prefix": r"%m 'x' \ \\ '' \"y\" $(touch /tmp/owned) # é",
    "search_path": '"$user", "it\'s; x", public',
}


class HostileRoom(Room):
    """Its roles' passwords, now and to come, are such texts (of ASCII: more the form does not take)."""

    def brief(self, job: str, names: Any) -> Brief:
        brief = super().brief(job, names)
        following = {"replication.next_password": Secret("next replication password", FOLLOWING)}
        return replace(brief, secrets={**brief.secrets, **following})


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def nothing_ran(*hosts: Host) -> None:
    for host in hosts:
        assert host.run("find / -xdev -name owned -not -path '/proc/*' 2>/dev/null", check=False).stdout == ""
    assert hosts[0].sql("SELECT count(*) FROM pg_database WHERE datname = 'registry'") == [["1"]]


def test_roles_passwords_paths_databases_and_settings_mean_what_they_say(new_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds_walk, "PASSWORD", PASSWORD)
    lab: Lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    lab.registry(pg1, 200)
    for name in DATABASES:
        pg1.sql(f"CREATE DATABASE {quoted(name)}")
        pg1.sql(f"CREATE ROLE {quoted(name)}")
    pg1.run(["install", "-d", "-o", pg1.postgres_user, "-m", "700", TABLESPACE])
    pg1.sql(f"CREATE TABLESPACE odd LOCATION '{TABLESPACE}'")
    pg1.sql("CREATE TABLE odd_rows TABLESPACE odd AS SELECT 1 AS id", database="registry")
    room = HostileRoom(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", {
        "primary": "pg1", "standbys": ["pg2"], "replication_role": REPLICATION, "monitoring_role": MONITORING,
        "tablespaces": {TABLESPACE: THERE}, "method": "pg_basebackup",
    }, BOTH)  # fmt: skip
    assert pg1.sql("SELECT usename, state FROM pg_stat_replication") == [[REPLICATION, "streaming"]]
    assert pg1.sql(f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{MONITORING}'") == [["t"]]
    assert pg2.run(["ls", "-A", THERE]).stdout.strip()
    assert {row[0] for row in pg2.sql("SELECT datname FROM pg_database")} >= set(DATABASES)
    nothing_ran(pg1, pg2)

    for number, (name, value) in enumerate(SETTINGS.items()):
        room.run("set_parameter", {"name": name, "value": value}, BOTH, job=f"job-1{number}")
        for host in (pg1, pg2):
            found = host.sql(f"SELECT setting, applied FROM pg_file_settings WHERE name = '{name}' ORDER BY seqno DESC LIMIT 1")
            assert found == [[value, "t"]]

    (before,) = pg1.sql("SELECT pid FROM pg_stat_replication")
    room.run("rotate_password", {"purpose": "replication"}, BOTH, job="job-20")
    (after,) = pg1.sql("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'")
    assert after != before
    monkeypatch.setattr(kinds_walk, "PASSWORD", FOLLOWING)  # it is the password from now on

    room.run("base_backup", {"source": "pg1", "target": "pg2", "directory": COPY, "replication_role": REPLICATION,
                             "tablespaces": {TABLESPACE: "/srv/; touch /tmp/owned ; ts two"}}, BOTH, job="job-30")  # fmt: skip
    assert "PG_VERSION" in pg2.run(["ls", COPY]).stdout
    with pytest.raises(ParamsError, match="double quotes"):
        room.plan("base_backup", {"source": "pg1", "target": "pg2", "directory": REFUSED}, BOTH)
    nothing_ran(pg1, pg2)
    for secret in (PASSWORD, FOLLOWING):
        assert not [line for line in room.said if secret in line]
        assert not [host.name for host in (pg1, pg2) if secret in host.pg_log_tail(100_000)]
