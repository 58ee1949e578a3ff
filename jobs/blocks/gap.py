"""A switchover's write gap: the old primary stopped, everything proven to have arrived, the candidate promoted, as one section.

Two scripts speak with the conductor, one word a line: `scripts/gap_old.sh` where the old primary is, `scripts/gap_new.sh` where the
candidate is. Nothing is done between "stopped" and "promoted" that could have been done before. The conductor begins by asking both
what state they are in, so the next worker goes on wherever the last one was lost:

    old runs, fence staged        nothing has happened: the whole way
    old stopped, fence staged     undecided: whoever renames the staged file decides (the fence, or the dead man's start)
    old fenced                    only a promotion follows; taken back only where the candidate is proven unable to promote
    old unfenced                  rolled back, by a word or by the dead man
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.blocks.conductor import Conductor, Gap
from jobs.blocks.following import fence_in_place, staged_fence
from jobs.blocks.scene import Scene, as_permitted, on_host, postgres_of
from jobs.recipe import NodeSpec, Part, Section, Step, World
from remote import postgres
from remote.command import Command
from remote.versions import Version

OLD, NEW = "old", "new"
SILENCE_SECONDS = 3
"""Between "stop" and "fence" nobody may be silent for longer: then the old primary starts again by itself."""
PATIENCE_SECONDS = 12
"""At other times: then the part leaves, having changed nothing, and the host's lock is free for the next worker."""
VALIDITY_SECONDS = 5
"""How long "everything is here" allows a promotion, by the candidate's own clock."""
STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Pair:
    """Who is stopped and who is promoted. autostart_on: what puts the old one's start at boot back, for a rollback.

    hold: a directory whose presence has the old one's archiver give up at once (`archive_push.sh`), so that the stop does not wait.
    """

    old: NodeSpec
    new: NodeSpec
    autostart_on: Command | None = None
    hold: str = ""


def unfenced_path(job: str, spec: NodeSpec) -> str:
    """There, the fence was taken back: the job's switchover was rolled back, and nobody has said so yet."""
    return f"{spec.data_directory}/pgpanel.unfenced-{job}"


def gap_step(scene: Scene, world: World, pair: Pair, *, catch_up_seconds: float = 10.0) -> Step:
    """Needs the fence staged (`following.stage_fence_step`) and the old primary's start at boot off (`autostart_step`)."""
    old, new = pair.old, pair.new

    def done(world: World) -> bool:
        before, after = postgres_of(world, old), postgres_of(world, new)
        is_old_writable = bool(before and before.is_running and before.role == "primary")
        return bool(after and after.is_running and after.role == "primary") and not is_old_writable

    gap = Gap(old.name, new.name, catch_up_seconds, STOP_SECONDS, can_salvage=bool(pair.hold))
    parts = (Part(OLD, old.name, old_part(scene, world, pair)), Part(NEW, new.name, new_part(scene.version, new)))
    return Step(
        key="gap.switch", node=new.name, reads=(old.name,), title=f"{old.name} stops, {new.name} becomes the primary",
        done=done, within_seconds=30, section=Section(parts, lambda cues: Conductor(gap, cues).conduct()),
        restarts=f"PostgreSQL on {old.name}, the primary: every session there ends, nobody can write for a moment",
        is_point_of_no_return=True,
        why="Both hosts are spoken with over connections that are open already; nothing is promoted before all WAL is proven to be"
        " there, and until then the old primary starts again by itself when the panel is lost.",
    )  # fmt: skip


def old_part(scene: Scene, world: World, pair: Pair) -> Command:
    old = pair.old
    start = as_permitted(world, old, postgres.start(old))
    by_itself = pair.autostart_on.argv if pair.autostart_on else ()
    return on_host(
        "gap_old.sh", old.data_directory, old.bin_directory, old.owner, str(old.port),
        staged_fence(scene.brief.job, old), fence_in_place(scene, old), unfenced_path(scene.brief.job, old),
        str(SILENCE_SECONDS), str(PATIENCE_SECONDS), pair.new.address, pair.hold, str(len(start.argv)), *start.argv, *by_itself,
        user=start.user,
    )  # fmt: skip


def new_part(version: Version, new: NodeSpec, trigger_file: str = "") -> Command:
    """trigger_file: 9.0 is promoted by nothing else."""
    call = version.functions
    how, words = promotion(version, trigger_file)
    standby = f"{new.data_directory}/{'standby.signal' if version.recovery_style == 'signal' else 'recovery.conf'}"
    return on_host(
        "gap_new.sh", new.data_directory, new.bin_directory, new.owner, str(new.port), str(VALIDITY_SECONDS), str(PATIENCE_SECONDS),
        version.wal_directory_name, f"{call.replay_lsn}()", f"{call.receive_lsn}()",
        f"{call.wal_file_name}({call.current_lsn}())", standby, how, *words, user=new.owner,
    )  # fmt: skip


def promotion(version: Version, trigger_file: str = "") -> tuple[str, tuple[str, ...]]:
    """The version's own way, without its wait: its waits are coarse, and what it waits for is asked every 2 ms here."""
    if "pg_promote" in version.promote_methods:
        return "sql", (f"SELECT {version.functions.promote}(false);",)
    if "pg_ctl" in version.promote_methods:
        return "pg_ctl", (*(("-W",) if version.pg_ctl_promote_waits else ()), "promote")
    if not trigger_file:
        raise ValueError(f"{version.shown} is promoted by its trigger file only: recovery.conf names none")
    return "trigger", (trigger_file,)
