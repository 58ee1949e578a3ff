"""Who writes while roles change, what it saw, and when the old primary was back: the same from outside for every tool."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg2

from bench.pair import Place, wait
from lab.host import Host
from lab.lab import Lab
from lab.writer import Writer, WriterReport

WARM_SECONDS = 2.5
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Seen:
    """gap_ms: the longest time between two acknowledged commits. streams_ms: from its begin until the other node streams again."""

    gap_ms: float
    streams_ms: float
    report: WriterReport

    @property
    def lost(self) -> int:
        return (self.report.lost or 0) + (self.report.doubled or 0)


class Load:
    """The lab's writer, a commit every 2 ms over a multi-host connection, and pgbench beside it on the primary."""

    def __init__(self, lab: Lab, tool: str, places: Sequence[Place]) -> None:
        self.lab, self.tool, self.places = lab, tool, places
        self._environment = os.environ | {"PGPASSFILE": str(lab.keys.pgpass_path)}

    def prepare(self, primary: Place) -> None:
        subprocess.run(
            [self.tool, "-i", "-q", "-s", "5", *self._to(primary)], env=self._environment, check=True, capture_output=True
        )

    def during(self, primary: Place, candidate: Place, change: Callable[[], None], *, streams: bool = True) -> Seen:
        """streams: until the old primary streams from the candidate; else until the writer writes again."""
        writer = Writer(self.lab, self.places)
        writer.start()
        beside = [self.tool, "-n", "-c", "4", "-j", "1", "-R", "300", "-T", "120", *self._to(primary)]
        pgbench = subprocess.Popen(beside, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watch = Watch(self.lab, candidate)
        try:
            time.sleep(WARM_SECONDS)
            change()
            if streams:
                watch.wait()
            else:
                before = writer.acknowledged()
                wait(lambda: writer.acknowledged() > before, "the writer writes again")
            time.sleep(0.5)
        finally:
            pgbench.terminate()
            pgbench.wait()
            watch.is_over.set()
            report = writer.stop()
        return Seen(report.longest_gap_ms, (watch.at - report.gap_from) * 1000, report)

    @staticmethod
    def _to(place: Place) -> list[str]:
        return ["-h", place.ip, "-p", str(place.pg_port), "-U", "registry", "registry"]


class Watch:
    """Asks the candidate, over a session that was open before, whether somebody streams from it: the time when that is first so."""

    def __init__(self, lab: Lab, candidate: Place) -> None:
        where = f"host={candidate.ip} port={candidate.pg_port} user=registry dbname=registry passfile={lab.keys.pgpass_path}"
        self._connection = psycopg2.connect(where)
        self._connection.autocommit = True
        self.at = 0.0
        self.is_over = threading.Event()
        self._seen = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def wait(self, seconds: float = 60) -> None:
        if not self._seen.wait(seconds):
            raise TimeoutError(f"the old primary does not stream within {seconds:g} s")

    def _look(self) -> None:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND NOT pg_is_in_recovery()"
        with self._connection.cursor() as cursor:
            while not self.is_over.wait(LOOK_SECONDS):
                cursor.execute(query)
                if (cursor.fetchone() or (0,))[0]:
                    self.at = time.time()
                    self._seen.set()
                    return


def pgbench_of(host: Host) -> str:
    """The lab's hosts have this machine's own programs of the release's PostgreSQL."""
    return f"{host.bin_directory}/pgbench"
