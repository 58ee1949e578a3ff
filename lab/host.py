"""A host of the lab, whichever backend made it: what tests and the demo may ask of it and do to it."""

from __future__ import annotations

import abc
import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layouts
from lab.errors import LabError, NotPossibleHere

if TYPE_CHECKING:
    from lab.lab import Lab

FIELD_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class HostRecord:
    """What is kept on disk about a host; the rest is asked of the host itself."""

    name: str
    ip: str
    ssh_port: int
    pg_port: int
    layout: str
    postgres_major: int
    bin_directory: str
    data_directory: str
    config_directory: str
    log_file: str
    postgres_user: str
    host_key_fingerprint: str
    fsync: bool = False
    disk_image: str | None = None
    rate: str | None = None
    is_cut: bool = False

    def save(self, directory: Path) -> None:
        path = directory / "host.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n")
        os.replace(scratch, path)

    @classmethod
    def load(cls, directory: Path) -> HostRecord:
        return cls(**json.loads((directory / "host.json").read_text()))


class Host(abc.ABC):
    #: accounts that the lab's key logs in to
    logins: tuple[str, ...]

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.directory = lab.directory / "hosts" / name

    @property
    def record(self) -> HostRecord:
        """Read each time: the command line and a running test may both change a host."""
        return HostRecord.load(self.directory)

    def change_record(self, **changes: object) -> None:
        replace(self.record, **changes).save(self.directory)  # type: ignore[arg-type]

    ip = property(lambda self: str(self.record.ip))
    ssh_port = property(lambda self: int(self.record.ssh_port))
    pg_port = property(lambda self: int(self.record.pg_port))
    layout = property(lambda self: str(self.record.layout))
    postgres_major = property(lambda self: int(self.record.postgres_major))
    bin_directory = property(lambda self: str(self.record.bin_directory))
    data_directory = property(lambda self: str(self.record.data_directory))
    config_directory = property(lambda self: str(self.record.config_directory))
    postgres_user = property(lambda self: str(self.record.postgres_user))
    host_key_fingerprint = property(lambda self: str(self.record.host_key_fingerprint))

    # --- into the host -------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def command(self, argv: Sequence[str] | str, user: str = "root") -> list[str]:
        """What the machine has to run so that `argv` runs inside the host as `user`; a string is a line for sh."""

    @abc.abstractmethod
    def processes(self) -> list[tuple[int, str]]:
        """(pid, command line) of all that runs in the host; pids as the host counts them."""

    def run(
        self,
        argv: Sequence[str] | str,
        user: str = "root",
        check: bool = True,
        input: str | None = None,  # noqa: A002 (named as subprocess names it)
        timeout_seconds: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run something inside the host, not by way of the product: for tests that look at the truth."""
        done = subprocess.run(
            self.command(argv, user),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            shown = argv if isinstance(argv, str) else " ".join(argv)
            raise LabError(f"{self.name}: {shown} ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        return done

    def sql(self, query: str, database: str = "postgres") -> list[list[str]]:
        """Rows as psql shows them, as the superuser over the host's own socket."""
        psql = [f"{self.bin_directory}/psql", "-X", "-q", "-A", "-t", "-F", FIELD_SEPARATOR, "-v", "ON_ERROR_STOP=1"]
        where = ["-h", self._socket_directory(), "-p", str(self.pg_port), "-U", "postgres", "-d", database]
        answer = self.run([*psql, *where, "-f", "-"], user=self.postgres_user, input=query).stdout
        return [line.split(FIELD_SEPARATOR) for line in answer.splitlines() if line]

    def _socket_directory(self) -> str:
        """Line 5 of postmaster.pid: builds differ in where they put the socket."""
        pid_file = self.run(["cat", f"{self.data_directory}/postmaster.pid"], user=self.postgres_user, check=False)
        lines = pid_file.stdout.splitlines()
        if len(lines) < 5:
            raise LabError(f"{self.name}: PostgreSQL is not running\n{self.pg_log_tail(15)}")
        return lines[4].strip()

    # --- PostgreSQL ----------------------------------------------------------------------------------------------

    def pg_start(self) -> None:
        command, user = layouts.LAYOUTS[self.layout].start(self.record)
        done = self.run(command, user=user, check=False)
        if done.returncode != 0:
            raise LabError(f"{self.name}: PostgreSQL did not start\n{done.stdout}{done.stderr}{self.pg_log_tail()}")

    def pg_stop(self, mode: str = "fast") -> None:
        command, user = layouts.LAYOUTS[self.layout].stop(self.record, mode)
        self.run(command, user=user)

    def is_postgres_running(self) -> bool:
        if not self.is_up():
            return False
        status = [f"{self.bin_directory}/pg_ctl", "status", "-D", self.data_directory]
        return self.run(status, user=self.postgres_user, check=False).returncode == 0

    def pg_log_tail(self, lines: int = 50) -> str:
        return self.run(["tail", "-n", str(lines), self.record.log_file], check=False).stdout

    def wait_postgres(self, timeout_seconds: float = 30) -> None:
        """Until PostgreSQL answers queries: after `start`, which boots it in the background as an init would."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self.sql("SELECT 1")
                return
            except LabError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"{self.name}: PostgreSQL not ready in {timeout_seconds:g} s\n{error}") from None
            time.sleep(0.05)

    # --- the host as a machine -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def is_up(self) -> bool: ...

    @abc.abstractmethod
    def start(self) -> None:
        """Switch on: boot from the disk as it is. Returns when sshd answers."""

    @abc.abstractmethod
    def kill(self) -> None:
        """A power cut: every process gone at once, nothing said to anybody, the disk kept."""

    @abc.abstractmethod
    def pause(self) -> None:
        """Freeze every process where it stands; connections stay open and silent."""

    @abc.abstractmethod
    def resume(self) -> None: ...

    @abc.abstractmethod
    def down(self) -> None:
        """The host and its disk are gone."""

    def cut(self) -> None:
        """No packet in or out; nothing in the host notices at first."""
        raise self._not_possible(f"cutting {self.name} from the network")

    def heal(self) -> None:
        raise self._not_possible(f"cutting {self.name} from the network")

    def split(self, other: Host) -> None:
        """These two no longer reach each other; the panel still reaches both."""
        raise self._not_possible(f"splitting {self.name} from {other.name}")

    def unsplit(self) -> None:
        raise self._not_possible(f"having split {self.name} from another")

    def rate(self, rate: str | None) -> None:
        """Limit the host's link in both directions, "200mbit" say; None lifts it."""
        raise self._not_possible(f"limiting the link of {self.name} to {rate}")

    def fill_disk(self, leave_bytes: int = 0) -> None:
        """Fill the host's disk but for `leave_bytes`. Only for hosts with a disk of their own (`disk_mb`)."""
        raise self._not_possible(f"filling the disk of {self.name} up to {leave_bytes} bytes")

    def free_disk(self) -> None:
        raise self._not_possible(f"having filled the disk of {self.name}")

    def _not_possible(self, what: str) -> NotPossibleHere:
        return NotPossibleHere(f"{what} is not possible with the {self.lab.backend} backend")

    def wait_ssh(self, timeout_seconds: float = 10) -> None:
        """Until sshd says its name."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline and self.is_up():
            try:
                with socket.create_connection((self.ip, self.ssh_port), timeout=0.5) as connection:
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.01)
        raise LabError(f"{self.name}: sshd does not answer on {self.ip}:{self.ssh_port}\n{self.console_tail()}")

    def console_tail(self, lines: int = 50) -> str:
        """What the host's boot and its sshd printed."""
        console = self.directory / "console.log"
        return "\n".join(console.read_text(errors="replace").splitlines()[-lines:]) if console.exists() else ""
