"""Which way a node is rebuilt, and why: pure, from facts. Decided once, when its job begins, and noted on the node (`chosen`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.blocks.copying import tools_of, tools_on
from jobs.blocks.kept import ground_of
from jobs.blocks.scene import Scene, own_file, path_of, postgres_of
from jobs.recipe import NodeSpec, World
from remote import config, lsn
from remote.command import WriteFile
from remote.facts import Postgres

Method = Literal["rewind", "delta", "copy"]
METHODS: tuple[Method, ...] = ("rewind", "delta", "copy")
SHARING = frozenset({"xfs", "btrfs", "ocfs2", "bcachefs"})
"""File systems in which a copy may share its blocks with what it was copied from (xfs: if it was made with reflink)."""
COPY_BYTES_PER_SECOND, LINK_BYTES_PER_SECOND, REWIND_SECONDS = 400e6, 300e6, 2.0
"""Guesses for an estimate that says that it is one."""


@dataclass(frozen=True)
class Verdict:
    """The way that is taken, and why; `not_rewind`, `not_delta`: why the milder ones cannot be had ("" = they could)."""

    method: Method
    why: str
    not_rewind: str = ""
    not_delta: str = ""


def note_of(scene: Scene, target: NodeSpec, method: Method) -> WriteFile:
    """Facts change while the job runs; what was chosen does not."""
    return WriteFile(own_file(target, "rebuild"), f"{scene.brief.job} {method}\n", target.owner)


def chosen(scene: Scene, world: World, target: NodeSpec) -> Method | None:
    job, _, method = (path_of(world, target, own_file(target, "rebuild")).text or "").strip().partition(" ")
    return next((known for known in METHODS if job == scene.brief.job and known == method), None)


def verdict(scene: Scene, world: World, target: NodeSpec, wanted: str) -> Verdict:
    """wanted: "auto", or the way that a person chose; whether that one is possible is `not_…`'s to say."""
    not_rewind, not_delta = why_no_rewind(scene, world, target), why_no_delta(scene, world, target)
    begun = chosen(scene, world, target)
    if begun:
        return Verdict(begun, "so it began", not_rewind, not_delta)
    if wanted != "auto":
        method = next(known for known in METHODS if known == wanted)
        return Verdict(method, "it was chosen", not_rewind, not_delta)
    if not not_rewind and not not_delta:
        by_rewind, by_delta = (estimate(scene, world, target, way)[1] for way in ("rewind", "delta"))
        if by_rewind > 2 * by_delta + 60:  # both are guesses
            why = f"so much has parted that pg_rewind would take longer: about {by_rewind:.0f} s against {by_delta:.0f} s"
            return Verdict("delta", why, "", "")
    if not not_rewind:
        return Verdict("rewind", f"only what differs is fetched: {hint_of(world, target)}", "", not_delta)
    if not not_delta:
        return Verdict("delta", f"pg_rewind cannot be used: {not_rewind}", not_rewind, "")
    return Verdict("copy", f"pg_rewind cannot be used: {not_rewind}; nor a delta copy: {not_delta}", not_rewind, not_delta)


def hint_of(world: World, target: NodeSpec) -> str:
    server = postgres_of(world, target)
    return "it has data checksums" if server and server.control and server.control.has_checksums else "it has wal_log_hints"


def why_no_rewind(scene: Scene, world: World, target: NodeSpec) -> str:  # noqa: PLR0911 (one return per reason reads best)
    """ "" when pg_rewind can be used."""
    server, primary = postgres_of(world, target), postgres_of(world, scene.primary)
    control = server.control if server else None
    if server is None or primary is None or control is None:
        return "its control file cannot be read"
    tool = scene.version.tools.rewind
    if not tool:
        return f"{scene.version.shown} has none"
    if tool not in tools_of(world, target):
        return f"there is no {tool} in {target.bin_directory}"
    if not (control.has_checksums or control.wal_log_hints):
        return "neither data checksums nor wal_log_hints were on when it last ran"
    if _said(server).get("full_page_writes", "on") in ("off", "false", "no", "0"):
        return "full_page_writes is off"
    if server.has_backup_label:
        return "a backup_label lies in it: it ended in the middle of an old-style backup"
    if server.tablespaces:
        return "it has tablespaces, which the old and the new directory would share"
    own, its = max(control.timeline, server.timeline if server.role == "primary" else 0), primary.timeline
    if own == its:
        return f"both are on timeline {its}, and it would not see what differs"
    fork = lsn.left_at(ground_of(world, scene.primary).switches, own)
    if fork is None:
        return f"the history of {scene.primary.name} never was on timeline {own}"
    return _why_no_way_back(scene, world, target, own, fork)


def _why_no_way_back(scene: Scene, world: World, target: NodeSpec, own: int, fork: int) -> str:
    """Its WAL must lead back from the fork to a checkpoint before it, and the primary's from there to where it is now."""
    here, there = ground_of(world, target), ground_of(world, scene.primary)
    server, primary = postgres_of(world, target), postgres_of(world, scene.primary)
    redo = server.control.redo_lsn if server and server.control else 0
    end = primary.current_lsn if primary and there.wal else 0
    found = [lsn.parse_wal_file_name(name, scene.segment_bytes) for name in (*here.wal, *there.wal)]
    segments = {file.segment for file in found if file and file.timeline <= own}
    if not here.wal:
        return ""  # not told: pg_rewind itself will say
    first = (redo if 0 < redo < fork else fork - 1) // scene.segment_bytes
    if first not in segments:
        missing = lsn.segment_name(own, first, scene.segment_bytes)
        return f"its WAL does not lead back to what both have in common: {missing} is neither in its pg_wal nor in an archive"
    replayed = {file.segment for file in found if file and file.timeline > own}
    for segment in range(fork // scene.segment_bytes + 1, end // scene.segment_bytes):
        if segment not in replayed:
            missing = lsn.segment_name(own + 1, segment, scene.segment_bytes)[8:]
            return f"WAL that it would have to replay is gone: …{missing} is neither in the primary's pg_wal nor in an archive"
    return ""


def _said(server: Postgres) -> dict[str, str]:
    return config.parse_settings(server.config_text) | config.parse_settings(server.auto_config_text)


def why_no_delta(scene: Scene, world: World, target: NodeSpec) -> str:
    server = postgres_of(world, scene.primary)
    if server and server.tablespaces:
        return "rsync copies no tablespaces"
    for spec in (scene.primary, target):
        if missing := [tool for tool in ("ssh", "rsync") if tool not in tools_on(world, spec)]:
            return f"{' and '.join(missing)} is missing on {spec.name}"
    if not target.host_key or not scene.primary.host_key:
        return "the SSH host key of the primary is not pinned"
    return ""


def shares_blocks(world: World, target: NodeSpec) -> bool:
    mount = world.facts(target.name).mount_of(target.data_directory)
    return bool(mount and mount.filesystem in SHARING)


def estimate(scene: Scene, world: World, target: NodeSpec, method: Method) -> tuple[int, float]:
    """Bytes that come over the network, and seconds, roughly."""
    own, primary = postgres_of(world, target), postgres_of(world, scene.primary)
    size = (primary.size_bytes + sum(space.size_bytes for space in primary.tablespaces)) if primary else 0
    if method == "copy":
        return size, REWIND_SECONDS + size / LINK_BYTES_PER_SECOND
    local = 0.0 if shares_blocks(world, target) else (own.size_bytes if own else size) / COPY_BYTES_PER_SECOND
    if method == "delta":
        return diverged_bytes(scene, world, target), REWIND_SECONDS + local + 2 * size / LINK_BYTES_PER_SECOND
    bytes_sent = diverged_bytes(scene, world, target) + (primary.wal_bytes if primary else 0)
    return bytes_sent, REWIND_SECONDS + local + bytes_sent / LINK_BYTES_PER_SECOND


def diverged_bytes(scene: Scene, world: World, target: NodeSpec) -> int:
    """How much WAL both have written since the fork: about as much can differ."""
    own, primary = postgres_of(world, target), postgres_of(world, scene.primary)
    control = own.control if own else None
    fork = lsn.left_at(ground_of(world, scene.primary).switches, control.timeline if control else 0)
    if fork is None or own is None or control is None or primary is None:
        return 0
    # how far a server that is stopped has written is not told: a WAL file at least
    own_bytes = max(own.current_lsn, control.checkpoint_lsn) - fork
    return max(scene.segment_bytes, own_bytes) + max(scene.segment_bytes, primary.current_lsn - fork)
