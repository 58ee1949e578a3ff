"""A client that commits 1, 2, 3, … every few milliseconds and remembers what was acknowledged.

After whatever was done to the servers meanwhile, its report says for how long nobody could write, which acknowledged
rows are lost, and which were committed twice. `python -m lab.writer CONNINFO --journal FILE` runs until SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg2

from lab import background
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.lab import Lab

RETRY_SECONDS = 0.005
GAP_OF_INTEREST_MS = 50
FINAL_LOOK_SECONDS = 20


class Place(Protocol):
    """Where a server is: a host of the lab, or another port of one."""

    @property
    def ip(self) -> str: ...
    @property
    def pg_port(self) -> int: ...


@dataclass(frozen=True)
class WriterReport:
    """Times are seconds since the epoch. `lost` and `doubled` are None if no primary answered at the end."""

    longest_gap_ms: float
    gap_from: float
    gap_to: float
    acknowledged: int
    lost: int | None
    doubled: int | None
    lost_range: tuple[int, int] | None
    unacknowledged_present: int | None
    gaps_ms: list[float]
    median_ms: float
    attempts: int
    server: str | None
    errors: dict[str, int] = field(default_factory=dict)


class Writer:
    """The writer as a process of its own, so that nothing in the test's Python delays it."""

    def __init__(self, lab: Lab, hosts: Sequence[Place], database: str = "registry", interval_ms: float = 2) -> None:
        self._lab = lab
        self._conninfo = conninfo(hosts, database)
        self._interval_ms = interval_ms
        self._name = f"writer-{time.monotonic_ns()}"
        self.journal = lab.background_directory / f"{self._name}.journal"

    def start(self, timeout_seconds: float = 15) -> None:
        """Returns when the first row has been acknowledged."""
        arguments = [self._conninfo, "--journal", str(self.journal), "--interval-ms", str(self._interval_ms)]
        background.start(self._lab.background_directory, self._name, "lab.writer", arguments, self._lab.keys.pgpass_path)
        deadline = time.monotonic() + timeout_seconds
        while self.acknowledged() == 0:
            if time.monotonic() > deadline:
                said = (self._lab.background_directory / f"{self._name}.log").read_text()
                raise LabError(f"the writer could not write within {timeout_seconds:g} s\n{said}")
            time.sleep(0.02)

    def acknowledged(self) -> int:
        """How many rows so far."""
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def stop(self) -> WriterReport:
        background.end(self._lab.background_directory, self._name, within_seconds=FINAL_LOOK_SECONDS + 15)
        said = (self._lab.background_directory / f"{self._name}.log").read_text()
        try:
            return WriterReport(**json.loads(said.splitlines()[-1]))
        except (IndexError, ValueError) as error:
            raise LabError(f"the writer ended without a report\n{said}") from error


def conninfo(hosts: Sequence[Place], database: str = "registry") -> str:
    """All the hosts; libpq takes the one that is writable. The password is in PGPASSFILE."""
    addresses = ",".join(host.ip for host in hosts)
    ports = ",".join(str(host.pg_port) for host in hosts)
    # libpq rounds connect_timeout=1 up to 2 s
    waits = "connect_timeout=2 tcp_user_timeout=1500"
    return f"host={addresses} port={ports} user=registry dbname={database} target_session_attrs=read-write {waits}"


class _Session:
    """What the writing thread does; the main thread only watches, so that no stuck server can hold the report back."""

    def __init__(self, where: str, table: str, interval_ms: float, reply_timeout_ms: float) -> None:
        self.where, self.table = where, table
        self.interval_seconds = interval_ms / 1000
        self.reply_timeout_seconds = reply_timeout_ms / 1000
        self.acknowledged: list[tuple[float, int]] = []
        self.errors: Counter[str] = Counter()
        self.attempts = 0
        self.stopping = threading.Event()
        self._asked_at: float | None = None
        self._fileno = -1

    def write(self, journal: Path) -> None:
        connection: psycopg2.extensions.connection | None = None
        number = 1
        with journal.open("w", buffering=1) as lines:
            while not self.stopping.is_set():
                try:
                    if connection is None:
                        connection = self._connect(is_first=number == 1)
                    at = self._commit(connection, number)
                except psycopg2.Error as error:
                    said = str(error).strip() or repr(error)
                    self.errors[said.splitlines()[0][:150]] += 1
                    if connection is not None:
                        connection.close()
                        connection = None
                    time.sleep(RETRY_SECONDS)
                    continue
                self.acknowledged.append((at, number))
                lines.write(f"{at:.6f} {number}\n")
                number += 1
                time.sleep(max(0.0, self.interval_seconds - (time.time() - at)))

    def watch(self) -> None:
        """A server that has frozen keeps the connection open and never answers: give up on it after a while."""
        asked_at = self._asked_at
        if asked_at is not None and time.monotonic() - asked_at > self.reply_timeout_seconds:
            self._asked_at = None
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fileno)) as stuck:
                stuck.shutdown(socket.SHUT_RDWR)

    def _connect(self, is_first: bool) -> psycopg2.extensions.connection:
        self.attempts += 1
        connection = psycopg2.connect(self.where, application_name="lab-writer")
        connection.autocommit = True
        self._fileno = connection.fileno()
        with connection.cursor() as cursor:
            if is_first:
                cursor.execute(f"DROP TABLE IF EXISTS {self.table}")
                cursor.execute(f"CREATE TABLE {self.table} (n bigint, at timestamptz DEFAULT clock_timestamp())")
            cursor.execute("SET synchronous_commit = on")
            cursor.execute(f"PREPARE write (bigint) AS INSERT INTO {self.table} (n) VALUES ($1)")
        return connection

    def _commit(self, connection: psycopg2.extensions.connection, number: int) -> float:
        """Returns when it was acknowledged."""
        self._asked_at = time.monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"EXECUTE write ({number})")
            return time.time()
        finally:
            self._asked_at = None

    def report(self) -> WriterReport:
        ended = time.time()
        times = [at for at, _ in self.acknowledged] + [ended]
        gaps = sorted(((after - before) * 1000, before, after) for before, after in itertools.pairwise(times))
        longest = gaps[-1] if gaps else (0.0, ended, ended)
        found, server = self._look_at_the_table()
        lost = None if found is None else [n for _, n in self.acknowledged if n not in found]
        numbers = {n for _, n in self.acknowledged}
        return WriterReport(
            longest_gap_ms=round(longest[0], 1),
            gap_from=longest[1],
            gap_to=longest[2],
            acknowledged=len(self.acknowledged),
            lost=None if lost is None else len(lost),
            doubled=None if found is None else sum(count - 1 for count in found.values()),
            lost_range=(lost[0], lost[-1]) if lost else None,
            unacknowledged_present=None if found is None else len(found.keys() - numbers),
            gaps_ms=[round(gap[0], 1) for gap in reversed(gaps) if gap[0] > GAP_OF_INTEREST_MS][:10],
            median_ms=round(statistics.median(gap[0] for gap in gaps), 2) if gaps else 0.0,
            attempts=self.attempts,
            server=server,
            errors=dict(self.errors),
        )

    def _look_at_the_table(self) -> tuple[dict[int, int] | None, str | None]:
        """number → how often it is there, on whichever server is writable now; and that server's address."""
        deadline = time.monotonic() + FINAL_LOOK_SECONDS
        while time.monotonic() < deadline:
            try:
                connection = psycopg2.connect(self.where, options="-c statement_timeout=15s")
                with connection.cursor() as cursor:
                    cursor.execute(f"SELECT n, count(*) FROM {self.table} GROUP BY n")
                    found = dict(cursor.fetchall())
                    cursor.execute("SELECT host(inet_server_addr())")
                    row = cursor.fetchone()
                return found, None if row is None else str(row[0])
            except psycopg2.Error:
                time.sleep(0.2)
        return None, None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.writer", description=__doc__)
    parser.add_argument("conninfo", help="libpq connection string with all the hosts; the password is in PGPASSFILE")
    parser.add_argument("--journal", type=Path, required=True, help="file for one line per acknowledged row")
    parser.add_argument("--interval-ms", type=float, default=2)
    parser.add_argument("--reply-timeout-ms", type=float, default=1500, help="when to give up on a silent server")
    parser.add_argument("--table", default="lab_writer")
    options = parser.parse_args(arguments)
    session = _Session(options.conninfo, options.table, options.interval_ms, options.reply_timeout_ms)
    for how in (signal.SIGTERM, signal.SIGINT):
        signal.signal(how, lambda *_: session.stopping.set())
    thread = threading.Thread(target=session.write, args=[options.journal], daemon=True)
    thread.start()
    while thread.is_alive() and not session.stopping.wait(0.05):
        session.watch()
    thread.join(timeout=3)
    print(json.dumps(asdict(session.report())), flush=True)
    os._exit(0)  # the writing thread may be stuck in a dead connection


if __name__ == "__main__":
    main()
