"""Hosts made of Linux namespaces: their own network, mounts, name, IPC and process table over the machine's programs.

Everything of a host but its disk hangs on its PID 1: when that is gone, the kernel takes the processes, the mounts and
the network with it, so there is nothing to clean up and nothing to leak.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import machine
from lab.errors import LabError
from lab.freezer import Freezer
from lab.host import Host
from lab.process_identity import ProcessIdentity, parse_identity

FILLER = "/var/filler"


class NamespaceHost(Host):
    @property
    def _init(self) -> ProcessIdentity | None:
        """The host's PID 1 as the machine counts it, while the host is up."""
        identity = parse_identity(self.directory / "pid")
        return identity if identity is not None and identity.is_alive() else None

    @property
    def _freezer(self) -> Freezer:
        return Freezer(f"{self.lab.switch.namespace}-{self.name}")

    def _up(self) -> ProcessIdentity:
        init = self._init
        if init is None:
            raise LabError(f"{self.name} is down: start it first")
        return init

    def is_up(self) -> bool:
        return self._init is not None

    # --- into the host -------------------------------------------------------------------------------------------

    def command(self, argv: Sequence[str] | str, user: str = "root") -> list[str]:
        init = self._up()
        if self._freezer.is_frozen():
            raise LabError(f"{self.name} is paused: nothing runs in it")
        line = ["/bin/sh", "-c", argv] if isinstance(argv, str) else list(argv)
        enter = [machine.program("nsenter"), "-t", str(init.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]
        identity = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env"]
        environment = ["env", f"PATH={machine.PATH}", "LANG=C.UTF-8"]
        return [*self._freezer.joining(), *enter, *identity, *environment, *line]

    def processes(self) -> list[tuple[int, str]]:
        lines = self.run(["ps", "-e", "-ww", "-o", "pid=,args="]).stdout.splitlines()
        listed = [(int(pid), argv) for pid, _, argv in (line.strip().partition(" ") for line in lines)]
        return [(pid, argv.strip()) for pid, argv in listed if not argv.strip().startswith("ps -e -ww -o pid=")]

    # --- power ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.is_up():
            return
        record = self.record
        self._freezer.make()
        boot = subprocess.Popen(
            [
                *self._freezer.joining(),
                *[machine.program("setsid"), "-f", machine.program("unshare"), "-n", "-m", "-u", "-i", "-p", "-f"],
                *[str(Path(__file__).with_name("host_init.sh")), self.name, str(self.directory), record.disk_image or ""],
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.directory / "console.log").open("a"),
            text=True,
        )
        assert boot.stdin is not None
        assert boot.stdout is not None
        with boot.stdin, boot.stdout:
            said = boot.stdout.readline().strip()
            boot.wait()
            if not said.isdigit():
                raise LabError(f"{self.name} does not boot\n{self.console_tail()}")
            init = ProcessIdentity.of(int(said))
            (self.directory / "pid").write_text(str(init))
            self.lab.switch.plug(record.ip, init.pid, record.rate, record.is_cut)
            boot.stdin.write("plugged\n")
        if not record.is_cut:
            self.wait_ssh()

    def kill(self) -> None:
        init = self._init
        # First the cable: a host without power cannot close its connections.
        self.lab.switch.unplug(self.ip)
        if init is not None:
            os.kill(init.pid, signal.SIGKILL)
            self._freezer.thaw()  # a frozen process cannot even die
            init.end(signal.SIGKILL)
        (self.directory / "pid").unlink(missing_ok=True)
        self._freezer.remove()

    def pause(self) -> None:
        self._up()
        self._freezer.freeze()

    def resume(self) -> None:
        self._freezer.thaw()

    def down(self) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    # --- network -------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        self.change_record(is_cut=True)
        if self.is_up():
            self.lab.switch.cut(self.ip)

    def heal(self) -> None:
        self.change_record(is_cut=False)
        if self.is_up():
            self.lab.switch.heal(self.ip)

    def split(self, other: Host) -> None:
        self.lab.split(self.ip, other.ip)

    def unsplit(self) -> None:
        self.lab.unsplit(self.ip)

    def rate(self, rate: str | None) -> None:
        self.change_record(rate=rate)
        init = self._init
        if init is not None:
            self.lab.switch.rate(self.ip, init.pid, rate)

    # --- disk ----------------------------------------------------------------------------------------------------

    def fill_disk(self, leave_bytes: int = 0) -> None:
        if self.record.disk_image is None:
            raise LabError(f"{self.name} shares the machine's disk: make it with disk_mb=… to fill it")
        free = int(self.run("stat -f -c '%a * %S' / | xargs expr").stdout)
        self.run(["fallocate", "-l", str(max(free - leave_bytes, 1)), FILLER], check=False)
        if leave_bytes == 0:  # what fallocate cannot give away in one piece
            self.run(f"cat /dev/zero >> {FILLER}", check=False)

    def free_disk(self) -> None:
        self.run(["rm", "-f", FILLER])
