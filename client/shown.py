"""What a person reads: tables, plans, lines, endings. Colours only on a terminal (click takes them away elsewhere), never alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

Json = Mapping[str, Any]
GOOD = ("succeeded", "streaming", "primary", "planned", "ok", "done", "already", "alive", "delivered")
BAD = ("failed", "errored", "lost", "broken", "refused", "stopped", "disconnected", "unreachable", "cancelled")
MARKS = {"command": "", "output": "  ", "error": "! ", "note": "# "}
DIFF_LINES, COMMAND_LINES = 40, 6


def as_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def word(text: str) -> str:
    return click.style(text, fg="green" if text in GOOD else "red" if text in BAD else "yellow")


def clean(text: str) -> str:
    """Of a host, through the panel, to this terminal: no escape code of anybody's is obeyed here."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


def table(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> None:
    shown = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(heads, *shown, strict=True)]
    click.echo(click.style("  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip(), bold=True))
    for row in shown:
        cells = (word(cell) + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True))
        plain = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        coloured = (lit if cell.strip() in (*GOOD, *BAD) else cell for lit, cell in zip(cells, plain, strict=True))
        click.echo("  ".join(coloured).rstrip())


def age(moment: str | None) -> str:
    if not moment:
        return "never"
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def plan(told: Json, *, is_full: bool) -> None:
    click.echo(click.style(f"{clean(told['title'])}  (plan {told['id']}, {told['status']})", bold=True))
    for check in told["checks"]:
        why = f": {clean(check['why'])}" if check["why"] else ""
        click.echo(f"  {word(check['result'])}{' ' * (8 - len(check['result']))}{check['host']:10} {clean(check['title'])}{why}")
        for mend in filter(None, (check["mend"], check["mend_command"])) if check["result"] != "ok" else ():
            click.echo(f"{'':20} → {clean(mend)}")
    for number, step in enumerate(told["steps"], start=1):
        click.echo(f"\n{number:3}. {step['node']}: {clean(step['title'])}" + ("" if step["is_needed"] else "  (nothing to do)"))
        for label in ("destroys", "restarts"):
            if step[label]:
                click.echo(click.style(f"     {label}: {clean(step[label])}", fg="yellow"))
        for command in step["commands"]:
            _indented(command["text"], COMMAND_LINES, is_full)
        for diff in step["diffs"]:
            _indented(diff["diff"], DIFF_LINES, is_full)
    for text in (*told["summary"], told["outcome"]):
        if text:
            click.echo(f"\n{clean(text)}")
    if told["hash"]:
        click.echo(f"\nplan {told['id']}, hash {told['hash']}" + ("" if is_full else "   (whole: --full)"))


def _indented(text: str, most: int, is_full: bool) -> None:
    rows = clean(text).splitlines()
    for row in rows if is_full else rows[:most]:
        click.echo(f"       {row}")
    if not is_full and len(rows) > most:
        click.echo(f"       … {len(rows) - most} more lines")


def line(told: Json) -> None:
    host = f"{told['node']:>8} " if told["node"] else ""
    text = clean(told["text"]).replace("\n", "\n" + " " * (12 + len(host)))
    click.echo(click.style(f"{told['at'][11:22]} {host}", dim=True) + _voiced(told["voice"], MARKS[told["voice"]] + text))


def _voiced(voice: str, text: str) -> str:
    return click.style(text, fg="red") if voice == "error" else click.style(text, bold=True) if voice == "command" else text


def ending(job: Json) -> None:
    click.echo()
    for step in job["steps"]:
        click.echo(
            f"  {word(step['status'])}{' ' * (10 - len(step['status']))}{_seconds(step):>9}  {step['node']}: {clean(step['title'])}"
        )
    if job["outcome"]:
        click.echo(f"\n{clean(job['outcome'])}")
    ended = f" ({job['ending']})" if job["ending"] else ""
    click.echo(f"\njob {job['id']} {word(job['status'])}{ended}")


def _seconds(step: Json) -> str:
    if not step["started_at"] or not step["ended_at"]:
        return ""
    return f"{(datetime.fromisoformat(step['ended_at']) - datetime.fromisoformat(step['started_at'])).total_seconds():.1f} s"


def evidence(told: Json) -> None:
    click.echo(click.style(f"{told['primary'] or 'no primary'}: {told['verdict'].replace('_', ' ')}", bold=True))
    click.echo(f"{clean(told['sentence'])}\n→ {clean(told['mend'])}\n")
    rows = [[one["observer"], one["by"], one["says"], one["detail"]] for one in told["observations"]]
    table(rows, ["OBSERVER", "BY", "SAYS", "WHY"])
    if told["candidates"]:
        click.echo()
        rows = [[one["name"], "best" if one["is_best"] else "", one["loss"], one["why_not"]] for one in told["candidates"]]
        table(rows, ["CANDIDATE", "", "LOSES", "WHY NOT"])
    if told["quarantined"]:
        click.echo(f"\nunder quarantine: {', '.join(told['quarantined'])}")
    click.echo(f"\nasked {age(told['gathered_at'])}" + (" (an answer is on its way)" if told["is_asking"] else ""))
