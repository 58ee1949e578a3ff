"""Bringing a diverged primary back: the panel's whole job by each method against the bare sequence, from the very same state."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rows import Row, row
from bench.stage import CLUSTER, Stage
from lab.host import Host

LOST_ROWS = 4000
METHODS = ("rewind", "delta", "copy")


@dataclass(frozen=True)
class Pair:
    old: Host
    new: Host

    @property
    def data(self) -> str:
        return shlex.quote(self.old.data_directory)

    def keep_state(self) -> None:
        self.old.run(f"rm -rf {self.data}.state; cp -a {self.data} {self.data}.state; sync", timeout_seconds=600)

    def restore(self) -> None:
        """As it was when it died; what was put aside since is gone."""
        self.old.run(f"pg_ctlcluster {self.old.postgres_major} main stop -m immediate || :", check=False)
        self.old.run(
            f"rm -rf {self.data} {self.data}.old-* {self.data}.new-*; cp -a {self.data}.state {self.data}; sync",
            timeout_seconds=600,
        )


def by_method(stage: Stage) -> Sequence[Row]:
    pair = Pair(stage.lab["h1"], stage.lab["h2"])
    if not pair.new.is_postgres_running():
        stage.add_cluster(CLUSTER, {"pg1": "h1", "pg2": "h2"})
        stage.job("setup", CLUSTER, primary="pg1", standbys="pg2")
    _part(pair)
    _let_in(pair)
    pair.keep_state()
    bare: list[float] = []
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    for _run in range(stage.runs):
        pair.restore()
        bare.append(_bare(pair))
        for method in METHODS:
            pair.restore()
            found[method].append(stage.job("rebuild", CLUSTER, node="pg1", method=method))
    size = f"rejoin of {stage.megabytes / 1024:g} GB by"
    rows = []
    for method, jobs in found.items():
        streams = [_until(job, "proof.streaming") for job in jobs]
        rows.append(row(f"{size} {method}, until it streams", "s", streams, limit=bare, limit_name="CHECKPOINT, pg_rewind, start"))
        rows.append(row(f"{size} {method}, the whole job", "s", [job["seconds"] for job in jobs], limit=bare))
    return rows


def _until(job: dict[str, Any], key: str) -> float:
    """Seconds of all steps up to the one that begins so, with it."""
    total = 0.0
    for step in job["steps"]:
        total += step["seconds"] or 0.0
        if step["key"].startswith(key):
            return total
    return float(job["seconds"])


def _part(pair: Pair) -> None:
    """The standby is promoted, the old primary goes on a little, and dies."""
    # else the bare command's own crash recovery throws the WAL away that leads back to the fork
    pair.old.sql("ALTER SYSTEM SET wal_keep_size = '2GB'")
    pair.old.sql("SELECT pg_reload_conf()")
    # else what one run has replayed is cleaned away under the next, which begins from the same old state
    pair.new.sql("ALTER SYSTEM SET wal_keep_size = '2GB'")
    pair.new.sql("SELECT pg_reload_conf()")
    pair.new.run([f"{pair.new.bin_directory}/pg_ctl", "-D", pair.new.data_directory, "promote"], user="postgres")
    _wait(lambda: pair.new.sql("SELECT pg_is_in_recovery()") == [["f"]])
    for host, word, first in ((pair.old, "lost", 1000), (pair.new, "won", 100_000)):
        host.sql(f"UPDATE bulk SET text = text || '{word}' WHERE n BETWEEN {first} AND {first + LOST_ROWS}", database="registry")
    pair.old.run(f"kill -9 $(head -n 1 {pair.data}/postmaster.pid)")
    time.sleep(1)


def _let_in(pair: Pair) -> None:
    """A superuser over TCP: what somebody would have by hand."""
    line = f"host all postgres {pair.old.ip}/32 trust"
    hba = f"{pair.new.config_directory}/pg_hba.conf"
    pair.new.run(f"grep -qxF '{line}' '{hba}' || sed -i '1i{line}' '{hba}'", user="postgres")
    pair.new.sql("SELECT pg_reload_conf()")


def _bare(pair: Pair) -> float:
    """CHECKPOINT on the new primary, pg_rewind in place, its lines, the start, until it streams."""
    old, new = pair.old, pair.new
    conf = f"{old.config_directory}/postgresql.conf"
    own = f"/var/lib/postgresql/{old.postgres_major}/wals/.pgpanel/pgpass"
    follow = f"primary_conninfo = 'host={new.ip} user=pgpanel_replication passfile={own} application_name=pg1'"
    script = f"""set -e
        {old.bin_directory}/pg_rewind -D {pair.data} --source-server='host={new.ip} user=postgres dbname=postgres' \\
            --config-file={conf}
        echo "{follow}" >>{pair.data}/postgresql.auto.conf
        echo "primary_slot_name = ''" >>{pair.data}/postgresql.auto.conf
        : >{pair.data}/standby.signal"""
    began = time.monotonic()
    new.sql("CHECKPOINT")
    old.run(script, user="postgres", timeout_seconds=600)
    old.run(f"pg_ctlcluster {old.postgres_major} main start", timeout_seconds=600)
    _wait(lambda: ["pg1", "streaming"] in new.sql("SELECT application_name, state FROM pg_stat_replication"))
    return time.monotonic() - began


def _wait(is_true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("the bench waited in vain")
        time.sleep(0.02)
