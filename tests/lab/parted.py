"""A pair that has parted: the standby was promoted while the primary lived on, took rows that never left it, and was killed."""

from __future__ import annotations

import time
from typing import Any

from kinds_walk import Room

from lab import Host, Lab

BOTH = ["pg1", "pg2"]
SETUP = {"primary": "pg1", "standbys": ["pg2"]}
LOST_ROWS = 25


def pair(lab: Lab, postgres: str = "15", layout: str = "debian", domains: int = 500, **settings: Any) -> Room:
    """pg1 → pg2, made by the panel's own setup."""
    pg1 = lab.up("pg1", postgres=postgres, layout=layout)
    pg2 = lab.up("pg2", postgres=postgres, layout=layout, create=False)
    lab.registry(pg1, domains)
    room = Room(lab, {"pg1": pg1, "pg2": pg2})
    room.run("setup", SETUP | settings, BOTH)
    return room


def promote(host: Host) -> None:
    """By hand, as somebody does at night."""
    host.run([f"{host.bin_directory}/pg_ctl", "-D", host.data_directory, "promote"], user=host.postgres_user)
    until(lambda: host.sql("SELECT pg_is_in_recovery()") == [["f"]], "it is promoted")


def until(is_true: Any, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def kill_postmaster(host: Host) -> None:
    """Only the postmaster: what it leaves behind ends by itself, or does not."""
    host.run(f"kill -9 $(head -n 1 '{host.data_directory}/postmaster.pid')")


def part(room: Room, *, kill: bool = True) -> None:
    """pg2 is the primary from now on; pg1 has rows of its own and is dead."""
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    promote(pg2)
    pg1.sql("CREATE TABLE kept (id int)", database="registry")
    pg1.sql(f"INSERT INTO kept SELECT generate_series(1, {LOST_ROWS})", database="registry")
    pg1.sql("UPDATE domain SET status = 'lost' WHERE id <= 10; DELETE FROM transaction_log WHERE id <= 3", database="registry")
    pg2.sql("CREATE TABLE taken AS SELECT generate_series(1, 40) AS id", database="registry")
    pg2.sql("UPDATE domain SET status = 'won' WHERE id BETWEEN 5 AND 50", database="registry")
    if kill:
        kill_postmaster(pg1)


def is_alike(room: Room) -> bool:
    """Row for row."""
    query = "SELECT count(*), sum(hashtext(domain::text)) FROM domain UNION ALL SELECT count(*), sum(id) FROM taken"
    return room.hosts["pg1"].sql(query, database="registry") == room.hosts["pg2"].sql(query, database="registry")


def streaming(host: Host) -> list[list[str]]:
    return host.sql("SELECT application_name, state FROM pg_stat_replication ORDER BY 1")


def read(room: Room, job: str, word: str) -> str:
    """What a person pastes on pg1 to look into the directory that was put aside."""
    host, spec = room.hosts["pg1"], room.spec("pg1")
    path = f"{spec.wal_archive_directory}/.pgpanel/read-{job}"
    return host.run(f"su {spec.owner} -s /bin/sh -c \"'{path}' {word}\"", timeout_seconds=120).stdout
