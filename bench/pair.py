"""A second pair on the hosts of the stage, made by hand, on a port of its own: what a raw script or another tool works on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab import Lab
from lab.host import Host

MAJOR = "15"
ARCHIVING = "archive_mode = on\narchive_command = '/bin/true'\n"
"""As the panel's own pair archives, since that is part of every stop; here at no cost, and as repmgr's manual proposes it."""


@dataclass(frozen=True)
class Place:
    """Where a client finds a server."""

    ip: str
    pg_port: int


@dataclass
class Pair:
    """primary and standby take turns (`swapped`). more: lines for postgresql.conf."""

    lab: Lab
    name: str
    port: int
    primary: Host
    standby: Host
    more: str = ""
    places: list[Place] = field(init=False)

    def __post_init__(self) -> None:
        self.places = [Place(host.ip, self.port) for host in (self.primary, self.standby)]

    @property
    def data(self) -> str:
        return f"/var/lib/postgresql/{MAJOR}/{self.name}"

    @property
    def config(self) -> str:
        return f"/etc/postgresql/{MAJOR}/{self.name}"

    @property
    def log(self) -> str:
        return f"/var/log/postgresql/postgresql-{MAJOR}-{self.name}.log"

    def swapped(self) -> None:
        self.primary, self.standby = self.standby, self.primary

    def sql(self, host: Host, query: str, database: str = "postgres") -> str:
        psql = [f"{host.bin_directory}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", str(self.port), "-d", database]
        return host.run([*psql, "-f", "-"], user="postgres", input=query).stdout.strip()

    def start(self, host: Host) -> None:
        server = shlex.quote(f"-c config_file={self.config}/postgresql.conf")
        host.run(
            f"{host.bin_directory}/pg_ctl -s -w -D {self.data} -l {self.log} -o {server} start </dev/null >/dev/null",
            user="postgres",
        )

    def make_primary(self) -> None:
        self.make_cluster(self.primary)
        self.start(self.primary)
        password = self.lab.keys.password
        self.sql(self.primary, f"CREATE ROLE registry LOGIN PASSWORD '{password}'; CREATE DATABASE registry OWNER registry;")
        self.sql(self.primary, "GRANT pg_monitor TO registry")

    def make_standby(self) -> None:
        self.make_cluster(self.standby)
        self.copy_anew()

    def let_in(self) -> None:
        """A further standby of a primary that there is."""
        line = f"host all,replication all {self.standby.ip}/32 trust\n"
        self.primary.run(["tee", "-a", f"{self.config}/pg_hba.conf"], user="postgres", input=line)
        self.sql(self.primary, "SELECT pg_reload_conf()")

    def copy_anew(self, streaming: int = 1) -> None:
        """streaming: how many standbys the primary has then."""
        copy = f"{self.standby.bin_directory}/pg_basebackup -h {self.primary.ip} -p {self.port} -U postgres -c fast -D {self.data}"
        self.empty(self.standby)
        self.standby.run(f"{copy} && touch {self.data}/standby.signal", user="postgres", timeout_seconds=300)
        self.start(self.standby)
        self.wait_for_streaming(streaming)

    def empty(self, host: Host) -> None:
        host.run(f"rm -rf {self.data} && install -d -m 700 -o postgres -g postgres {self.data}")

    def wait_for_streaming(self, count: int = 1) -> None:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        wait(lambda: self.sql(self.primary, query) == str(count), f"the standby of {self.name} streams")

    def make_cluster(self, host: Host) -> None:
        """Both follow the other as soon as they are told to be a standby; both let each other in."""
        other = self.standby if host == self.primary else self.primary
        place = ["--port", str(self.port), "--start-conf", "manual"]
        host.run(["pg_createcluster", MAJOR, self.name, *place, "--", "--no-sync"])
        lines = f"listen_addresses = '*'\nwal_keep_size = '1GB'\nwal_log_hints = on\n{ARCHIVING}{self.more}"
        lines += f"primary_conninfo = 'host={other.ip} port={self.port} user=postgres application_name={host.name}'\n"
        host.run(["tee", f"{self.config}/conf.d/bench.conf"], user="postgres", input=lines)
        network = f"{host.ip.rpartition('.')[0]}.0/24"
        hba = f"host all registry {network} scram-sha-256\n"
        hba += "".join(f"host all,replication all {node.ip}/32 trust\n" for node in (host, other))
        host.run(["tee", "-a", f"{self.config}/pg_hba.conf"], user="postgres", input=hba)


def wait(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)
