"""A pair of real hosts whose roles are exchanged by the gap step alone, by a worker that can be killed after any word."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

from kinds_walk import Room

from jobs.blocks.following import autostart_command, autostart_step, existing_params, role_scene, stage_fence_step
from jobs.blocks.gap import Pair, gap_step
from jobs.blocks.scene import own_file, request_of
from jobs.cues import LiveCues
from jobs.recipe import Ended, Ending, Part, Section, Step, World
from lab import Host as LabHost
from lab.errors import LabError
from remote.command import WriteFile
from remote.dialogue import Dialogue
from remote.host import Host, Lock

BOTH = ("pg1", "pg2")


class KilledCues(LiveCues):
    """Ends its own process right after the given number of words, said and heard."""

    after = 10**6

    def say(self, part: str, line: str) -> None:
        super().say(part, line)
        self._count()

    def hear(self, part: str, within_seconds: float = 10.0) -> str:
        heard = super().hear(part, within_seconds)
        self._count()
        return heard

    def _count(self) -> None:
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class FaultyCues(LiveCues):
    """Something happens once: before a word is said ("before stop"), after it ("→ stop"), or when one is heard ("← stopped")."""

    at = ""
    happens: Callable[[FaultyCues], object] = staticmethod(lambda _cues: None)

    def say(self, part: str, line: str) -> None:
        self._look(f"before {line}")
        super().say(part, line)
        self._look(f"→ {line}")

    def hear(self, part: str, within_seconds: float = 10.0) -> str:
        heard = super().hear(part, within_seconds)
        self._look(f"← {heard}")
        return heard

    def lose_line(self, part: str) -> None:
        self._open[part]._talk.close()

    def _look(self, word: str) -> None:
        if self.at and word.startswith(self.at):
            self.at = ""
            self.happens(self)


def fault(at: str, happens: Callable[[FaultyCues], object]) -> type[FaultyCues]:
    return type("Cues", (FaultyCues,), {"at": at, "happens": staticmethod(happens)})


@dataclass
class Sleeper:
    """A worker that was stopped in the middle."""

    process: BaseProcess

    def wake(self) -> None:
        """It goes on, and comes to its end."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.join(60)
        assert self.process.exitcode == 0


@dataclass
class GapPair:
    """old and new change places by `swapped`. epoch: of the next worker's claim."""

    room: Room
    old: str = "pg1"
    new: str = "pg2"
    job: str = "job-1"
    epoch: int = 1
    catch_up_seconds: float = 10
    is_archiving: bool = False
    spoken: list[str] = field(default_factory=list)

    @property
    def old_host(self) -> LabHost:
        return self.room.hosts[self.old]

    @property
    def new_host(self) -> LabHost:
        return self.room.hosts[self.new]

    def world(self) -> World:
        brief = self.room.brief(self.job, BOTH)
        seen = {}
        for name in BOTH:
            with self.room.open(name) as host:
                seen[name] = host.facts(request_of(brief, brief.nodes[name]))
        return World(seen)

    def prepare(self) -> Step:
        """What the steps before the gap do: autostart off, the fence staged. Returns the gap step."""
        brief, world = self.room.brief(self.job, BOTH), self.world()
        old, new = brief.nodes[self.old], brief.nodes[self.new]
        scene = role_scene(self.new, brief, world)
        params = existing_params(scene, world)
        with self.room.open(self.old, Lock("shop", self.epoch)) as host:
            for step in (autostart_step(old, on=False), stage_fence_step(scene, params, old, new)):
                if not step.done(world):
                    for action in step.actions(world):
                        host.write(action) if isinstance(action, WriteFile) else host.run(action)  # type: ignore[arg-type]
        pair = Pair(old, new, autostart_command(world, old, on=True), own_file(old, "hold") if self.is_archiving else "")
        return gap_step(scene, world, pair, catch_up_seconds=self.catch_up_seconds)

    def conduct(self, step: Step, cues: type[LiveCues] = LiveCues) -> Ending:
        """As the engine does it, in this process, under the next claim."""
        self.epoch += 1
        return run_section(self.room, step.section, self.epoch, self.spoken, cues)  # type: ignore[arg-type]

    def ended(self, step: Step, cues: type[LiveCues] = LiveCues) -> str:
        """The word of the ending, whichever way it comes."""
        self.spoken.clear()
        try:
            return self.conduct(step, cues).word
        except Ended as ended:
            self.spoken.append(f"{ended.ending}: {ended.message} — {ended.mend}")
            return ended.ending

    def killed(self, step: Step, after: int) -> bool:
        """A worker of its own, killed after so many words; False: it has come to the end."""
        child = self._in_child(step, type("Cues", (KilledCues,), {"after": after}))
        child.join(60)
        return child.exitcode == -signal.SIGKILL

    def killed_at(self, step: Step, at: str) -> bool:
        """A worker of its own, killed right after this word; False: it has come to the end."""
        child = self._in_child(step, fault(at, lambda _cues: os.kill(os.getpid(), signal.SIGKILL)))
        child.join(60)
        return child.exitcode == -signal.SIGKILL

    def asleep(self, step: Step, at: str) -> Sleeper:
        """A worker of its own, stopped right after this word."""
        return Sleeper(self._in_child(step, fault(at, lambda _cues: os.kill(os.getpid(), signal.SIGSTOP))))

    def _in_child(self, step: Step, cues: type[LiveCues]) -> BaseProcess:
        self.epoch += 1
        arguments = (self.room, step.section, self.epoch, cues)
        child = multiprocessing.get_context("fork").Process(target=_conduct_quietly, args=arguments)
        child.start()
        return child

    def go_on(self, word: str) -> None:
        """As the steps after the gap do: after "done" the old one comes back as the new one's standby, and they change places."""
        if word == "done":
            self.follow()
            self.swapped()
        self.job = f"job-{int(self.job.split('-')[1]) + 1}"
        wait_for(self.streams_to_new, 40)

    def streams_to_new(self) -> bool:
        return self.old_host.sql("SELECT state FROM pg_stat_replication") == [["streaming"]]

    def starts_by_itself(self) -> bool:
        return "auto" in self.old_host.run(["cat", f"{self.old_host.config_directory}/start.conf"]).stdout.split()

    def left_behind(self) -> list[str]:
        """Files of the gap in the data directories."""
        found = [
            host.run(f"ls {host.data_directory} | grep pgpanel.*fence", check=False).stdout for host in self.room.hosts.values()
        ]
        return " ".join(found).split()

    def follow(self) -> None:
        """The old one comes back as the new one's standby."""
        with suppress(LabError):  # the conductor has had it started a moment ago
            self.old_host.pg_start()
        wait_for(self.streams, 30)

    def streams(self) -> bool:
        return self.new_host.sql("SELECT state FROM pg_stat_replication") == [["streaming"]]

    def swapped(self) -> None:
        self.old, self.new = self.new, self.old

    def primaries(self) -> list[str]:
        found = []
        for name in BOTH:
            with contextlib.suppress(LabError):  # a host that is down, a server that does not run
                if self.room.hosts[name].sql("SELECT pg_is_in_recovery()") == [["f"]]:
                    found.append(name)
        return found


def run_section(room: Room, section: Section, epoch: int, spoken: list[str], cues: type[LiveCues]) -> Ending:
    hosts: dict[str, Host] = {}

    def open_part(part: Part, is_afresh: bool) -> Dialogue:
        if is_afresh and part.node in hosts:
            hosts.pop(part.node).close()
        host = hosts.setdefault(part.node, room.open(part.node, Lock("shop", epoch)))
        return host.open(part.command)

    live = cues(section, open_part)
    live.open_all()
    try:
        return section.conduct(live)
    finally:
        live.close()
        spoken += [f"{line.node} {line.told}" for line in live.spoken]
        for host in hosts.values():
            host.close()


def _conduct_quietly(room: Room, section: Section, epoch: int, cues: type[LiveCues]) -> None:
    try:
        run_section(room, section, epoch, [], cues)
    except BaseException as error:
        print(f"the worker in between: {error!r}", flush=True)
    os._exit(0)


def wait_for(holds: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.1)
