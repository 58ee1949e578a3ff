"""The proof: a job that makes a standby succeeds only when all of this was seen, and shows it."""

from __future__ import annotations

from jobs.blocks.params import SetupParams
from jobs.blocks.scene import Scene, is_standby_of, own_file, path_of, postgres_of, sql_on
from jobs.blocks.settings import archives
from jobs.recipe import NodeSpec, Step, World
from remote import lsn
from remote.command import script

WRITE = "forced_write"


def proof_steps(scene: Scene, params: SetupParams, world: World) -> list[Step]:
    standbys = scene.followers
    steps = [_streaming(scene, spec) for spec in standbys]
    steps.append(_write(scene))
    steps += [_replayed(spec) for spec in standbys]
    if archives(scene, params, world):
        steps += [_archived(scene, spec) for spec in standbys]
    return steps


def is_streaming(scene: Scene, world: World, spec: NodeSpec) -> bool:
    """Its own row on its upstream says streaming, it is in recovery itself, and both are on one timeline."""
    above, standby = postgres_of(world, scene.upstream(spec)), postgres_of(world, spec)
    if not above or not standby or not is_standby_of(world, spec, scene.system_identifier):
        return False
    row = next((sender for sender in above.senders if sender.application_name == spec.name), None)
    receiver_streams = standby.receiver is None or standby.receiver.status == "streaming"
    return row is not None and row.state == "streaming" and receiver_streams and standby.timeline == above.timeline


def _streaming(scene: Scene, spec: NodeSpec) -> Step:
    upstream = scene.upstream(spec).name
    return Step(
        key=f"proof.streaming#{spec.name}", node=spec.name, reads=(upstream,), is_proof=True, within_seconds=300,
        title=f"{spec.name} streams from {upstream}", done=lambda world: is_streaming(scene, world, spec),
        forecast=lambda _world: True,  # what streams now may be away for a moment when it is asked
        why="Its own row in pg_stat_replication says streaming, and both are on the same timeline.",
    )  # fmt: skip


def _write(scene: Scene) -> Step:
    """One transaction and a finished WAL file; what it noted is what the standbys must reach."""
    primary, call = scene.primary, scene.version.functions
    # the position after the commit and the file that holds it, then the switch that sends this file to the archive
    position = f"{call.insert_lsn}()"
    sql = (
        "DO $write$ BEGIN PERFORM txid_current(); END $write$;\n"
        f"SELECT {position} || ' ' || {call.wal_file_name}({position});\n"
        f"DO $switch$ BEGIN PERFORM {call.switch_wal}(); END $switch$;\n"
    )
    # a node that was away a moment ago is asked at once, not after the rest that `push` takes
    ask_again = script('rm -f -- "$@"', *(own_file(primary, f"down-{spec.name}") for spec in scene.followers), user=primary.owner)
    return Step(
        key="proof.write", node=primary.name, title="Write something and finish a WAL file", note=WRITE, sees_facts=False,
        done=lambda world: noted(world) is not None, actions=lambda world: (ask_again, sql_on(world, primary, sql)),
        why="An idle standby looks the same as a stuck one: only a write that arrives proves the way.",
    )  # fmt: skip


def noted(world: World) -> tuple[int, str] | None:
    """Position and WAL file of the forced write."""
    words = world.notes.get(WRITE, "").split()
    return (lsn.parse(words[0]), words[1]) if len(words) >= 2 else None


def _replayed(spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        write, standby = noted(world), postgres_of(world, spec)
        return bool(write and standby and standby.replay_lsn >= write[0])

    return Step(
        key=f"proof.replayed#{spec.name}", node=spec.name, title=f"{spec.name} has replayed that write", done=done,
        within_seconds=300, is_proof=True, why="Its replay position is past the write's.",
    )  # fmt: skip


def _archived(scene: Scene, spec: NodeSpec) -> Step:
    received = own_file(spec, "received")

    def done(world: World) -> bool:
        write = noted(world)
        name = (path_of(world, spec, received).text or "").split(" ")[0]
        return bool(write and name[:24] >= write[1])

    return Step(
        key=f"proof.archived#{spec.name}", node=spec.name, title=f"The archive of {spec.name} has received that WAL file",
        done=done, within_seconds=120, is_proof=True,
        why=f"It lies in {spec.wal_archive_directory}, pushed by {scene.primary.name}.",
    )  # fmt: skip
