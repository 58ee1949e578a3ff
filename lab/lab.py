"""A lab: some hosts on a network of their own, their state in one directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import background, layouts, machine, postgres_builds, subnets
from lab.errors import LabError
from lab.host import Host, HostRecord
from lab.host_disk import HostDisk
from lab.keys import LabKeys
from lab.namespaces import NamespaceHost
from lab.process_identity import ProcessIdentity, parse_identity
from lab.registry import make_registry
from lab.source_page import SourcePagePair, build_pair
from lab.switch import Switch
from lab.writer import Writer, conninfo

REPOSITORY = Path(__file__).resolve().parent.parent


def labs_directory() -> Path:
    return Path(os.environ.get("PGPANEL_LAB_DIRECTORY") or REPOSITORY / ".lab")


class Lab:
    """Makes a new lab. It belongs to the process that makes it: when that dies without `down`, the next lab of this
    machine takes the orphan away. `keep=True` makes one that stays (the command line's); `Lab.attach` opens it again.
    """

    def __init__(self, name: str = "demo", backend: str = "auto", directory: Path | None = None, *, keep: bool = False) -> None:
        self.name = name
        self.directory = (directory or labs_directory() / name).absolute()
        self._lock = threading.Lock()
        self._clear_the_way()
        self.backend = _choose_backend(backend)
        self.directory.mkdir(parents=True, mode=0o755)
        if not keep:
            (self.directory / "owner").write_text(str(ProcessIdentity.of(os.getpid())))
        self.number = subnets.take(self.directory)
        self._save()
        if self.backend == "namespaces":
            self.switch.remove()  # what a lab of an earlier life, under this number, may have left
            self.switch.make()
        self.keys.make(self.name)

    @classmethod
    def attach(cls, name: str = "demo", directory: Path | None = None) -> Lab:
        """Open a lab that exists, from its state on disk."""
        lab = cls.__new__(cls)
        lab.name = name
        lab.directory = (directory or labs_directory() / name).absolute()
        lab._lock = threading.Lock()
        try:
            state = json.loads((lab.directory / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab {name!r}: python -m lab up 3 --name {name}") from None
        lab.backend, lab.number = state["backend"], state["number"]
        return lab

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def __getitem__(self, name: str) -> Host:
        try:
            return self.hosts[name]
        except KeyError:
            raise LabError(f"lab {self.name} has no host {name!r}; it has: {', '.join(self.hosts) or 'none'}") from None

    @property
    def hosts(self) -> dict[str, Host]:
        found = sorted((self.directory / "hosts").glob("*/host.json"))
        return {path.parent.name: NamespaceHost(self, HostRecord.load(path.parent)) for path in found}

    @property
    def switch(self) -> Switch:
        return Switch(self.number)

    @property
    def keys(self) -> LabKeys:
        return LabKeys(self.directory / "keys")

    @property
    def key_path(self) -> Path:
        """The private key that logs in to every host as root, as postgres and as ops."""
        return self.keys.key_path

    # --- hosts ---------------------------------------------------------------------------------------------------

    def up(
        self,
        name: str,
        postgres: str = "15",
        *,
        layout: str = "debian",
        ssh_port: int = 22,
        pg_port: int = 5432,
        data_directory: str | None = None,
        disk_mb: int | None = None,
        create: bool = True,
        autostart: bool = True,
        password_login: bool = False,
        checksums: bool = False,
        fsync: bool = False,
    ) -> Host:
        """Make and boot a host. `create=False` leaves it bare: PostgreSQL's programs are there, no cluster."""
        build = postgres_builds.find(postgres)
        chosen = layouts.LAYOUTS[layout]
        places = chosen.places(build.major, data_directory)
        directory = self.directory / "hosts" / name
        with self._lock:
            if directory.exists():
                raise LabError(f"lab {self.name} has a host {name!r} already")
            ip = self._free_ip()
            directory.mkdir(parents=True)
            record = HostRecord(
                name=name,
                ip=ip,
                ssh_port=ssh_port,
                pg_port=pg_port,
                layout=layout,
                postgres_major=build.major,
                bin_directory=places.bin_directory,
                data_directory=places.data_directory,
                config_directory=places.config_directory,
                log_file=places.log_file,
                postgres_user="postgres",
                host_key_fingerprint="",
            )
            record.save(directory)
        host = NamespaceHost(self, record)
        disk = HostDisk(directory / "disk" / "upper")
        fingerprint = disk.prepare(name, ssh_port, password_login, self.keys)
        chosen.install(disk, build)
        (directory / "disk" / "work").mkdir()
        (directory / "root").mkdir()
        image = _disk_image(directory, disk_mb) if disk_mb else None
        host.change_record(host_key_fingerprint=fingerprint, disk_image=image)
        host.start()
        if password_login:
            host.run(["chpasswd"], input=f"ops:{self.keys.password}\n")
        if create:
            options = layouts.ClusterOptions(pg_port, str(self.switch.network), autostart, checksums, fsync)
            chosen.create(host, options)
            host.pg_start()
            self._make_registry_role(host)
        return host

    def up_all(self, names: Sequence[str], **options: object) -> list[Host]:
        """Several hosts alike, side by side."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda name: self.up(name, **options), names))  # type: ignore[arg-type]

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

    def down(self) -> None:
        """Everything of this lab is gone: processes, network, disks."""
        background.end_all(self.background_directory)
        for host in self.hosts.values():
            host.kill()
        if self.backend == "namespaces":
            self.switch.remove()
        subnets.give_back(self.number)
        shutil.rmtree(self.directory)

    # --- network -------------------------------------------------------------------------------------------------

    @property
    def _splits_path(self) -> Path:
        return self.directory / "splits.json"

    def _splits(self) -> list[tuple[str, str]]:
        return [tuple(pair) for pair in json.loads(self._splits_path.read_text())] if self._splits_path.exists() else []

    def split(self, ip: str, other_ip: str) -> None:
        self._set_splits([*self._splits(), (ip, other_ip)])

    def unsplit(self, ip: str) -> None:
        self._set_splits([pair for pair in self._splits() if ip not in pair])

    def _set_splits(self, pairs: list[tuple[str, str]]) -> None:
        self._splits_path.write_text(json.dumps(pairs))
        self.switch.set_splits(pairs)

    def _free_ip(self) -> str:
        used = {host.ip for host in self.hosts.values()}
        candidates = (str(self.switch.network[last]) for last in range(11, 255))
        return next(ip for ip in candidates if ip not in used)

    # --- making --------------------------------------------------------------------------------------------------

    def _clear_the_way(self) -> None:
        """A lab of this name that nobody owns any more is taken down; one that is in use is left alone."""
        if not (self.directory / "lab.json").exists():
            if self.directory.exists():
                shutil.rmtree(self.directory)
            return
        before = Lab.attach(self.name, self.directory)
        owner = parse_identity(before.directory / "owner")
        if owner is None and any(host.is_up() for host in before.hosts.values()):
            raise LabError(f"lab {self.name!r} is up: use Lab.attach, or `python -m lab down --name {self.name}`")
        if owner is not None and owner.is_alive():
            raise LabError(f"lab {self.name!r} belongs to process {owner.pid}, which is running")
        before.down()

    def _save(self) -> None:
        state = {"name": self.name, "backend": self.backend, "number": self.number}
        (self.directory / "lab.json").write_text(json.dumps(state, indent=2) + "\n")

    def _make_registry_role(self, host: Host) -> None:
        host.sql(
            f"""SET password_encryption = 'scram-sha-256'; SET log_statement = 'none';
            CREATE ROLE registry LOGIN PASSWORD '{self.keys.password}'; CREATE DATABASE registry OWNER registry;"""
        )


def _choose_backend(wanted: str) -> str:
    refused = machine.namespaces_refused()
    if wanted == "auto":
        return "namespaces" if refused is None else "processes"
    if wanted == "namespaces" and refused is not None:
        raise LabError(f"no namespaces here: {refused}")
    return wanted


def _disk_image(directory: Path, disk_mb: int) -> str:
    """An ext4 of the host's own, holding what was prepared: it can run full while the machine's does not."""
    image, seed = directory / "disk.img", directory / "seed"
    (directory / "disk").rename(seed)
    (directory / "disk").mkdir()
    options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(seed)]
    subprocess.run([machine.program("mkfs.ext4"), *options, str(image), f"{disk_mb}M"], check=True)
    shutil.rmtree(seed)
    return str(image)
