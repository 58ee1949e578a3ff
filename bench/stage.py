"""What the benches play on: three lab hosts with a database of a given size, and a panel that runs as in the demo."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lab import demo
from lab.host import Host
from lab.lab import Lab

CLUSTER = "bench"


@dataclass(frozen=True)
class Stage:
    lab: Lab
    panel: demo.Panel
    runs: int
    megabytes: int

    @classmethod
    @contextmanager
    def set(cls, megabytes: int, runs: int) -> Iterator[Stage]:
        panel = demo.fresh_panel(8700, "bench")
        panel.manage("migrate", "--verbosity", "0")
        processes = demo.start(panel)
        try:
            with Lab("bench") as lab:
                lab.up("h1", fsync=True)
                lab.up_all(["h2", "h3"], create=False)
                fill(lab["h1"], megabytes)
                demo.wait_for(panel, processes)
                yield cls(lab, panel, runs, megabytes)
        finally:
            demo.stop(processes)

    def add_cluster(self, name: str, nodes: dict[str, str]) -> None:
        demo.add_cluster(self.panel, self.lab, name, nodes)

    def job(self, kind: str, cluster: str, **params: str) -> dict[str, Any]:
        """Run a job through the panel's workers; its JSON with seconds by step."""
        settings = [word for name, value in params.items() for word in ("--set", f"{name}={value}")]
        answer = self.panel.manage(
            "job", "run", kind, "--cluster", cluster, *settings, "--yes", "--json", capture=True, timeout_seconds=900
        )
        return json.loads(answer)  # type: ignore[no-any-return]

    def times(self, job_id: int, step: str) -> tuple[float, float]:
        """When a job began, and when the step that begins so did; seconds since the epoch."""
        with closing(sqlite3.connect(f"file:{self.panel.var}/pgpanel.sqlite3?mode=ro", uri=True)) as database:
            (job,) = database.execute("SELECT started_at FROM jobs_job WHERE id = ?", (job_id,)).fetchone()
            query = "SELECT started_at FROM jobs_jobstep WHERE job_id = ? AND key LIKE ? || '%'"
            (begun,) = database.execute(query, (job_id, step)).fetchone()
        began, decided = (datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (job, begun))
        return began, decided


def fill(host: Host, megabytes: int) -> None:
    """About that many megabytes of rows that compress three- to fourfold, as a registry's do.

    Vacuumed now: with wal_log_hints the first vacuum of a new table writes as much WAL as the table is big, which autovacuum would
    do in the middle of a measurement, and streaming and archiving would share the slow link with it.
    """
    rows, at_once = megabytes * 4000, 400_000
    host.sql("CREATE TABLE bulk (n int, token text, text text, at timestamptz)", database="registry")
    for first in range(1, rows + 1, at_once):  # a slow machine must be able to say each of them in time
        host.sql(
            f"""INSERT INTO bulk SELECT n, md5(n::text), repeat(md5((n % 5000)::text), 4), now()
                FROM generate_series({first}, {min(first + at_once - 1, rows)}) n""",
            database="registry",
        )
    host.sql("VACUUM (FREEZE, ANALYZE) bulk; CHECKPOINT;", database="registry")


def seconds_of(argv: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, check=True, capture_output=True, timeout=900)
    return time.monotonic() - began
