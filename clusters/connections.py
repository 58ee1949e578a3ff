"""Pure: connection strings to paste into applications, naming every node and asking for the kind of node that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clusters.models import Node

Session = Literal["read-write", "prefer-standby"]
"""As libpq's `target_session_attrs` has it; "prefer-standby" needs libpq 14."""
JDBC = {"read-write": "primary", "prefer-standby": "preferSecondary"}


@dataclass(frozen=True)
class ConnectionString:
    """form: the word by which programs ask for it; kind: as people read it."""

    form: str
    kind: str
    text: str


def strings(
    nodes: Sequence[Node], primary: Node | None, database: str = "mydb", user: str = "myuser", session: Session = "read-write"
) -> list[ConnectionString]:
    """libpq (10 and later), JDBC and psycopg, the primary first so that the first try is the right one."""
    ordered = sorted(nodes, key=lambda node: node is not primary and node != primary)
    if not ordered:
        return []
    hosts = ",".join(node.node_address for node in ordered)
    ports = ",".join(str(node.postgres_port) for node in ordered)
    pairs = ",".join(f"{_bracketed(node.node_address)}:{node.postgres_port}" for node in ordered)
    libpq = f"host={hosts} port={ports} dbname={database} user={user} target_session_attrs={session}"
    psycopg = f'host="{hosts}", port="{ports}", dbname="{database}", user="{user}", target_session_attrs="{session}"'
    return [
        ConnectionString("libpq", "libpq", libpq),
        ConnectionString("uri", "libpq URI", f"postgresql://{user}@{pairs}/{database}?target_session_attrs={session}"),
        ConnectionString("jdbc", "JDBC", f"jdbc:postgresql://{pairs}/{database}?user={user}&targetServerType={JDBC[session]}"),
        ConnectionString("psycopg", "psycopg", f"psycopg.connect({psycopg})"),
    ]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
