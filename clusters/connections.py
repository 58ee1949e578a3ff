"""Pure: connection strings to paste into applications, naming every node and asking for the one that can be written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clusters.models import Node


@dataclass(frozen=True)
class ConnectionString:
    kind: str
    text: str


def strings(nodes: Sequence[Node], primary: Node | None, database: str = "mydb", user: str = "myuser") -> list[ConnectionString]:
    """libpq (10 and later), JDBC and psycopg, the primary first so that the first try is the right one."""
    ordered = sorted(nodes, key=lambda node: node is not primary and node != primary)
    if not ordered:
        return []
    hosts = ",".join(node.node_address for node in ordered)
    ports = ",".join(str(node.postgres_port) for node in ordered)
    pairs = ",".join(f"{_bracketed(node.node_address)}:{node.postgres_port}" for node in ordered)
    return [
        ConnectionString("libpq", f"host={hosts} port={ports} dbname={database} user={user} target_session_attrs=read-write"),
        ConnectionString("libpq URI", f"postgresql://{user}@{pairs}/{database}?target_session_attrs=read-write"),
        ConnectionString("JDBC", f"jdbc:postgresql://{pairs}/{database}?user={user}&targetServerType=primary"),
        ConnectionString(
            "psycopg",
            f'psycopg.connect(host="{hosts}", port="{ports}", dbname="{database}", user="{user}", '
            'target_session_attrs="read-write")',
        ),
    ]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
