"""Kind `rehearse`: a switchover up to the stop. Every check, both hosts spoken with, the checkpoints timed; nothing changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jobs.blocks.conductor import NEW, OLD, Conductor, Gap
from jobs.blocks.following import role_scene
from jobs.blocks.gap import STOP_SECONDS, Pair, new_part, old_part
from jobs.blocks.params import Reader
from jobs.blocks.scene import asking_requests, postgres_of
from jobs.blocks.settings import value_of
from jobs.kinds.switchover import SwitchoverParams, checks_of, stepping_down
from jobs.recipe import Brief, Check, Ended, Ending, ParamsError, Part, Section, Step, World
from remote.facts import FactsRequest, Postgres

SESSIONS_MS, PROMOTION_MS = 40.0, 70.0
"""What nobody can try beforehand, as measured: ending the sessions and the server; the promotion (31 to 109)."""
WORDS_IN_THE_GAP = 4
KEY = "rehearse.gap"
T = TypeVar("T")


@dataclass(frozen=True)
class RehearseParams:
    candidate: str


@dataclass(frozen=True)
class Rehearse:
    """See docs/kinds/rehearse.md."""

    name: str = "rehearse"
    label: str = "Rehearse the switchover"

    def params(self, data: Mapping[str, Any]) -> RehearseParams:
        read = Reader(data)
        params = RehearseParams(candidate=read.required("candidate"))
        read.end()
        return params

    def title(self, params: RehearseParams) -> str:
        return f"{self.label} to {params.candidate}"

    def nodes(self, params: RehearseParams, brief: Brief) -> tuple[str, ...]:
        if params.candidate not in brief.nodes:
            raise ParamsError("candidate", f"{params.candidate} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: RehearseParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return asking_requests(brief, self.nodes(params, brief))

    def checks(self, params: RehearseParams, brief: Brief, world: World) -> Sequence[Check]:
        return checks_of(SwitchoverParams(params.candidate), brief, world)

    def steps(self, params: RehearseParams, brief: Brief, world: World) -> Sequence[Step]:
        scene, old = role_scene(params.candidate, brief, world), stepping_down(SwitchoverParams(params.candidate), brief, world)
        assert old is not None  # `checks` has refused otherwise
        new, pair = scene.primary, Pair(old, scene.primary)
        parts = (Part(OLD, old.name, old_part(scene, world, pair)), Part(NEW, new.name, new_part(scene.version, new)))
        server = postgres_of(world, old)
        sessions = server.connection_count if server else 0
        gap = Gap(old=old.name, new=new.name, stop_seconds=STOP_SECONDS)
        section = Section(parts, lambda cues: Rehearsal(gap, cues, sessions=sessions, foreign=foreign_archiver(server)).conduct())
        return [
            Step(
                key=KEY, node=new.name, title=f"Everything of the switchover from {old.name} to {new.name}, up to the stop",
                done=lambda world: KEY in world.notes, section=section, note=KEY, forecast=lambda _world: True, within_seconds=30,
                why="The scripts of the write gap are started on both hosts and asked; two checkpoints on the primary and one on"
                " the candidate are timed. Nothing is stopped, promoted or written.",
            )
        ]  # fmt: skip

    def summary(self, params: RehearseParams, brief: Brief, world: World) -> Sequence[str]:
        old = stepping_down(SwitchoverParams(params.candidate), brief, world)
        assert old is not None
        return [
            f"Nothing changes: {old.name} stays the primary. Checkpoints are made, which cost some disk for a moment.",
            "At its end stands for how long nobody could write in a switchover, and of what parts that consists.",
        ]


KIND = Rehearse()


@dataclass
class Rehearsal(Conductor):
    """sessions: on the primary now. foreign: an archive_command of somebody else's, which a stop waits for."""

    sessions: int = 0
    foreign: str = ""

    def conduct(self) -> Ending:
        old, new = self._states()
        if (old.role, new.role) != ("primary", "standby"):
            raise Ended("", f"{self.gap.old} is “{old.role}”, {self.gap.new} is “{new.role}”: there is nothing to rehearse.")
        first, (at, timeline) = timed(self._old_checkpoint)
        caught_up, _ = timed(lambda: self._require_following(at, self.gap.catch_up_seconds))
        candidate, _ = timed(lambda: self._new_checkpoint(timeline))
        second, (at, timeline) = timed(self._old_checkpoint)
        self._require_following(at, self.gap.catch_up_seconds)
        word = max(self._round_trip(OLD), self._round_trip(NEW))
        self._leave()
        return Ending("", self._told(first, caught_up, candidate, second, word))

    def _round_trip(self, part: str) -> float:
        def still() -> None:
            self.cues.say(part, "still")
            self._hear(part)

        return min(timed(still)[0] for _ in range(3))

    def _told(self, first: float, caught_up: float, candidate: float, second: float, word: float) -> dict[str, Any]:
        parts = [
            {"what": f"ending the server and its sessions ({self.sessions} now)", "ms": round(SESSIONS_MS)},
            {"what": f"the last checkpoint of {self.gap.old}, as long as the second took now", "ms": round(second)},
            {"what": f"{WORDS_IN_THE_GAP} words to the hosts and back", "ms": round(WORDS_IN_THE_GAP * word)},
            {"what": f"the promotion of {self.gap.new}, as measured elsewhere", "ms": round(PROMOTION_MS)},
        ]
        expected = sum(int(str(part["ms"])) for part in parts)
        said = "; ".join(f"{part['what']} {part['ms']} ms" for part in parts)
        waits = f" And the stop waits until {self.foreign} has taken the last WAL file." if self.foreign else ""
        return {
            "expected_gap_ms": expected,
            "gap_parts": parts,
            "checkpoint_ms": {"first": round(first), "candidate": round(candidate), "second": round(second)},
            "catch_up_ms": round(caught_up),
            "outcome": f"In a switchover nobody could write for about {expected} ms: {said}.{waits} Before it, the checkpoints take"
            f" {round(first)} ms on {self.gap.old} and {round(candidate)} ms on {self.gap.new}; {self.gap.new} had caught up within"
            f" {round(caught_up)} ms. Nothing was changed.",
        }  # fmt: skip


def foreign_archiver(server: Postgres | None) -> str:
    if value_of(server, "archive_mode") not in ("on", "always"):
        return ""
    command = value_of(server, "archive_library") or value_of(server, "archive_command")
    return "" if "/.pgpanel/push" in command else command


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds, and what it gave."""
    began_at = time.monotonic()
    found = act()
    return (time.monotonic() - began_at) * 1000, found
