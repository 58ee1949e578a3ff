"""The start guard of every node: its files, what calls it, and whether it holds. docs/decisions/0008 says what it promises."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from jobs.blocks.following import following
from jobs.blocks.line import Line
from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, as_permitted, digest_of, has_file, has_files, own_file, path_of, script_text
from jobs.blocks.settings import conninfo
from jobs.blocks.standby import has_recovery_conf, recovery_text
from jobs.recipe import Check, NodeSpec, Step, World
from remote import config, guard, postgres
from remote.command import Action, Command, Text, WriteFile, script
from remote.facts import Unreachable

SECONDS, BOOT_SECONDS = 1, 10


def is_guarded(world: World, spec: NodeSpec) -> bool:
    """It never comes up writable once another node is on a later timeline. False too for a host that does not answer."""
    facts = world.nodes.get(spec.name)
    return facts is not None and not isinstance(facts, Unreachable) and guard.standing(spec, facts).is_guarded


def guard_checks(scene: Scene, params: SetupParams, world: World) -> list[Check]:
    return [_check(world, spec) for spec in scene.members] if params.start_guard else []


def _check(world: World, spec: NodeSpec) -> Check:
    line = Line("guard.hook", spec.name, "It can ask the others before it starts")
    hook = guard.hook_of(spec, world.facts(spec.name))
    if not hook.why_not:
        return line.ok(" and ".join(place for place in (hook.drop_in, hook.script) if place))
    promise = (
        f"if another node is promoted while {spec.name} is down, it comes back writable, and the panel stops it when it sees it"
    )
    return line.warning(f"{hook.why_not}; {promise}", hook.mend)


def guard_steps(scene: Scene, params: SetupParams, world: World) -> list[Step]:
    """One a node, where something can call it. Last of a job: a peer that is not there yet would only be waited for."""
    hooked = [spec for spec in scene.members if not guard.hook_of(spec, world.facts(spec.name)).why_not]
    return [_install(scene, params, spec) if params.start_guard else _remove(spec) for spec in hooked]


def _install(scene: Scene, params: SetupParams, spec: NodeSpec) -> Step:
    files = guard_files(scene, params, spec)

    def noted(world: World) -> WriteFile:
        """Written behind everything else: a drop-in that systemd has not read is no hook yet."""
        return WriteFile(own_file(spec, "guard.hooked"), f"{_hook_digest(world, spec)}\n", spec.owner)

    def done(world: World) -> bool:
        facts = world.facts(spec.name)
        is_hooked = guard.is_hooked(spec, facts, guard.hook_of(spec, facts))
        return is_hooked and has_files(world, files, spec) and has_file(world, noted(world), spec)

    return Step(
        key=f"guard.install#{spec.name}", node=spec.name, done=done,
        actions=lambda world: (*files, *_hooking(world, spec), noted(world)),
        title="Let it ask the other nodes before PostgreSQL starts",
        why="If they have gone on without it while it was down, it comes up read-only. If nobody answers, it starts as it is.",
    )  # fmt: skip


def _remove(spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        facts = world.facts(spec.name)
        hook = guard.hook_of(spec, facts)
        script_now = path_of(world, spec, hook.script).text or "" if hook.script else ""
        is_gone = all(path_of(world, spec, path).kind == "missing" for path in (own_file(spec, "guard"), hook.drop_in) if path)
        return is_gone and guard.without_block(script_now, spec) == script_now

    def actions(world: World) -> Sequence[Action]:
        hook = guard.hook_of(spec, world.facts(spec.name))
        found: list[Action] = []
        if hook.drop_in:
            found += [Command(("rm", "-f", hook.drop_in), user="root"), *_reread(world, spec)]
        if hook.script:
            text = path_of(world, spec, hook.script).text or ""
            found.append(_script_file(world, spec, hook.script, guard.without_block(text, spec)))
        return (*found, script('rm -f "$1" "$1".* "${1}ed"', own_file(spec, "guard"), user=spec.owner))

    return Step(
        key=f"guard.remove#{spec.name}", node=spec.name, done=done, actions=actions,
        title="Take the start guard away",
        why="You chose so. Once it has been promoted away from, it comes back writable until the panel sees and stops it.",
    )  # fmt: skip


# -- files ---------------------------------------------------------------------------------------------------------------------


def guard_files(scene: Scene, params: SetupParams, spec: NodeSpec) -> tuple[WriteFile, ...]:
    """Whom it asks and whom it may follow: everybody else, so that whoever is primary they stay the same."""
    peers = scene.peers(spec)
    files: list[tuple[str, Text, str]] = [
        ("guard", script_text("guard.sh"), "0700"),
        ("guard.settings", _settings_text(scene, params, spec), "0600"),
        ("guard.peers", "".join(f"{peer.name} {peer.address} {peer.port}\n" for peer in peers), "0600"),
        *((f"guard.follow-{peer.name}", _follow_text(scene, params, spec, peer), "0600") for peer in peers),
    ]
    return tuple(WriteFile(own_file(spec, name), text, spec.owner, mode) for name, text, mode in files)


def _settings_text(scene: Scene, params: SetupParams, spec: NodeSpec) -> str:
    signal = "recovery.conf" if has_recovery_conf(scene) else "standby.signal"
    values = {
        "data": spec.data_directory, "bin": spec.bin_directory, "config": f"{spec.config_directory}/postgresql.conf",
        "role": params.replication_role, "signal": signal, "seconds": str(SECONDS), "boot_seconds": str(BOOT_SECONDS),
    }  # fmt: skip
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _follow_text(scene: Scene, params: SetupParams, spec: NodeSpec, peer: NodeSpec) -> Text:
    """Without the archive: a history file in it that this data directory is no part of would keep the server from coming up."""
    settings = postgres.standby_settings(scene.version, conninfo=conninfo(following(scene, spec, peer), params, spec))
    if has_recovery_conf(scene):
        return recovery_text(scene, params, settings)
    lines = config.setting_lines(settings | {"primary_slot_name": "", "restore_command": ""})
    return "".join(f"{line}\n" for line in lines)


# -- the hook ------------------------------------------------------------------------------------------------------------------


def _hooking(world: World, spec: NodeSpec) -> list[Action]:
    facts = world.facts(spec.name)
    hook = guard.hook_of(spec, facts)
    found: list[Action] = []
    if hook.drop_in:
        directory = hook.drop_in.rpartition("/")[0]
        found += [
            Command(("mkdir", "-p", directory), user="root"),
            WriteFile(hook.drop_in, guard.drop_in_text(spec, facts), "root", "0644"),
            *_reread(world, spec),
        ]
    if hook.script:
        text = path_of(world, spec, hook.script).text or ""
        found.append(_script_file(world, spec, hook.script, guard.with_block(text, guard.block_of(spec, facts, hook), spec)))
    return found


def _reread(world: World, spec: NodeSpec) -> tuple[Command, ...]:
    if not world.facts(spec.name).is_systemd:
        return ()
    return (as_permitted(world, spec, Command(("systemctl", "daemon-reload"), user="root")),)


def _script_file(world: World, spec: NodeSpec, path: str, text: str) -> WriteFile:
    found = path_of(world, spec, path)
    return WriteFile(path, text, found.owner or "root", (found.mode or "755").zfill(4))


def _hook_digest(world: World, spec: NodeSpec) -> str:
    facts = world.facts(spec.name)
    hook = guard.hook_of(spec, facts)
    drop_in = guard.drop_in_text(spec, facts) if hook.unit else ""
    return digest_of(drop_in + (guard.block_of(spec, facts, hook) if hook.script else ""))
