"""Hosts made of Linux namespaces: their own network, mounts, name, IPC and process table over the machine's programs.

Everything of a host but its disk hangs on its PID 1: when that is gone, the kernel takes the processes, the mounts and
the network with it, so there is nothing to clean up and nothing to leak.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab import machine
from lab.backend import Backend, HostOptions, Prepared
from lab.errors import LabError
from lab.freezer import Freezer
from lab.host import Host
from lab.host_disk import HostDisk
from lab.layouts import LAYOUTS, ClusterOptions, Layout, Places
from lab.postgres_builds import Build
from lab.process_identity import ProcessIdentity, parse_identity
from lab.switch import Switch

if TYPE_CHECKING:
    from lab.lab import Lab

FILLER = "/var/filler"


class Namespaces(Backend):
    name = "namespaces"
    usual_layout = "debian"
    postgres_user = "postgres"

    @property
    def switch(self) -> Switch:
        return Switch(self.lab.number)

    def make(self) -> None:
        machine.require(machine.PROGRAMS | machine.NAMESPACE_PROGRAMS)
        self.remove_leftovers(self.lab.number)
        self.switch.make()

    def remove(self) -> None:
        self.switch.remove()

    @staticmethod
    def remove_leftovers(number: int) -> None:
        """Of a lab whose directory was deleted while its hosts ran."""
        switch = Switch(number)
        switch.remove()
        for freezer in Freezer.all_named(f"{switch.namespace}-"):
            for pid in freezer.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            freezer.thaw()
            freezer.remove()

    def addresses(self) -> Sequence[str]:
        return [str(self.switch.network[last]) for last in range(11, 255)]

    def ports(self, ip: str) -> tuple[int, int]:  # noqa: ARG002 (the same on every address)
        return 22, 5432

    def layout(self, name: str) -> Layout:
        if name not in LAYOUTS:
            raise LabError(f"no layout {name!r}; there are: {', '.join(LAYOUTS)}")
        return LAYOUTS[name]

    def places(self, build: Build, options: HostOptions, directory: Path) -> Places:  # noqa: ARG002 (paths inside the host)
        return self.layout(options.layout or self.usual_layout).places(build.major, options.data_directory)

    def host(self, name: str) -> NamespaceHost:
        return NamespaceHost(self.lab, name, self)

    def prepare(self, host: Host, build: Build, options: HostOptions) -> Prepared:
        disk = HostDisk(host.directory / "disk" / "upper")
        fingerprint = disk.prepare(host.name, host.ssh_port, options.password_login, self.lab.keys)
        self.layout(host.layout).install(disk, build)
        (host.directory / "disk" / "work").mkdir()
        (host.directory / "root").mkdir()
        image = _disk_image(host.directory, options.disk_mb) if options.disk_mb is not None else None
        return Prepared(fingerprint, image)

    def cluster_options(self, host: Host, options: HostOptions) -> ClusterOptions:
        return ClusterOptions(
            pg_port=host.pg_port,
            listen_addresses="*",
            client_network=str(self.switch.network),
            autostart=options.autostart,
            checksums=options.checksums,
            fsync=options.fsync,
        )

    # --- pairs of hosts that do not reach each other -----------------------------------------------------------------

    def split(self, ip: str, other_ip: str) -> None:
        self._set_splits([*self._splits(), (ip, other_ip)])

    def unsplit(self, ip: str) -> None:
        self._set_splits([pair for pair in self._splits() if ip not in pair])

    def _splits(self) -> list[tuple[str, str]]:
        path = self.lab.directory / "splits.json"
        return [(one, other) for one, other in json.loads(path.read_text())] if path.exists() else []

    def _set_splits(self, pairs: list[tuple[str, str]]) -> None:
        self.switch.set_splits(pairs)
        (self.lab.directory / "splits.json").write_text(json.dumps(pairs))


def _disk_image(directory: Path, disk_mb: int) -> str:
    """An ext4 of the host's own, holding what was prepared: it can run full while the machine's does not."""
    image, seed = directory / "disk.img", directory / "seed"
    (directory / "disk").rename(seed)
    (directory / "disk").mkdir()
    options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(seed)]
    subprocess.run([machine.program("mkfs.ext4"), *options, str(image), f"{disk_mb}M"], check=True, capture_output=True)
    shutil.rmtree(seed)
    return str(image)


class NamespaceHost(Host):
    logins = ("root", "postgres", "ops")

    def __init__(self, lab: Lab, name: str, backend: Namespaces) -> None:
        super().__init__(lab, name)
        self._backend = backend
        self._switch = backend.switch

    @property
    def _init(self) -> ProcessIdentity | None:
        """The host's PID 1 as the machine counts it, while the host is up."""
        identity = parse_identity(self.directory / "pid")
        return identity if identity is not None and identity.is_alive() else None

    @property
    def _freezer(self) -> Freezer:
        return Freezer(f"{self._switch.namespace}-{self.name}")

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
        joined = [*self._freezer.joining(), machine.program("setsid"), "-f"]
        apart = [machine.program("unshare"), "--net", "--mount", "--uts", "--ipc", "--pid", "--fork"]
        init = [str(Path(__file__).with_name("host_init.sh")), self.name, str(self.directory)]
        disk = [record.disk_image or "", "" if record.fsync else "volatile"]
        with (self.directory / "console.log").open("a") as console:
            boot = subprocess.Popen(
                [*joined, *apart, *init, *disk], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=console, text=True
            )
        assert boot.stdin is not None
        assert boot.stdout is not None
        with boot.stdin, boot.stdout:
            said = boot.stdout.readline().strip()
            boot.wait()
            if not said.isdigit():
                raise LabError(f"{self.name} does not boot\n{self.console_tail()}")
            identity = ProcessIdentity.of(int(said))
            (self.directory / "pid").write_text(str(identity))
            self._switch.plug(record.ip, identity.pid, record.rate, record.is_cut)
            boot.stdin.write("plugged\n")
        if not record.is_cut:
            self.wait_ssh()

    def kill(self) -> None:
        init = self._init
        # First the cable: a host without power cannot close its connections.
        self._switch.unplug(self.ip)
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
            self._switch.cut(self.ip)

    def heal(self) -> None:
        self.change_record(is_cut=False)
        if self.is_up():
            self._switch.heal(self.ip)

    def split(self, other: Host) -> None:
        self._backend.split(self.ip, other.ip)

    def unsplit(self) -> None:
        self._backend.unsplit(self.ip)

    def rate(self, rate: str | None) -> None:
        self.change_record(rate=rate)
        init = self._init
        if init is not None:
            self._switch.rate(self.ip, init.pid, rate)

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
