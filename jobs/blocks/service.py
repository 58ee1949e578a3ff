"""Starting, stopping, restarting and enabling the server the way its layout does it."""

from __future__ import annotations

from jobs.blocks.scene import as_permitted, on_host, path_of
from jobs.recipe import NodeSpec, World
from remote import postgres
from remote.command import Action, Command
from remote.layouts import LAYOUTS


def start_command(world: World, spec: NodeSpec) -> Command:
    return as_permitted(world, spec, _until_ready(spec, postgres.start(spec)))


def stop_command(world: World, spec: NodeSpec) -> Command:
    return as_permitted(world, spec, postgres.stop(spec))


def restart_command(world: World, spec: NodeSpec) -> Command:
    return as_permitted(world, spec, _until_ready(spec, postgres.restart(spec)))


def _until_ready(spec: NodeSpec, command: Command) -> Command:
    if not LAYOUTS[spec.layout].lingers:
        return command
    return on_host(
        "until_ready.sh", spec.data_directory, *command.argv, user=command.user, directory=command.directory,
        timeout_seconds=command.timeout_seconds,
    )  # fmt: skip


def log_tail(spec: NodeSpec) -> tuple[Command, ...]:
    """The end of the server's log, for a step whose server did not come up."""
    if not spec.log_file:
        return ()
    return (Command(("tail", "-n", "15", "--", spec.log_file), user=spec.owner, mutates=False),)


def registration(world: World, spec: NodeSpec) -> tuple[Action, ...]:
    """What the layout needs besides data and configuration files, and that the server starts at boot."""
    if LAYOUTS[spec.layout].at_boot == "debian":
        return (as_permitted(world, spec, on_host("debian_cluster.sh", spec.owner, spec.config_directory, user="root")),)
    if LAYOUTS[spec.layout].at_boot == "systemd" and world.facts(spec.name).is_systemd:
        return (as_permitted(world, spec, Command(("systemctl", "enable", spec.service), user="root")),)
    return ()


def is_registered(world: World, spec: NodeSpec) -> bool:
    if LAYOUTS[spec.layout].at_boot == "debian":
        others = ("environment", "pg_ctl.conf", "pg_ident.conf")
        is_auto = _is_auto(path_of(world, spec, f"{spec.config_directory}/start.conf").text)
        return is_auto and all(path_of(world, spec, f"{spec.config_directory}/{name}").kind == "file" for name in others)
    if LAYOUTS[spec.layout].at_boot == "systemd" and world.facts(spec.name).is_systemd:
        return path_of(world, spec, f"/etc/systemd/system/multi-user.target.wants/{spec.service}.service").kind != "missing"
    return True


def _is_auto(text: str | None) -> bool:
    return "auto" in [line.split("#")[0].strip() for line in (text or "").splitlines()]
