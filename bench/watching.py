"""The collector at a thousand nodes a second: what a look costs us and the server, and how late a sample is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psycopg2
import redis

from bench.rows import Row, row
from bench.stage import Stage
from bench.watched import PORT, ROLE, Servers, percentile
from lab.host import Host
from monitor import sql
from remote import versions

NODES = 1002
FEW_SECONDS, MANY_SECONDS, BARE_SECONDS = 20.0, 30.0, 4.0
WARM_SECONDS = 90.0
BARE_CONNECTIONS = 30


@dataclass
class Heard:
    """What came over Redis in some seconds. delays: from a server's answer to here; gaps: between two looks at one node."""

    seconds: float = 0.0
    looks: int = 0
    delays: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    last: dict[tuple[str, str], float] = field(default_factory=dict)

    def take(self, topic: str, data: dict[str, dict[str, dict[str, float]]], now: float) -> None:
        for name, node in data["nodes"].items():
            seen_at, before = node["seen_at"], self.last.get((topic, name))
            if not seen_at or seen_at == before:
                continue
            self.looks += 1
            self.delays.append(now - seen_at)
            if before:
                self.gaps.append(seen_at - before)
            self.last[topic, name] = seen_at


class Ear:
    """A subscription to all live events, as each web process has one."""

    def __init__(self, stage: Stage) -> None:
        self._channel = redis.Redis(port=stage.panel.redis_port).pubsub()  # type: ignore[no-untyped-call]
        self._channel.subscribe("pgpanel:live")

    def hear(self, seconds: float) -> Heard:
        for _old in self._events(0.05):
            pass
        heard, began = Heard(), time.monotonic()
        for topic, data in self._events(seconds):
            heard.take(topic, data, time.time())
        heard.seconds = time.monotonic() - began
        return heard

    def wait_for(self, nodes: int) -> float:
        """Until so many were seen in two seconds; how long that took."""
        began = time.monotonic()
        while len(self.hear(2.5).last) < nodes:
            if time.monotonic() - began > WARM_SECONDS:
                break
        return time.monotonic() - began

    def _events(self, seconds: float) -> Iterator[tuple[str, dict[str, dict[str, dict[str, float]]]]]:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            message = self._channel.get_message(ignore_subscribe_messages=True, timeout=left)
            if message and message["type"] == "message":
                event = json.loads(message["data"])
                if event["event"] == "sample":
                    yield event["topic"], event["data"]


def thousand_nodes(stage: Stage) -> Sequence[Row]:
    servers = Servers.on(stage)
    bare = _bare_loop(stage)
    ear = Ear(stage)
    with servers.registered(3):
        ear.wait_for(3)
        before = servers.looks_cpu()
        few = ear.hear(FEW_SECONDS)
        server_ms = servers.looks_cpu().since(before) * 1000 / max(few.looks, 1)
    with servers.registered(NODES):
        all_seen = ear.wait_for(NODES)
        before = servers.collectors_cpu()
        many = ear.hear(MANY_SECONDS)
        ours = servers.collectors_cpu().since(before)
    return [
        row(f"{NODES} nodes at 1 s: looks a second", "1/s", [many.looks / many.seconds], limit=[NODES], limit_name="all of them"),
        row("nodes a second per core of the collector", "1/s", [many.looks / ours], limit=[bare.a_core], limit_name=bare.name),
        row(f"{NODES} nodes: collector's processor time per look", "ms", [ours * 1000 / many.looks], limit=[bare.own_ms],
            limit_name=bare.name),
        row(f"{NODES} nodes: sample delay p95, from the server's answer to Redis", "ms", [percentile(many.delays, 0.95) * 1000]),
        row(f"{NODES} nodes: between two looks at a node, p95", "ms", [percentile(many.gaps, 0.95) * 1000]),
        row(f"{NODES} nodes: until all were seen after they were added", "s", [all_seen]),
        row("added load on a server: its processor time per look", "ms", [server_ms], limit=[bare.server_ms], limit_name=bare.name),
    ]  # fmt: skip


@dataclass(frozen=True)
class Bare:
    """a_core: looks a second of one core. own_ms, server_ms: processor time per look."""

    a_core: float
    own_ms: float
    server_ms: float
    name: str = "psycopg2 loop, same query"


def _bare_loop(stage: Stage) -> Bare:
    """The same statement, prepared, over connections that stay open; its rows are fetched and thrown away."""
    cursors = [_connected(stage, stage.lab[name]).cursor() for name in ("h1", "h2", "h3") for _each in range(BARE_CONNECTIONS // 3)]
    statement = sql.statement(versions.of("15"))
    for cursor in cursors:
        cursor.execute(f"PREPARE look AS {statement}")
    servers = Servers(stage)
    before, used, until, looks = servers.looks_cpu(), time.process_time(), time.monotonic() + BARE_SECONDS, 0
    while time.monotonic() < until:
        for cursor in cursors:
            cursor.execute("EXECUTE look")
            cursor.fetchall()
        looks += len(cursors)
    own, theirs = time.process_time() - used, servers.looks_cpu().since(before)
    for cursor in cursors:
        cursor.connection.close()
    return Bare(looks / own, own * 1000 / looks, theirs * 1000 / looks)


def _connected(stage: Stage, host: Host) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(host=host.ip, port=PORT, user=ROLE, password=stage.lab.keys.password, dbname="postgres")
    connection.autocommit = True
    return connection
