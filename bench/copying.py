"""Making a standby: the panel's whole job against the bare `pg_basebackup` command, alternating, on the same hosts."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.rows import Row, row
from bench.stage import CLUSTER, Stage, seconds_of
from lab.host import Host

BARE = "/srv/bare"


def full_speed(stage: Stage) -> Sequence[Row]:
    return _measure(stage, "at full speed", stage.runs)


def slow_link(stage: Stage) -> Sequence[Row]:
    stage.lab["h2"].rate("200mbit")
    try:
        return _measure(stage, "over 200 Mbit/s", 1)
    finally:
        stage.lab["h2"].rate(None)


def _measure(stage: Stage, where: str, runs: int) -> Sequence[Row]:
    """The first job sets the primary up and is not counted; then a bare copy and a re-seed of the standby take turns."""
    primary, standby = stage.lab["h1"], stage.lab["h2"]
    if not standby.is_postgres_running():
        stage.add_cluster(CLUSTER, {"pg1": "h1", "pg2": "h2"})
        stage.job("setup", CLUSTER, primary="pg1", standbys="pg2")
    allow_bare(primary, standby)
    jobs: list[float] = []
    copies: list[float] = []
    bare: list[float] = []
    by_hand: list[float] = []
    for _run in range(runs):
        for found, seconds in zip((bare, by_hand), bare_standby(primary, standby), strict=True):
            found.append(seconds)
        reseed(standby)
        job = stage.job("setup", CLUSTER, primary="pg1", standbys="pg2")
        jobs.append(job["seconds"])
        copies.append(sum(step["seconds"] for step in job["steps"] if step["key"].startswith("standby.copy")))
    size = f"standby of {stage.megabytes / 1024:g} GB {where}"
    return [
        row(f"{size}: the whole job, to proven streaming", "s", jobs, limit=by_hand, limit_name="pg_basebackup, start, streams"),
        row(f"{size}: its copy", "s", copies, limit=bare, limit_name="pg_basebackup"),
    ]


def allow_bare(primary: Host, standby: Host) -> None:
    """A role and an hba line for the bare command: what somebody would have set up by hand."""
    primary.sql("DO $$ BEGIN CREATE ROLE bare REPLICATION LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    line = f"host replication bare {standby.ip}/32 trust"
    hba = f"{primary.config_directory}/pg_hba.conf"
    primary.run(f"grep -qxF '{line}' '{hba}' || echo '{line}' >> '{hba}'", user="postgres")
    primary.sql("SELECT pg_reload_conf()")


def bare_standby(primary: Host, standby: Host) -> tuple[float, float]:
    """What somebody does by hand who knows all the words: seconds of the copy, and until its server streams."""
    began = time.monotonic()
    copied = bare_copy(primary, standby)
    follow = f"host={primary.ip} port={primary.pg_port} user=bare application_name=bare"
    own = {"config_file": f"{standby.config_directory}/postgresql.conf", "data_directory": BARE, "port": "5499"}
    own |= {"primary_conninfo": follow, "primary_slot_name": "", "archive_cleanup_command": ""}
    words = " ".join(f"-c {name}='{value}'" for name, value in own.items())
    pg_ctl = [f"{standby.bin_directory}/pg_ctl", "-D", BARE, "-s", "-w"]
    standby.run(["touch", f"{BARE}/standby.signal"], user="postgres")
    standby.run([*pg_ctl, "-l", "/var/tmp/bare.log", "-o", words, "start"], user="postgres")
    query = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'bare' AND state = 'streaming'"
    while primary.sql(query) != [["1"]]:
        time.sleep(0.02)
    seconds = time.monotonic() - began
    standby.run([*pg_ctl, "-m", "immediate", "stop"], user="postgres")
    standby.run(["rm", "-rf", BARE])
    return copied, seconds


def bare_copy(primary: Host, standby: Host) -> float:
    standby.run(["rm", "-rf", BARE])
    standby.run(["install", "-d", "-o", "postgres", "-m", "700", BARE])
    tool = [f"{standby.bin_directory}/pg_basebackup", "-D", BARE, "-X", "stream", "-c", "fast"]
    source = ["-h", primary.ip, "-p", str(primary.pg_port), "-U", "bare"]
    return seconds_of(standby.command([*tool, *source], user="postgres"))


def reseed(standby: Host) -> None:
    """The standby's data is gone, as on a new disk; its configuration stays."""
    standby.pg_stop("immediate")
    standby.run(f"rm -rf '{standby.data_directory}' '{standby.data_directory}'.old-*")
