"""Names for the shell's completion, asked of the panel; without one, or without a token, there are simply none."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from client import panel
from client.panel import Panel
from client.where import where

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
QUICK_SECONDS = 2.0


def _names(find: Callable[[Panel, click.Context], list[tuple[str, str]]]) -> Completer:
    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        panel.TRIES, panel.CONNECT_SECONDS, panel.ANSWER_SECONDS = 1, QUICK_SECONDS, QUICK_SECONDS  # this process does nothing else
        try:
            found = find(Panel(where()), context)
        except click.ClickException:
            return []
        return [CompletionItem(name, help=text) for name, text in found if name.startswith(begun)]

    return complete


def _jobs(asked: Panel, statuses: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(str(job["id"]), f"{job['status']}: {job['title']}") for job in asked.all("/jobs", 50) if job["status"] in statuses]


def _word(context: click.Context, name: str) -> str:
    """What stands on the line for an argument; click has not assigned it yet while an option behind it has no value."""
    arguments = [parameter.name for parameter in context.command.params if isinstance(parameter, click.Argument)]
    place = arguments.index(name)
    return context.params.get(name) or (context.args[place] if len(context.args) > place else "")


clusters = _names(lambda asked, _context: [(one["name"], one["condition"]) for one in asked.all("/clusters")])
nodes = _names(
    lambda asked, context: [(one["name"], one["role"]) for one in asked.all(f"/clusters/{_word(context, 'cluster')}/nodes")]
)
kinds = _names(lambda asked, _context: [(one["name"], one["label"]) for one in asked.get("/kinds")["items"]])
plans = _names(lambda asked, _context: _jobs(asked, ("planned",)))
active_jobs = _names(lambda asked, _context: _jobs(asked, ("queued", "running")))
ended_jobs = _names(lambda asked, _context: _jobs(asked, ("failed", "errored", "cancelled", "lost")))
jobs = _names(lambda asked, _context: [(str(job["id"]), f"{job['status']}: {job['title']}") for job in asked.all("/jobs", 50)])


def settings(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names of a kind's parameters: `--set candidate=`; behind the `=` the cluster's nodes."""
    name, equals, value = begun.partition("=")
    if equals:
        return [CompletionItem(f"{name}={item.value}", help=item.help) for item in nodes(context, _parameter, value)]

    def find(asked: Panel, here: click.Context) -> list[tuple[str, str]]:
        kind = next((one for one in asked.get("/kinds")["items"] if one["name"] == _word(here, "kind")), None)
        return [(f"{each}=", "") for each in (kind["params"].get("properties", {}) if kind else {})]

    return _names(find)(context, _parameter, begun)
