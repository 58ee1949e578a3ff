"""Three servers that stream, registered again and again under other names: what the benches of the collector look at."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pair import Pair
from bench.stage import Stage

NAME, PORT = "watched", 5440
ROLE = "registry"
SETTINGS = "max_connections = 420\nmax_wal_senders = 10\n"


@dataclass(frozen=True)
class Servers:
    """One primary and two standbys on the stage's hosts, on a port of their own."""

    stage: Stage

    @classmethod
    def on(cls, stage: Stage) -> Servers:
        first, *others = (stage.lab[name] for name in ("h1", "h2", "h3"))
        if first.run(["test", "-d", f"/var/lib/postgresql/15/{NAME}"], check=False).returncode != 0:
            pairs = [Pair(stage.lab, NAME, PORT, first, other, SETTINGS) for other in others]
            pairs[0].make_primary()
            for streaming, pair in enumerate(pairs, start=1):
                pair.let_in()
                pair.make_cluster(pair.standby)
                pair.copy_anew(streaming)
        return cls(stage)

    @property
    def places(self) -> list[str]:
        return [f"{self.stage.lab[name].ip}:{PORT}" for name in ("h1", "h2", "h3")]

    @contextmanager
    def registered(self, count: int) -> Iterator[None]:
        """So many nodes, in clusters of three, watched by the panel."""
        self.crowd("nodes", str(count), ROLE, *self.places, stdin=f"{self.stage.lab.keys.password}\n")
        try:
            yield
        finally:
            self.crowd("away")

    def crowd(self, *arguments: str, stdin: str = "") -> str:
        environment = self.stage.panel.environment | {"DJANGO_SETTINGS_MODULE": "pgpanel.settings"}
        done = subprocess.run(
            [sys.executable, "-m", "bench.crowd", *arguments],
            env=environment, input=stdin, stdout=subprocess.PIPE, text=True, check=True, timeout=300,
        )  # fmt: skip
        return done.stdout

    def looks_cpu(self) -> Cpu:
        """Of the servers' processes that answer the monitoring role."""
        return Cpu.of(lambda line: f"15/{NAME}: {ROLE} postgres " in line)

    def collectors_cpu(self) -> Cpu:
        return Cpu.of(lambda line: "-Q observe" in line and "celery" in line, environment=f"PGPANEL_VAR={self.stage.panel.var}")


@dataclass(frozen=True)
class Cpu:
    """Processor time of processes on this machine and, as namespaces nest, on all its hosts, at one moment. By pid, in seconds."""

    at: float
    seconds: dict[int, float]

    @classmethod
    def of(cls, is_meant: Callable[[str], bool], environment: str = "") -> Cpu:
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if is_meant(line) and environment.encode() in (directory / "environ").read_bytes():
                    found[int(directory.name)] = _on_cpu(directory)
            except OSError:  # ended meanwhile
                continue
        return cls(time.monotonic(), found)

    def since(self, before: Cpu) -> float:
        """Seconds used by those that were there then; a process that has ended meanwhile is left out."""
        return sum(seconds - before.seconds[pid] for pid, seconds in self.seconds.items() if pid in before.seconds)


def _on_cpu(directory: Path) -> float:
    """By all its threads; schedstat counts nanoseconds, where `stat` knows hundredths of a second only."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in (directory / "task").iterdir()) / 1e9


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
