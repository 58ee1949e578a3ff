"""The source page's own method done right: parallel rsync inside one backup session that is held open, over a key of the job's own.

The key can only read on the source, through `serve_copy.sh`; it is removed when the copy is whole.
"""

from __future__ import annotations

import hmac
import shlex
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.blocks.scene import COPY_SECONDS, Scene, has_file, on_host, own_directory, own_file, path_of, postgres_of, script_text
from jobs.recipe import NodeSpec, Step, World
from remote import postgres
from remote.command import Action, Detached, Secret, WriteFile
from remote.versions import Version

STREAMS = 2


def copy_key(scene: Scene, target: NodeSpec) -> tuple[Secret, str]:
    """A key of this job and target alone, derived from the target's archiving key: a resumed job finds it again."""
    seed = hmac.digest(scene.secret(f"archive_key:{target.name}").value.encode(), f"copy {scene.brief.job}".encode(), "sha256")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Secret(f"key of this copy for {target.name}", private.decode()), public.decode()


def serve_file(scene: Scene, world: World, source: NodeSpec, target: NodeSpec) -> WriteFile:
    server = postgres_of(world, source)
    start, stop, abort = backup_sql(scene.version, scene.brief.job)
    values = {
        "data": source.data_directory, "bin": source.bin_directory, "socket": server.socket_directory if server else "",
        "port": str(source.port), "superuser": source.owner, "start_sql": start, "stop_sql": stop, "abort_sql": abort,
    }  # fmt: skip
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return WriteFile(
        own_file(source, f"serve-{target.name}"), f"#!/bin/sh\n{head}{script_text('serve_copy.sh')}", source.owner, "0700"
    )


def backup_sql(version: Version, job: str) -> tuple[str, str, str]:
    """Start, stop, and what ends it when the connection is lost (from 9.6 that is enough; before, the label lies in the data)."""
    start = f"SELECT {version.backup_start_call.format(label=postgres.literal(f'pgpanel {job}'), fast='true')};"
    name = version.functions.wal_file_name
    if version.backup_is_exclusive:
        ends = f"SELECT 'last ' || {name}({version.backup_stop_call});"
        return start, ends, ends
    encoded = "replace(encode(convert_to({}, 'UTF8'), 'base64'), chr(10), '')"
    columns = (f"'last ' || {name}(lsn)", f"'label ' || {encoded.format('labelfile')}", f"'map ' || {encoded.format('spcmapfile')}")
    # the copy takes the WAL itself: waiting for the archive would let a dead one hold it up
    call = version.backup_stop_call.replace("true", "false")
    return start, f"SELECT {' || chr(10) || '.join(columns)} FROM {call};", ""  # noqa: S608


def open_step(scene: Scene, source: NodeSpec, target: NodeSpec, is_copied: Callable[[World], bool]) -> Step:
    """is_copied: then the way need not be open any more."""

    def actions(world: World) -> Sequence[Action]:
        serve = serve_file(scene, world, source, target)
        command = f"'{serve.path}'".replace('"', r"\"")
        options = f'command="{command}",no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc'
        line = f"{options} {copy_key(scene, target)[1]} {_word(scene, target)}\n"
        return (on_host("authorize_keys.sh", _word(scene, target), user=source.owner, stdin=line), serve)

    return Step(
        key=f"copy.open#{target.name}", node=source.name, title=f"Let {target.name} read the data directory while it copies",
        done=lambda world: is_copied(world) or has_file(world, serve_file(scene, world, source, target), source),
        actions=actions, reads=(target.name,),
        why="A key of this job alone, bound to one script that can only read; it is removed when the copy is whole.",
    )  # fmt: skip


def close_step(scene: Scene, source: NodeSpec, target: NodeSpec, is_copied: Callable[[World], bool]) -> Step:
    serve, key = own_file(source, f"serve-{target.name}"), own_file(target, "copy_key")
    return Step(
        key=f"copy.close#{target.name}", node=source.name, title="Remove the key of the copy", reads=(target.name,),
        done=lambda world: path_of(world, source, serve).kind == "missing",
        forecast=lambda world: not is_copied(world),
        actions=lambda _world: (on_host("forget_keys.sh", _word(scene, target), serve, user=source.owner),),
        why=f"Nobody can read the data directory over SSH any more; {key} opens nothing.",
    )  # fmt: skip


def copy_actions(
    scene: Scene, source: NodeSpec, target: NodeSpec, directory: str, *, makes_standby: bool, is_compressed: bool, basis: str = ""
) -> tuple[Action, ...]:
    """basis: a directory on the target of which only what differs from the source is sent; it is read alone."""
    private, _public = copy_key(scene, target)
    known = source.address if source.ssh_port == 22 else f"[{source.address}]:{source.ssh_port}"
    style = {"signal": "standby.signal", "recovery.conf": "recovery.conf"}[scene.version.recovery_style]
    command = on_host(
        "copy_rsync.sh", directory, target.bin_directory, scene.brief.job, scene.system_identifier, style if makes_standby else "",
        own_directory(target), source.owner, source.address, str(source.ssh_port), str(STREAMS),
        "compress" if is_compressed else "", *((basis,) if basis else ()),
        user=target.owner, timeout_seconds=COPY_SECONDS,
    )  # fmt: skip
    return (
        WriteFile(own_file(target, "copy_key"), private, target.owner),
        WriteFile(own_file(target, "copy_known_hosts"), f"{known} {source.host_key}\n", target.owner),
        Detached(command, progress="bytes"),
    )


def _word(scene: Scene, target: NodeSpec) -> str:
    return f"pgpanel-copy:{scene.brief.job}:{target.name}"
