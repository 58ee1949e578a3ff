"""What pgpanel keeps on each node: directories, scripts and keys for archiving both ways, a password file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from jobs.blocks.params import SetupParams
from jobs.blocks.scene import (
    Scene,
    has_file,
    has_files,
    is_in_place,
    is_new,
    on_host,
    own_directory,
    own_file,
    path_of,
    script_text,
)
from jobs.recipe import NodeSpec, Step, World
from remote import postgres
from remote.command import Action, Text, WriteFile

RETRY_SECONDS = 30
KEEP_DAYS = 1


def prepare_steps(scene: Scene, params: SetupParams) -> list[Step]:
    return [_prepare(scene, params, spec) for spec in scene.members]


def _prepare(scene: Scene, params: SetupParams, spec: NodeSpec) -> Step:
    files = own_files(scene, params, spec)
    authorized = _authorized_file(scene, spec)

    def done(world: World) -> bool:
        has_directory = path_of(world, spec, own_directory(spec)).kind == "directory" and _has_room_for_copy(
            scene, params, world, spec
        )
        return (
            has_directory
            and has_files(world, files, spec)
            and (not params.archive or _is_authorized(scene, world, spec, authorized))
        )

    def actions(world: World) -> Sequence[Action]:
        new = [scene.new_directory(spec), *params.tablespaces.values()] if is_new(scene, world, spec) else []
        user = "root" if world.facts(spec.name).can_become_root else spec.owner
        made = on_host("make_directories.sh", spec.owner, own_directory(spec), *new, user=user)
        return (made, *files, *(_authorize(scene, spec, authorized) if params.archive else ()))

    return Step(
        key=f"node.prepare#{spec.name}", node=spec.name, done=done, actions=actions,
        title="Make directories, keys and scripts for archiving" if params.archive else "Make directories and the password file",
        why=f"All of it lies in {own_directory(spec)}, for {spec.owner} alone."
        + (" Any node can hand WAL to any other, whoever is primary; the keys can do nothing else." if params.archive else ""),
    )  # fmt: skip


def _has_room_for_copy(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> bool:
    if not is_new(scene, world, spec) or is_in_place(scene, world, spec):
        return True
    return all(path_of(world, spec, path).kind == "directory" for path in (scene.new_directory(spec), *params.tablespaces.values()))


def own_files(scene: Scene, params: SetupParams, spec: NodeSpec) -> tuple[WriteFile, ...]:
    files: list[tuple[str, Text, str]] = []
    if not params.trust:
        # any primary that this node may ever follow
        files.append(("pgpass", postgres.pgpass_line(params.replication_role, scene.secret("replication_password")), "0600"))
    if params.archive:
        peers = scene.peers(spec)
        files += [
            ("push", script_text("archive_push.sh"), "0700"),
            ("receive", script_text("archive_receive.sh"), "0700"),
            ("settings", _settings_text(scene, params, spec), "0600"),
            ("targets", "".join(f"{peer.name} {peer.owner} {peer.address} {peer.ssh_port}\n" for peer in peers), "0600"),
            ("known_hosts", "".join(f"{_known_as(peer)} {peer.host_key}\n" for peer in peers), "0600"),
            ("key", scene.secret(f"archive_key:{spec.name}"), "0600"),
        ]
    return tuple(WriteFile(own_file(spec, name), text, spec.owner, mode) for name, text, mode in files)


def _settings_text(scene: Scene, params: SetupParams, spec: NodeSpec) -> str:
    # the system identifier stands in a segment's first page, behind the page header that 9.3 widened
    offset = 24 if scene.version.has_linear_wal else 16
    values = {
        "system_identifier": scene.system_identifier, "segment_bytes": scene.segment_bytes, "identifier_offset": offset,
        "data": spec.data_directory, "hold_kb": params.archive_hold_megabytes * 1024, "retry_seconds": RETRY_SECONDS,
        "keep_days": KEEP_DAYS,
    }  # fmt: skip
    # a shell reads this file, and the identifier is what a host said
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())


def _known_as(spec: NodeSpec) -> str:
    return spec.address if spec.ssh_port == 22 else f"[{spec.address}]:{spec.ssh_port}"


# -- authorized_keys -----------------------------------------------------------------------------------------------------------


def authorized_lines(scene: Scene, spec: NodeSpec) -> tuple[str, ...]:
    """One line per other node; the options are the ones that OpenSSH of every age knows."""
    receive = own_file(spec, "receive").replace("'", r"'\''").replace('"', r"\"")
    options = f"command=\"'{receive}'\",no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc"
    return tuple(f"{options} {_public_key(scene, peer)} {_word(scene)}" for peer in scene.peers(spec))


def _word(scene: Scene) -> str:
    return f"pgpanel-archive:{scene.brief.cluster}"


def _public_key(scene: Scene, spec: NodeSpec) -> str:
    """Without its comment; it is called a secret in the brief only because it travels with one."""
    return " ".join(scene.secret(f"archive_public_key:{spec.name}").value.split()[:2])


def _authorized_file(scene: Scene, spec: NodeSpec) -> WriteFile:
    """What was put into authorized_keys, noted where the look always finds it."""
    return WriteFile(own_file(spec, "authorized"), "".join(f"{line}\n" for line in authorized_lines(scene, spec)), spec.owner)


def _is_authorized(scene: Scene, world: World, spec: NodeSpec, noted: WriteFile) -> bool:
    file = world.facts(spec.name).paths.get(f"{scene.homes.get(spec.name, '')}/.ssh/authorized_keys")
    if file is None or (file.kind == "file" and file.text is None):
        return has_file(world, noted, spec)  # a home that nobody could guess, or a file too big to read
    ours = tuple(line for line in (file.text or "").splitlines() if line.endswith(f" {_word(scene)}"))
    return ours == authorized_lines(scene, spec) and has_file(world, noted, spec)


def _authorize(scene: Scene, spec: NodeSpec, noted: WriteFile) -> tuple[Action, ...]:
    return (on_host("authorize_keys.sh", _word(scene), user=spec.owner, stdin=noted.text), noted)
