"""Hosts made of plain processes, where namespaces are refused: an sshd, directories and a PostgreSQL each.

All share the machine's disk, process table, hostname and network, on loopback addresses of their own. So a host cannot
be cut off, split, slowed or filled, its clock of life is its supervisor, and a killed host's connections are closed by
the kernel, which a power cut does not do. Run by an ordinary user, there is one account only: the user's own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab import machine, subnets
from lab.backend import Backend, HostOptions, Prepared
from lab.errors import LabError, NotPossibleHere
from lab.host import Host, HostRecord
from lab.keys import make_ssh_key
from lab.layouts import ClusterOptions, Custom, Layout, Places
from lab.postgres_builds import Build
from lab.process_identity import ProcessIdentity, parse_identity, start_apart

IS_ROOT = os.geteuid() == 0
USER = pwd.getpwuid(os.geteuid()).pw_name
SSHD_CONFIG = """\
ListenAddress {ip}
Port {port}
HostKey {home}/ssh_host_ed25519_key
AuthorizedKeysFile {authorized_keys}
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM {use_pam}
UseDNS no
PrintMotd no
PidFile none
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""


class ProcessLayout(Custom):
    """The custom layout, with everything under the host's own directory of the machine."""

    def create(self, host: Host, options: ClusterOptions) -> None:
        super().create(host, options)
        if not IS_ROOT:  # the database's superuser is `postgres` all the same
            data = Path(host.data_directory)
            (data / "pg_ident.conf").write_text(f"lab  {USER}  postgres\n")
            rules = (data / "pg_hba.conf").read_text()
            (data / "pg_hba.conf").write_text(f"local  all  postgres  peer map=lab\n{rules}")

    def mark_autostart(self, host: Host) -> None:
        (host.directory / "boot").write_text(f"{self.start_at_boot(host.record)}\n")

    def start_at_boot(self, record: HostRecord) -> str:
        return super().start_at_boot(record) if IS_ROOT else shlex.join(self.start(record)[0])


class Processes(Backend):
    name = "processes"
    usual_layout = "custom"
    postgres_user = "postgres" if IS_ROOT else USER

    @property
    def _runtime(self) -> Path:
        """What every account must reach, by a short path: UNIX sockets and the login key."""
        return subnets.runtime_directory() / f"{self.lab.number}.shared"

    @property
    def _var(self) -> Path:
        """For data and programs, where the lab's own directory is closed to the account that runs PostgreSQL."""
        return Path(f"/var/lib/pgpanel-lab/{self.lab.number}")

    def make(self) -> None:
        machine.require(machine.PROGRAMS)
        self.remove()
        self._runtime.mkdir()
        (self._runtime / "sockets").mkdir()
        (self._runtime / "sockets").chmod(0o1777)

    def remove(self) -> None:
        for directory in (self._runtime, self._var):
            shutil.rmtree(directory, ignore_errors=True)

    def addresses(self) -> Sequence[str]:
        return [f"127.0.{self.lab.number - 1}.{last}" for last in range(11, 255)]

    def ports(self, ip: str) -> tuple[int, int]:
        """Each its own, on all addresses: a PostgreSQL may be told to listen on '*'."""
        last = int(ip.rpartition(".")[2])
        return _free_port(2200 + last), _free_port(5400 + last)

    def layout(self, name: str) -> Layout:
        if name != "custom":
            raise NotPossibleHere(f"the {name} layout needs a host with a disk of its own; this backend has only custom")
        return ProcessLayout()

    def places(self, build: Build, options: HostOptions, directory: Path) -> Places:
        home = directory if self._is_reachable(self.lab.directory) else self._var / directory.name
        data = options.data_directory or str(home / "postgresql" / "data")
        programs = build.prefix if self._is_reachable(build.prefix) else self._programs(build)
        return Places(str(programs / "bin"), data, data, str(Path(data).parent / "postgresql.log"))

    def _programs(self, build: Build) -> Path:
        """A copy of a build that lies in root's own cache."""
        copy = self._var / build.prefix.name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(build.prefix, copy, symlinks=True)
        return copy

    def _is_reachable(self, path: Path) -> bool:
        """PostgreSQL refuses to run as root, so its own account must get there."""
        if not IS_ROOT:
            return True
        account = [f"--reuid={self.postgres_user}", f"--regid={self.postgres_user}", "--init-groups"]
        return subprocess.run([machine.program("setpriv"), *account, "test", "-x", str(path)], check=False).returncode == 0

    def host(self, name: str) -> ProcessHost:
        return ProcessHost(self.lab, name)

    def prepare(self, host: Host, build: Build, options: HostOptions) -> Prepared:  # noqa: ARG002 (used where it lies)
        for option, impossible in (("disk_mb", options.disk_mb), ("password_login", options.password_login)):
            if impossible:
                raise NotPossibleHere(f"{option} is not possible with the processes backend")
        home = host.directory
        fingerprint = make_ssh_key(home / "ssh_host_ed25519_key", f"root@{host.name}")
        key_type, key, _ = (home / "ssh_host_ed25519_key.pub").read_text().split(maxsplit=2)
        (home / "known_hosts").write_text(f"[{host.ip}]:{host.ssh_port} {key_type} {key}\n")
        authorized_keys = self._runtime / "authorized_keys"
        authorized_keys.write_text(self.lab.keys.public_key)
        config = SSHD_CONFIG.format(
            ip=host.ip,
            port=host.ssh_port,
            home=home,
            authorized_keys=authorized_keys,
            use_pam="yes" if IS_ROOT else "no",
        )
        (home / "sshd_config").write_text(config)
        if IS_ROOT:
            Path("/run/sshd").mkdir(exist_ok=True)
        return Prepared(fingerprint)

    def cluster_options(self, host: Host, options: HostOptions) -> ClusterOptions:
        return ClusterOptions(
            pg_port=host.pg_port,
            listen_addresses=host.ip,
            client_network="127.0.0.0/8",
            autostart=options.autostart,
            checksums=options.checksums,
            fsync=options.fsync,
            socket_directory=str(self._runtime / "sockets"),
        )


def _free_port(wanted: int) -> int:
    for port in range(wanted, 65536, 256):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))
            return port
    raise LabError(f"no free port like {wanted} on this machine")


class ProcessHost(Host):
    logins = ("root", "postgres") if IS_ROOT else (USER,)

    @property
    def _supervisor(self) -> ProcessIdentity | None:
        identity = parse_identity(self.directory / "pid")
        return identity if identity is not None and identity.is_alive() else None

    def is_up(self) -> bool:
        return self._supervisor is not None

    def command(self, argv: Sequence[str] | str, user: str = "root") -> list[str]:
        """Through the host's sshd, so that what it starts belongs to the host."""
        if not self.is_up():
            raise LabError(f"{self.name} is down: start it first")
        line = argv if isinstance(argv, str) else shlex.join(argv)
        known = [
            "-o",
            f"UserKnownHostsFile={self.directory}/known_hosts",
            "-o",
            "BatchMode=yes",
            "-o",
            "LogLevel=ERROR",
        ]
        login = user if user in self.logins else self.logins[0]
        ssh = [machine.program("ssh"), "-F", "none", "-i", str(self.lab.key_path), "-p", str(self.ssh_port), *known]
        return [*ssh, f"{login}@{self.ip}", line]

    def processes(self) -> list[tuple[int, str]]:
        return [(pid, argv) for pid in self._pids() if (argv := _command_line(pid))]

    def start(self) -> None:
        if self.is_up():
            return
        sshd = [machine.program("sshd"), "-D", "-e", "-f", str(self.directory / "sshd_config")]
        program = str(Path(__file__).with_name("supervisor.py"))
        supervisor = [sys.executable, "-I", program, str(self.directory / "boot"), *sshd]
        environment = {"PATH": machine.PATH, "LANG": "C.UTF-8"}
        identity = start_apart(supervisor, self.directory / "console.log", environment)
        (self.directory / "pid").write_text(str(identity))
        self.wait_ssh()

    def kill(self) -> None:
        """Frozen first, so that nothing of the host does anything about the others' deaths."""
        supervisor = self._supervisor
        if supervisor is None:
            return
        self.pause()
        self._signal(set(self._pids()), signal.SIGKILL)
        deadline = time.monotonic() + 5
        while supervisor.is_alive() and self._pids() and time.monotonic() < deadline:
            time.sleep(0.005)
        supervisor.end(signal.SIGKILL)
        (self.directory / "pid").unlink()

    def pause(self) -> None:
        stopped: set[int] = set()
        deadline = time.monotonic() + 5
        while fresh := set(self._pids()) - stopped:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} keeps starting processes")
            self._signal(fresh, signal.SIGSTOP)
            stopped |= fresh

    def resume(self) -> None:
        self._signal(set(self._pids()), signal.SIGCONT)

    def down(self) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    def _signal(self, pids: set[int], how: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)

    def _pids(self) -> list[int]:
        """Every descendant of the supervisor."""
        supervisor = self._supervisor
        if supervisor is None:
            return []
        children: dict[int, list[int]] = {}
        for pid, parent in _parents().items():
            children.setdefault(parent, []).append(pid)
        found: list[int] = []
        waiting = list(children.get(supervisor.pid, []))
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += children.get(pid, [])
        return sorted(found)


def _parents() -> dict[int, int]:
    """pid → parent, for every process of the machine"""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return parents


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
