"""Preflight of the primary: what a standby will need of it, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

from jobs.blocks.line import Line
from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, is_new
from jobs.blocks.settings import (
    foreign_archiving,
    has_slots,
    kept_megabytes,
    listen_addresses,
    needs_hints,
    number_of,
    value_of,
)
from jobs.recipe import Check, World
from remote.facts import Postgres

Found = Check | None


def primary_checks(scene: Scene, params: SetupParams, world: World) -> list[Check]:
    server = world.postgres(scene.primary)
    assert server is not None  # `checks.source_check` has refused otherwise
    return [answer for answer in (one(scene, params, world, server) for one in CHECKS) if answer]


def _line(scene: Scene, key: str, title: str) -> Line:
    return Line(f"primary.{key}", scene.primary.name, title)


def _senders(scene: Scene, _params: SetupParams, world: World, server: Postgres) -> Found:
    line = _line(scene, "senders", "Replication connections free now")
    total, used = number_of(server, "max_wal_senders"), len(server.senders)
    is_copying = any(is_new(scene, world, spec) for spec in scene.standbys)
    if is_copying and total - used < 2 and total >= len(scene.family) + 1:
        mend = "end what uses them (pg_stat_replication), or raise max_wal_senders and restart"
        return line.refused(f"{used} of {total} are in use; a copy needs 2", mend)
    if total < len(scene.family) + 1:
        return line.ok(f"max_wal_senders is raised from {total}")
    return line.ok(f"{total - used} of {total}")


def _slots(scene: Scene, params: SetupParams, _world: World, server: Postgres) -> Found:
    if not has_slots(scene, params):
        return None
    line, total = _line(scene, "slots", "Replication slots free now"), number_of(server, "max_replication_slots")
    ours = {scene.slot(spec) for spec in (*scene.followers, *scene.absent)}
    others = [slot for slot in server.slots if slot.name not in ours]
    if total >= len(scene.family) and total - len(others) < len(ours):
        names = ", ".join(slot.name for slot in others)
        return line.refused(
            f"all {total} are taken: {names}", "drop those that nobody uses, or raise max_replication_slots and restart"
        )
    idle = [slot.name for slot in others if not slot.is_active]
    if idle:
        reason = f"nobody uses {', '.join(idle)}: such a slot holds WAL for ever"
        return line.warning(reason, "drop it if its standby is gone", f"SELECT pg_drop_replication_slot('{idle[0]}');")
    return line.ok(f"{total - len(server.slots)} of {total}")


def _backup(scene: Scene, _params: SetupParams, _world: World, server: Postgres) -> Found:
    if not server.is_backup_running:
        return None
    line = _line(scene, "backup", "No exclusive backup is running")
    return line.refused("pg_start_backup was called and not ended", "end it, if its tool is gone", "SELECT pg_stop_backup();")


def _rewind(scene: Scene, params: SetupParams, _world: World, server: Postgres) -> Found:
    line = _line(scene, "rewind", "A later rewind is possible")
    if not scene.version.has_wal_log_hints:
        return None
    if not needs_hints(scene, server):
        return line.ok("the data has checksums")
    if value_of(server, "wal_log_hints") == "on":
        return line.ok("wal_log_hints is on")
    if params.rewind_ready:
        return line.ok("wal_log_hints is switched on; it needs a restart")
    mend = "choose “make a later rewind possible”; it restarts the primary once"
    return line.warning("neither checksums nor wal_log_hints: after a failover it is too late", mend)


def _retention(scene: Scene, params: SetupParams, world: World, _server: Postgres) -> Found:
    line = _line(scene, "retention", "Room for the WAL that is kept for standbys")
    mount = world.facts(scene.primary.name).mount_of(scene.primary.data_directory)
    if has_slots(scene, params) and not scene.version.has_slot_limit:
        reason = f"PostgreSQL {scene.major} cannot limit what a slot holds: a standby that stays away fills the disk"
        return line.warning(reason, "choose kept segments instead, or watch the slots")
    if mount is None:
        return None
    megabytes, free = kept_megabytes(scene, params, world), mount.free_bytes // 1024**2
    if megabytes < free:
        return line.ok(f"at most {megabytes:,} MB, more than that is free on {mount.path}")
    return line.warning(f"at most {megabytes:,} MB, only {free:,} MB free on {mount.path}", "choose less, or free some disk")


def _archiving(scene: Scene, params: SetupParams, world: World, _server: Postgres) -> Found:
    line, foreign = _line(scene, "archiving", "WAL archiving"), foreign_archiving(scene, params, world)
    if not params.archive:
        return line.ok("not asked for")
    if foreign:
        reason = f"something else archives already and stays as it is: {foreign}. Nothing is pushed to the standbys."
        return line.warning(reason, "choose to replace it, if nothing needs it")
    return line.ok("each finished WAL file is pushed to the other nodes")


def _trust(scene: Scene, params: SetupParams, world: World, _server: Postgres) -> Found:
    line = _line(scene, "trust", "Replication without a password")
    if not params.trust:
        return None
    nodes = {member.address for member in scene.family} | {"127.0.0.1", "::1", "localhost"}
    for spec in scene.members:
        if more := set(listen_addresses(scene, world, spec).split(",")) - nodes:
            reason = f"{spec.name} listens on {', '.join(sorted(more))}: the port is open to more than the nodes"
            return line.refused(reason, "use a password, or limit listen_addresses to the nodes' addresses")
    return line.warning("anybody on the nodes can read all WAL")


def _role(scene: Scene, params: SetupParams, _world: World, server: Postgres) -> Found:
    role = next((role for role in server.roles if role.name == params.replication_role), None)
    if role is None or role.name.startswith("pgpanel_"):
        return None
    line = _line(scene, "role", f"The existing role {role.name}")
    return line.warning("its password is not changed: the one that the panel keeps for it must be the right one")


def _tablespaces(scene: Scene, params: SetupParams, world: World, server: Postgres) -> Found:
    line = _line(scene, "tablespaces", "Tablespaces")
    if not server.tablespaces or not any(is_new(scene, world, spec) for spec in scene.standbys):
        return None
    unmapped = [space.location for space in server.tablespaces if space.location.rstrip("/") not in params.tablespaces]
    if unmapped:
        mend = "say under “tablespaces” where each goes"
        return line.refused(f"no place on the standbys is given for {', '.join(unmapped)}", mend, f"{unmapped[0]}={unmapped[0]}")
    if params.method == "rsync":
        return line.refused("rsync copies no tablespaces", "choose pg_basebackup")
    moved = [old for old, new in params.tablespaces.items() if old != new]
    if moved and not scene.version.base_backup.maps_tablespaces:
        mend = "give the same directory on the standbys"
        return line.refused(f"PostgreSQL {scene.major} cannot move {', '.join(moved)}", mend)
    return line.ok(", ".join(f"{old} → {new}" for old, new in params.tablespaces.items()))


CHECKS: tuple[Callable[[Scene, SetupParams, World, Postgres], Found], ...] = (
    _senders, _slots, _backup, _rewind, _retention, _archiving, _trust, _role, _tablespaces,
)  # fmt: skip
