"""In a worker of the tests: it kills or stops its own process group before its n-th command, once.

A command is whatever may change a host (looks do not count) and every word said in a dialogue. `fault.json` says which;
`trace` lists what was counted, so that a run without a fault tells how many there are.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

from remote.dialogue import Dialogue
from remote.host import Host

DIRECTORY = Path(os.environ["PGPANEL_TEST_FAULTS"])
_lock = threading.Lock()
_counted: dict[str, int] = {}


def before(what: str) -> None:
    with _lock:
        try:
            fault = json.loads((DIRECTORY / "fault.json").read_text())
        except (FileNotFoundError, ValueError):
            return
        number = _counted[fault["token"]] = _counted.get(fault["token"], 0) + 1
        with (DIRECTORY / "trace").open("a") as trace:
            trace.write(f"{fault['token']}\t{number}\t{os.getpid()}\t{' '.join(what.split())[:160]}\n")
        if number != fault["at"]:
            return
        try:
            (DIRECTORY / "fault.json").rename(DIRECTORY / "fault.taken")
        except FileNotFoundError:  # another worker has had it
            return
        (DIRECTORY / "hit").write_text(f"{os.getpgrp()} {' '.join(what.split())[-300:]}")
        os.killpg(os.getpgrp(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault["how"]])


def arm() -> None:
    answer, opened, say = Host._answer, Host.open, Dialogue.say

    def _answer(self: Host, command: Any, on_output: Any = None) -> Any:
        if command.mutates:
            before(f"{self.name}: {command.shown}")
        return answer(self, command, on_output)

    def _open(self: Host, command: Any) -> Dialogue:
        before(f"{self.name} opens: {command.shown}")
        return opened(self, command)

    def _say(self: Dialogue, line: str) -> None:
        before(f"{self.name} is told: {line}")
        say(self, line)

    Host._answer, Host.open, Dialogue.say = _answer, _open, _say  # type: ignore[method-assign]
