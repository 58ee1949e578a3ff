"""Where PostgreSQL stands on a host and who starts it: one table, a row a layout, every value of which a node may override.

Templates know `{major}`, `{data_directory}`, `{bin_directory}`, `{config_directory}`, `{log_file}`, `{service}` and, for stopping,
`{mode}` (smart, fast, immediate). A command is a tuple of words, so a path with a space stays one word; as text it is quoted for
a shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from remote.facts import Facts, Postgres
from remote.visible import visible

OWNER = "postgres"


@dataclass(frozen=True)
class Paths:
    """What a node's layout says after its overrides. Commands are lines of shell words (`shlex.split` gives them back)."""

    bin_directory: str
    data_directory: str
    config_directory: str
    wal_archive_directory: str
    owner: str
    service: str
    start_command: str
    stop_command: str
    restart_command: str
    log_file: str

    @property
    def config_file(self) -> str:
        return f"{self.config_directory}/postgresql.conf"

    @property
    def hba_file(self) -> str:
        return f"{self.config_directory}/pg_hba.conf"


OVERRIDABLE = tuple(item.name for item in fields(Paths))


@dataclass(frozen=True)
class Layout:
    """One way to lay PostgreSQL out on a host.

    control_user: who runs start, stop and restart: "root", or "" for the owner.
    lingers: its start and restart go on waiting when the server has long been ready.
    at_boot: how the service is enabled at boot: "debian" (start.conf), "systemd", or "" (the layout has no way of its own).
    """

    name: str
    label: str
    bin_directory: str
    data_directory: str
    config_directory: str
    wal_archive_directory: str
    log_file: str
    service: str
    start: tuple[str, ...]
    stop: tuple[str, ...]
    restart: tuple[str, ...]
    control_user: str = "root"
    at_boot: Literal["debian", "systemd", ""] = ""
    needs_cluster_configuration: bool = False
    lingers: bool = False

    def paths(self, major: str, overrides: Mapping[str, str] | None = None) -> Paths:
        """Every path and command for that major. Overrides with an empty value do not count; unknown names are a KeyError."""
        given = {name: value for name, value in (overrides or {}).items() if value}
        for name in given:
            if name not in OVERRIDABLE:
                raise KeyError(f"{name} is nothing that a layout says: {', '.join(OVERRIDABLE)}")
        values = {"major": major, "mode": "{mode}"}
        for name in ("bin_directory", "data_directory", "config_directory", "wal_archive_directory", "log_file", "service"):
            values[name] = given.get(name) or getattr(self, name).format(**values)
        commands = {
            f"{verb}_command": given.get(f"{verb}_command") or command_line(word.format(**values) for word in getattr(self, verb))
            for verb in ("start", "stop", "restart")
        }
        del values["major"], values["mode"]
        return Paths(owner=given.get("owner", OWNER), **values, **commands)


DEBIAN = Layout(
    name="debian",
    label="Debian, Ubuntu (postgresql-common)",
    bin_directory="/usr/lib/postgresql/{major}/bin",
    data_directory="/var/lib/postgresql/{major}/main",
    config_directory="/etc/postgresql/{major}/main",
    wal_archive_directory="/var/lib/postgresql/{major}/wals",
    log_file="/var/log/postgresql/postgresql-{major}-main.log",
    service="postgresql@{major}-main",
    start=("pg_ctlcluster", "{major}", "main", "start"),
    stop=("pg_ctlcluster", "{major}", "main", "stop", "-m", "{mode}"),
    restart=("pg_ctlcluster", "{major}", "main", "restart", "-m", "{mode}"),
    at_boot="debian",
    needs_cluster_configuration=True,
    lingers=True,
)
RHEL = Layout(
    name="rhel",
    label="RHEL, Rocky, Alma (PGDG packages)",
    bin_directory="/usr/pgsql-{major}/bin",
    data_directory="/var/lib/pgsql/{major}/data",
    config_directory="{data_directory}",
    wal_archive_directory="/var/lib/pgsql/{major}/wals",
    log_file="/var/lib/pgsql/{major}/pgstartup.log",
    service="postgresql-{major}",
    start=("systemctl", "start", "{service}"),
    stop=("systemctl", "stop", "{service}"),
    restart=("systemctl", "restart", "{service}"),
    at_boot="systemd",
)
COCCA_8 = Layout(
    name="cocca",
    label="CoCCA 8 installer",
    bin_directory="/opt/cocca-8/postgresql/bin",
    data_directory="/opt/cocca-8/postgresql/data",
    config_directory="{data_directory}",
    wal_archive_directory="/opt/cocca-8/postgresql/wals",
    log_file="/opt/cocca-8/postgresql/postgresql.log",
    service="",
    start=("/opt/cocca-8/postgresql/scripts/ctl", "start"),
    stop=("/opt/cocca-8/postgresql/scripts/ctl", "stop"),
    restart=("/opt/cocca-8/postgresql/scripts/ctl", "restart"),
    control_user="",
)
CUSTOM = Layout(
    name="custom",
    label="Somewhere else (pg_ctl)",
    bin_directory="/usr/local/pgsql/bin",
    data_directory="/usr/local/pgsql/data",
    config_directory="{data_directory}",
    wal_archive_directory="{data_directory}.wals",
    log_file="{data_directory}.log",
    service="",
    start=("{bin_directory}/pg_ctl", "-D", "{data_directory}", "-l", "{log_file}", "-w", "start"),
    stop=("{bin_directory}/pg_ctl", "-D", "{data_directory}", "-m", "{mode}", "-w", "stop"),
    restart=("{bin_directory}/pg_ctl", "-D", "{data_directory}", "-l", "{log_file}", "-m", "{mode}", "-w", "restart"),
    control_user="",
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (DEBIAN, RHEL, COCCA_8, CUSTOM)}

_DEBIAN_LIKE = {"debian", "ubuntu", "raspbian", "linuxmint", "devuan"}
_RHEL_LIKE = {"rhel", "centos", "rocky", "almalinux", "ol", "fedora", "amzn"}


def command_line(words_of_it: Iterable[str]) -> str:
    """Words as a line that `words` takes apart again; the place for the stop mode stays readable."""
    return shlex.join(words_of_it).replace("'{mode}'", "{mode}")


def words(command: str, mode: str = "fast") -> tuple[str, ...]:
    """A service command's words, with the stop mode put in. ValueError for an unbalanced quote."""
    return tuple(word.replace("{mode}", mode) for word in shlex.split(command))


_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:\\-]{0,200}")
LONGEST = 500
UNQUOTED = '"$`\\'
"""pg_ctl and pg_verifybackup call other programs by a shell, with paths in double quotes: there these still mean something."""


def why_not(name: str, value: str) -> str:  # noqa: PLR0911 (a table)
    """What forbids this value of an override, whoever named it, a person or the host itself; "" where nothing does.

    These values become paths, accounts and words of commands, also on the other hosts of the cluster and in files that they read
    line by line.
    """
    if len(value) > LONGEST or visible(value) != value:
        return f"it is longer than {LONGEST} characters, or holds a line break or another control character"
    if name == "owner":
        if value == "root":
            return "PostgreSQL does not run as root"
        return "" if _ACCOUNT.fullmatch(value) else "it is not the name of an account"
    if name == "service":
        return "" if _UNIT.fullmatch(value) else "it is not the name of a service"
    if name.endswith("_command"):
        try:
            found = words(value)
        except ValueError as error:
            return f"it cannot be taken apart into words: {error}"
        return "" if found and not found[0].startswith("-") else "it begins with no program"
    if not value.startswith("/") or ".." in value.split("/"):
        return "it is not an absolute path"
    if any(character in value for character in UNQUOTED):
        return "it holds one of \" $ ` and \\, which PostgreSQL's own tools pass to a shell in double quotes"
    return "it is the root of all directories" if not value.strip("/") else ""


def control_user(layout: str, program: str) -> str:
    """Who runs a service command: "root", or "" for the owner. Service managers want root whatever the layout."""
    if program.rpartition("/")[2] in ("systemctl", "service", "rc-service", "pg_ctlcluster"):
        return "root"
    return LAYOUTS[layout].control_user if layout in LAYOUTS else ""


def detect(facts: Facts, postgres: Postgres | None) -> str:
    """The layout's name: by where the cluster and its binaries stand, else by the distribution and what is installed."""
    if postgres is not None:
        return _detect_cluster(postgres)
    installed = [installation.bin_directory for installation in facts.installations]
    for path in installed:
        if found := _layout_of_binaries(path):
            return found
    if facts.os_id in _DEBIAN_LIKE:
        return DEBIAN.name
    return RHEL.name if facts.os_id in _RHEL_LIKE else CUSTOM.name


def _detect_cluster(postgres: Postgres) -> str:
    if postgres.debian_cluster:
        return DEBIAN.name
    if postgres.data_directory.startswith("/opt/cocca-8/"):
        return COCCA_8.name
    found = _layout_of_binaries(postgres.bin_directory)
    if found == RHEL.name and postgres.data_directory.startswith("/var/lib/pgsql/"):
        return found
    return CUSTOM.name


def _layout_of_binaries(path: str) -> str:
    if path.startswith("/opt/cocca-8/"):
        return COCCA_8.name
    if path.startswith("/usr/pgsql-"):
        return RHEL.name
    return DEBIAN.name if path.startswith("/usr/lib/postgresql/") else ""


def overrides_of(layout: Layout, postgres: Postgres) -> dict[str, str]:
    """What a found cluster has otherwise than its layout would: ready to be a node's overrides."""
    usual = layout.paths(postgres.major)
    config_directory = postgres.config_file.rpartition("/")[0]
    seen = {
        "bin_directory": postgres.bin_directory,
        "data_directory": postgres.data_directory,
        "config_directory": config_directory,
        "owner": postgres.owner,
        "log_file": postgres.log_file,
    }
    if postgres.debian_cluster:
        seen |= _debian_own(postgres.debian_cluster)
    assumed = layout.paths(postgres.major, {"data_directory": postgres.data_directory})
    return {
        name: value
        for name, value in seen.items()
        if value and value not in (getattr(usual, name), getattr(assumed, name) if name == "config_directory" else "")
    }


def _debian_own(debian_cluster: str) -> dict[str, str]:
    """`15/registry` → what it has for itself; the cluster `main` has all as the layout says."""
    major, _, name = debian_cluster.partition("/")
    if name == "main":
        return {}
    places = {"service": f"postgresql@{major}-{name}", "wal_archive_directory": f"/var/lib/postgresql/{major}/{name}.wals"}
    return places | {
        f"{verb}_command": command_line({"main": name, "{major}": major}.get(word, word) for word in layout_words)
        for verb, layout_words in (("start", DEBIAN.start), ("stop", DEBIAN.stop), ("restart", DEBIAN.restart))
    }
