"""The steps of a rebuild: stop and fence what was left behind, make the new directory beside it, swap, start, keep the old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobs.blocks import rsync_copy, service
from jobs.blocks.configuration import config_file, hba_file, is_answering
from jobs.blocks.copying import Copy, compressions_of, copy_steps, method_of, slot_sql, slot_step
from jobs.blocks.following import autostart_step
from jobs.blocks.kept import ground_of, reader_file, reading_line
from jobs.blocks.keys import own_files
from jobs.blocks.params import SetupParams
from jobs.blocks.proof import proof_steps
from jobs.blocks.scene import (
    COPY_SECONDS,
    REPLACEABLE,
    Scene,
    as_permitted,
    has_file,
    has_files,
    is_in_place,
    is_standby_of,
    marker_at,
    on_host,
    own_directory,
    own_file,
    path_of,
    postgres_of,
)
from jobs.blocks.settings import has_slots
from jobs.blocks.standby import has_recovery_conf, recovery_file
from jobs.kinds import rebuild_source
from jobs.kinds.rebuild_method import Method, note_of
from jobs.recipe import NodeSpec, Step, World
from remote.command import Action, Command, Detached, WriteFile, script

LOST = "lost_transactions"
"""The note that says how many transactions never left the rebuilt node."""


@dataclass(frozen=True)
class Rebuild:
    """scene: with the present primary, the target among those that follow it."""

    scene: Scene
    params: SetupParams
    target: NodeSpec
    method: Method
    keep_days: int

    @property
    def new(self) -> str:
        return self.scene.new_directory(self.target)

    @property
    def old(self) -> str:
        return self.scene.old_directory(self.target)

    def is_in_place(self, world: World) -> bool:
        return is_in_place(self.scene, world, self.target)

    def is_made(self, world: World) -> bool:
        """The new directory is whole, here or there."""
        return self.is_in_place(world) or marker_at(world, self.target, self.new) == self.scene.brief.job

    @property
    def style(self) -> str:
        return {"signal": "standby.signal", "recovery.conf": "recovery.conf"}[self.scene.version.recovery_style]


def rebuild_steps(job: Rebuild, world: World) -> list[Step]:
    scene, target = job.scene, job.target
    made = {"rewind": _by_rewind, "delta": _by_delta, "copy": _by_copy}[job.method](job, world)
    streaming, *rest = proof_steps(replace(scene, standbys=(), others=(target,)), job.params, world)
    # what can wait until it streams, waits
    return [
        _prepare(job),
        *made,
        _start(job),
        streaming,
        autostart_step(target, on=True),
        *_after(job),
        *rest,
        _keep(job),
        _sweep(job, world),
    ]


def _by_rewind(job: Rebuild, _world: World) -> list[Step]:
    slot = job.scene.slot(job.target) if has_slots(job.scene, job.params) else ""
    sql = slot_sql(job.scene, slot) if slot else ""
    opened = rebuild_source.open_step(job.scene, job.target, sql, slot, job.is_made)
    return [opened, _stop(job), _rewind(job)]


def _by_delta(job: Rebuild, _world: World) -> list[Step]:
    source = job.scene.primary
    return [
        *_slot(job), _stop(job), rsync_copy.open_step(job.scene, source, job.target, job.is_made), _delta(job),
        rsync_copy.close_step(job.scene, source, job.target, job.is_made),
    ]  # fmt: skip


def _by_copy(job: Rebuild, world: World) -> list[Step]:
    scene, target, params = job.scene, job.target, job.params
    method, _why = method_of(scene, params, world, scene.primary, target)
    spaces = tablespaces(job, world)
    copy = Copy(
        source=scene.primary, target=target, directory=job.new, method=method,
        slot=scene.slot(target) if has_slots(scene, params) else "",
        compressions=compressions_of(scene, method, params.link_megabits), role=params.replication_role, is_trusted=params.trust,
        tablespaces=spaces,
    )  # fmt: skip
    return [*_slot(job), _stop(job), *copy_steps(replace(scene, is_reseeding=True), copy)]


def _slot(job: Rebuild) -> list[Step]:
    return [slot_step(job.scene, job.target)] if has_slots(job.scene, job.params) else []


def _after(job: Rebuild) -> list[Step]:
    return [rebuild_source.close_step(job.scene, job.target, job.is_in_place)] if job.method == "rewind" else []


def tablespaces(job: Rebuild, world: World) -> dict[str, str]:
    """Each beside where it is on the primary: the old directory's links go on pointing to the old places."""
    server = postgres_of(world, job.scene.primary)
    suffix = f".{job.scene.brief.job}"
    return {space.location.rstrip("/"): f"{space.location.rstrip('/')}{suffix}" for space in (server.tablespaces if server else ())}


# -- before ----------------------------------------------------------------------------------------------------------------------


def own_lines(job: Rebuild, world: World) -> tuple[WriteFile, ...]:
    """pg_hba.conf and postgresql.conf as those of a standby of the present primary; a primary heeds none of what is new in them."""
    return hba_file(job.scene, job.params, world, job.target), config_file(job.scene, job.params, world, job.target)


def _prepare(job: Rebuild) -> Step:
    scene, target = job.scene, job.target
    # archiving is the business of `setup`: here only the password with which it will follow
    own = (*own_files(scene, replace(job.params, archive=False), target), note_of(scene, target, job.method))
    if job.method == "rewind":
        own = (*own, rebuild_source.password_file(scene, target))

    def done(world: World) -> bool:
        if job.is_in_place(world):
            return True
        has_place = path_of(world, target, job.new).kind == "directory"
        return has_place and has_files(world, (*own, *own_lines(job, world)), target)

    def actions(world: World) -> Sequence[Action]:
        spaces = tuple(tablespaces(job, world).values()) if job.method == "copy" else ()
        made = on_host("make_directories.sh", target.owner, own_directory(target), job.new, *spaces, user="root")
        return (as_permitted(world, target, made), *own, *own_lines(job, world))

    return Step(
        key=f"node.prepare#{target.name}", node=target.name,
        title="Make room beside it, and write its configuration as a standby's",
        done=done, actions=actions,
        why=f"The new directory grows in {job.new}. What its files say of {scene.primary.name} is heeded from its next start on.",
    )  # fmt: skip


def fence(job: Rebuild, world: World) -> WriteFile:
    """From here on any start of the old directory is a standby's, also when the host boots in the middle of this job."""
    if has_recovery_conf(job.scene):
        return recovery_file(job.scene, job.params, world, job.target)
    return WriteFile(f"{job.target.data_directory}/standby.signal", "", job.target.owner)


def _stop(job: Rebuild) -> Step:
    scene, target = job.scene, job.target
    data, name = target.data_directory, scene.brief.job
    mark = WriteFile(f"{data}/{REPLACEABLE}", f"{name}\n", target.owner)
    quiet = on_host("rebuild_quiet.sh", data, name, user=target.owner)

    def prove(world: World) -> Command:
        timeline = str(world.facts(scene.primary.name).postgres(scene.primary.data_directory).timeline)  # type: ignore[union-attr]
        return on_host("rebuild_prove.sh", data, target.bin_directory, name, scene.system_identifier, timeline, user=target.owner)

    def done(world: World) -> bool:
        server = postgres_of(world, target)
        if job.is_in_place(world):
            return True
        is_quiet = server is None or not (server.is_running or server.stray_pids)
        is_fenced = path_of(world, target, f"{data}/{job.style}").kind == "file"
        return is_quiet and is_fenced and has_file(world, mark, target)

    def actions(world: World) -> Sequence[Action]:
        server = postgres_of(world, target)
        stop = (service.stop_command(world, target),) if server and server.is_running else ()
        return (prove(world), fence(job, world), *stop, quiet)

    return Step(
        key=f"standby.stop#{target.name}", node=target.name, title="Prove what it is, fence it, and see that nothing of it is left",
        done=done, actions=actions, within_seconds=60, reads=(scene.primary.name,),
        destroys=f"{data} is moved to {job.old}, kept for {job.keep_days} days; it can be read and put back until then",
        restarts=f"PostgreSQL on {target.name}: away until it streams",
        why="It is proven on the host itself that this is the same database system and not the primary; what a killed"
        " postmaster has left behind is ended, because it may still commit.",
    )  # fmt: skip


# -- the new directory -------------------------------------------------------------------------------------------------------------


def _rewind(job: Rebuild) -> Step:
    scene, target = job.scene, job.target
    command = on_host(
        "rebuild_rewind.sh", target.data_directory, job.new, target.bin_directory, scene.brief.job, scene.system_identifier,
        f"{target.config_directory}/postgresql.conf", job.style, target.wal_archive_directory, rebuild_source.connection(scene),
        scene.primary.wal_archive_directory,
        user=target.owner, environment=(("PGPASSFILE", own_file(target, "pgpass-rewind")),), timeout_seconds=COPY_SECONDS,
    )  # fmt: skip
    return Step(
        key=f"standby.rewind#{target.name}", node=target.name, title="Rewind a copy of it to where the two parted",
        done=job.is_made,
        actions=lambda _world: (Detached(command, progress="pg_rewind"),),
        why=f"pg_rewind works in place and can leave a ruin behind: it is given a copy, {job.new}, and the old directory is only"
        " read. The marker file, which names this job, is written last.",
    )  # fmt: skip


def _delta(job: Rebuild) -> Step:
    scene, target, source = job.scene, job.target, job.scene.primary
    is_slow = job.params.link_megabits > 0
    copied = rsync_copy.copy_actions(
        scene, source, target, job.new, makes_standby=True, is_compressed=is_slow, basis=target.data_directory
    )
    return Step(
        key=f"standby.delta#{target.name}", node=target.name, title=f"Copy what differs from {source.name}", done=job.is_made,
        actions=lambda _world: copied,
        why=f"Every file is compared block by block inside one backup session that is held open; what is the same comes from the"
        f" old directory, which is only read. It grows in {job.new}; its marker file, which names this job, is written last.",
    )  # fmt: skip


# -- after -------------------------------------------------------------------------------------------------------------------------


def _start(job: Rebuild) -> Step:
    scene, target = job.scene, job.target
    data, name = target.data_directory, scene.brief.job
    keep = on_host("keep_own.sh", data, job.new, name, user=target.owner)
    swap = on_host(
        "swap_in.sh", data, job.new, job.old, name, scene.system_identifier, target.bin_directory, target.owner, user="root"
    )

    # what it had not yet handed in is of a past that the others left
    spool = script('[ ! -d "$1" ] || mv "$1" "$2"', own_file(target, "spool"), f"{job.old}/pgpanel.spool", user=target.owner)
    held_back = Command(
        ("rm", "-f", own_file(target, "guarded"), own_file(target, "guard.history")), user=target.owner
    )  # the start guard's word on the old directory

    def done(world: World) -> bool:
        is_started = is_answering(world, target) and is_standby_of(world, target, scene.system_identifier)
        return job.is_in_place(world) and is_started

    return Step(
        key=f"standby.start#{target.name}", node=target.name, title="Put it in place with the node's own files, and start it",
        done=done, within_seconds=600, diagnosis=service.log_tail(target),
        actions=lambda world: (keep, as_permitted(world, target, swap), spool, held_back, service.start_command(world, target)),
        why=f"The old directory is moved to {job.old}; nothing is deleted.",
    )  # fmt: skip


def _keep(job: Rebuild) -> Step:
    scene, target = job.scene, job.target
    reader = reader_file(scene.version, target, job.old, scene.brief.job)
    note = on_host(
        "note_old.sh",
        job.old,
        target.bin_directory,
        scene.brief.job,
        scene.system_identifier,
        str(job.keep_days),
        user=target.owner,
    )
    count = Command(("sh", reader.path, "count"), user=target.owner, accepts=(0, 1), timeout_seconds=600)

    def done(world: World) -> bool:
        return path_of(world, target, f"{job.old}/pgpanel.old").kind == "file" and has_file(world, reader, target)

    can_count = bool(scene.version.tools.wal_dump)
    return Step(
        key=f"old.keep#{target.name}", node=target.name, title=f"Note how long the old directory is kept: {job.keep_days} days",
        done=done, actions=lambda _world: (note, reader, *((count,) if can_count else ())), note=LOST if can_count else "",
        why=f"Its rows stay readable on {target.name}: {reading_line(target, scene.brief.job, 'rows')}",
    )  # fmt: skip


def _sweep(job: Rebuild, world: World) -> Step:
    target = job.target
    sweep = on_host(
        "sweep_new.sh", target.data_directory, target.owner, job.scene.brief.job, user=target.owner, timeout_seconds=COPY_SECONDS
    )  # fmt: skip

    def given_up(world: World) -> list[str]:
        return [path for path in ground_of(world, target).begun if path != job.new]

    def actions(world: World) -> Sequence[Action]:
        # the directory above may be root's alone
        emptied = script('for new; do [ ! -d "$new" ] || rmdir "$new"; done', *given_up(world), user="root")
        return Detached(sweep), as_permitted(world, target, emptied)

    return Step(
        key=f"old.sweep#{target.name}", node=target.name, title="Delete unfinished copies of jobs that were given up",
        done=lambda world: not given_up(world), actions=actions, destroys=", ".join(given_up(world)),
        why="Now that it streams, nobody needs them; none of them was ever in place.",
    )  # fmt: skip
