"""What makes a copy a standby: its own configuration, recovery.conf up to 11, registration at boot, the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.blocks import service
from jobs.blocks.configuration import config_file, hba_file, is_answering, is_read_back, reload_command, restart_step
from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, has_files, is_in_place, is_new, is_standby_of
from jobs.blocks.settings import recovery_settings
from jobs.recipe import NodeSpec, Step, World
from remote import config, postgres
from remote.command import Action, Secret, Text, WriteFile


def standby_steps(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> list[Step]:
    return [configure_step(scene, params, spec), start_step(scene, spec), restart_step(scene, params, world, spec)]


def configure_step(scene: Scene, params: SetupParams, spec: NodeSpec) -> Step:
    def files(world: World) -> tuple[WriteFile, ...]:
        return hba_file(scene, params, world, spec), config_file(scene, params, world, spec)

    def done(world: World) -> bool:
        is_written = has_files(world, files(world), spec) and has_recovery_file(scene, params, world, spec)
        return is_written and service.is_registered(world, spec) and is_read_back(scene, params, world, spec)

    def actions(world: World) -> Sequence[Action]:
        recovery = (recovery_file(scene, params, world, spec),) if has_recovery_conf(scene) else ()
        # a standby that runs already reads it anew; recovery.conf only at its restart
        after = (
            ()
            if is_new(scene, world, spec)
            else (service.restart_command(world, spec) if recovery else reload_command(world, spec),)
        )
        return (*service.registration(world, spec), *files(world), *recovery, *after)

    return Step(
        key=f"standby.configure#{spec.name}", node=spec.name, title="Write the standby's configuration; start it at boot",
        done=done, actions=actions, within_seconds=120,
        restarts=f"PostgreSQL on {spec.name}, a standby" if has_recovery_conf(scene) and spec in scene.others else "",
        why=f"It follows {scene.primary.name} and its later timelines, and takes from the archive what streaming does not have."
        " The managed blocks are the same as the primary's.",
    )  # fmt: skip


def has_recovery_conf(scene: Scene) -> bool:
    return scene.version.recovery_style == "recovery.conf"


def recovery_file(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> WriteFile:
    settings = recovery_settings(scene, params, world, spec, with_primary=True)
    return WriteFile(f"{spec.data_directory}/recovery.conf", recovery_text(scene, params, settings), spec.owner)


def recovery_text(scene: Scene, params: SetupParams, settings: Mapping[str, str]) -> Text:
    """Up to 9.6 libpq knows no passfile, so the password stands here, in a file for the owner alone."""
    plain = dict(settings)
    pieces: list[str | Secret] = []
    if not params.trust and "passfile" not in scene.version.conninfo_keys:
        password = scene.secret("replication_password")
        connection = plain.pop("primary_conninfo")
        word = postgres.conninfo_quoted(password.value)
        pieces = [f"primary_conninfo = '{_doubled(connection)} password=", Secret(password.name, _doubled(word)), "'\n"]
    text = config.with_block("", config.setting_lines(plain), f"cluster {scene.brief.cluster}")
    return (text, *pieces)


def _doubled(text: str) -> str:
    """Inside the quotes of a configuration file."""
    return text.replace("\\", "\\\\").replace("'", "''")


def has_recovery_file(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> bool:
    return not has_recovery_conf(scene) or has_files(world, (recovery_file(scene, params, world, spec),), spec)


def start_step(scene: Scene, spec: NodeSpec) -> Step:
    def is_started(world: World) -> bool:
        return is_answering(world, spec) and is_standby_of(world, spec, scene.system_identifier)

    return Step(
        key=f"standby.start#{spec.name}", node=spec.name, title="Start the standby", within_seconds=600,
        done=is_started,
        # one that is copied anew runs while this is planned
        forecast=(lambda world: not is_in_place(scene, world, spec) or not is_started(world)) if scene.is_reseeding else None,
        actions=lambda world: (service.start_command(world, spec),), diagnosis=service.log_tail(spec),
        why="It replays the WAL since the copy and opens for read-only queries.",
    )  # fmt: skip
