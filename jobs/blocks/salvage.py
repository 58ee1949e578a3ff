"""WAL that never arrived, fetched from another node's disk: from a stopped old primary, or from a standby that is ahead.

The candidate pulls, over a key of this job that can do nothing but give WAL; it is replayed to its last whole record before
anything else happens. That record is found where the WAL lies (pg_waldump), so "everything" is proven, not assumed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from jobs.blocks import service
from jobs.blocks.rsync_copy import copy_key
from jobs.blocks.scene import Scene, as_permitted, has_file, on_host, own_directory, own_file, path_of, postgres_of, script_text
from jobs.recipe import NodeSpec, Step, World
from remote import layouts, lsn, postgres
from remote.command import Action, Command, WriteFile

SALVAGED = "salvaged"
STOP_SECONDS = 10
FETCH_SECONDS = 6 * 3600.0


# -- stopped for good ----------------------------------------------------------------------------------------------------------


def stop_command(world: World, spec: NodeSpec) -> Command:
    words = layouts.words(spec.stop_command)
    user = postgres.stop(spec).user
    command = on_host(
        "stop_for_good.sh", spec.data_directory, str(STOP_SECONDS), *words, user=user, directory="/", timeout_seconds=120
    )
    return as_permitted(world, spec, command)


def is_stopped(world: World, spec: NodeSpec) -> bool:
    """No postmaster, and nothing that one left behind: an orphaned backend may still commit.

    Seen on the host itself: one that does not answer is `NodeUnreachable`, and a data directory that is not seen proves nothing.
    """
    server = world.postgres(spec)
    return server is not None and not (server.is_running or server.stray_pids)


def stop_step(spec: NodeSpec, key: str = "old.stop", is_settled: Callable[[World], bool] = lambda _world: False) -> Step:
    """is_settled: it has come back as somebody's standby since."""
    return Step(
        key=f"{key}#{spec.name}", node=spec.name, title=f"Stop {spec.name} for good, and prove that no process of it is left",
        done=lambda world: is_settled(world) or is_stopped(world, spec), actions=lambda world: (stop_command(world, spec),),
        within_seconds=30, restarts=f"PostgreSQL on {spec.name} is stopped: by its service, then at once, then by KILL",
        diagnosis=service.log_tail(spec),
        why="Only then can nobody commit there any more. What it has acknowledged lies in the WAL on its disk.",
    )  # fmt: skip


# -- the way -------------------------------------------------------------------------------------------------------------------


def serve_file(scene: Scene, source: NodeSpec, target: NodeSpec) -> WriteFile:
    values = {
        "data": source.data_directory, "bin": source.bin_directory, "segment_bytes": str(scene.segment_bytes),
        "is_linear": "yes" if scene.version.has_linear_wal else "no",
    }  # fmt: skip
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    path = own_file(source, f"serve-{target.name}")
    return WriteFile(path, f"#!/bin/sh\n{head}{script_text('serve_wal.sh')}", source.owner, "0700")


def fetch_steps(scene: Scene, source: NodeSpec, target: NodeSpec) -> list[Step]:
    """Open the way, fetch and replay; `close_step` removes the key, later, when nobody waits any more."""
    return [open_step(scene, source, target), fetch_step(scene, source, target)]


def open_step(scene: Scene, source: NodeSpec, target: NodeSpec) -> Step:
    serve = serve_file(scene, source, target)

    def actions(world: World) -> Sequence[Action]:
        command = f"'{serve.path}'".replace('"', r"\"")
        options = f'command="{command}",no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc'
        line = f"{options} {copy_key(scene, target)[1]} {_word(scene, target)}\n"
        user = "root" if world.facts(source.name).can_become_root else source.owner
        made = on_host("make_directories.sh", source.owner, own_directory(source), user=user)
        return (made, on_host("authorize_keys.sh", _word(scene, target), user=source.owner, stdin=line), serve)

    return Step(
        key=f"salvage.open#{source.name}", node=source.name, reads=(target.name,), actions=actions,
        title=f"Let {target.name} read the WAL of {source.name}",
        done=lambda world: is_fetched(world, target) or has_file(world, serve, source),
        why="A key of this job alone, bound to one script that gives WAL and nothing else; it is removed afterwards.",
    )  # fmt: skip


def fetch_step(scene: Scene, source: NodeSpec, target: NodeSpec) -> Step:
    known = source.address if source.ssh_port == 22 else f"[{source.address}]:{source.ssh_port}"

    def actions(world: World) -> Sequence[Action]:
        server = postgres_of(world, target)
        user = "root" if world.facts(target.name).can_become_root else target.owner
        command = on_host(
            "fetch_wal.sh", own_directory(target), source.owner, source.address, str(source.ssh_port), target.data_directory,
            target.bin_directory, str(target.port), server.socket_directory if server else "", target.owner,
            str(scene.segment_bytes), "24" if scene.version.has_linear_wal else "16", scene.system_identifier,
            scene.version.functions.replay_lsn, user=target.owner, timeout_seconds=FETCH_SECONDS,
        )  # fmt: skip
        return (
            on_host("make_directories.sh", target.owner, own_directory(target), user=user),
            WriteFile(own_file(target, "copy_key"), copy_key(scene, target)[0], target.owner),
            WriteFile(own_file(target, "copy_known_hosts"), f"{known} {source.host_key}\n", target.owner),
            command,
        )

    return Step(
        key=f"salvage.fetch#{target.name}", node=target.name, note=SALVAGED, actions=actions, within_seconds=60,
        title=f"Fetch what {source.name} has and {target.name} has not, and replay it to its last record",
        done=lambda world: is_fetched(world, target), diagnosis=service.log_tail(target),
        why=f"Every WAL file from the replay position on, the last and partly written one too: nothing that {source.name}"
        " acknowledged is lost, although replication was asynchronous.",
    )  # fmt: skip


def is_fetched(world: World, target: NodeSpec) -> bool:
    server, noted = postgres_of(world, target), salvaged(world)
    if server is None or not noted:
        return False
    return server.role == "primary" or server.replay_lsn >= lsn.parse(noted["replayed"])


def salvaged(world: World) -> dict[str, str]:
    """What the fetch noted: timeline, last ("none", "unknown" or a position), replayed, before, files. {} before it ran."""
    words = world.notes.get(SALVAGED, "").splitlines()[-1:]
    pairs = words[0].split() if words else []
    return dict(zip(pairs[::2], pairs[1::2], strict=False)) if "replayed" in pairs else {}


def close_step(scene: Scene, source: NodeSpec, target: NodeSpec) -> Step:
    serve = own_file(source, f"serve-{target.name}")
    return Step(
        key=f"salvage.close#{source.name}", node=source.name, title=f"Take back the key to the WAL of {source.name}",
        done=lambda world: path_of(world, source, serve).kind == "missing", forecast=lambda _world: True,
        actions=lambda _world: (on_host("forget_keys.sh", _word(scene, target), serve, user=source.owner),),
        why="Nobody can read it over SSH any more.",
    )  # fmt: skip


def _word(scene: Scene, target: NodeSpec) -> str:
    return f"pgpanel-salvage:{scene.brief.job}:{target.name}"
