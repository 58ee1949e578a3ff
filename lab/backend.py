"""What a backend has to provide, so that a Lab need not know what its hosts are made of."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from lab.host import Host
from lab.layouts import ClusterOptions, Layout, Places
from lab.postgres_builds import Build

if TYPE_CHECKING:
    from lab.lab import Lab


class HostWishes(TypedDict, total=False):
    """HostOptions, as keywords of `Lab.up`."""

    layout: str | None
    ssh_port: int | None
    pg_port: int | None
    data_directory: str | None
    disk_mb: int | None
    create: bool
    autostart: bool
    password_login: bool
    checksums: bool
    fsync: bool


@dataclass(frozen=True)
class HostOptions:
    """What a host is to be like. None means: as is usual with the backend.

    With the processes backend the layout is always "custom" and the usual ports are high ones of the host's own.
    """

    #: "debian" (usual), "cocca" or "custom"
    layout: str | None = None
    #: 22
    ssh_port: int | None = None
    #: 5432
    pg_port: int | None = None
    #: another than the layout's; spaces are allowed
    data_directory: str | None = None
    #: a disk of its own, which can be filled; else it shares the machine's
    disk_mb: int | None = None
    #: False leaves the host bare: PostgreSQL's programs are there, no cluster
    create: bool = True
    #: whether PostgreSQL starts when the host boots
    autostart: bool = True
    #: whether `ops` may also log in by password (Lab.keys.password)
    password_login: bool = False
    #: initdb --data-checksums; else as the version does by default (on from 18)
    checksums: bool = False
    #: off by default, for PostgreSQL and for the host's whole disk: a host that is killed keeps what was written
    fsync: bool = False


@dataclass(frozen=True)
class Prepared:
    """What is known of a host once its disk is made."""

    host_key_fingerprint: str
    disk_image: str | None = None


class Backend(abc.ABC):
    name: str
    usual_layout: str

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @abc.abstractmethod
    def make(self) -> None:
        """The lab's network, after removing what an earlier life under this number may have left."""

    @abc.abstractmethod
    def remove(self) -> None: ...

    @abc.abstractmethod
    def addresses(self) -> Sequence[str]:
        """All the addresses that hosts can have, in the order in which they are given out."""

    @abc.abstractmethod
    def ports(self, ip: str) -> tuple[int, int]:
        """The usual ports of sshd and of PostgreSQL on a host with this address."""

    @abc.abstractmethod
    def layout(self, name: str) -> Layout:
        """Raises NotPossibleHere for one that this backend cannot lay out."""

    @abc.abstractmethod
    def places(self, build: Build, options: HostOptions, directory: Path) -> Places: ...

    @property
    @abc.abstractmethod
    def postgres_user(self) -> str: ...

    @abc.abstractmethod
    def host(self, name: str) -> Host: ...

    @abc.abstractmethod
    def prepare(self, host: Host, build: Build, options: HostOptions) -> Prepared:
        """Everything that a host needs before its first boot."""

    @abc.abstractmethod
    def cluster_options(self, host: Host, options: HostOptions) -> ClusterOptions: ...
