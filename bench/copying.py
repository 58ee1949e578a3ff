"""Making a standby: the panel's whole job against the bare `pg_basebackup` command, alternating, on the same hosts."""

from __future__ import annotations

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
    jobs, copies, bare = [], [], []
    for _run in range(runs):
        bare.append(bare_copy(primary, standby))
        reseed(standby)
        job = stage.job("setup", CLUSTER, primary="pg1", standbys="pg2")
        jobs.append(job["seconds"])
        copies.append(sum(step["seconds"] for step in job["steps"] if step["key"].startswith("standby.copy")))
    size = f"standby of {stage.megabytes / 1024:g} GB {where}"
    return [
        row(f"{size}: the whole job, to proven streaming", "s", jobs, limit=bare, limit_name="pg_basebackup"),
        row(f"{size}: its copy", "s", copies, limit=bare, limit_name="pg_basebackup"),
    ]


def allow_bare(primary: Host, standby: Host) -> None:
    """A role and an hba line for the bare command: what somebody would have set up by hand."""
    primary.sql("DO $$ BEGIN CREATE ROLE bare REPLICATION LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    line = f"host replication bare {standby.ip}/32 trust"
    hba = f"{primary.config_directory}/pg_hba.conf"
    primary.run(f"grep -qxF '{line}' '{hba}' || echo '{line}' >> '{hba}'", user="postgres")
    primary.sql("SELECT pg_reload_conf()")


def bare_copy(primary: Host, standby: Host) -> float:
    standby.run(["rm", "-rf", BARE])
    standby.run(["install", "-d", "-o", "postgres", "-m", "700", BARE])
    tool = [f"{standby.bin_directory}/pg_basebackup", "-D", BARE, "-X", "stream", "-c", "fast"]
    source = ["-h", primary.ip, "-p", str(primary.pg_port), "-U", "bare"]
    seconds = seconds_of(standby.command([*tool, *source], user="postgres"))
    standby.run(["rm", "-rf", BARE])
    return seconds


def reseed(standby: Host) -> None:
    """The standby's data is gone, as on a new disk; its configuration stays."""
    standby.pg_stop("immediate")
    standby.run(f"rm -rf '{standby.data_directory}' '{standby.data_directory}'.old-*")
