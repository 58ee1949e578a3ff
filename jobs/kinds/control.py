"""Kinds `start`, `stop`, `restart`, `reload`: the server of one node, through its layout's own service control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jobs.blocks import checks, service
from jobs.blocks.configuration import is_answering
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.scene import on_host, path_of, postgres_of, request_of, slot_in_use
from jobs.blocks.standing import (
    changes_on_disk,
    is_up,
    role_of,
    row_of,
    second_primary_check,
    slot_of,
    synchronous_check,
    writers,
)
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote import versions
from remote.command import Action, Command
from remote.facts import FactsRequest, Postgres, Unreachable

Verb = Literal["start", "stop", "restart", "reload"]

BACKLOG = 10
LOOKED = "looked"
RELOADED = "reloaded"
NOTED = "pgpanel.control"
"""In the data directory: which server a job found when it was about to restart it."""

FOLLOWERS_SQL = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1;\n"
WRONG_SQL = (
    "SELECT f.sourcefile || ' line ' || f.sourceline || ': ' || coalesce(f.name || ': ', '') || f.error FROM pg_file_settings f"
    " LEFT JOIN pg_settings s ON s.name = f.name WHERE f.error IS NOT NULL"
    " AND NOT (f.error = 'setting could not be applied' AND coalesce(s.context, '') = 'postmaster')"
)
WAITING_SQL = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY 1"


@dataclass(frozen=True)
class ControlParams:
    node: str


def control_params(data: Mapping[str, Any]) -> ControlParams:
    read = Reader(data)
    params = ControlParams(node=read.required("node"))
    read.end()
    return params


@dataclass(frozen=True)
class Control:
    """See docs/kinds/start.md and its neighbours."""

    name: Verb
    label: str

    def params(self, data: Mapping[str, Any]) -> ControlParams:
        return control_params(data)

    def title(self, params: ControlParams) -> str:
        what = "the configuration of PostgreSQL" if self.name == "reload" else "PostgreSQL"
        return f"{self.name.capitalize()} {what} on {params.node}"

    def nodes(self, params: ControlParams, brief: Brief) -> tuple[str, ...]:
        if params.node not in brief.nodes:
            raise ParamsError("node", f"{params.node} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: ControlParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return {
            name: request_of(brief, spec, (_noted_path(spec),) if name == params.node else ()) for name, spec in brief.nodes.items()
        }

    def checks(self, params: ControlParams, brief: Brief, world: World) -> Sequence[Check]:
        spec = brief.nodes[params.node]
        found = checks.host_checks(brief, world, (params.node,))
        if isinstance(world.nodes[params.node], Unreachable):
            return found
        state = _state_check(spec, world, self.name)
        if state.level == "refused":
            return [*found, state]
        found.append(state)
        if self.name in ("start", "restart"):
            found.append(second_primary_check(brief, world, spec, "started"))
        if self.name in ("stop", "restart"):
            found += [check for check in _outage_checks(brief, world, spec, self.name) if check]
        return found

    def steps(self, params: ControlParams, brief: Brief, world: World) -> Sequence[Step]:
        spec = brief.nodes[params.node]
        if self.name == "reload":
            return [_reload_step(spec, world)]
        if self.name == "start":
            return [_start_step(spec), _follows_step(brief, spec, _is_standby(world, spec))]
        before = look_step(spec)
        if self.name == "stop":
            return [before, _stop_step(spec, world)]
        proof = _follows_step(brief, spec, True) if _is_standby(world, spec) else followers_step(brief, spec)
        return [before, _restart_step(brief, spec, world), proof]

    def summary(self, params: ControlParams, brief: Brief, world: World) -> Sequence[str]:
        spec = brief.nodes[params.node]
        server = world.postgres(spec)
        assert server is not None  # `_state_check` has refused otherwise
        role = role_of(server)
        lines = {
            "start": [f"{spec.name} starts as a {role}."] if not is_up(server) else [f"{spec.name} runs already."],
            "stop": [f"{spec.name}, a {role}, is stopped and stays so until somebody starts it, or its host boots."],
            "restart": [f"{spec.name}, a {role}, is restarted: its sessions end, it is away for some seconds."],
            "reload": [f"{spec.name} reads its configuration files anew. No session ends."],
        }[self.name]
        if self.name == "stop" and (kept := _slot_check(brief, world, spec)):
            lines.append(f"Meanwhile {kept.reason}.")
        changes = changes_on_disk(server)
        now = [str(change) for change in changes if self.name == "restart" or not change.waits]
        waiting = [str(change) for change in changes if change.waits and self.name == "reload"]
        if self.name in ("restart", "reload"):
            lines.append(f"What takes effect: {', '.join(now)}." if now else "No setting changes by it, as far as its files tell.")
        if waiting:
            lines.append(f"What goes on waiting for a restart: {', '.join(waiting)}.")
        return lines


def _noted_path(spec: NodeSpec) -> str:
    return f"{spec.data_directory}/{NOTED}"


def _is_standby(world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    return bool(server and role_of(server) == "standby")


# -- checks --------------------------------------------------------------------------------------------------------------------


def _state_check(spec: NodeSpec, world: World, verb: Verb) -> Check:
    line, server = Line("node.server", spec.name, "PostgreSQL now"), postgres_of(world, spec)
    if server is None:
        mend = "correct the node's data directory, or make it a standby with “Add a standby”"
        return line.refused(f"there is no database cluster in {spec.data_directory}", mend)
    if server.is_running and server.answers_sql:
        return line.ok(f"it runs as a {server.role}, with {_counted(server.connection_count, 'session')}")
    if server.is_running:
        reason = server.sql_error.splitlines()[0] if server.sql_error else "it runs, but answers no query"
        return line.refused(reason, "wait until it is ready, or restart it") if verb == "reload" else line.warning(reason)
    if server.stray_pids and verb != "stop":
        pids = " ".join(str(pid) for pid in server.stray_pids)
        return line.refused(
            f"its postmaster is gone, but processes of it are left ({pids}): they may still write",
            f"end them on {spec.name} first", f"kill {pids}",
        )  # fmt: skip
    if verb == "reload":
        return line.refused("it does not run", f"start {spec.name}")
    state = server.control.state if server.control else "unknown"
    return line.warning(f"it does not run ({state}): restarting starts it") if verb == "restart" else line.ok(f"stopped: {state}")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _outage_checks(brief: Brief, world: World, spec: NodeSpec, verb: Verb) -> list[Check | None]:
    server = world.postgres(spec)
    if server is None or not is_up(server):
        return []
    until = "until it is started again" if verb == "stop" else "for some seconds"
    line = Line("node.outage", spec.name, "Who is cut off")
    sessions = _counted(server.connection_count, "session")
    if server.role == "primary":
        followers = [sender.application_name for sender in server.senders if sender.state == "streaming"]
        following = f"; nothing new reaches {', '.join(followers)}, which only read" if followers else ""
        reason = f"nobody can write {until}: {sessions} end{following}"
        mend = "for a planned outage, switch over first: then the writes move to a standby"
        cut = line.warning(reason, mend if followers else "")
    else:
        cut = line.warning(f"{sessions} end; it serves no query {until}") if server.connection_count else line.ok("no session")
    return [
        cut,
        _backup_check(server, spec),
        _backlog_check(server, spec),
        synchronous_check(brief, world, spec),
        _slot_check(brief, world, spec) if verb == "stop" else None,
    ]


def _backup_check(server: Postgres, spec: NodeSpec) -> Check | None:
    if not server.is_backup_running:
        return None
    reason = "pg_start_backup was called and not ended: a crash now would leave a backup_label behind"
    return Line("node.backup", spec.name, "No exclusive backup is running").warning(
        reason, "end it first", "SELECT pg_stop_backup();"
    )


def _backlog_check(server: Postgres, spec: NodeSpec) -> Check | None:
    """A primary that is stopped archives what it has first."""
    if server.role != "primary" or server.archive_ready_count < BACKLOG:
        return None
    line, waiting = Line("node.archive", spec.name, "WAL that waits to be archived"), _counted(server.archive_ready_count, "file")
    return line.warning(f"{waiting}: the stop waits while they are archived", "look at the archiver first, if it does not move")


def _slot_check(brief: Brief, world: World, spec: NodeSpec) -> Check | None:
    """What keeps growing on the node above while a standby is away."""
    server = world.postgres(spec)
    if server is None or server.role != "standby":
        return None
    line = Line("node.slot", spec.name, "The WAL that is kept for it meanwhile")
    held = slot_of(brief, world, spec.name, slot_in_use(world, spec, server.system_identifier))
    if held is None:
        row = row_of(brief, world, spec.name)
        where = row[0].name if row else "its upstream"
        return line.ok(f"no slot: {where} keeps what it keeps anyway; after longer an archive must have the rest")
    above, slot = held
    limit = postgres_of(world, above)
    most = limit.setting("max_slot_wal_keep_size") if limit else ""
    if most and most != "-1":
        return line.ok(f"the slot {slot.name} on {above.name} holds it, at most {int(most):,} MB")
    mend = f"do not leave it so; if it stays away, drop the slot on {above.name}"
    reason = f"the slot {slot.name} on {above.name} holds it without a limit, until its disk is full"
    return line.warning(reason, mend, f"SELECT pg_drop_replication_slot('{slot.name}');")


# -- steps ---------------------------------------------------------------------------------------------------------------------


def look_step(spec: NodeSpec, is_settled: Callable[[World], bool] = lambda _world: False, checkpoint: bool = True) -> Step:
    """Who streams from it before it is away; `followers_step` asks for them again. is_settled: nothing is going to happen."""
    command = on_host(
        "if_it_runs.sh", spec.data_directory, spec.bin_directory, spec.owner, user=spec.owner, timeout_seconds=900.0,
        stdin=("CHECKPOINT;\n" if checkpoint else "") + FOLLOWERS_SQL,
    )  # fmt: skip
    return Step(
        key=f"node.look#{spec.name}", node=spec.name, note=LOOKED, actions=lambda _world: (command,),
        title=f"{'Write a checkpoint, and note' if checkpoint else 'Note'} who streams from it",
        done=lambda world: LOOKED in world.notes or is_settled(world),
        why="What is on disk already need not be written while it stops." if checkpoint else "They must stream again afterwards.",
    )  # fmt: skip


def _stop_step(spec: NodeSpec, world: World) -> Step:
    state = Command((f"{spec.bin_directory}/pg_controldata", spec.data_directory), user=spec.owner, mutates=False,
                    environment=(("LC_ALL", "C"),))  # fmt: skip

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return server is not None and not server.is_running and not server.stray_pids

    return Step(
        key=f"node.stop#{spec.name}", node=spec.name, title="Stop PostgreSQL", done=done, within_seconds=120,
        actions=lambda world: (service.stop_command(world, spec), state), restarts=_ends(spec, world),
        diagnosis=service.log_tail(spec),
        why="A fast stop: sessions are ended, everything is written. Proven by its control file, and by no process being left.",
    )  # fmt: skip


def _ends(spec: NodeSpec, world: World) -> str:
    return f"PostgreSQL on {spec.name}, a {'standby' if _is_standby(world, spec) else 'primary'}: its sessions end"


def _start_step(spec: NodeSpec) -> Step:
    return Step(
        key=f"node.start#{spec.name}", node=spec.name, title="Start PostgreSQL", within_seconds=600,
        done=lambda world: is_answering(world, spec), actions=lambda world: (service.start_command(world, spec),),
        diagnosis=service.log_tail(spec), why="It is started once it answers queries.",
    )  # fmt: skip


def _restart_step(brief: Brief, spec: NodeSpec, world: World) -> Step:
    note = on_host("note_server.sh", spec.data_directory, brief.job, "restart", user=spec.owner)

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        words = (path_of(world, spec, _noted_path(spec)).text or "").split()
        if words[:2] != [brief.job, "restart"] or server is None or not is_up(server):
            return False
        return words[2:4] != [str(server.postmaster_pid), str(server.started_at)] and not server.pending_restart

    def actions(world: World) -> Sequence[Action]:
        return (note, service.restart_command(world, spec))

    return Step(
        key=f"node.restart#{spec.name}", node=spec.name, title="Restart PostgreSQL", done=done, actions=actions, within_seconds=600,
        restarts=_ends(spec, world), diagnosis=service.log_tail(spec),
        why="Proven by another postmaster than the one that was noted before, and by no setting that still waits for a restart.",
    )  # fmt: skip


def reload_command(spec: NodeSpec, version: versions.Version) -> Command:
    """Comes back when the files have been read; fails, and names the line, where one is wrong (9.5 and newer can tell)."""
    wrong, waiting = (WRONG_SQL, WAITING_SQL) if version.has_pending_restart else ("", "")
    return on_host("reload.sh", spec.data_directory, spec.bin_directory, spec.owner, wrong, waiting, user=spec.owner)


def _reload_step(spec: NodeSpec, world: World) -> Step:
    server = postgres_of(world, spec)
    assert server is not None  # `_state_check` has refused otherwise
    command = reload_command(spec, versions.of(server.major))
    return Step(
        key=f"node.reload#{spec.name}", node=spec.name, title="Read the configuration files anew", note=RELOADED,
        done=lambda world: RELOADED in world.notes, actions=lambda _world: (command,),
        why="Proven by the server's own time of its last reading. A line that is wrong is named, and nothing is read.",
    )  # fmt: skip


def _follows_step(brief: Brief, spec: NodeSpec, is_standby: bool) -> Step:
    """A standby streams again, if there is a primary that it could stream from."""

    def done(world: World) -> bool:
        if not is_answering(world, spec):
            return False
        if not is_standby or not writers(brief, world, but=spec.name):
            return True
        row = row_of(brief, world, spec.name)
        return row is not None and row[1].state == "streaming"

    title = f"{spec.name} answers and streams" if is_standby else f"{spec.name} answers"
    return Step(
        key=f"proof.follows#{spec.name}", node=spec.name, reads=tuple(name for name in brief.nodes if name != spec.name),
        title=title, done=done, is_proof=True, forecast=lambda _world: True, within_seconds=120, diagnosis=service.log_tail(spec),
        why="Its own row in pg_stat_replication of the node above says streaming." if is_standby else "It takes queries.",
    )  # fmt: skip


def followers_step(brief: Brief, spec: NodeSpec) -> Step:
    """Whoever streamed from it before does so again."""

    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        before = {name for name in world.notes.get(LOOKED, "").split() if name in (*brief.nodes, "walreceiver")}
        now = {sender.application_name for sender in (server.senders if server else ()) if sender.state == "streaming"}
        return is_answering(world, spec) and before <= now

    return Step(
        key=f"proof.followers#{spec.name}", node=spec.name, is_proof=True, forecast=lambda _world: True, within_seconds=120,
        title="It answers, and whoever streamed from it before streams again", done=done,
        why="As noted before: their rows in pg_stat_replication say streaming.",
    )  # fmt: skip


START = Control("start", "Start")
STOP = Control("stop", "Stop")
RESTART = Control("restart", "Restart")
RELOAD = Control("reload", "Reload the configuration")
