"""A lab: some hosts on a network of their own, their state in one directory."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Unpack

from lab import background, machine, postgres_builds, subnets
from lab.backend import Backend, HostOptions, HostWishes
from lab.errors import LabError, NotPossibleHere
from lab.host import Host, HostRecord
from lab.keys import LabKeys
from lab.namespaces import Namespaces
from lab.postgres_builds import Build
from lab.process_identity import ProcessIdentity
from lab.processes import Processes
from lab.registry import make_registry
from lab.source_page import SourcePagePair, build_pair
from lab.writer import Writer, conninfo

BACKENDS: dict[str, type[Backend]] = {backend.name: backend for backend in (Namespaces, Processes)}
REPOSITORY = Path(__file__).resolve().parent.parent


def labs_directory() -> Path:
    return Path(os.environ.get("PGPANEL_LAB_DIRECTORY") or REPOSITORY / ".lab")


class Lab:
    """Makes a new lab. It belongs to the process that makes it: when that dies without `down`, the next lab of this
    machine takes the orphan away. `keep=True` makes one that stays (the command line's); `Lab.attach` opens it again.
    """

    name: str
    directory: Path
    number: int

    def __init__(self, name: str = "demo", backend: str = "auto", directory: Path | None = None, *, keep: bool = False) -> None:
        self._at(name, directory)
        chosen = _choose_backend(backend, self.directory.parent)
        with subnets.machine_lock():
            _sweep_orphans()
            _clear_the_way(self.directory)
            self.number = subnets.take(self.directory)
            self.directory.mkdir(parents=True, exist_ok=True)
            owner = None if keep else str(ProcessIdentity.of(os.getpid()))
            state = {"name": name, "backend": chosen, "number": self.number, "owner": owner}
            (self.directory / "lab.json").write_text(json.dumps(state, indent=2) + "\n")
        self._backend = BACKENDS[chosen](self)
        try:
            self._backend.make()
            self.keys.make(self.name)
        except BaseException:
            self.down()
            raise

    @classmethod
    def attach(cls, name: str = "demo", directory: Path | None = None) -> Lab:
        """Open a lab that exists, from its state on disk."""
        lab = cls.__new__(cls)
        lab._at(name, directory)
        state = _read_state(lab.directory)
        if state is None:
            raise LabError(f"there is no lab {name!r} here: python -m lab up 3 --name {name}")
        lab.number = state["number"]
        lab._backend = BACKENDS[state["backend"]](lab)
        return lab

    def _at(self, name: str, directory: Path | None) -> None:
        self.name = name
        self.directory = (directory or labs_directory() / name).absolute()
        self._lock = threading.Lock()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def __getitem__(self, name: str) -> Host:
        if name not in self.hosts:
            raise LabError(f"lab {self.name} has no host {name!r}; it has: {', '.join(self.hosts) or 'none'}")
        return self.hosts[name]

    @property
    def backend(self) -> str:
        """ "namespaces" or "processes" """
        return self._backend.name

    @property
    def hosts(self) -> dict[str, Host]:
        found = sorted(path.parent.name for path in (self.directory / "hosts").glob("*/host.json"))
        return {name: self._backend.host(name) for name in found}

    @property
    def keys(self) -> LabKeys:
        return LabKeys(self.directory / "keys")

    @property
    def key_path(self) -> Path:
        """The private key that logs in to every host; see `Host.logins` for the accounts."""
        return self.keys.key_path

    # --- hosts ---------------------------------------------------------------------------------------------------

    def up(self, name: str, postgres: str = "15", **wishes: Unpack[HostWishes]) -> Host:
        """Make and boot a host, with a cluster unless `create=False`. `postgres` is a major version or the absolute
        prefix of any build; for the rest see HostOptions."""
        return self._make(self._reserve(name, postgres, HostOptions(**wishes)))

    def up_all(self, names: Sequence[str], postgres: str = "15", **wishes: Unpack[HostWishes]) -> list[Host]:
        """Several hosts alike, side by side; addresses in the order of the names."""
        reserved = [self._reserve(name, postgres, HostOptions(**wishes)) for name in names]
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._make, reserved))

    def _reserve(self, name: str, postgres: str, options: HostOptions) -> tuple[Host, Build, HostOptions]:
        """Give a name and an address to a host that is about to be made."""
        build = postgres_builds.find(postgres)
        layout = self._backend.layout(options.layout or self._backend.usual_layout)
        directory = self.directory / "hosts" / name
        places = self._backend.places(build, options, directory)
        with self._lock:
            if directory.exists():
                raise LabError(f"lab {self.name} has a host {name!r} already")
            used = {host.ip for host in self.hosts.values()}
            ip = next(ip for ip in self._backend.addresses() if ip not in used)
            ssh_port, pg_port = self._backend.ports(ip)
            record = HostRecord(
                name=name,
                ip=ip,
                ssh_port=options.ssh_port or ssh_port,
                pg_port=options.pg_port or pg_port,
                layout=layout.name,
                postgres_major=build.major,
                bin_directory=places.bin_directory,
                data_directory=places.data_directory,
                config_directory=places.config_directory,
                log_file=places.log_file,
                postgres_user=self._backend.postgres_user,
                host_key_fingerprint="",
                fsync=options.fsync,
            )
            directory.mkdir(parents=True)
            record.save(directory)
        return self._backend.host(name), build, options

    def _make(self, reserved: tuple[Host, Build, HostOptions]) -> Host:
        host, build, options = reserved
        try:
            prepared = self._backend.prepare(host, build, options)
            host.change_record(host_key_fingerprint=prepared.host_key_fingerprint, disk_image=prepared.disk_image)
            host.start()
            if options.password_login:
                host.run(["chpasswd"], input=f"ops:{self.keys.password}\n")
            if options.create:
                self._backend.layout(host.layout).create(host, self._backend.cluster_options(host, options))
                host.pg_start()
                self._make_registry_role(host)
        except BaseException:
            host.down()
            raise
        return host

    def _make_registry_role(self, host: Host) -> None:
        host.sql(
            f"""SET password_encryption = 'scram-sha-256'; SET log_statement = 'none';
            CREATE ROLE registry LOGIN PASSWORD '{self.keys.password}'; CREATE DATABASE registry OWNER registry;"""
        )

    def down(self) -> None:
        """Everything of this lab is gone: processes, network, disks."""
        background.end_all(self.background_directory)
        if subnets.taken().get(self.number) == self.directory:  # else the machine has booted since: it is another's
            for host in self.hosts.values():
                host.kill()
            self._backend.remove()
            subnets.give_back(self.number)
        shutil.rmtree(self.directory)

    # --- clients -------------------------------------------------------------------------------------------------

    @property
    def background_directory(self) -> Path:
        return self.directory / "background"

    def registry(self, host: Host, rows: int = 10_000) -> None:
        """Fill the host's database `registry` with that many domains."""
        make_registry(host, rows)

    def trickle(self, *hosts: Host, writes_per_second: float = 20) -> None:
        """A steady trickle of writes into the registry, on whichever of the hosts is the primary, until `down`."""
        arguments = [conninfo(hosts), str(writes_per_second)]
        name = f"trickle-{hosts[0].name}"
        background.start(self.background_directory, name, "lab.trickle", arguments, self.keys.pgpass_path)

    def writer(self, hosts: Sequence[Host], database: str = "registry", interval_ms: float = 2) -> Writer:
        """See lab/writer.py; not started yet."""
        return Writer(self, hosts, database, interval_ms)

    def source_page_pair(
        self, primary: str = "p1", standby: str = "p2", postgres: str = "11", registry_rows: int = 1000
    ) -> SourcePagePair:
        """Two hosts in replication as CoCCA's page says, by hand: see lab/source_page.py."""
        return build_pair(self, primary, standby, postgres, registry_rows)


def _choose_backend(wanted: str, disks: Path) -> str:
    if wanted not in ("auto", *BACKENDS):
        raise LabError(f"no backend {wanted!r}; there are: auto, {', '.join(BACKENDS)}")
    if wanted == Processes.name:
        return wanted
    refused = machine.namespaces_refused(disks)
    if wanted == "auto":
        return "namespaces" if refused is None else "processes"
    if wanted == "namespaces" and refused is not None:
        raise NotPossibleHere(f"no hosts made of namespaces here: {refused}")
    return wanted


def _read_state(directory: Path) -> dict[str, Any] | None:
    path = directory / "lab.json"
    return {"owner": None} | json.loads(path.read_text()) if path.exists() else None


def _clear_the_way(directory: Path) -> None:
    """Take away a lab that was here and is in use by nobody; refuse to touch anything else."""
    state = _read_state(directory)
    if state is None:
        if directory.exists() and any(directory.iterdir()):
            raise LabError(f"{directory} is not empty and holds no lab")
        return
    before = Lab.attach(state["name"], directory)
    if state["owner"] is not None and ProcessIdentity.parse(state["owner"]).is_alive():
        raise LabError(f"lab {state['name']!r} is in use by process {state['owner'].split()[0]}")
    if state["owner"] is None and any(host.is_up() for host in before.hosts.values()):
        raise LabError(f"lab {state['name']!r} is up: Lab.attach it, or `python -m lab down --name {state['name']}`")
    before.down()


def _sweep_orphans() -> None:
    """Labs of this machine whose process died without `down`, and numbers whose lab was deleted by hand."""
    for number, directory in subnets.taken().items():
        state = _read_state(directory)
        if state is None or state["number"] != number:
            Namespaces.remove_leftovers(number)
            subnets.give_back(number)
        elif state["owner"] is not None and not ProcessIdentity.parse(state["owner"]).is_alive():
            Lab.attach(state["name"], directory).down()
