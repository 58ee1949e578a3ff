"""Which WAL files lie where: what each node lists of itself, what a standby needs, and whether the others have it between them.

Files are compared by position (the last 16 digits of their names), since a timeline may end in the middle of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.blocks.scene import Scene, postgres_of, script_text
from jobs.recipe import NodeSpec, World
from remote import config, lsn
from remote.command import Command, script
from remote.facts import Facts, Postgres

LISTED = "segments"
MOST = 20_000


@dataclass(frozen=True)
class Listing:
    """Segment numbers that a node has whole, of this system: in its archive, in pg_wal; `top`: where its pg_wal ends."""

    archive: frozenset[int] = frozenset()
    wal: frozenset[int] = frozenset()
    top: int | None = None

    @property
    def whole(self) -> frozenset[int]:
        return self.archive | self.wal

    @property
    def streams_from(self) -> int | None:
        """The first segment from which on there is no gap: what it can stream."""
        number = self.top
        while number is not None and number - 1 in self.wal:
            number -= 1
        return number


@dataclass(frozen=True)
class Bridge:
    """What a standby lacks between where it stands and where its upstream streams from. missing: number → nodes that have it."""

    first: int
    until: int | None
    missing: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_needed(self) -> bool:
        return bool(self.missing)

    @property
    def nowhere(self) -> tuple[int, ...]:
        return tuple(number for number, names in self.missing.items() if not names)


def list_question(spec: NodeSpec) -> Command:
    """The same script that serves them over SSH, asked on the host itself."""
    body = f"data=$1 archive=$2\nshift 2\n{script_text('serve_segments.sh')}"
    return script(
        body, spec.data_directory, spec.wal_archive_directory, "list", user=spec.owner, mutates=False, timeout_seconds=60.0
    )


def listing_of(scene: Scene, world: World, spec: NodeSpec) -> Listing:
    facts = world.nodes.get(spec.name)
    answer = facts.answers.get(LISTED) if isinstance(facts, Facts) else None
    wanted = f"{int(scene.system_identifier or 0):016x}"
    found: dict[str, set[int]] = {"archive": set(), "wal": set(), "open": set()}
    for line in answer.text.splitlines() if answer else ():
        words = line.split()
        file = lsn.parse_wal_file_name(words[1], scene.segment_bytes) if len(words) == 3 and words[0] in found else None
        if file and words[2] == wanted:
            found[words[0]].add(file.segment)
    return Listing(frozenset(found["archive"]), frozenset(found["wal"]), max(found["open"], default=None))


def is_restoring(server: Postgres, spec: NodeSpec) -> bool:
    """It takes what it lacks from this node's archive directory."""
    said = config.parse_settings(server.config_text) | config.parse_settings(server.auto_config_text)
    said |= config.parse_settings(server.recovery_text)
    return spec.wal_archive_directory in (server.setting("restore_command") or said.get("restore_command", ""))


def bridge_of(scene: Scene, world: World, spec: NodeSpec, upstream: NodeSpec, first: int) -> Bridge:
    """From `first`, the segment that it must read next."""
    server = postgres_of(world, spec)
    own, above = listing_of(scene, world, spec), listing_of(scene, world, upstream)
    until = above.streams_from
    if server is None or until is None or first >= until or until - first > MOST:
        return Bridge(first, until)
    had = (own.archive if is_restoring(server, spec) else frozenset()) | (own.wal if not server.answers_sql else frozenset())
    if not server.is_running and own.top == until - 1:  # where a bridge ends; were it torn, it would show once the server runs
        had |= {own.top}
    others = {node.name: listing_of(scene, world, node).whole for node in scene.members if node != spec}
    missing = {
        number: tuple(name for name, whole in others.items() if number in whole)
        for number in range(first, until)
        if number not in had
    }
    return Bridge(first, until, missing)


def named(scene: Scene, numbers: Sequence[int], timeline: int) -> str:
    """The names of a run of files, as a sentence has them."""
    names = [lsn.segment_name(timeline, number, scene.segment_bytes) for number in (min(numbers), max(numbers))]
    return names[0] if len(numbers) == 1 else f"{names[0]} to {names[1]} ({len(numbers)} files)"
