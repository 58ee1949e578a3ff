"""Five hundred people who look on, and a fleet of two hundred clusters: what they wait, and whether the collector notices them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress

from bench.rows import Row, row
from bench.stage import Stage
from bench.watched import Servers, percentile
from bench.watching import Ear, Heard

VIEWERS, NODES = 500, 600
SECONDS, QUIET_SECONDS = 30.0, 15.0
ARRIVING_SECONDS = 10.0


def live(stage: Stage) -> Sequence[Row]:
    """Each with a session of their own, on a page of one of the clusters, all of which are watched meanwhile."""
    servers, ear = Servers.on(stage), Ear(stage)
    with servers.registered(NODES):
        sessions = servers.crowd("people", str(VIEWERS)).split()
        ear.wait_for(NODES)
        alone = ear.hear(QUIET_SECONDS)
        delays, together = asyncio.run(_watch(stage, ear, sessions, _topics(stage)))
    p95 = percentile(delays, 0.95) * 1000
    return [
        row(f"{VIEWERS} viewers: a sample, from the collector to the browser: p95", "ms", [p95]),
        row(f"{VIEWERS} viewers: the same, median", "ms", [percentile(delays, 0.5) * 1000]),
        row(f"{VIEWERS} viewers, {NODES} nodes: looks a second", "1/s", [together.looks / together.seconds],
            limit=[alone.looks / alone.seconds], limit_name="without viewers"),
        row(f"{VIEWERS} viewers, {NODES} nodes: between two looks at a node, p95", "ms", [percentile(together.gaps, 0.95) * 1000],
            limit=[percentile(alone.gaps, 0.95) * 1000], limit_name="without viewers"),
    ]  # fmt: skip


def fleet(stage: Stage) -> Sequence[Row]:
    servers, ear = Servers.on(stage), Ear(stage)
    with servers.registered(NODES):
        ear.wait_for(NODES)
        lines = [line.split() for line in servers.crowd("fleet").splitlines()]
    rows = []
    for path, name in (("/", "the page"), ("/monitor/cards/", "all its cards")):
        times = [float(ms) for found, _asked, ms in lines if found == path][2:]
        questions = {int(asked) for found, asked, _ms in lines if found == path}
        rows.append(row(f"fleet of 200 clusters, 600 nodes: {name}, server time", "ms", times))
        rows.append(row(f"fleet of 200 clusters, 600 nodes: {name}, questions to the database", "", [min(questions)]))
    return rows


def year(stage: Stage) -> Sequence[Row]:
    """Of rows that are really written; 1 s for an hour, 10 s for a day, 1 min for 30 days, 1 h for the year."""
    servers = Servers(stage)
    try:
        rows, size = servers.crowd("year").split()
    finally:
        servers.crowd("away")
    return [
        row("a year's samples of one node, SQLite, with indexes", "MB", [int(size) / 1e6]),
        row("a year's samples of one node: rows", "", [int(rows)]),
    ]


def _topics(stage: Stage) -> list[str]:
    with closing(sqlite3.connect(f"file:{stage.panel.var}/pgpanel.sqlite3?mode=ro", uri=True)) as database:
        return [f"cluster:{pk}" for (pk,) in database.execute("SELECT id FROM clusters_cluster WHERE name LIKE 'crowd-%'")]


async def _watch(stage: Stage, ear: Ear, sessions: Sequence[str], topics: Sequence[str]) -> tuple[list[float], Heard]:
    delays: list[float] = []
    measuring = asyncio.Event()
    viewers = []
    for number, session in enumerate(sessions):
        viewers.append(asyncio.create_task(_view(stage.panel.port, session, topics[number % len(topics)], delays, measuring)))
        await asyncio.sleep(ARRIVING_SECONDS / len(sessions))
    await asyncio.sleep(5)
    measuring.set()
    heard = await asyncio.to_thread(ear.hear, SECONDS)
    measuring.clear()
    gone = sum(viewer.done() for viewer in viewers)
    for viewer in viewers:
        viewer.cancel()
    for viewer in viewers:
        with suppress(asyncio.CancelledError):
            await viewer
    if gone:
        raise RuntimeError(f"{gone} of {len(viewers)} streams ended by themselves")
    return delays, heard


async def _view(port: int, session: str, topic: str, delays: list[float], measuring: asyncio.Event) -> None:
    """A browser's EventSource; the delay counts from the collector's verdict (`at`)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = (f"GET /live/?topic={topic}&after=0 HTTP/1.1", "Host: localhost", f"Cookie: sessionid={session}")
    writer.write("\r\n".join((*head, "", "")).encode())
    name = ""
    try:
        while line := await reader.readline():
            if line.startswith(b"event:"):
                name = line[6:].strip().decode()
            elif line.startswith(b"data:") and name == "sample" and measuring.is_set():
                delays.append(time.time() - json.loads(line[5:])["at"])
    finally:
        writer.close()
