"""Where PostgreSQL stands on a host, who starts it and how a first cluster is made there: one class per layout."""

from __future__ import annotations

import abc
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.postgres_builds import Build

if TYPE_CHECKING:
    from lab.host import Host, HostRecord
    from lab.host_disk import HostDisk

#: a command and the user that runs it
Call = tuple[list[str], str]
ENCODING = ["--encoding=UTF8", "--locale=C.UTF-8"]


@dataclass(frozen=True)
class Places:
    bin_directory: str
    data_directory: str
    config_directory: str
    log_file: str


@dataclass(frozen=True)
class ClusterOptions:
    """How a first cluster is made. `fsync` off by default: the disk of a killed host loses nothing anyway."""

    pg_port: int
    listen_addresses: str
    client_network: str
    autostart: bool
    checksums: bool
    fsync: bool
    socket_directory: str | None = None

    def settings(self) -> str:
        lines = [f"listen_addresses = '{self.listen_addresses}'\n"]
        if self.socket_directory is not None:
            lines.append(f"unix_socket_directories = '{self.socket_directory}'\n")
        if not self.fsync:
            lines.append("fsync = off  # the lab: a host that is killed keeps all that was written\n")
        return "".join(lines)

    def hba(self) -> str:
        return f"host  all  registry  {self.client_network}  scram-sha-256  # the lab's writers\n"

    def initdb(self) -> list[str]:
        """Without checksums means: as the version has it by default (on from 18)."""
        return ["--no-sync", *(["--data-checksums"] if self.checksums else [])]


class Layout(abc.ABC):
    name: str

    @abc.abstractmethod
    def places(self, major: int, data_directory: str | None) -> Places: ...

    @abc.abstractmethod
    def install(self, disk: HostDisk, build: Build) -> None:
        """Put the build's programs on a host's disk, before its first boot."""

    @abc.abstractmethod
    def create(self, host: Host, options: ClusterOptions) -> None:
        """Make a cluster on a running host; it is not started."""

    @abc.abstractmethod
    def start(self, record: HostRecord) -> Call: ...

    @abc.abstractmethod
    def stop(self, record: HostRecord, mode: str) -> Call: ...


class Debian(Layout):
    """pg_createcluster and pg_ctlcluster, the cluster `main`."""

    name = "debian"

    def places(self, major: int, data_directory: str | None) -> Places:
        return Places(
            bin_directory=f"/usr/lib/postgresql/{major}/bin",
            data_directory=data_directory or f"/var/lib/postgresql/{major}/main",
            config_directory=f"/etc/postgresql/{major}/main",
            log_file=f"/var/log/postgresql/postgresql-{major}-main.log",
        )

    def install(self, disk: HostDisk, build: Build) -> None:
        home = f"/usr/lib/postgresql/{build.major}"
        if not build.is_of_the_release:
            disk.copy(build.prefix, home)

    def create(self, host: Host, options: ClusterOptions) -> None:
        record = host.record
        start = "auto" if options.autostart else "manual"
        place = ["--port", str(options.pg_port), "--datadir", record.data_directory, "--start-conf", start]
        major = str(record.postgres_major)
        host.run(["install", "-d", "-o", "postgres", "-g", "postgres", str(Path(record.data_directory).parent)])
        host.run(["pg_createcluster", major, "main", *place, *ENCODING, "--", *options.initdb()])
        host.run(["tee", f"{record.config_directory}/conf.d/lab.conf"], user="postgres", input=options.settings())
        host.run(["tee", "-a", f"{record.config_directory}/pg_hba.conf"], user="postgres", input=options.hba())

    def start(self, record: HostRecord) -> Call:
        # What pg_ctlcluster runs, without its waiting: it looks for a stable server in steps that add up to 2 s.
        server = f'-c config_file="{record.config_directory}/postgresql.conf"'
        pg_ctl = [f"{record.bin_directory}/pg_ctl", "start", "-w", "-s", "-D", record.data_directory]
        return [*pg_ctl, "-l", record.log_file, "-o", server], "postgres"

    def stop(self, record: HostRecord, mode: str) -> Call:
        return ["pg_ctlcluster", str(record.postgres_major), "main", "stop", "-m", mode], "root"


class _OwnDirectories(Layout):
    """What the layouts without a distribution's tools share: configuration beside the data, initdb by hand."""

    def start_at_boot(self, record: HostRecord) -> str:
        command, user = self.start(record)
        return f"su {user} -c {shlex.quote(shlex.join(command))}"

    def create(self, host: Host, options: ClusterOptions) -> None:
        record = host.record
        data, owner = record.data_directory, record.postgres_user
        parent = str(Path(data).parent)
        host.run(["mkdir", "-p", parent])
        host.run(["chown", owner, parent])
        authentication = ["--auth-local=peer", "--auth-host=md5", "--username=postgres"]
        initdb = [f"{record.bin_directory}/initdb", "-D", data, *authentication, *ENCODING, *options.initdb()]
        host.run(initdb, user=owner)
        settings = f"\nport = {options.pg_port}\n{options.settings()}"
        host.run(["tee", "-a", f"{data}/postgresql.conf"], user=owner, input=settings)
        host.run(["tee", "-a", f"{data}/pg_hba.conf"], user=owner, input=options.hba())
        if options.autostart:
            self.mark_autostart(host)

    def mark_autostart(self, host: Host) -> None:
        host.run(["tee", "/etc/rc.local"], input=f"#!/bin/sh\n{self.start_at_boot(host.record)}\n")
        host.run(["chmod", "755", "/etc/rc.local"])


class Cocca(_OwnDirectories):
    """/opt/cocca-8/postgresql as CoCCA's installer lays it out, driven by its scripts/ctl."""

    name = "cocca"
    home = "/opt/cocca-8/postgresql"

    def places(self, major: int, data_directory: str | None) -> Places:
        if data_directory is not None:
            raise LabError(f"CoCCA has the data of its PostgreSQL {major} in {self.home}/data, nowhere else")
        data = f"{self.home}/data"
        return Places(f"{self.home}/bin", data, data, f"{self.home}/postgresql.log")

    def install(self, disk: HostDisk, build: Build) -> None:
        disk.hide_debians_postgres()
        disk.directory("/opt/cocca-8")
        disk.directory(self.home, owner="postgres")
        for part in build.parts():
            disk.copy(build.prefix / part, f"{self.home}/{part}")
        disk.directory(f"{self.home}/scripts")
        disk.file(f"{self.home}/scripts/ctl", Path(__file__).with_name("cocca_ctl.sh").read_text(), mode=0o755)

    def start(self, record: HostRecord) -> Call:
        return [self._ctl(record), "start"], record.postgres_user

    def stop(self, record: HostRecord, mode: str) -> Call:
        return [self._ctl(record), "stop", mode], record.postgres_user

    def _ctl(self, record: HostRecord) -> str:
        return str(Path(record.bin_directory).parent / "scripts/ctl")


class Custom(_OwnDirectories):
    """A build of one's own under /opt, data anywhere, plain pg_ctl."""

    name = "custom"

    def places(self, major: int, data_directory: str | None) -> Places:
        data = data_directory or "/srv/postgresql/data"
        return Places(f"/opt/postgresql-{major}/bin", data, data, f"{Path(data).parent}/postgresql.log")

    def install(self, disk: HostDisk, build: Build) -> None:
        disk.hide_debians_postgres()
        for part in build.parts():
            disk.copy(build.prefix / part, f"/opt/postgresql-{build.major}/{part}")

    def start(self, record: HostRecord) -> Call:
        return [*self._pg_ctl(record), "-l", record.log_file, "start"], record.postgres_user

    def stop(self, record: HostRecord, mode: str) -> Call:
        return [*self._pg_ctl(record), "-m", mode, "stop"], record.postgres_user

    def _pg_ctl(self, record: HostRecord) -> list[str]:
        return [f"{record.bin_directory}/pg_ctl", "-w", "-D", record.data_directory]


LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (Debian(), Cocca(), Custom())}
