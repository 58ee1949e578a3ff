"""Who follows whom: the steps that every kind that changes roles is made of, and what `setup` was told, read back from the hosts.

The scene of such a kind is the one *after* it: `role_scene(candidate)` has the candidate as its primary, so the same functions that
`setup` writes files with give every node's new files. What they read of running servers they read of the candidate, which runs
throughout; so what is shown in the plan is what runs, before and after the roles have changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jobs.blocks import service
from jobs.blocks.configuration import LOOPBACK, RELOAD, config_file, hba_file, is_answering, is_read_back, pending_names
from jobs.blocks.params import Retention, SetupParams
from jobs.blocks.proof import is_streaming
from jobs.blocks.roles import noted_file
from jobs.blocks.scene import (
    Scene,
    as_permitted,
    cascades,
    has_file,
    has_files,
    on_host,
    own_file,
    path_of,
    postgres_of,
    scene_of,
    sql_at,
)
from jobs.blocks.settings import has_slots
from jobs.blocks.standby import has_recovery_conf, has_recovery_file, recovery_file
from jobs.recipe import Brief, NodeSpec, Step, World
from remote import config, postgres
from remote.command import Action, Command, WriteFile
from remote.facts import Postgres, Unreachable
from remote.layouts import LAYOUTS

OURS = "pgpanel_"

# -- the scene -----------------------------------------------------------------------------------------------------------------


def role_scene(primary: str, brief: Brief, world: World) -> Scene:
    """With `primary` as the primary, whatever it is now, and every other node that holds this cluster as its follower.

    Whoever followed another standby goes on following it; whoever followed anything else follows the new primary.
    """
    scene = scene_of(primary, (), brief, world)
    others = tuple(node for node in brief.nodes.values() if node.name != primary and _holds(world, node, scene.system_identifier))
    return replace(scene, others=others, upstreams=cascades(others, primary, brief, world, scene.system_identifier))


def _holds(world: World, spec: NodeSpec, identifier: str) -> bool:
    found = postgres_of(world, spec)
    return bool(found and identifier and found.system_identifier == identifier)


def following(scene: Scene, spec: NodeSpec, upstream: NodeSpec) -> Scene:
    """The scene in which `spec` follows `upstream`."""
    kept = {name: above for name, above in scene.upstreams.items() if name != spec.name}
    return replace(scene, upstreams=kept if upstream == scene.primary else kept | {spec.name: upstream.name})


# -- what setup was told -------------------------------------------------------------------------------------------------------


def existing_params(scene: Scene, world: World) -> SetupParams:
    """Read back from the managed blocks and `.pgpanel`, of the primary if it answers, else of whoever does."""
    members = [spec for spec in (scene.primary, *scene.others) if not isinstance(world.nodes.get(spec.name), Unreachable)]
    hba = next((lines for spec in members if (lines := block_of(world, spec, "pg_hba.conf"))), ())
    said = next((found for spec in members if (found := _said(world, spec))), {})
    settings = next((found for spec in members if (found := _own_settings(world, spec))), {})
    roles = _roles(hba)
    retention: Retention = "slots" if "max_replication_slots" in said else "segments"  # `settings.shared_settings`
    return SetupParams(
        primary=scene.primary.name,
        standbys=tuple(spec.name for spec in scene.followers),
        replication_role=roles.get("replication", SetupParams.replication_role),
        monitoring_role=roles.get("monitoring", SetupParams.monitoring_role),
        trust=roles.get("method") == "trust",
        panel_addresses=_panel_addresses(hba),
        retention=retention,
        keep_megabytes=_keep_megabytes(scene, said, retention),
        archive="/.pgpanel/push" in said.get("archive_command", ""),
        archive_hold_megabytes=int(settings.get("hold_kb", "0")) // 1024 or SetupParams.archive_hold_megabytes,
        rewind_ready=said.get("wal_log_hints") == "on",
        start_guard=any(path_of(world, spec, own_file(spec, "guard")).kind == "file" for spec in members),
    )


def block_of(world: World, spec: NodeSpec, name: str) -> tuple[str, ...]:
    """The lines of the managed block of one of a node's files, () for none."""
    try:
        found = config.block_of(path_of(world, spec, f"{spec.config_directory}/{name}").text or "")
    except config.ConfigDamaged:  # the preflight refuses it in its own words
        return ()
    return found.lines if found else ()


def _said(world: World, spec: NodeSpec) -> dict[str, str]:
    return config.parse_settings("\n".join(block_of(world, spec, "postgresql.conf")))


def _own_settings(world: World, spec: NodeSpec) -> dict[str, str]:
    text = path_of(world, spec, own_file(spec, "settings")).text or ""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _roles(hba: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in hba:
        words = line.split()
        if words[:2] == ["host", "replication"]:
            found |= {"replication": words[2], "method": words[4]}
        elif words[:2] == ["host", "postgres"]:
            found["monitoring"] = words[2]
    return found


def _panel_addresses(hba: Sequence[str]) -> tuple[str, ...]:
    places = [words[3] for words in (line.split() for line in hba) if words[:2] == ["host", "postgres"]]
    return tuple(re.sub(r"/(32|128)$", "", place) for place in places if place not in LOOPBACK)


def _keep_megabytes(scene: Scene, said: Mapping[str, str], retention: str) -> int:
    name = scene.version.name_of("max_slot_wal_keep_size" if retention == "slots" else "wal_keep_size")
    value = said.get(name, "")
    if not value:
        return 0
    if name == "wal_keep_segments":
        return int(value) * scene.segment_bytes // 1024**2
    return max(0, config.setting_bytes(value, "MB") // 1024**2)


# -- following an upstream -----------------------------------------------------------------------------------------------------


def follow_steps(scene: Scene, params: SetupParams, spec: NodeSpec, upstream: NodeSpec) -> list[Step]:
    """Slot on the upstream first, then the standby's own lines by version, then the proof that it streams from there."""
    scene = following(scene, spec, upstream)
    slot = [slots_on_step(scene, params, upstream, (spec,))] if has_slots(scene, params) else []
    return [*slot, follow_step(scene, params, spec, upstream), streaming_step(scene, spec, upstream)]


def follow_step(scene: Scene, params: SetupParams, spec: NodeSpec, upstream: NodeSpec) -> Step:
    """A reload where the version reads these settings anew (13 and newer), else a restart."""

    def files(world: World) -> tuple[WriteFile, ...]:
        recovery = (recovery_file(scene, params, world, spec),) if has_recovery_conf(scene) else ()
        return (hba_file(scene, params, world, spec), config_file(scene, params, world, spec), *recovery)

    def done(world: World) -> bool:
        is_written = has_files(world, files(world), spec)
        return is_written and is_answering(world, spec) and is_read_back(scene, params, world, spec) and not pending(world)

    def pending(world: World) -> tuple[str, ...]:
        return pending_names(scene, params, world, spec)

    def actions(world: World) -> Sequence[Action]:
        after = reload(spec) if is_reloadable(scene) else service.restart_command(world, spec)
        return (*files(world), after)

    return Step(
        key=f"standby.follow#{spec.name}", node=spec.name, title=f"{spec.name} follows {upstream.name}", done=done, actions=actions,
        within_seconds=120, diagnosis=service.log_tail(spec),
        restarts="" if is_reloadable(scene) else f"PostgreSQL on {spec.name}, a standby: its sessions end",
        why="The address and slot of its upstream stand in its own files"
        + (", and are read anew without a restart." if is_reloadable(scene) else "; this version only reads them at the start."),
    )  # fmt: skip


def reload(spec: NodeSpec) -> Command:
    return sql_at(spec, RELOAD)


def is_reloadable(scene: Scene) -> bool:
    return {"primary_conninfo", "primary_slot_name"} <= scene.version.reloadable


def streaming_step(scene: Scene, spec: NodeSpec, upstream: NodeSpec) -> Step:
    there = following(scene, spec, upstream)
    return Step(
        key=f"follow.streaming#{spec.name}", node=spec.name, reads=(upstream.name,), is_proof=True, within_seconds=120,
        title=f"{spec.name} streams from {upstream.name}", done=lambda world: is_streaming(there, world, spec),
        forecast=lambda _world: True, diagnosis=service.log_tail(spec),
        why="Its own row in pg_stat_replication there says streaming, and both are on the same timeline.",
    )  # fmt: skip


# -- slots ---------------------------------------------------------------------------------------------------------------------


def slots_on_step(scene: Scene, params: SetupParams, upstream: NodeSpec, followers: Sequence[NodeSpec]) -> Step:
    """Before anybody is pointed there. A standby takes slots too, so this is done ahead of a promotion."""
    names = tuple(scene.slot(spec) for spec in followers) if has_slots(scene, params) else ()
    lost = "wal_status = 'lost'" if scene.version.has_slot_limit else "false"
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {} AND NOT active AND {};\n"
    sql = "".join(drop.format(postgres.literal(name), lost) + postgres.create_slot_sql(name, scene.version) for name in names)

    def done(world: World) -> bool:
        server = postgres_of(world, upstream)
        return set(names) <= {slot.name for slot in (server.slots if server else ()) if slot.wal_status != "lost"}

    whose = ", ".join(spec.name for spec in followers)
    return Step(
        key=f"slots.make#{upstream.name}.{'.'.join(spec.name for spec in followers)}", node=upstream.name,
        title=f"Make the replication slots of {whose} on {upstream.name}", done=done,
        actions=lambda _world: (sql_at(upstream, sql),),
        why="From now on it keeps the WAL that they will need there.",
    )  # fmt: skip


def drop_slots_step(scene: Scene, spec: NodeSpec) -> Step:
    """Slots of pgpanel's on a node that nobody of the scene follows any more: each would hold WAL for ever."""
    kept = sorted(scene.slot(node) for node in (*scene.followers, *scene.absent) if node != spec and scene.upstream(node) == spec)
    words = ", ".join(postgres.literal(name) for name in kept)
    stale = f"left(slot_name::text, {len(OURS)}) = '{OURS}'" + (f" AND slot_name NOT IN ({words})" if kept else "")
    of = f"FROM pg_replication_slots WHERE {stale}"
    sql = _drop_when_idle(of)

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return not [slot for slot in (server.slots if server else ()) if slot.name.startswith(OURS) and slot.name not in kept]

    return Step(
        key=f"slots.drop#{spec.name}", node=spec.name, title=f"Drop the slots that nobody uses on {spec.name} any more", done=done,
        # planned while those who use them still do
        actions=lambda _world: (sql_at(spec, sql),) if scene.version.has_slots else (),
        why="A slot without its standby holds WAL until the disk is full.",
    )  # fmt: skip


def drop_slot_step(scene: Scene, spec: NodeSpec, follower: NodeSpec) -> Step:
    """One follower's slot on a node that it does not follow (any more)."""
    name = scene.slot(follower)
    of = f"FROM pg_replication_slots WHERE slot_name = {postgres.literal(name)}"

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return server is None or server.slot_named(name) is None

    return Step(
        key=f"slot.drop#{spec.name}.{follower.name}", node=spec.name, title=f"Drop the slot of {follower.name} on {spec.name}",
        done=done, actions=lambda _world: (sql_at(spec, _drop_when_idle(of)),),
        why="A slot without its standby holds WAL until the disk is full.",
    )  # fmt: skip


def _drop_when_idle(of: str) -> str:
    """A sender may take a moment to notice that nobody listens any more."""
    return (
        "DO $drop$ BEGIN FOR waited IN 1..100 LOOP"
        f" EXIT WHEN NOT EXISTS (SELECT 1 {of} AND active); PERFORM pg_sleep(0.1); END LOOP; END $drop$;\n"
        f"SELECT pg_drop_replication_slot(slot_name) {of} AND NOT active;\n"
    )


# -- starting by itself --------------------------------------------------------------------------------------------------------


def autostart_step(spec: NodeSpec, on: bool) -> Step:
    """Debian's start.conf (auto, manual), a systemd unit (enabled, and Restart=); other layouts have no way of their own."""
    at_boot = LAYOUTS[spec.layout].at_boot
    start = f"{spec.config_directory}/start.conf" if at_boot == "debian" else ""
    dropin, link = f"/run/systemd/system/{spec.service}.service.d/pgpanel.conf", wanted_link(spec)

    def done(world: World) -> bool:
        if start and (word := _start_word(path_of(world, spec, start).text)) and (word == "auto") is not on:
            return False
        if not (spec.service and world.facts(spec.name).is_systemd):
            return True
        is_enabled = at_boot != "systemd" or (path_of(world, spec, link).kind != "missing") is on
        return is_enabled and (path_of(world, spec, dropin).kind == "missing") is on

    def actions(world: World) -> Sequence[Action]:
        command = autostart_command(world, spec, on)
        return (command,) if command else ()

    return Step(
        key=f"autostart.{'on' if on else 'off'}#{spec.name}", node=spec.name, done=done, actions=actions,
        title=f"PostgreSQL on {spec.name} {'starts by itself again' if on else 'does not start by itself meanwhile'}",
        # it is off by then
        forecast=(lambda world: autostart_command(world, spec, on) is not None) if on else None,
        why="As before." if on else "Nothing but this job starts it while its role changes.",
    )  # fmt: skip


def autostart_command(world: World, spec: NodeSpec, on: bool) -> Command | None:
    """None where the layout has no way of its own."""
    at_boot = LAYOUTS[spec.layout].at_boot
    start = f"{spec.config_directory}/start.conf" if at_boot == "debian" else ""
    unit = spec.service if world.facts(spec.name).is_systemd else ""
    if not start and not unit:
        return None
    enables = "yes" if at_boot == "systemd" else "no"
    return as_permitted(world, spec, on_host("autostart.sh", "on" if on else "off", start, unit, enables, user="root"))


def wanted_link(spec: NodeSpec) -> str:
    return f"/etc/systemd/system/multi-user.target.wants/{spec.service}.service"


def _start_word(text: str | None) -> str:
    words = [line.split("#")[0].strip() for line in (text or "").splitlines()]
    return next((word for word in words if word in ("auto", "manual", "disabled")), "")


# -- the fence -----------------------------------------------------------------------------------------------------------------


def staged_fence(job: str, spec: NodeSpec) -> str:
    return f"{spec.data_directory}/pgpanel.fence-{job}"


def fence_in_place(scene: Scene, spec: NodeSpec) -> str:
    """The file that makes a start of this node a standby's."""
    return f"{spec.data_directory}/{'recovery.conf' if has_recovery_conf(scene) else 'standby.signal'}"


def fence_file(scene: Scene, params: SetupParams, world: World, spec: NodeSpec, upstream: NodeSpec) -> WriteFile:
    """Staged beside where it will be renamed to: standby.signal, or up to 11 the whole recovery.conf."""
    text = recovery_file(following(scene, spec, upstream), params, world, spec).text if has_recovery_conf(scene) else ""
    return WriteFile(staged_fence(scene.brief.job, spec), text, spec.owner)


def stage_fence_step(scene: Scene, params: SetupParams, spec: NodeSpec, upstream: NodeSpec) -> Step:
    """Everything that makes the old primary a standby of `upstream`, except the one rename. A primary reads none of it."""
    scene = following(scene, spec, upstream)

    def files(world: World) -> tuple[WriteFile, ...]:
        return hba_file(scene, params, world, spec), config_file(scene, params, world, spec)

    def fence(world: World) -> WriteFile:
        return fence_file(scene, params, world, spec, upstream)

    mark = role_mark(scene, spec)

    return Step(
        key=f"fence.stage#{spec.name}", node=spec.name, title=f"Lay ready what makes {spec.name} a standby of {upstream.name}",
        done=lambda world: has_files(world, (*files(world), mark), spec)
        and (has_file(world, fence(world), spec) or is_fenced(scene, params, world, spec)),
        actions=lambda world: (mark, *files(world), fence(world)),
        why="While it is stopped one rename is left: from then on any start of it is read-only.",
    )  # fmt: skip


def role_mark(scene: Scene, spec: NodeSpec) -> WriteFile:
    """On the node that steps down: afterwards nothing else tells who it was."""
    return WriteFile(own_file(spec, "role-change"), f"{scene.brief.job}\n", spec.owner)


def is_fenced(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> bool:
    """Its next start is a standby's."""
    if has_recovery_conf(scene):
        return has_recovery_file(scene, params, world, spec)
    return path_of(world, spec, fence_in_place(scene, spec)).kind == "file"


# -- the new primary -----------------------------------------------------------------------------------------------------------


def primary_settings_step(scene: Scene, params: SetupParams, key: str = "primary.settings") -> Step:
    """The managed blocks of the scene's primary as a primary's, whose passwords its roles have, and who confirms its commits."""
    spec = scene.primary

    def files(world: World) -> tuple[WriteFile, ...]:
        return hba_file(scene, params, world, spec), config_file(scene, params, world, spec), noted_file(scene, params)

    def done(world: World) -> bool:
        return has_files(world, files(world), spec) and is_read_back(scene, params, world, spec)

    return Step(
        key=f"{key}#{spec.name}", node=spec.name, title=f"Write the managed blocks of {spec.name} as the primary's, and reload",
        done=done, actions=lambda world: (*files(world), reload(spec)),
        why="It follows nobody any more; who must confirm its commits is said for its new role.",
    )  # fmt: skip


def checkpoint_step(spec: NodeSpec) -> Step:
    """Its control file names the new timeline only then: pg_rewind, and whoever asks it, would believe in the old one."""

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return bool(server and server.control and server.role == "primary" and server.control.timeline == server.timeline)

    return Step(
        key=f"primary.checkpoint#{spec.name}", node=spec.name, title=f"Checkpoint on {spec.name}", done=done,
        actions=lambda _world: (sql_at(spec, "CHECKPOINT;\n", 600),), within_seconds=600, forecast=lambda _world: True,
        why="From then on its control file too says which timeline it is on, and who rejoins it finds the right one.",
    )  # fmt: skip


def hand_in_step(spec: NodeSpec) -> Step:
    """The stop did not wait for the archiver, and a standby archives nothing."""
    hold = own_file(spec, "hold")

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return path_of(world, spec, hold).kind == "missing" and bool(server and server.archive_ready_count == 0)

    command = on_host("hand_in.sh", spec.data_directory, own_file(spec, "push"), hold, user=spec.owner, timeout_seconds=600.0)
    return Step(
        key=f"archive.hand_in#{spec.name}", node=spec.name, title=f"Hand in the WAL files that {spec.name} had not archived yet",
        done=done, actions=lambda _world: (command,), forecast=lambda _world: True,
        why="Its stop did not wait for that, and as a standby it archives nothing by itself.",
    )  # fmt: skip


def synchronous_names(value: str, new_primary: str, old_primary: str) -> str:
    """Whose confirmation a commit waits for, said for the other role: where it named the new primary, it names the old one."""
    if not re.search(_as_word(new_primary), value) or re.search(_as_word(old_primary), value):
        return value
    word = old_primary if re.fullmatch(r"[A-Za-z_][\w$]*", old_primary) else f'"{old_primary}"'
    return re.sub(_as_word(new_primary), word, value)


def _as_word(name: str) -> str:
    return rf'"{re.escape(name)}"|(?<![\w$"-]){re.escape(name)}(?![\w$"-])'


def synchronous_of(server: Postgres | None) -> str:
    """As it runs, or of a stopped server as its files say."""
    if server is None:
        return ""
    said = config.parse_settings(server.config_text) | config.parse_settings(server.auto_config_text)
    return server.setting("synchronous_standby_names") or ("" if server.settings else said.get("synchronous_standby_names", ""))
