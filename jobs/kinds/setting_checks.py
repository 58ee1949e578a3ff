"""What a server checks only when it starts, and would then not start: asked before it is restarted."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.blocks.line import Line
from jobs.blocks.scene import Scene, postgres_of
from jobs.blocks.settings import number_of
from jobs.recipe import Check, World
from remote.facts import Postgres

BLOCK_BYTES = 8192


def number_checks(scene: Scene, world: World, name: str, canonical: str) -> Sequence[Check]:
    if not canonical.isdigit():
        return []
    found = []
    for spec in scene.members:
        server = postgres_of(world, spec)
        reason = _reason(scene, world, server, name, int(canonical)) if server else ""
        if reason:
            found.append(Line("parameter.start", spec.name, f"{spec.name} starts with it").refused(reason, "choose another value"))
    return found


def _reason(scene: Scene, world: World, server: Postgres, name: str, wanted: int) -> str:
    if name in ("max_connections", "superuser_reserved_connections", "reserved_connections", "max_wal_senders"):
        return _connections(scene, server, name, wanted)
    if name == "max_replication_slots":
        needed = max(len(server.slots), len(scene.family) - 1)
        return f"{needed} slots are in use or needed: with fewer than that it would not start" if wanted < needed else ""
    if name == "max_prepared_transactions" and wanted < len(server.prepared):
        return f"{len(server.prepared)} transactions are prepared: it would not start until they are ended"
    if name == "shared_buffers":
        host = next(facts for spec_name, facts in world.nodes.items() if (one := world.facts(spec_name)) and server in one.clusters)
        memory = getattr(host, "memory_bytes", 0)
        if memory and wanted * BLOCK_BYTES > memory * 0.8:
            return f"that is {wanted * BLOCK_BYTES // 1024**2:,} MB of the {memory // 1024**2:,} MB that the host has"
    return ""


def _connections(scene: Scene, server: Postgres, name: str, wanted: int) -> str:
    now = {one: number_of(server, one) for one in ("max_connections", "superuser_reserved_connections", "reserved_connections",
                                                   "max_wal_senders")} | {name: wanted}  # fmt: skip
    needed = len(scene.family)
    if name == "max_wal_senders" and wanted < needed:
        return f"{needed} are needed: one for each standby, and one for a copy"
    reserved = now["superuser_reserved_connections"] + now["reserved_connections"]
    if scene.version.wal_senders_count_as_connections:
        reserved += now["max_wal_senders"]
    if reserved >= now["max_connections"]:
        return f"of {now['max_connections']} connections {reserved} are reserved: none would be left, and it would not start"
    return ""
