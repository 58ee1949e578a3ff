"""Processes that outlive the Python that started them: named so that a pid used again is never mistaken for them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import machine
from lab.errors import LabError


@dataclass(frozen=True)
class ProcessIdentity:
    """A pid together with when it started (clock ticks since boot) and in which boot of the machine."""

    pid: int
    started_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        ticks = _started_ticks(pid)
        if ticks is None:
            raise LabError(f"process {pid} has ended already")
        return cls(pid, ticks, _boot_id())

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity:
        pid, ticks, boot = text.split()
        return cls(int(pid), int(ticks), boot)

    def __str__(self) -> str:
        return f"{self.pid} {self.started_ticks} {self.boot_id}"

    def is_alive(self) -> bool:
        return self.boot_id == _boot_id() and self.started_ticks == _started_ticks(self.pid)

    def end(self, how: signal.Signals = signal.SIGKILL, within_seconds: float = 10) -> None:
        """Send the signal, if it is still the same process, and wait until it is gone."""
        if not self.is_alive():
            return
        try:
            os.kill(self.pid, how)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + within_seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                raise LabError(f"process {self.pid} did not end within {within_seconds:g} s of {how.name}")
            time.sleep(0.005)


def start_apart(argv: list[str], log: Path, environment: Mapping[str, str]) -> ProcessIdentity:
    """Start something that outlives us: a session of its own, no child of ours, its output appended to a file."""
    say_pid = ["/bin/sh", "-c", 'echo $$; exec "$@" >>"$0" 2>&1 </dev/null', str(log)]
    setsid = [machine.program("setsid"), "-f"]
    said = subprocess.run([*setsid, *say_pid, *argv], stdout=subprocess.PIPE, text=True, cwd="/", env=environment, check=True)
    return ProcessIdentity.of(int(said.stdout))


def parse_identity(path: Path) -> ProcessIdentity | None:
    """The identity kept in a file, or None where the file is absent or was only half written."""
    try:
        return ProcessIdentity.parse(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _started_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for a process that is gone, or dead and only waiting for its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may contain spaces
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
