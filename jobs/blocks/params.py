"""Parameters of the kinds that make standbys: frozen, from plain JSON, refused with field and mend."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from jobs.recipe import ParamsError
from remote import layouts

Method = Literal["auto", "pg_basebackup", "rsync"]
Retention = Literal["auto", "slots", "segments"]

METHODS: tuple[Method, ...] = ("auto", "pg_basebackup", "rsync")
RETENTIONS: tuple[Retention, ...] = ("auto", "slots", "segments")
_ROLE = re.compile(r"[a-z_][a-z0-9_$]{0,62}")


@dataclass(frozen=True)
class SetupParams:
    """What the settings page asks for `setup` and `add_standby`.

    standbys: the nodes to be made standbys; other nodes of the cluster that already follow the primary get what is symmetric.
    link_megabits: of the slowest link between the nodes, 0 = a local network; decides the method where `method` is "auto".
    verify: check the copy against its manifest (13 and newer).
    trust: no password for the replication role, only the nodes' addresses.
    panel_addresses: from where the panel watches over TCP ("" = it only comes by SSH).
    retention: what keeps WAL for a standby that is away: "auto" is slots with a limit from 13, keep segments before.
    keep_megabytes: that limit, or what the segments may take; 0 = a share of the disk (see `configuration.keep_megabytes`).
    archive_hold_megabytes: how much WAL waits on the primary for a standby that does not answer.
    rewind_ready: wal_log_hints where there are no checksums; costs a restart of the primary.
    replace_archive_command: an archive_command that is not the panel's is replaced; otherwise it stays and nothing is pushed.
    tablespaces: location on the primary → location on the standbys.
    start_guard: before PostgreSQL starts, each node asks the others whether they have gone on without it (docs/decisions/0008).
    """

    primary: str
    standbys: tuple[str, ...]
    method: Method = "auto"
    link_megabits: int = 0
    verify: bool = True
    replication_role: str = "pgpanel_replication"
    monitoring_role: str = "pgpanel_monitor"
    trust: bool = False
    panel_addresses: tuple[str, ...] = ()
    retention: Retention = "auto"
    keep_megabytes: int = 0
    archive: bool = True
    archive_hold_megabytes: int = 1024
    rewind_ready: bool = True
    replace_archive_command: bool = False
    replace_empty_cluster: bool = True
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    start_guard: bool = True


@dataclass(frozen=True)
class BaseBackupParams:
    """What the settings page asks for `base_backup`.

    directory: "" = re-seed that node's data directory as a standby; else where a standalone copy is put (must be empty or missing).
    """

    source: str
    target: str
    directory: str = ""
    method: Method = "auto"
    link_megabits: int = 0
    verify: bool = True
    replication_role: str = "pgpanel_replication"
    tablespaces: Mapping[str, str] = field(default_factory=dict)


class Reader:
    """Takes fields out of plain JSON one by one; what is left over at the end is an unknown field."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.left = dict(data)

    def text(self, name: str, default: str = "") -> str:
        value = self.left.pop(name, default)
        if not isinstance(value, str) or any(character in value for character in "\n\r\0"):
            raise ParamsError(name, "is not a line of text")
        return value.strip()

    def required(self, name: str) -> str:
        return self.text(name) or _missing(name)

    def names(self, name: str) -> tuple[str, ...]:
        value = self.left.pop(name, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ParamsError(name, "is not a list of names")
        return tuple(item.strip() for item in value if item.strip())

    def whole(self, name: str, default: int, smallest: int = 0) -> int:
        value = self.left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ParamsError(name, f"is not a whole number from {smallest} up")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.left.pop(name, default)
        if not isinstance(value, bool):
            raise ParamsError(name, "is neither yes nor no")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, choices[0])
        if value not in choices:
            raise ParamsError(name, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def role(self, name: str, default: str) -> str:
        value = self.text(name, default) or default
        if not _ROLE.fullmatch(value):
            raise ParamsError(name, f"{value!r} cannot be a role's name", "small letters, digits and underscores, at most 63")
        return value

    def paths(self, name: str) -> dict[str, str]:
        value = self.left.pop(name, {})
        if not isinstance(value, Mapping):
            raise ParamsError(name, "is not a table of directories")
        found = {str(old).rstrip("/"): str(new).rstrip("/") for old, new in value.items()}
        for path in (*found, *found.values()):
            absolute(name, path)
        return found

    def end(self) -> None:
        for name in self.left:
            raise ParamsError(name, "is unknown to this kind")


def absolute(name: str, path: str) -> str:
    if not path.startswith("/") or "/../" in f"{path}/" or any(character in path for character in "\n\r\0'="):
        raise ParamsError(name, f"{path!r} is not an absolute directory", "begin with / and use neither ' nor =")
    if any(character in path for character in layouts.UNQUOTED):
        mend = 'use none of " $ ` and \\'
        raise ParamsError(name, f"{path!r} holds what PostgreSQL's own tools pass to a shell in double quotes", mend)
    return path.rstrip("/")


def _missing(name: str) -> str:
    raise ParamsError(name, "is missing")


def setup_params(data: Mapping[str, Any]) -> SetupParams:
    read = Reader(data)
    params = SetupParams(
        primary=read.required("primary"),
        standbys=read.names("standbys"),
        method=cast(Method, read.choice("method", METHODS)),
        link_megabits=read.whole("link_megabits", 0),
        verify=read.flag("verify", True),
        replication_role=read.role("replication_role", SetupParams.replication_role),
        monitoring_role=read.role("monitoring_role", SetupParams.monitoring_role),
        trust=read.flag("trust", False),
        panel_addresses=tuple(_address(item) for item in read.names("panel_addresses")),
        retention=cast(Retention, read.choice("retention", RETENTIONS)),
        keep_megabytes=read.whole("keep_megabytes", 0),
        archive=read.flag("archive", True),
        archive_hold_megabytes=read.whole("archive_hold_megabytes", SetupParams.archive_hold_megabytes, 32),
        rewind_ready=read.flag("rewind_ready", True),
        replace_archive_command=read.flag("replace_archive_command", False),
        replace_empty_cluster=read.flag("replace_empty_cluster", True),
        tablespaces=read.paths("tablespaces"),
        start_guard=read.flag("start_guard", True),
    )
    read.end()
    if not params.standbys:
        raise ParamsError("standbys", "name at least one node")
    if len(set(params.standbys)) != len(params.standbys):
        raise ParamsError("standbys", "names a node twice")
    if params.primary in params.standbys:
        raise ParamsError("standbys", f"{params.primary} is the primary and cannot be its own standby")
    if params.replication_role == params.monitoring_role:
        raise ParamsError("monitoring_role", "must be another role than the replication role")
    return params


def base_backup_params(data: Mapping[str, Any]) -> BaseBackupParams:
    read = Reader(data)
    directory = read.text("directory")
    params = BaseBackupParams(
        source=read.required("source"),
        target=read.required("target"),
        directory=absolute("directory", directory) if directory else "",
        method=cast(Method, read.choice("method", METHODS)),
        link_megabits=read.whole("link_megabits", 0),
        verify=read.flag("verify", True),
        replication_role=read.role("replication_role", SetupParams.replication_role),
        tablespaces=read.paths("tablespaces"),
    )
    read.end()
    if params.source == params.target and not params.directory:
        raise ParamsError("target", "a node cannot be re-seeded from itself", "name a directory for a standalone copy")
    return params


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ParamsError("panel_addresses", f"{text!r} is not an IP address") from None
