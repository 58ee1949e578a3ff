"""What a load balancer or a script asks of a node: may I send writes there, reads, how far is it behind? Pure, of the last look.

An answer is as old as the look behind it, and says how old; a look that is too old, or failed, is no yes. The words and status
codes are those that people know from Patroni's REST API. None of this is the data path: docs/haproxy.md says what is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FRESH_SECONDS, FRESH_INTERVALS = 6.0, 6
SYNCHRONOUS = ("sync", "quorum")


@dataclass(frozen=True)
class Looked:
    """A node as it was last seen. lag_bytes: replay behind the primary; None: not known."""

    name: str
    address: str
    port: int
    role: str
    is_writable: bool
    is_the_primary: bool
    is_reachable: bool
    is_quarantined: bool
    seen_at: datetime | None
    interval_seconds: float
    timeline: int = 0
    state: str = ""
    sync_state: str = ""
    lag_bytes: int | None = None

    @property
    def place(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Said:
    """is_yes: 200, else 503. why: one line, for people and logs. age_seconds: of the look; None: never seen."""

    is_yes: bool
    why: str
    age_seconds: float | None


Ask = Callable[[Looked, int | None], str]
"""Why not, or "". The number: the most bytes that it may be behind."""


def _primary(node: Looked, _most_bytes: int | None) -> str:
    if node.role != "primary":
        return f"it is no primary: {node.role}"
    if node.is_quarantined:
        return "it is under quarantine: another was promoted in its place"
    if not node.is_the_primary:
        return "another node is the primary, on a newer timeline"
    return "" if node.is_writable else "it does not take writes"


def _replica(node: Looked, most_bytes: int | None) -> str:
    if node.role != "standby":
        return f"it is no standby: {node.role}"
    if most_bytes is None:
        return ""
    if node.lag_bytes is None:
        return "how far it is behind is not known"
    return "" if node.lag_bytes <= most_bytes else f"it is {node.lag_bytes} bytes behind"


def _read_only(node: Looked, most_bytes: int | None) -> str:
    return _primary(node, None) and _replica(node, most_bytes)


def _synchronous(node: Looked, most_bytes: int | None) -> str:
    return _replica(node, most_bytes) or ("" if node.sync_state in SYNCHRONOUS else "it is no synchronous standby")


def _asynchronous(node: Looked, most_bytes: int | None) -> str:
    return _replica(node, most_bytes) or ("it is a synchronous standby" if node.sync_state in SYNCHRONOUS else "")


PROBES: Mapping[str, tuple[str, Ask]] = {
    "primary": ("It takes writes and is the only one", _primary),
    "read-write": ("The same as /primary", _primary),
    "replica": ("It is a standby; with `lag`, at most so far behind", _replica),
    "read-only": ("It answers reads: the primary, or a standby as /replica has it", _read_only),
    "synchronous": ("It is a synchronous standby", _synchronous),
    "asynchronous": ("It is a standby, and no synchronous one", _asynchronous),
    "health": ("PostgreSQL answers, whatever its role", lambda _node, _most_bytes: ""),
}
"""By the last word of the path: what a yes means, and who says why not."""


def said_of(node: Looked, probe: str, now: datetime, most_bytes: int | None = None) -> Said:
    age = max(0.0, (now - node.seen_at).total_seconds()) if node.seen_at else None
    why_not = _unseen(node, age) or PROBES[probe][1](node, most_bytes)
    return Said(not why_not, f"{node.name}: {why_not or f'{node.role}, {node.state or probe}'}", age)


def _unseen(node: Looked, age: float | None) -> str:
    if age is None:
        return "never seen"
    if not node.is_reachable:
        return "it did not answer the last look"
    limit = max(FRESH_SECONDS, FRESH_INTERVALS * node.interval_seconds)
    return f"last seen {age:.1f} s ago, and older than {limit:g} s counts for nothing" if age > limit else ""


def those(nodes: Iterable[Looked], probe: str, now: datetime, most_bytes: int | None = None) -> tuple[list[Looked], list[Said]]:
    """The nodes that say yes, and what each of all said."""
    asked = [(node, said_of(node, probe, now, most_bytes)) for node in nodes]
    return [node for node, said in asked if said.is_yes], [said for _node, said in asked]


def looked(node: Any, interval_seconds: float, quarantined: bool) -> Looked:
    """Of the rows `Node` and `NodeState`."""
    state = getattr(node, "state", None)
    sample = state.sample if state else {}
    lag = sample.get("replay_bytes")
    return Looked(
        name=node.name, address=node.node_address, port=node.postgres_port, role=state.role if state else "unknown",
        is_writable=bool(state and state.is_writable), is_the_primary=bool(sample.get("is_the_primary")),
        is_reachable=bool(state and state.is_reachable), is_quarantined=quarantined, seen_at=state.seen_at if state else None,
        interval_seconds=interval_seconds, timeline=state.timeline if state else 0, state=str(sample.get("state") or ""),
        sync_state=str(sample.get("sync_state") or ""), lag_bytes=int(lag) if lag is not None else None,
    )  # fmt: skip
