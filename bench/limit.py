"""A switchover by a script written by hand, over SSH connections and sessions that are open before: the shortest gap there is.

It does nothing else: no look at slots, archive, configuration or other standbys, no way back, no record of what it did.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.pair import Pair
from lab.host import Host

SCRIPTS = Path(__file__).with_name("scripts")
PAUSE_SECONDS = 0.05
"""The old one starts when the first clients are back: before, it would take their processor time."""


class Line:
    """A script on a host that hears words and answers each with a line."""

    def __init__(self, key: Path, host: Host, script: str, user: str, *arguments: str) -> None:
        path = f"/var/tmp/{script}"
        host.run(["tee", path], input=(SCRIPTS / script).read_text())
        ssh = [
            "ssh",
            "-T",
            "-F",
            "/dev/null",
            "-i",
            str(key),
            "-p",
            str(host.ssh_port),
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "LogLevel=ERROR",
        ]
        ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", f"root@{host.ip}"]
        become = [] if user == "root" else ["runuser", "-u", user, "--"]
        line = " ".join([*become, "sh", path, *arguments])
        self._process = subprocess.Popen([*ssh, line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self._hear() == "ready"

    def ask(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._hear()

    def tell(self, word: str, expected: str) -> None:
        answer = self.ask(word)
        if answer != expected:
            raise RuntimeError(f"{word}: {answer!r}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(20)

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def switch(pair: Pair) -> None:
    key = pair.lab.key_path
    before = (pair.data, pair.primary.bin_directory, str(pair.port), f"{pair.config}/postgresql.conf", pair.log)
    old = Line(key, pair.primary, "limit_old.sh", "root", *before)
    new = Line(key, pair.standby, "limit_new.sh", "postgres", pair.standby.bin_directory, str(pair.port))
    for line in (old, new, old):
        line.tell("checkpoint", "checkpointed")
    state, place = old.ask("stop").split(":")
    assert state == "shut down", state
    new.tell(f"promote {place}", "promoted")
    time.sleep(PAUSE_SECONDS)
    old.tell("start", "started")
    old.close()
    new.close()
    pair.swapped()


def promote(pair: Pair) -> float:
    """Unplanned, with nothing asked of anybody: when the word was said."""
    new = Line(pair.lab.key_path, pair.standby, "limit_new.sh", "postgres", pair.standby.bin_directory, str(pair.port))
    said_at = time.time()
    new.tell("promote 0/0", "promoted")
    new.close()
    return said_at


def copy_anew(pair: Pair) -> None:
    pair.copy_anew()


def make(pair: Pair) -> None:
    pair.make_primary()
    pair.make_standby()
