"""Bridging: the WAL that a standby still needs, brought from wherever it lies, over a key of this job that only reads WAL."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from jobs.blocks.rsync_copy import copy_key
from jobs.blocks.scene import (
    Scene,
    as_permitted,
    has_file,
    on_host,
    own_directory,
    own_file,
    path_of,
    postgres_of,
    script_text,
)
from jobs.blocks.segments import is_restoring
from jobs.recipe import NodeSpec, Step, World
from remote import lsn
from remote.command import Action, WriteFile

FETCH_SECONDS = 6 * 3600.0
Needed = Callable[[World], bool]


def bridge_steps(scene: Scene, target: NodeSpec, upstream: NodeSpec, first: Callable[[World], int], needed: Needed) -> list[Step]:
    """Open the way to every other node, fetch, close it. `first`: the segment that the target reads next."""
    sources = [upstream, *(spec for spec in scene.members if spec not in (target, upstream))]
    opened = [_open_step(scene, source, target, needed) for source in sources]
    closed = [_close_step(scene, source, target, needed) for source in sources]
    return [*opened, _fetch_step(scene, sources, target, first, needed), *closed]


def _open_step(scene: Scene, source: NodeSpec, target: NodeSpec, needed: Needed) -> Step:
    values = {"data": source.data_directory, "archive": source.wal_archive_directory}
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    text = f"#!/bin/sh\n{head}{script_text('serve_segments.sh')}"
    serve = WriteFile(own_file(source, f"serve-{target.name}"), text, source.owner, "0700")

    def actions(world: World) -> Sequence[Action]:
        command = f"'{serve.path}'".replace('"', r"\"")
        options = f'command="{command}",no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc'
        line = f"{options} {copy_key(scene, target)[1]} {_word(scene, target)}\n"
        made = on_host("make_directories.sh", source.owner, own_directory(source), user="root")
        return (
            as_permitted(world, source, made),
            on_host("authorize_keys.sh", _word(scene, target), user=source.owner, stdin=line),
            serve,
        )

    return Step(
        key=f"bridge.open#{source.name}", node=source.name, reads=(target.name,), actions=actions,
        title=f"Let {target.name} read the WAL files of {source.name}",
        done=lambda world: not needed(world) or has_file(world, serve, source), forecast=needed,
        why="A key of this job alone, bound to one script that gives WAL and nothing else; it is removed afterwards.",
    )  # fmt: skip


def _fetch_step(scene: Scene, sources: Sequence[NodeSpec], target: NodeSpec, first: Callable[[World], int], needed: Needed) -> Step:
    known = "".join(f"{_known_as(source)} {source.host_key}\n" for source in sources)
    per_log = 0x100000000 // scene.segment_bytes - (0 if scene.version.has_linear_wal else 1)
    places = [word for source in sources for word in (source.owner, source.address, str(source.ssh_port))]

    def actions(world: World) -> Sequence[Action]:
        server = postgres_of(world, target)
        is_kept = server is not None and is_restoring(server, target)
        wal = f"{target.data_directory}/{scene.version.wal_directory_name}"
        position = lsn.segment_name(1, first(world), scene.segment_bytes)[8:]
        command = on_host(
            "fetch_segments.sh", own_directory(target), target.wal_archive_directory if is_kept else wal, "kept" if is_kept else "",
            str(scene.segment_bytes), "24" if scene.version.has_linear_wal else "16", scene.system_identifier, position,
            str(per_log), *places, user=target.owner, timeout_seconds=FETCH_SECONDS,
        )  # fmt: skip
        made = on_host("make_directories.sh", target.owner, own_directory(target), user="root")
        return (
            as_permitted(world, target, made),
            WriteFile(own_file(target, "copy_key"), copy_key(scene, target)[0], target.owner),
            WriteFile(own_file(target, "copy_known_hosts"), known, target.owner),
            command,
        )

    return Step(
        key=f"bridge.fetch#{target.name}", node=target.name, reads=tuple(source.name for source in sources), actions=actions,
        title=f"Bring the WAL that {target.name} still needs", done=lambda world: not needed(world), forecast=needed,
        within_seconds=60,
        why="Each file from the first node that has it whole, checked by its header, up to where its upstream can stream on.",
    )  # fmt: skip


def _close_step(scene: Scene, source: NodeSpec, target: NodeSpec, needed: Needed) -> Step:
    serve = own_file(source, f"serve-{target.name}")
    return Step(
        key=f"bridge.close#{source.name}", node=source.name, title=f"Take back the key to the WAL files of {source.name}",
        done=lambda world: path_of(world, source, serve).kind == "missing", forecast=needed,
        actions=lambda _world: (on_host("forget_keys.sh", _word(scene, target), serve, user=source.owner),),
        why="Nobody can read them over SSH any more.",
    )  # fmt: skip


def _word(scene: Scene, target: NodeSpec) -> str:
    return f"pgpanel-bridge:{scene.brief.job}:{target.name}"


def _known_as(spec: NodeSpec) -> str:
    return spec.address if spec.ssh_port == 22 else f"[{spec.address}]:{spec.ssh_port}"
