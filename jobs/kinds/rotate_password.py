"""Kind `rotate_password`: a new password for the replication role or the monitoring role, made by the panel, without an outage.

The server keeps one verifier a role, so old and new are never valid together. What is connected stays connected; who logs in
between the change and its own new password file is refused, and tries again by itself some seconds later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from jobs.blocks import checks, service
from jobs.blocks.following import existing_params, role_scene
from jobs.blocks.guard import guard_files
from jobs.blocks.keys import own_files
from jobs.blocks.line import Line
from jobs.blocks.params import Reader, SetupParams
from jobs.blocks.roles import OURS, noted_file, password_sql
from jobs.blocks.scene import Scene, has_file, has_files, on_host, own_directory, own_file, path_of, postgres_of, request_of, sql_on
from jobs.blocks.settings import value_of
from jobs.blocks.standby import has_recovery_conf, recovery_file
from jobs.blocks.standing import is_up, row_of, the_primary, would_be_primary
from jobs.recipe import Brief, Check, NodeSpec, Step, World
from remote import lsn, postgres
from remote.command import Action, Secret, WriteFile
from remote.facts import FactsRequest, Unreachable

Purpose = Literal["replication", "monitoring"]

PURPOSES: tuple[Purpose, ...] = ("replication", "monitoring")
CHANGED = "password_changed"
"""The note of the position in the WAL behind the change."""


@dataclass(frozen=True)
class RotatePasswordParams:
    purpose: Purpose


def rotate_password_params(data: Mapping[str, Any]) -> RotatePasswordParams:
    read = Reader(data)
    purpose = cast(Purpose, read.choice("purpose", PURPOSES))
    read.end()
    return RotatePasswordParams(purpose)


@dataclass(frozen=True)
class Rotation:
    """The scene in which the new password is the password, and the old one for the proof."""

    scene: Scene
    told: SetupParams
    purpose: Purpose
    old: Secret

    @property
    def role(self) -> str:
        return self.told.replication_role if self.purpose == "replication" else self.told.monitoring_role

    @property
    def new(self) -> Secret:
        return self.scene.secret(f"{self.purpose}_password")


@dataclass(frozen=True)
class RotatePassword:
    """See docs/kinds/rotate_password.md."""

    name: str = "rotate_password"
    label: str = "Change a password"

    def params(self, data: Mapping[str, Any]) -> RotatePasswordParams:
        return rotate_password_params(data)

    def title(self, params: RotatePasswordParams) -> str:
        return f"Change the password of the {params.purpose} role"

    def nodes(self, params: RotatePasswordParams, brief: Brief) -> tuple[str, ...]:  # noqa: ARG002
        return tuple(brief.nodes)

    def requests(self, params: RotatePasswordParams, brief: Brief) -> Mapping[str, FactsRequest]:  # noqa: ARG002
        return {name: request_of(brief, spec) for name, spec in brief.nodes.items()}

    def checks(self, params: RotatePasswordParams, brief: Brief, world: World) -> Sequence[Check]:
        found = checks.host_checks(brief, world, tuple(brief.nodes))
        primary, refusal = the_primary(brief, world)
        if primary is None:
            return [*found, refusal]
        if any(isinstance(facts, Unreachable) for facts in world.nodes.values()):
            return found
        rotation = _rotation(params, brief, world, primary)
        return [*found, _role_check(rotation, world), *(_member_check(rotation, world, spec) for spec in rotation.scene.followers)]

    def steps(self, params: RotatePasswordParams, brief: Brief, world: World) -> Sequence[Step]:
        rotation = _rotation(params, brief, world, would_be_primary(brief, world))
        followers = rotation.scene.followers
        steps = [_change_step(rotation)]
        if params.purpose == "replication":
            steps += [_files_step(rotation, spec) for spec in rotation.scene.members]
            for spec in followers:  # one after the other: another synchronous standby goes on confirming
                steps += [_accepted_step(rotation, spec, rotation.scene.upstream(spec)), _reconnect_step(rotation, spec)]
            return steps
        steps += [_replayed_step(spec) for spec in followers]
        return [*steps, *(_accepted_step(rotation, spec, spec) for spec in rotation.scene.members if _listens_locally(world, spec))]

    def summary(self, params: RotatePasswordParams, brief: Brief, world: World) -> Sequence[str]:
        rotation = _rotation(params, brief, world, would_be_primary(brief, world))
        lines = [
            f"{rotation.role} gets a new password, which the panel has made. The server is given its verifier, never the password.",
            "Old and new are never valid together. Who is connected stays so; who logs in during these seconds is refused once,"
            " and tries again by itself.",
        ]
        if params.purpose == "monitoring":
            return [*lines, "The panel watches with the new one as soon as the job has ended, and by SSH meanwhile."]
        if _in_recovery_conf(rotation):
            names = ", ".join(spec.name for spec in rotation.scene.followers)
            return [*lines, f"Here it stands in recovery.conf, which is only read at the start: {names} is restarted."]
        return [
            *lines,
            "Each standby's connection is ended once, so that it logs in anew: it is away for some seconds, no session ends.",
        ]


def _rotation(params: RotatePasswordParams, brief: Brief, world: World, primary: NodeSpec) -> Rotation:
    key = f"{params.purpose}_password"
    secrets = {**brief.secrets, key: brief.secrets[f"{params.purpose}.next_password"]}
    scene = role_scene(primary.name, replace(brief, secrets=secrets), world)
    return Rotation(scene, existing_params(scene, world), params.purpose, brief.secrets[key])


def _in_recovery_conf(rotation: Rotation) -> bool:
    """Up to 9.6 libpq knows no passfile."""
    return has_recovery_conf(rotation.scene) and "passfile" not in rotation.scene.version.conninfo_keys


def _listens_locally(world: World, spec: NodeSpec) -> bool:
    words = {word.strip() for word in value_of(postgres_of(world, spec), "listen_addresses", "*").split(",")}
    return bool(words & {"*", "0.0.0.0", "localhost", "127.0.0.1"})  # noqa: S104


# -- checks --------------------------------------------------------------------------------------------------------------------


def _role_check(rotation: Rotation, world: World) -> Check:
    primary, role = rotation.scene.primary, rotation.role
    line, server = Line("role.ours", primary.name, f"The role {role} is the panel's"), postgres_of(world, primary)
    if rotation.purpose == "replication" and rotation.told.trust:
        reason = "the nodes log in without a password: pg_hba.conf says trust for their addresses"
        return line.refused(reason, "run “Set up replication” without trust first")
    if not role.startswith(OURS):
        mend = "change it where it is used, or run “Set up replication” with a role of the panel's"
        return line.refused(f"{role} is somebody's: others may log in with it", mend)
    if server is None or server.role_named(role) is None:
        return line.refused("there is no such role", "run “Set up replication” first, which makes it")
    if path_of(world, primary, own_file(primary, "roles")).kind != "file":
        return line.refused(f"nothing is noted of it in {own_directory(primary)}", "run “Set up replication” first")
    return line.ok("made by the panel")


def _member_check(rotation: Rotation, world: World, spec: NodeSpec) -> Check:
    line = Line("standby.streams", spec.name, "It streams, so that the new password can be proven there")
    if not is_up(postgres_of(world, spec)):
        return line.refused("PostgreSQL does not answer there", f"start {spec.name} first, or remove it")
    row = row_of(rotation.scene.brief, world, spec.name)
    if row is None or row[1].state != "streaming":
        return line.refused("it does not stream now", f"repair {spec.name} first")
    return line.ok(f"from {row[0].name}")


# -- steps ---------------------------------------------------------------------------------------------------------------------


def _change_step(rotation: Rotation) -> Step:
    """The last command says where in the WAL that is: standbys get roles by replication."""
    scene, primary = rotation.scene, rotation.scene.primary
    noted = noted_file(scene, rotation.told)
    sql = password_sql(scene, rotation.told, rotation.purpose)
    position = f"SELECT {scene.version.functions.insert_lsn or scene.version.functions.current_lsn}();\n"
    return Step(
        key="password.change", node=primary.name, title=f"Give {rotation.role} its new verifier", note=CHANGED,
        done=lambda world: has_file(world, noted, primary) and CHANGED in world.notes,
        actions=lambda world: (sql_on(world, primary, sql), noted, sql_on(world, primary, position, mutates=False)),
        why="Kept out of the server's log. A fingerprint is noted on the host, so that a later job knows which password it is.",
    )  # fmt: skip


def _files_step(rotation: Rotation, spec: NodeSpec) -> Step:
    """Every node may become a standby one day."""
    is_inside = _in_recovery_conf(rotation) and spec != rotation.scene.primary

    def files(world: World) -> tuple[WriteFile, ...]:
        recovery = (recovery_file(rotation.scene, rotation.told, world, spec),) if is_inside else ()
        return (*own_files(rotation.scene, replace(rotation.told, archive=False), spec), *recovery, *_laid_ready(rotation, spec))

    def actions(world: World) -> Sequence[Action]:
        return (*files(world), *((service.restart_command(world, spec),) if is_inside else ()))

    return Step(
        key=f"password.file#{spec.name}", node=spec.name, title=f"Write {spec.name}'s password file", within_seconds=120,
        done=lambda world: has_files(world, files(world), spec) and is_up(postgres_of(world, spec)), actions=actions,
        restarts=f"PostgreSQL on {spec.name}, a standby: its sessions end" if is_inside else "",
        why="It is read at every login, so nothing has to be reloaded.",
    )  # fmt: skip


def _laid_ready(rotation: Rotation, spec: NodeSpec) -> tuple[WriteFile, ...]:
    """What the start guard would put in place: a recovery.conf, with the password in it up to 9.6."""
    if not rotation.told.start_guard or not _in_recovery_conf(rotation):
        return ()
    files = guard_files(rotation.scene, rotation.told, spec)
    return tuple(file for file in files if "/guard.follow-" in file.path)


def _accepted_step(rotation: Rotation, spec: NodeSpec, server: NodeSpec) -> Step:
    """From the host that logs in: the new password opens it, the old one does not."""
    is_replication = rotation.purpose == "replication"
    note = f"password_tried.{spec.name}"
    words = {"host": server.address if is_replication else "127.0.0.1", "port": str(server.port), "user": rotation.role}
    words |= {"dbname": "postgres"} | ({"replication": "1"} if is_replication else {})
    conninfo = " ".join(f"{name}={postgres.conninfo_quoted(value)}" for name, value in words.items())
    lines = [postgres.pgpass_line(rotation.role, password) for password in (rotation.new, rotation.old)]
    stdin = tuple(piece for line in lines for piece in (line if isinstance(line, tuple) else (line,)))
    command = on_host(
        "try_passwords.sh", spec.bin_directory, conninfo, "IDENTIFY_SYSTEM" if is_replication else "SELECT 1",
        user=spec.owner, stdin=stdin, mutates=False,
    )  # fmt: skip
    where = f"on {server.name}" if server != spec else "there"
    return Step(
        key=f"password.accepted#{spec.name}", node=spec.name, note=note, is_proof=True, forecast=lambda _world: True,
        title=f"{spec.name}: the new password opens a session {where}, the old one does not any more",
        done=lambda world: note in world.notes, actions=lambda _world: (command,), why="Tried with both, from this host.",
    )  # fmt: skip


def _reconnect_step(rotation: Rotation, spec: NodeSpec) -> Step:
    """Its sender is ended, and another one comes."""
    scene, note = rotation.scene, f"sender_ended.{spec.name}"
    upstream, pid = scene.upstream(spec), scene.version.stat_replication_pid
    # ended in the list of columns, never in WHERE: that may be asked of every session before the rows are chosen
    ended = f"CASE WHEN pg_terminate_backend({pid}) THEN '' ELSE '' END"
    sql = (
        f"SELECT {pid} || {ended} FROM pg_stat_replication"  # noqa: S608
        f" WHERE application_name = {postgres.literal(spec.name)} AND state <> 'backup';\n"
    )

    def done(world: World) -> bool:
        row = row_of(scene.brief, world, spec.name)
        if note not in world.notes or row is None:
            return False
        return row[1].state == "streaming" and str(row[1].pid) not in world.notes[note].split()

    return Step(
        key=f"password.reconnect#{spec.name}", node=upstream.name, reads=(spec.name,), note=note, done=done, within_seconds=90,
        title=f"{spec.name} connects anew", actions=lambda world: (sql_on(world, upstream, sql),), forecast=lambda _world: True,
        diagnosis=service.log_tail(upstream), why="Another sender than before streams to it: it has logged in with its new file.",
    )  # fmt: skip


def _replayed_step(spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        standby = postgres_of(world, spec)
        return CHANGED in world.notes and bool(standby and standby.replay_lsn >= lsn.parse_or_zero(world.notes[CHANGED]))

    return Step(
        key=f"password.replayed#{spec.name}", node=spec.name, title=f"{spec.name} knows it", done=done, within_seconds=300,
        why="Roles come to a standby by replication: its replay position is past the change's.",
    )  # fmt: skip


KIND = RotatePassword()
