"""Preflight of a planned change of roles: the candidate, the primary that steps down, and everybody who is connected to it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

from jobs.blocks.following import block_of, synchronous_of
from jobs.blocks.line import Line
from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, postgres_of, upstream_of
from jobs.blocks.settings import has_slots, number_of, value_of
from jobs.blocks.standby import has_recovery_conf
from jobs.recipe import Brief, Check, NodeSpec, World
from remote import config, layouts, lsn
from remote.facts import Facts, Postgres, Transaction, Unreachable, WalSender

LAG_BYTES = 64 * 1024**2
"""More than that is not caught up with in the moment that a switchover waits for it."""
READY_FILES = 8
LONG_SECONDS = 10
LEAST_FREE_BYTES = 256 * 1024**2

Found = Check | None

# -- who is who ----------------------------------------------------------------------------------------------------------------


def candidate_check(brief: Brief, world: World, candidate: NodeSpec, old: NodeSpec | None) -> Check:
    """Whether there is a scene at all: a primary that answers, and a standby of the same cluster that does."""
    line, server = Line("candidate.role", candidate.name, "It is a standby of this cluster"), postgres_of(world, candidate)
    if candidate.name in brief.quarantined:
        reason = f"it is under quarantine: {brief.quarantined[candidate.name]}"
        return line.refused(reason, f"rebuild {candidate.name} first")
    if server is None or not server.is_running or not server.answers_sql:
        why = (server.sql_error if server else "") or "PostgreSQL does not run there"
        return line.refused(why, f"start it on {candidate.name}", paste(candidate.start_command))
    if server.role != "standby":
        return line.refused("it is a primary already", "choose a standby")
    if old is None:
        mend = f"if there is none any more, promote {candidate.name} instead: that is for a primary that is lost"
        return line.refused("no primary of this cluster answers: there is nothing to switch over from", mend)
    primary = postgres_of(world, old)
    if primary is None or primary.system_identifier != server.system_identifier:
        return line.refused(f"its system identifier is not that of {old.name}", "choose a standby of this cluster")
    return line.ok(f"PostgreSQL {server.version or server.major}, timeline {server.timeline}")


def prepared_check(primary: NodeSpec, world: World, spec: NodeSpec) -> Check:
    """Either direction needs what setup writes: the same lines on every node."""
    line = Line("node.set_up", spec.name, "pgpanel's lines are there")
    missing = [name for name in ("pg_hba.conf", "postgresql.conf") if not block_of(world, spec, name)]
    if not missing:
        return line.ok("the managed blocks of pg_hba.conf and postgresql.conf")
    return line.refused(
        f"there is no managed block in {' and '.join(missing)}: nobody has prepared it for another role",
        f"run “Set up replication” for {primary.name} and its standbys first: it copies nothing that is there already",
    )


def paste(command: str) -> str:
    """A service command as a person types it."""
    return shlex.join(layouts.words(command)) if command else ""


# -- the candidate -------------------------------------------------------------------------------------------------------------


def _attached(scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    line = Line("candidate.attached", new.name, f"It streams from {old.name} now")
    primary, server = postgres_of(world, old), postgres_of(world, new)
    assert primary is not None
    assert server is not None
    row = row_of(primary, new)
    above = upstream_of(world, new, scene.brief)
    if row is None and above and above != old.name:
        return line.refused(f"it follows {above}, another standby", f"re-point {new.name} to {old.name} first, or choose {above}")
    if row is None or row.state != "streaming":
        state = f"{old.name} says “{row.state}”" if row else f"{old.name} has no connection of it"
        return line.refused(state, f"repair {new.name} first: what it does not have would be lost")
    if server.receiver and server.receiver.status != "streaming":
        return line.refused(f"its WAL receiver says “{server.receiver.status}”", f"repair {new.name} first")
    if server.timeline != primary.timeline:
        return line.refused(f"it is on timeline {server.timeline}, {old.name} on {primary.timeline}", f"rebuild {new.name}")
    return line.ok(f"timeline {server.timeline}")


def row_of(server: Postgres, spec: NodeSpec) -> WalSender | None:
    return next((sender for sender in server.senders if sender.application_name == spec.name), None)


def _replays(scene: Scene, world: World, _old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    line, server = Line("candidate.replays", new.name, "It replays what it receives, at once"), postgres_of(world, new)
    assert server is not None
    if server.is_replay_paused:
        resume = f"psql -p {new.port} -U {new.owner} -c 'SELECT {scene.version.functions.replay_resume}()'"
        return line.refused("its replay is paused", f"on {new.name}, resume it", resume)
    if delay := apply_delay(server):
        mend = f"on {new.name}, set recovery_min_apply_delay to 0 and {'restart' if has_recovery_conf(scene) else 'reload'}"
        return line.refused(f"recovery_min_apply_delay is {delay}: it is behind on purpose", mend)
    return line.ok()


def apply_delay(server: Postgres) -> str:
    """As a person reads it, "" for none."""
    said = config.parse_settings(server.recovery_text).get("recovery_min_apply_delay", "")
    setting = server.settings.get("recovery_min_apply_delay")
    value = f"{setting.value} {setting.unit}".strip() if setting else said
    return "" if value.split(" ")[0] in ("", "0", "0ms", "0s") else value


def _lag(scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    line, primary, server = Line("candidate.lag", new.name, "It is close behind"), postgres_of(world, old), postgres_of(world, new)
    assert primary is not None
    assert server is not None
    behind = max(0, lsn.diff_bytes(primary.current_lsn, server.replay_lsn, scene.version))
    if behind > LAG_BYTES:
        return line.refused(f"{behind // 1024**2:,} MB behind {old.name}", "wait until it has caught up, then plan again")
    return line.ok(f"{behind // 1024:,} kB behind when it was asked")


def _parameters(scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    """Lower than the primary: replay stops at the next change. Higher than another standby: then that one stops."""
    line = Line("candidate.parameters", new.name, "Room for as many connections and locks as the others")
    chosen = postgres_of(world, new)
    for spec in (old, *(node for node in scene.others if node not in (old, new))):
        server = postgres_of(world, spec)
        if server is None or not server.settings:
            continue
        for name in scene.version.standby_at_least:
            here, there = number_of(chosen, name), number_of(server, name)
            if spec == old and here < there:
                mend = f"on {new.name}, set {name} to {there} and restart it"
                return line.refused(f"{name} is {here} here, {there} on {old.name}", mend, paste(new.restart_command))
            if spec != old and here > there:
                return line.refused(
                    f"{name} is {here} here, {there} on {spec.name}, which could not follow it",
                    f"on {spec.name}, set {name} to {here} and restart it", paste(spec.restart_command),
                )  # fmt: skip
    return line.ok(", ".join(scene.version.standby_at_least))


def _version(_scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    line, primary, server = (
        Line("candidate.version", new.name, "The same version"),
        postgres_of(world, old),
        postgres_of(world, new),
    )
    assert primary is not None
    assert server is not None
    if primary.version == server.version:
        return line.ok(server.version)
    return line.warning(f"{server.version} here, {primary.version} on {old.name}", "bring both to the same minor release soon")


def _room(scene: Scene, world: World, old: NodeSpec, new: NodeSpec, params: SetupParams) -> Found:
    """Slots and connections for everybody who is to follow it."""
    line, server = Line("candidate.room", new.name, "Slots and connections for its followers"), postgres_of(world, new)
    assert server is not None
    followers = [spec for spec in (old, *scene.others, *scene.absent) if spec != new and scene.upstream(spec) == new]
    followers = list(dict.fromkeys(followers))
    senders = number_of(server, "max_wal_senders")
    if senders < len(followers) + 1:
        return line.refused(f"max_wal_senders is {senders}", f"on {new.name}, raise it to {len(followers) + 1} and restart it")
    if has_slots(scene, params):
        wanted = {scene.slot(spec) for spec in followers} - {slot.name for slot in server.slots}
        if len(wanted) > server.free_slots:
            reason = f"{server.free_slots} of max_replication_slots are free, {len(wanted)} are needed"
            return line.refused(reason, f"on {new.name}, raise max_replication_slots and restart it")
    return line.ok(f"max_wal_senders {senders}, {server.free_slots} slots free")


def _disk(_scene: Scene, world: World, _old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    mount = world.facts(new.name).mount_of(new.data_directory)
    if mount is None:
        return None
    line, free = Line("candidate.disk", new.name, "Disk for a primary's WAL"), mount.free_bytes // 1024**2
    if mount.free_bytes < LEAST_FREE_BYTES:
        most = f"du -xh --max-depth=2 {shlex.quote(mount.path)} | sort -h | tail"
        return line.refused(f"{free:,} MB free on {mount.path}", f"free some space on {new.name}", most)
    return line.ok(f"{free:,} MB free on {mount.path}")


# -- the primary that steps down -----------------------------------------------------------------------------------------------


def _archive(_scene: Scene, world: World, old: NodeSpec, _new: NodeSpec, _params: SetupParams) -> Found:
    """A server does not stop before its archiver has emptied its hands."""
    line, server = Line("primary.backlog", old.name, "Its archive is up to date"), postgres_of(world, old)
    assert server is not None
    if value_of(server, "archive_mode") not in ("on", "always"):
        return line.ok("it does not archive")
    waiting, archiver = server.archive_ready_count, server.archiver
    is_failing = bool(archiver and archiver.last_failed_at and archiver.last_failed_at > archiver.last_archived_at)
    said = f"{waiting} WAL {'file waits' if waiting == 1 else 'files wait'} to be archived"
    if waiting >= READY_FILES or (waiting and is_failing):
        failing = f", and archive_command fails on {archiver.last_failed_wal}" if archiver and is_failing else ""
        reason = f"{said}{failing}: the server would not stop before they are gone"
        return line.refused(reason, "mend what archive_command does, or wait; its words are in the server's log", _tail(old))
    return line.ok(said if waiting else "no WAL file waits")


def _tail(spec: NodeSpec) -> str:
    return f"tail -n 20 {shlex.quote(spec.log_file)}" if spec.log_file else ""


def _backup(_scene: Scene, world: World, old: NodeSpec, _new: NodeSpec, _params: SetupParams) -> Found:
    server = postgres_of(world, old)
    assert server is not None
    if not server.is_backup_running:
        return None
    line = Line("primary.backup", old.name, "No backup runs")
    return line.refused("a backup is being taken of it, and would be worth nothing", "wait for its end, or end it")


def _senders(scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    """A fast stop waits until every one of them has confirmed all WAL, without a limit: those who may not are ended before it."""
    server = postgres_of(world, old)
    assert server is not None
    others = strangers(scene, server)
    line = Line("primary.senders", old.name, "Everybody who receives its WAL is known")
    if not others:
        return line.ok(", ".join(sender.application_name for sender in server.senders))
    logical = {slot.active_pid: slot.name for slot in server.slots if slot.kind == "logical" and slot.active_pid}
    named = [f"{sender.application_name or sender.client_address or sender.pid}" +
             (f" (logical, slot {logical[sender.pid]})" if sender.pid in logical else "") for sender in others]  # fmt: skip
    reason = f"{', '.join(named)}: ended right before the stop, so that none delays it"
    mend = "whoever reads changes through a logical slot must be pointed to a new one" if logical else f"point them to {new.name}"
    return line.warning(reason, f"{mend} afterwards")


def strangers(scene: Scene, server: Postgres) -> list[WalSender]:
    known = {spec.name for spec in (*scene.members, *scene.absent)}
    return [sender for sender in server.senders if sender.application_name not in known]


def _slots(scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    server = postgres_of(world, old)
    assert server is not None
    ours = {scene.slot(spec) for spec in (*scene.members, *scene.absent)}
    foreign = [slot for slot in server.slots if slot.name not in ours and not slot.is_temporary]
    if not foreign:
        return None
    line = Line("primary.slots", old.name, "Slots that are not pgpanel's")
    named = ", ".join(f"{slot.name} ({slot.kind})" for slot in foreign)
    return line.warning(f"{named}: they stay on {old.name} and do not come along", f"make them anew on {new.name} afterwards")


def _synchronous(_scene: Scene, world: World, old: NodeSpec, _new: NodeSpec, _params: SetupParams) -> Found:
    value = synchronous_of(postgres_of(world, old))
    if not value:
        return None
    line = Line("primary.synchronous", old.name, "Synchronous standbys")
    return line.ok(f"“{value}” comes along for the new roles once {old.name} streams again; nobody waits for it before")


def _wal_links(_scene: Scene, world: World, old: NodeSpec, new: NodeSpec, _params: SetupParams) -> Found:
    here, there = postgres_of(world, new), postgres_of(world, old)
    if here is None or there is None or bool(here.wal_link) == bool(there.wal_link):
        return None
    line, which = Line("candidate.wal_link", new.name, "Where the WAL lies"), new if here.wal_link else old
    return line.warning(f"{which.name} has it on a disk of its own ({here.wal_link or there.wal_link}), the other node has not")


CHECKS: tuple[Callable[[Scene, World, NodeSpec, NodeSpec, SetupParams], Found], ...] = (
    _attached, _replays, _lag, _parameters, _version, _room, _disk, _wal_links, _archive, _backup, _senders, _slots, _synchronous,
)  # fmt: skip


def role_checks(scene: Scene, params: SetupParams, world: World, old: NodeSpec) -> list[Check]:
    return [answer for answer in (one(scene, world, old, scene.primary, params) for one in CHECKS) if answer]


# -- what is open --------------------------------------------------------------------------------------------------------------


def transaction_checks(world: World, old: NodeSpec, may_end: bool) -> Iterator[Check]:
    """may_end: they are ended by the stop, and that was asked for."""
    server = postgres_of(world, old)
    assert server is not None
    line = Line("primary.transactions", old.name, "No long transaction is open")
    long = [one for one in server.transactions if one.age_seconds >= LONG_SECONDS and one.user]
    if long and not may_end:
        end = f"psql -p {old.port} -U {old.owner} -c 'SELECT pg_terminate_backend({long[0].pid})'"
        yield line.refused(f"{_told(long)}: the stop would end it", "wait for it, end it, or allow that it is ended", end)
    elif long:
        yield line.warning(f"{_told(long)}: ended by the stop, and rolled back")
    else:
        yield line.ok(f"none for more than {LONG_SECONDS} s")
    line = Line("primary.prepared", old.name, "No prepared transaction waits")
    if server.prepared and not may_end:
        finish = f"psql -p {old.port} -U {old.owner} -c \"ROLLBACK PREPARED '{server.prepared[0].name}'\""
        mend = "commit it or roll it back where its owner wants it, or allow long transactions: then it comes along as it is"
        yield line.refused(f"{_told(server.prepared)}: it holds its locks on the new primary too", mend, finish)
    elif server.prepared:
        yield line.warning(f"{_told(server.prepared)}: it comes along as it is, with its locks")


def _told(found: Sequence[Transaction]) -> str:
    first = found[0]
    who = f"“{first.name or first.pid}” of {first.user} in {first.database}, for {first.age_seconds:,} s"
    return f"{who}, and {len(found) - 1} more" if len(found) > 1 else who


# -- the way back ---------------------------------------------------------------------------------------------------------------


def connection_checks(scene: Scene, world: World) -> Iterator[Check]:
    for spec in scene.others:
        yield from connection_check(scene, world, spec)


def connection_check(scene: Scene, world: World, spec: NodeSpec) -> Iterator[Check]:
    """Really opened, from the host of who is to follow, as the replication role: symmetric lines, password, firewall."""
    upstream, facts = scene.upstream(spec), world.nodes.get(spec.name)
    if upstream == spec or not isinstance(facts, Facts):
        return
    line = Line(f"replication.{upstream.name}", spec.name, f"It can receive WAL from {upstream.name}")
    found = facts.identified.get(f"{upstream.address}:{upstream.port}")
    if found is None or found.answers is None:
        yield line.warning("nobody could ask: there is no psql on this host", "install PostgreSQL's client there")
    elif found.system_identifier == scene.system_identifier:
        yield line.ok(f"it answered from there, timeline {found.timeline}")
    elif found.system_identifier:
        yield line.refused(f"another cluster answers at {upstream.address}:{upstream.port}", "correct the node's address")
    else:
        why = found.error.strip().splitlines()[-1] if found.error.strip() else "no answer"
        mend = f"on {upstream.name}, let {spec.address} in (pg_hba.conf, firewall), then plan again"
        yield line.refused(why, mend, f"nft add rule inet filter input ip saddr {spec.address} tcp dport {upstream.port} accept")


def sibling_checks(scene: Scene, world: World, old: NodeSpec) -> Iterator[Check]:
    """A sibling on another timeline follows nobody afterwards; it holds up nothing."""
    primary = postgres_of(world, old)
    assert primary is not None
    for spec in scene.others:
        server = postgres_of(world, spec)
        if spec == old or server is None:
            continue
        line = Line("sibling.follows", spec.name, "It can follow")
        if server.role != "standby":
            mend = f"rebuild {spec.name} as a standby, or take it out of the replication, first"
            yield line.refused("it is no standby, but holds this cluster: a former primary", mend)
        elif not server.is_running or not server.answers_sql:
            yield line.refused(
                "PostgreSQL does not run there", f"start it on {spec.name}, or remove it first", paste(spec.start_command)
            )
        elif server.timeline != primary.timeline:
            yield line.refused(
                f"it is on timeline {server.timeline}, {old.name} on {primary.timeline}", f"repair {spec.name} first"
            )
        else:
            yield line.ok(f"timeline {server.timeline}")


def absent_checks(scene: Scene, brief: Brief, world: World, but: Sequence[str]) -> Iterator[Check]:
    for name in brief.nodes:
        facts = world.nodes.get(name)
        if name in but or not isinstance(facts, Unreachable):
            continue
        line = Line("host.reachable", name, "The host answers")
        is_member = name in {spec.name for spec in scene.absent}
        stays = f"Its slot is made on {scene.primary.name}; " if is_member else ""
        yield line.warning(f"{facts.message}. Nothing is done on it", f"{stays}repair {name} when it answers again")
