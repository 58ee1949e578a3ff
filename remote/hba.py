"""pg_hba.conf as text in, values out: its lines, which one decides for a connection, and what in it lets strangers in.

https://www.postgresql.org/docs/current/auth-pg-hba-conf.html — the FIRST line that matches decides, also when it refuses; so a
managed block stands at the beginning of the file (`config.with_block(…, at="start")`), where nothing can shadow it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from remote import config

HOST_TYPES = ("host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_WORD = re.compile(r'"((?:[^"]|"")*)"|(,)|([^\s,"#]+)')
_CLEAR_METHODS = frozenset({"password"})
_IP = re.compile(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True)
class Name:
    """One name of a database or user column; quoted ones lose their special meaning ("all", "replication", +group, /regex)."""

    text: str
    is_quoted: bool = False


@dataclass(frozen=True)
class HbaLine:
    """One rule. address: as written, its mask joined to it (`10.0.0.0/255.0.0.0`), "" for `local`; line counts from 1."""

    line: int
    kind: str
    databases: tuple[Name, ...]
    users: tuple[Name, ...]
    address: str
    method: str
    options: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        names = (",".join(name.text for name in column) for column in (self.databases, self.users))
        return "  ".join(part for part in (self.kind, *names, self.address, self.method, *self.options) if part)

    def covers(self, database: str, user: str, address: str, groups: Sequence[str] = ()) -> bool:
        """Whether a connection from that IP address is decided by this line. Host names and samehost count as not covering."""
        return (
            self.kind in HOST_TYPES
            and any(_is_database(name, database, user) for name in self.databases)
            and any(_is_user(name, user, groups) for name in self.users)
            and _is_address(self.address, address)
        )


def parse_hba(text: str) -> tuple[HbaLine, ...]:
    """Every rule in order; lines that PostgreSQL would refuse are left out (from 10 on, pg_hba_file_rules names them)."""
    return tuple(line for number, logical in _logical_lines(text) if (line := _rule(number, logical)))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined where one ends in a backslash (14+; before, such a line was refused)."""
    pending, first = "", 0
    for number, line in enumerate(config.lines_of(text), 1):
        first = first or number
        if line.endswith("\\"):
            pending += line[:-1]
            continue
        yield first, pending + line
        pending, first = "", 0
    if pending:
        yield first, pending


def _rule(number: int, text: str) -> HbaLine | None:
    columns = _columns(text)
    kind = columns[0][0].text if columns else ""
    if kind == "local" and len(columns) >= 4:
        return HbaLine(number, kind, columns[1], columns[2], "", columns[3][0].text, _options(columns[4:]))
    if kind not in HOST_TYPES or len(columns) < 5:
        return None
    address, rest = columns[3][0].text, columns[4:]
    if _IP.fullmatch(address) and _IP.fullmatch(rest[0][0].text) and len(rest) > 1:
        address, rest = f"{address}/{rest[0][0].text}", rest[1:]
    return HbaLine(number, kind, columns[1], columns[2], address, rest[0][0].text, _options(rest[1:]))


def _options(columns: Sequence[tuple[Name, ...]]) -> tuple[str, ...]:
    return tuple(",".join(name.text for name in column) for column in columns)


def _columns(text: str) -> list[tuple[Name, ...]]:
    """Columns are split by blanks; a column is names split by commas (a comma may have blanks after it)."""
    columns: list[list[Name]] = []
    position, joins = 0, False
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        found = _WORD.match(text, position)
        if not found:  # a comment, or an unbalanced quote
            break
        if found[2]:
            joins = True
        else:
            name = Name(found[1].replace('""', '"'), True) if found[1] is not None else Name(found[3])
            touches = position > 0 and not text[position - 1].isspace() and text[position - 1] != ","
            if columns and (joins or touches):
                columns[-1].append(name)
            else:
                columns.append([name])
            joins = False
        position = found.end()
    return [tuple(column) for column in columns]


def _is_database(name: Name, database: str, user: str) -> bool:
    """`all` does not match replication connections; they are asked for as the database "replication"."""
    if name.is_quoted:
        return database != "replication" and name.text == database
    if name.text == "all":
        return database != "replication"
    if name.text in ("sameuser", "samerole", "samegroup"):
        return database == user
    return _is_same(name.text, database)


def _is_user(name: Name, user: str, groups: Sequence[str]) -> bool:
    if name.is_quoted:
        return name.text == user
    if name.text.startswith("+"):
        return name.text[1:] in groups or name.text[1:] == user
    return name.text == "all" or _is_same(name.text, user)


def _is_same(pattern: str, value: str) -> bool:
    """A plain name, or a regular expression behind a slash (16+)."""
    if not pattern.startswith("/"):
        return pattern == value
    try:
        return re.search(pattern[1:], value) is not None
    except re.error:
        return False


def _is_address(pattern: str, address: str) -> bool:
    network = network_of(pattern)
    if network is None:
        return pattern in ("all", address)
    asked = ipaddress.ip_address(address)
    return asked.version == network.version and asked in network


def network_of(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network of an address column; None for `all`, a host name, samehost and samenet."""
    try:
        return ipaddress.ip_network(address, strict=False)
    except ValueError:
        return None


def first_match(text: str, database: str, user: str, address: str, groups: Sequence[str] = ()) -> HbaLine | None:
    """The line that decides over a TCP connection from `address`; None = PostgreSQL refuses it for want of one."""
    return next((line for line in parse_hba(text) if line.covers(database, user, address, groups)), None)


def shadowing_line(text: str, database: str, user: str, address: str) -> HbaLine | None:
    """The line outside the managed block that decides before it does; None when the block has its say (or there is none)."""
    block = config.block_of(text)
    decides = first_match(text, database, user, address)
    if not block or not decides or block.first_line <= decides.line <= block.last_line:
        return None
    return decides if decides.line < block.first_line else None


@dataclass(frozen=True)
class HbaDanger:
    """kind: "trust" (no password asked from elsewhere), "clear" (the password crosses the network readable), "wide" (replication
    from anywhere), "local-trust" (any account of the host may be any role)."""

    kind: str
    rule: HbaLine


def hba_dangers(text: str) -> tuple[HbaDanger, ...]:
    """What lets in more than meant, in the order of the file."""
    return tuple(HbaDanger(kind, line) for line in parse_hba(text) if (kind := _danger(line)))


def _danger(line: HbaLine) -> str:
    if line.method == "reject":
        return ""
    if line.kind == "local":
        return "local-trust" if line.method == "trust" else ""
    if line.method == "trust" and not _is_loopback(line.address):
        return "trust"
    if line.method in _CLEAR_METHODS and line.kind != "hostssl" and not _is_loopback(line.address):
        return "clear"
    network = network_of(line.address)
    takes_replication = any(name.text == "replication" and not name.is_quoted for name in line.databases)
    is_anywhere = line.address == "all" or (network is not None and network.prefixlen == 0)
    return "wide" if takes_replication and is_anywhere else ""


def _is_loopback(address: str) -> bool:
    network = network_of(address)
    return address in ("localhost", "samehost") or (network is not None and network.is_loopback)
