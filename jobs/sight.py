"""What a job sees: one open connection per node, and facts that are re-read only where something may have changed them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from jobs.recipe import World
from remote.facts import Facts, FactsRequest, Unreachable
from remote.host import Host
from remote.reaching import postgres_answers

OpenHost = Callable[[str], Host]
"""Node name → a Host, not connected yet. The seam where tests put hosts of their own."""

MOST_AT_ONCE = 8
KNOCK_SECONDS = 2.0
AGAIN = frozenset({"postgres", "sql", "paths"})
"""Sections of a second look. What a host is, its sizes, libraries and open ports are asked only once: no step waits for them."""
KEPT = ("size_bytes", "wal_bytes", "libraries", "extensions")
KEPT_OF_HOST = (
    "hostname", "machine_id", "boot_id", "seen_from", "os_id", "os_version", "kernel", "architecture", "cpu_count", "memory_bytes",
    "addresses", "selinux", "is_systemd", "systemd_removes_ipc", "glibc_version", "icu_version", "tools", "accounts", "mounts",
    "reach", "identified",
)  # fmt: skip


class Hosts:
    """The hosts of one job, each opened once."""

    def __init__(self, open_host: OpenHost) -> None:
        self._open_host = open_host
        self._open: dict[str, Host] = {}

    def __getitem__(self, node: str) -> Host:
        if node not in self._open:
            self._open[node] = self._open_host(node)
        return self._open[node]

    def drop(self, node: str) -> None:
        """Forget a connection that broke; the next use opens a new one."""
        host = self._open.pop(node, None)
        if host is not None:
            host.close()

    def close(self) -> None:
        for node in list(self._open):
            self.drop(node)


class Sight:
    """The world as last seen. `touched` makes what was seen stale; `look` re-reads only the stale, in parallel."""

    def __init__(self, hosts: Hosts, requests: Mapping[str, FactsRequest], notes: Mapping[str, str] | None = None) -> None:
        self.hosts = hosts
        self.requests = requests
        self.notes = dict(notes or {})
        self.reads = 0
        self._seen: dict[str, Facts | Unreachable] = {}
        self._seen_at: dict[str, float] = {}
        self._stale: set[str] = set(requests)

    @property
    def world(self) -> World:
        return World(dict(self._seen), dict(self.notes))

    def touched(self) -> None:
        """Something was changed somewhere: a command on one host may show on another."""
        self._stale = set(self.requests)

    def look(self, nodes: Iterable[str], *, oldest_seconds: float | None = None, beside: Iterable[str] = ()) -> World:
        """The world with fresh facts of `nodes`. oldest_seconds: also of those that nothing has touched, if seen longer ago.

        beside: looked at in the same breath if they are stale, because the next steps will ask.
        """
        old = {node for node in nodes if self._is_old(node, oldest_seconds)}
        wanted = sorted((old | (self._stale & set(beside))) & set(self.requests))
        hosts = [self.hosts[node] for node in wanted]
        if len(wanted) > 1:
            with ThreadPoolExecutor(min(len(wanted), MOST_AT_ONCE)) as pool:
                found = list(pool.map(self._read, wanted, hosts))
        else:
            found = [self._read(node, host) for node, host in zip(wanted, hosts, strict=True)]
        self._seen |= dict(zip(wanted, found, strict=True))
        self._stale -= set(wanted)
        self._seen_at |= dict.fromkeys(wanted, time.monotonic())
        self.reads += len(wanted)
        return self.world

    def _is_old(self, node: str, oldest_seconds: float | None) -> bool:
        if node in self._stale or oldest_seconds is None:
            return node in self._stale
        return time.monotonic() - self._seen_at.get(node, 0.0) > oldest_seconds

    def _read(self, node: str, host: Host) -> Facts | Unreachable:
        request, before = self.requests[node], self._seen.get(node)
        if not isinstance(before, Facts):
            return _knocked(host.facts(request), host, request)
        found = host.facts(replace(request, sections=(request.sections or AGAIN) & AGAIN, reach=()))
        return found if isinstance(found, Unreachable) else _with_kept(found, before)


def _knocked(found: Facts | Unreachable, host: Host, request: FactsRequest) -> Facts | Unreachable:
    """A host that cannot be logged in to may serve all the same: what its PostgreSQL's own port says."""
    if isinstance(found, Facts) or not request.port or host.access.jump is not None:
        return found
    return replace(found, postgres=postgres_answers(host.access.host, request.port, KNOCK_SECONDS).word)


def _with_kept(found: Facts, before: Facts) -> Facts:
    """What a second look does not ask again."""
    clusters = []
    for postgres in found.clusters:
        known = before.postgres(postgres.data_directory)
        clusters.append(postgres if known is None else replace(postgres, **{name: getattr(known, name) for name in KEPT}))
    libraries = {one.bin_directory: one.libraries for one in before.installations}
    installations = tuple(replace(one, libraries=libraries.get(one.bin_directory, {})) for one in found.installations)
    kept = {name: getattr(before, name) for name in KEPT_OF_HOST}
    return replace(found, **kept, clusters=tuple(clusters), installations=installations)
