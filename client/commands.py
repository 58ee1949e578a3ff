"""The words of `pgpanel`. Each asks the panel's API and shows the answer; `--json` shows it as the API gave it."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import get_completion_class

from client import completing, following, shown
from client.panel import Panel
from client.refusals import JobFailed, NotConfirmed, Refused
from client.where import where

PLAN_SECONDS, EVIDENCE_SECONDS, ASK_AGAIN_SECONDS = 300.0, 40.0, 0.3
PROGRAM = "pgpanel"
F = TypeVar("F", bound=Callable[..., Any])


def pass_panel(command: Callable[..., None]) -> Callable[..., None]:
    """First argument: the panel. Only when a command runs: its help needs no token."""

    @functools.wraps(command)
    def with_panel(**words: Any) -> None:
        command(Panel(where()), **words)

    return with_panel


as_json = click.option("--json", "is_json", is_flag=True, help="As the API gave it.")
no_follow = click.option("--no-follow", is_flag=True, help="Do not wait for the job's end.")
is_full = click.option("--full", "is_full", is_flag=True, help="Every script and file whole.")
cluster_word = click.argument("cluster", shell_complete=completing.clusters)


def job_word(completer: completing.Completer) -> Callable[[F], F]:
    return click.argument("job", type=click.IntRange(min=1), shell_complete=completer)


def planning(command: F) -> F:
    """The words of a plan: KIND CLUSTER --set NAME=VALUE."""
    setting = click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", shell_complete=completing.settings,
        help="A parameter of the kind: JSON, a,b,c or plain text. Their names: pgpanel kinds KIND.",
    )  # fmt: skip
    kind = click.argument("kind", shell_complete=completing.kinds)
    return kind(cluster_word(setting(command)))


@click.group(name=PROGRAM, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """pgpanel from a shell: look at clusters, plan, start and follow jobs, promote.

    The panel and your token come from PGPANEL_URL and PGPANEL_TOKEN, or from ~/.config/pgpanel/client.toml (mode 0600).

    \b
    Exit codes: 0 done · 1 the job did not succeed · 2 wrong words · 3 the panel refused · 4 no or no good token
                5 the panel does not answer · 6 not confirmed, nothing was changed
    """


# -- looking -----------------------------------------------------------------------------------------------------------------------


@cli.command()
@as_json
@pass_panel
def clusters(panel: Panel, *, is_json: bool) -> None:
    """The clusters that you may see."""
    found = panel.all("/clusters")
    if is_json:
        shown.as_json(found)
        return
    rows = [[one["name"], one["condition"], one["primary"] or "-", str(len(one["nodes"])), one["problem"]] for one in found]
    shown.table(rows, ["CLUSTER", "CONDITION", "PRIMARY", "NODES", "PROBLEM"])


@cli.command()
@cluster_word
@as_json
@pass_panel
def nodes(panel: Panel, *, cluster: str, is_json: bool) -> None:
    """The nodes of CLUSTER, as last seen."""
    found = panel.all(f"/clusters/{cluster}/nodes")
    if is_json:
        shown.as_json(found)
        return
    rows = [[one["name"], one["role"] if one["is_reachable"] else "unreachable", f"{one['node_address']}:{one['postgres_port']}",
             one["postgres_major"], str(one["timeline"]), shown.age(one["seen_at"]), one["quarantine"] and "under quarantine"]
            for one in found]  # fmt: skip
    shown.table(rows, ["NODE", "ROLE", "ADDRESS", "MAJOR", "TIMELINE", "SEEN", ""])


@cli.command()
@click.argument("kind", required=False, shell_complete=completing.kinds)
@as_json
@pass_panel
def kinds(panel: Panel, *, kind: str | None, is_json: bool) -> None:
    """What can be done; with KIND its parameters."""
    found = panel.get("/kinds")["items"]
    chosen = [one for one in found if kind in (None, one["name"])]
    if not chosen:
        raise click.UsageError(f"No kind “{kind}”: {', '.join(one['name'] for one in found)}")
    if is_json:
        shown.as_json(chosen[0] if kind else chosen)
    elif kind is None:
        shown.table([[one["name"], one["label"]] for one in chosen], ["KIND", "WHAT"])
    else:
        schema = chosen[0]["params"]
        fields, required = schema.get("properties", {}), schema.get("required", [])
        rows = [
            [name, _type(field), "required" if name in required else json.dumps(field.get("default"))]
            for name, field in fields.items()
        ]
        shown.table(rows, ["PARAMETER", "TYPE", "DEFAULT"])


@cli.command()
@cluster_word
@click.option("--replica", is_flag=True, help="The standbys instead, one a line.")
@click.option("--lag", default="", help="With --replica: at most so far behind (10MB).")
@as_json
@pass_panel
def primary(panel: Panel, *, cluster: str, replica: bool, lag: str, is_json: bool) -> None:
    """Where the primary of CLUSTER is now: host:port. Exit code 3 where none is seen."""
    word = "replica" if replica else "primary"
    is_there, said = panel.text(f"/clusters/{cluster}/{word}", **({"lag": lag} if replica and lag else {}))
    if is_json:
        shown.as_json({"found": said.splitlines() if is_there else [], "why_not": "" if is_there else said})
    else:
        click.echo(shown.clean(said), err=not is_there)
    if not is_there:
        click.get_current_context().exit(Refused.exit_code)


@cli.command(name="connection-strings")
@cluster_word
@click.option("--form", type=click.Choice(["libpq", "uri", "jdbc", "psycopg"]), help="Only this one.")
@click.option("--database", default="mydb", show_default=True)
@click.option("--user", default="myuser", show_default=True)
@click.option("--read-only", is_flag=True, help="Standbys first.")
@as_json
@pass_panel
def connection_strings(
    panel: Panel, *, cluster: str, form: str | None, database: str, user: str, read_only: bool, is_json: bool
) -> None:
    """Connection strings for CLUSTER that find the primary by themselves, also after a switchover."""
    session = "prefer-standby" if read_only else "read-write"
    _found, said = panel.text(f"/clusters/{cluster}/connection-strings", database=database, user=user, session=session)
    strings = dict(line.split("\t", 1) for line in said.splitlines())
    wanted = {form: strings[form]} if form else strings
    if is_json:
        shown.as_json(wanted)
    else:
        click.echo("\n".join(wanted.values() if form else (f"{name:8} {text}" for name, text in wanted.items())))


@cli.command()
@cluster_word
@click.option("--kept", is_flag=True, help="What was last gathered; ask nobody anew.")
@as_json
@pass_panel
def evidence(panel: Panel, *, cluster: str, kept: bool, is_json: bool) -> None:
    """What is proven of the primary of CLUSTER, by whom, and who could take over."""
    told = panel.get(f"/clusters/{cluster}/evidence") if kept else _gathered(panel, cluster)
    shown.as_json(told) if is_json else shown.evidence(told)


@cli.command()
@click.option("--cluster", default="", shell_complete=completing.clusters)
@click.option("--most", default=20, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@as_json
@pass_panel
def jobs(panel: Panel, *, cluster: str, most: int, is_json: bool) -> None:
    """The last jobs."""
    found = panel.all("/jobs", most, **({"cluster": cluster} if cluster else {}))
    if is_json:
        shown.as_json(found)
        return
    rows = [
        [str(one["id"]), one["status"], one["ending"], one["cluster"], shown.age(one["created_at"]), one["title"]] for one in found
    ]
    shown.table(rows, ["JOB", "STATUS", "ENDING", "CLUSTER", "MADE", "WHAT"])


# -- two steps: plan, start --------------------------------------------------------------------------------------------------------


@cli.command()
@planning
@is_full
@as_json
@pass_panel
def plan(panel: Panel, *, kind: str, cluster: str, settings: tuple[str, ...], is_full: bool, is_json: bool) -> None:
    """Have a plan made for KIND on CLUSTER, and show it. Nothing is changed."""
    made = _planned(panel, kind, cluster, _params(panel, kind, settings))
    shown.as_json(made) if is_json else shown.plan(made, is_full=is_full)
    _require_planned(made)
    if not is_json:
        click.echo(f"\nstart it:  {PROGRAM} start {made['id']} --hash {made['hash']}")


@cli.command()
@job_word(completing.jobs)
@is_full
@as_json
@pass_panel
def show(panel: Panel, *, job: int, is_full: bool, is_json: bool) -> None:
    """The plan of JOB."""
    told = panel.get(f"/plans/{job}")
    shown.as_json(told) if is_json else shown.plan(told, is_full=is_full)


@cli.command()
@job_word(completing.plans)
@click.option("--hash", "plan_hash", required=True, help="Of the plan that you read.")
@click.option("--supersede", is_flag=True, help="An emergency: ask the job that runs to end first (promote, fence).")
@no_follow
@as_json
@pass_panel
def start(panel: Panel, *, job: int, plan_hash: str, supersede: bool, no_follow: bool, is_json: bool) -> None:
    """Start what was planned, if its hash is still the one that you read."""
    told = panel.get(f"/plans/{job}")
    _started(panel, told["cluster"], job, plan_hash, supersede)
    _to_its_end(panel, job, no_follow, is_json)


@cli.command()
@planning
@click.option("--yes", is_flag=True, help="Confirm the plan without asking.")
@is_full
@no_follow
@as_json
@pass_panel
def run(
    panel: Panel, *, kind: str, cluster: str, settings: tuple[str, ...], yes: bool, is_full: bool, no_follow: bool, is_json: bool
) -> None:
    """Plan KIND on CLUSTER, show it, ask, start it, follow it to its end."""
    made = _planned(panel, kind, cluster, _params(panel, kind, settings))
    if not is_json:
        shown.plan(made, is_full=is_full)
    _require_planned(made)
    if not yes and not click.confirm(f"\n{shown.clean(made['title'])}: do exactly this?", err=is_json):
        panel.delete(f"/plans/{made['id']}")
        raise NotConfirmed("not confirmed: nothing was changed")
    _started(panel, cluster, made["id"], made["hash"])
    _to_its_end(panel, made["id"], no_follow, is_json)


@cli.command()
@job_word(completing.active_jobs)
@click.option("--after", default=0, type=click.IntRange(min=0), help="Only lines behind this one.")
@as_json
@pass_panel
def follow(panel: Panel, *, job: int, after: int, is_json: bool) -> None:
    """The log of JOB until it ends. Ctrl-C leaves it running."""
    _to_its_end(panel, job, False, is_json, after)


@cli.command()
@job_word(completing.active_jobs)
@as_json
@pass_panel
def cancel(panel: Panel, *, job: int, is_json: bool) -> None:
    """Ask JOB to stop; it ends when what it started on a host has provably ended."""
    _told_of(panel.post(f"/jobs/{job}/cancel"), is_json)


@cli.command()
@job_word(completing.ended_jobs)
@no_follow
@as_json
@pass_panel
def resume(panel: Panel, *, job: int, no_follow: bool, is_json: bool) -> None:
    """Go on with a failed, cancelled or lost JOB, from the first step that is not done."""
    before = panel.get(f"/jobs/{job}")["last_seq"]
    panel.post(f"/jobs/{job}/resume")
    _to_its_end(panel, job, no_follow, is_json, before)


# -- 3 am --------------------------------------------------------------------------------------------------------------------------


@cli.command()
@cluster_word
@click.option("--candidate", default="", shell_complete=completing.nodes, help="Another standby than the best one.")
@click.option("--way", "way_name", default="", help="Another way than the safest: its name, as listed.")
@is_full
@no_follow
@pass_panel
def promote(panel: Panel, *, cluster: str, candidate: str, way_name: str, is_full: bool, no_follow: bool) -> None:
    """The primary of CLUSTER is lost: what is proven, what a promotion would lose, its plan; started when you type a name.

    There is no --yes: whoever promotes has read what is proven.
    """
    told = _gathered(panel, cluster)
    shown.evidence(told)
    ways = panel.get(f"/clusters/{cluster}/promotions")
    _list_ways(ways)
    chosen = next((way for way in ways if candidate in ("", way["candidate"]) and way_name in ("", way["name"])), None)
    if chosen is None:
        raise Refused({"detail": f"Nothing may be promoted now like this. {told['mend']}"})
    click.echo()
    made = _planned(panel, "promote", cluster, chosen["params"])
    shown.plan(made, is_full=is_full)
    _require_planned(made)
    _typed(chosen, told["primary"])
    _started(panel, cluster, made["id"], made["hash"], supersede=True)
    _to_its_end(panel, made["id"], no_follow, False)


def _list_ways(ways: list[dict[str, Any]]) -> None:
    if ways:
        click.echo()
        shown.table(
            [[way["candidate"], way["name"], way["text"], way["loss"]] for way in ways], ["CANDIDATE", "WAY", "WHAT", "LOSES"]
        )


def _typed(way: dict[str, Any], old_primary: str) -> None:
    """The name of the old primary where that states something; else of the node that takes over."""
    click.echo(click.style(f"\n{shown.clean(way['text'])}", bold=True))
    if way["states"]:
        click.echo(f"Typing {old_primary} you state:")
        for text in way["states"]:
            click.echo(f"  · {shown.clean(text)}")
    wanted = old_primary if way["states"] else way["candidate"]
    if click.prompt(f"Type {wanted} to confirm", default="", show_default=False).strip() != wanted:
        raise NotConfirmed("not confirmed: nothing was changed")


# -- completion --------------------------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for a shell: eval "$(pgpanel completion bash)" in ~/.bashrc."""
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, PROGRAM, "_PGPANEL_COMPLETE").source())


# -- how ---------------------------------------------------------------------------------------------------------------------------


def _params(panel: Panel, kind: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE: JSON where it reads as JSON, a list where it has commas or the kind wants one, else text."""
    schema: dict[str, Any] = next((one["params"] for one in panel.get("/kinds")["items"] if one["name"] == kind), {})
    fields = schema.get("properties", {})
    params: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set {text}: NAME=VALUE is wanted")
        params[name] = _value(value, fields.get(name, {}))
    return params


def _value(text: str, field: dict[str, Any]) -> Any:
    if field.get("type") == "string":
        return text
    if field.get("type") == "array" and not text.startswith("["):
        return [part for part in text.split(",") if part]
    try:
        return json.loads(text)
    except ValueError:
        return text.split(",") if "," in text else text


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(each) for each in field["enum"])
    if "anyOf" in field:
        return " | ".join(_type(each) for each in field["anyOf"])
    return "list" if field.get("type") == "array" else str(field.get("type", ""))


def _planned(panel: Panel, kind: str, cluster: str, params: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = panel.post(f"/clusters/{cluster}/plans", {"kind": kind, "params": params})
    until = time.monotonic() + PLAN_SECONDS
    while made["status"] == "planning" and time.monotonic() < until:
        time.sleep(ASK_AGAIN_SECONDS)
        made = panel.get(f"/plans/{made['id']}")
    return made


def _require_planned(made: dict[str, Any]) -> None:
    if made["status"] != "planned":
        raise Refused({"detail": f"plan {made['id']} is {made['status']}: nothing was changed"})


def _started(panel: Panel, cluster: str, plan_id: int, plan_hash: str, supersede: bool = False) -> None:
    panel.post(f"/clusters/{cluster}/jobs", {"plan": plan_id, "hash": plan_hash, "supersede": supersede})


def _to_its_end(panel: Panel, job_id: int, no_follow: bool, is_json: bool, after: int = 0) -> None:
    if no_follow:
        _told_of(panel.get(f"/jobs/{job_id}"), is_json)
        return
    try:
        for line in following.lines(panel, job_id, after):
            if not is_json:
                shown.line(line)
    except KeyboardInterrupt:
        click.echo(f"\njob {job_id} goes on by itself: {PROGRAM} follow {job_id}", err=True)
        raise
    job = panel.get(f"/jobs/{job_id}")
    shown.as_json(job) if is_json else shown.ending(job)
    if job["status"] != "succeeded":
        raise JobFailed(f"job {job_id} {job['status']}")


def _told_of(job: dict[str, Any], is_json: bool) -> None:
    if is_json:
        shown.as_json(job)
    else:
        asked = ", asked to stop" if job["cancel_requested_at"] and job["status"] in following.ACTIVE else ""
        click.echo(f"job {job['id']} {shown.word(job['status'])}{asked}: {shown.clean(job['title'])}")


def _gathered(panel: Panel, cluster: str) -> dict[str, Any]:
    told: dict[str, Any] = panel.post(f"/clusters/{cluster}/evidence")
    until = time.monotonic() + EVIDENCE_SECONDS
    while told["is_asking"] and time.monotonic() < until:
        time.sleep(ASK_AGAIN_SECONDS)
        told = panel.get(f"/clusters/{cluster}/evidence")
    return told


def main() -> None:
    cli(prog_name=PROGRAM)
