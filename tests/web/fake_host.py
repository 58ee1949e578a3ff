"""A host that is a directory of this machine: same calls as remote.host.Host, real processes, no SSH.

Paths in commands are real paths (tests use tmp_path). `is_cut` plays a lost network, `ran` says what was run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from remote.command import Command, Detached, WriteFile, text_value
from remote.errors import CommandFailed, ConnectionLost, HostUnreachable
from remote.facts import Facts, FactsRequest, PathFact, Unreachable
from remote.host import DetachedState
from remote.result import Result


class FakeHost:
    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.machine_id = f"machine-{name}"
        self.is_cut = False
        self.ran: list[str] = []
        self.reads = 0
        self._state = directory / f".pgpanel-{name}"

    def _answer(self) -> None:
        if self.is_cut:
            raise HostUnreachable(f"{self.name} does not answer", self.name, "plug it in", "timeout")

    def run(self, command: Command, on_output: Callable[[str, str], None] | None = None, check: bool = True) -> Result:
        self._answer()
        self.ran.append(command.text)
        stdin = text_value(command.stdin) if command.stdin is not None else ""
        begun = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", command.text], check=False, input=stdin, capture_output=True, text=True, timeout=command.timeout_seconds
        )
        for voice, text in (("output", done.stdout), ("error", done.stderr)):
            for line in text.splitlines():
                if on_output:
                    on_output(voice, line)
        result = Result(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
        if check and result.exit_code not in command.accepts:
            raise CommandFailed(self.name, command, result)
        return result

    def open(self, command: Command) -> FakeDialogue:
        self._answer()
        self.ran.append(command.text)
        return FakeDialogue(self.name, command)

    def write(self, action: WriteFile) -> None:
        self._answer()
        self.ran.append(action.shown)
        Path(action.path).write_text(text_value(action.text))

    def facts(self, request: FactsRequest) -> Facts | Unreachable:
        self.reads += 1
        if self.is_cut:
            return Unreachable("timeout", f"{self.name} does not answer", "plug it in")
        return Facts(hostname=self.name, machine_id=self.machine_id, paths={path: _path_fact(Path(path)) for path in request.paths})

    def start_detached(self, name: str, detached: Detached) -> None:
        self._answer()
        place = self._place(name)
        if place.exists():
            return
        place.mkdir(parents=True)
        self.ran.append(detached.command.text)
        body = f"({detached.command.text}) >{place}/log 2>&1; echo $? >{place}/exit.new; mv {place}/exit.new {place}/exit"
        started = subprocess.run(
            ["sh", "-c", 'setsid sh -c "$1" </dev/null >/dev/null 2>&1 & echo $!', "sh", body],
            capture_output=True,
            text=True,
            check=True,
        )
        (place / "pid").write_text(started.stdout.strip())

    def detached_state(self, name: str, user: str) -> DetachedState:
        self._answer()
        place = self._place(name)
        if not place.exists():
            return DetachedState("absent")
        lives = _lives(int((place / "pid").read_text()))  # before the exit file, which appears before the process goes
        has_ended = (place / "exit").exists()
        log_bytes = (place / "log").stat().st_size if (place / "log").exists() else 0
        if has_ended:
            return DetachedState("ended", exit_code=int((place / "exit").read_text()), log_bytes=log_bytes)
        return DetachedState("running" if lives else "died", log_bytes=log_bytes)

    def follow(self, name: str, user: str, offset: int = 0, wait_seconds: float = 1.0) -> tuple[bytes, DetachedState]:
        until = time.monotonic() + wait_seconds
        while True:
            state = self.detached_state(name, user)
            log = self._place(name) / "log"
            chunk = log.read_bytes()[offset : offset + 65536] if log.exists() else b""
            if chunk or state.status != "running" or time.monotonic() > until:
                return chunk, state
            time.sleep(0.02)

    def end_detached(self, name: str, user: str, grace_seconds: float = 10) -> bool:
        if self.detached_state(name, user).status == "running":
            os.killpg(int((self._place(name) / "pid").read_text()), signal.SIGKILL)
            time.sleep(0.05)
        return self.detached_state(name, user).status != "running"

    def forget_detached(self, name: str, user: str) -> None:
        subprocess.run(["rm", "-rf", self._place(name)], check=True)

    def close(self) -> None:
        pass

    def _place(self, name: str) -> Path:
        return self._state / re.sub(r"[^\w.#-]", "_", name)


class FakeDialogue:
    """A command whose input stays open."""

    def __init__(self, name: str, command: Command) -> None:
        self.name = name
        self._process = subprocess.Popen(["sh", "-c", command.text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self, within_seconds: float = 10.0) -> str:
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return line.rstrip("\n")
        raise ConnectionLost(f"{self.name}: it ended", self.name)

    def close(self) -> None:
        self._process.communicate()


def _path_fact(path: Path) -> PathFact:
    if path.is_dir():
        return PathFact("directory")
    return PathFact("file", text=path.read_text()) if path.exists() else PathFact("missing")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
