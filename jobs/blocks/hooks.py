"""Commands of the operator's own around a change of roles: move an address, pause PgBouncer, restart what uses the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.blocks.line import Line
from jobs.recipe import Brief, Check, ParamsError, Step
from remote.command import Command

LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Hook:
    """A line of shell for whoever the panel logs in as on that node."""

    node: str
    command: str
    timeout_seconds: int = 30


def hooks(field_name: str, value: object) -> tuple[Hook, ...]:
    if not isinstance(value, (list, tuple)):
        raise ParamsError(field_name, "is not a list of commands")
    return tuple(_hook(f"{field_name}[{number}]", item) for number, item in enumerate(value))


def _hook(field_name: str, item: Any) -> Hook:
    if not isinstance(item, Mapping) or not {"node", "command"} <= set(item) or set(item) - {"node", "command", "timeout_seconds"}:
        raise ParamsError(field_name, "needs node and command, and may have timeout_seconds")
    node, command, seconds = item["node"], item["command"], item.get("timeout_seconds", Hook.timeout_seconds)
    if not isinstance(command, str) or not command.strip() or "\0" in command:
        raise ParamsError(field_name, "its command is empty")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= LONGEST_SECONDS:
        raise ParamsError(field_name, f"timeout_seconds is not a whole number from 1 to {LONGEST_SECONDS}")
    return Hook(str(node), command.strip(), seconds)


def hook_steps(found: Sequence[Hook], when: str) -> list[Step]:
    """when: "before" | "after". Each runs once a job: that it ran is noted."""
    return [_step(hook, f"hook.{when}#{number}", when) for number, hook in enumerate(found, 1)]


def _step(hook: Hook, key: str, when: str) -> Step:
    command = Command(("sh", "-c", hook.command), timeout_seconds=float(hook.timeout_seconds))
    return Step(
        key=key, node=hook.node, title=f"The command of yours {when} the change", done=lambda world: key in world.notes,
        actions=lambda _world: (command,), note=key, forecast=lambda _world: True,
        why=f"It has {hook.timeout_seconds} s; what it says is in the log."
        + (" If it fails, nothing is changed." if when == "before" else " If it fails, the job stops here and can go on."),
    )  # fmt: skip


def hook_checks(brief: Brief, found: Sequence[Hook]) -> list[Check]:
    return [
        Line("hook.node", hook.node, "Where your command runs").refused(f"{hook.node} is no node of this cluster", "name one")
        for hook in found
        if hook.node not in brief.nodes
    ]
