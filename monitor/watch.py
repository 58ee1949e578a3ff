"""What is remembered of one cluster while it is watched, and the verdict of each round: pure, its owner brings sights and clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.forecast import Forecast, Left
from monitor.history import History, Position
from monitor.lag import Lag, StandbyLook, lag_of
from monitor.probe import Server
from monitor.sight import Condition, Sight, Unseen
from remote.access import Access
from remote.facts import WalSender

if TYPE_CHECKING:
    from monitor.host_look import HostSight

LOOKS_KEPT = 64
SSH_SECONDS = 3.0
"""Through SSH a node is looked at no more often than this."""


@dataclass(frozen=True)
class NodeTarget:
    """A node to watch, as the database describes it. A changed one is watched anew."""

    node_id: int
    name: str
    server: Server
    access: Access
    ssh_host: str
    data_directory: str
    bin_directory: str
    owner: str
    major: str
    is_quarantined: bool = False
    config_directory: str = ""


@dataclass
class Past:
    """What is known of a cluster from before: who was primary, its positions, the nodes' last looks."""

    primary_id: int | None = None
    timeline: int = 0
    positions: list[Position] = field(default_factory=list)
    sights: dict[int, Sight] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterTarget:
    """changes: rises when something happened to the cluster (a job, an edit): what was given up is tried again at once."""

    cluster_id: int
    name: str
    interval_seconds: float
    nodes: tuple[NodeTarget, ...]
    changes: int = 0
    past: Past | None = field(default=None, compare=False, repr=False)


@dataclass
class NodeMemory:
    """sight: the last look that succeeded; unseen: why the newest one did not (None: it did)."""

    target: NodeTarget
    sight: Sight | None = None
    unseen: Unseen | None = None
    tried_at: float = 0.0
    looks: deque[StandbyLook] = field(default_factory=lambda: deque(maxlen=LOOKS_KEPT))
    archiver: Any = None
    condition: Condition | None = None

    @property
    def interval_seconds(self) -> float:
        return SSH_SECONDS if self.sight and self.sight.way == "ssh" else 0.0

    def take(self, answer: Sight | Unseen) -> None:
        self.tried_at = answer.at
        if isinstance(answer, Unseen):
            self.unseen = answer
            return
        if self.sight and self.sight.role != answer.role:
            self.looks.clear()
        self.sight, self.unseen = answer, None
        self.archiver = answer.archiver or self.archiver
        self.condition = answer.condition or self.condition

    def is_fresh(self, now: float, interval_seconds: float) -> bool:
        return self.sight is not None and now - self.sight.at <= max(3.0, 3 * max(interval_seconds, self.interval_seconds))


@dataclass(frozen=True)
class NodeReport:
    """One node in one round. upstream: the name of the node that it follows ("" = none, or none of ours).

    From `host` on: what `monitor.conditions` adds, which knows the host and what was seen over time.
    """

    node_id: int
    name: str
    tried_at: float
    sight: Sight | None
    unseen: Unseen | None
    is_fresh: bool
    is_the_primary: bool
    lag: Lag | None
    sender: WalSender | None
    upstream: str
    wal_bytes_per_second: float | None = None
    archiver: Any = None
    condition: Condition | None = None
    is_quarantined: bool = False
    host: HostSight | None = None
    drifted: tuple[str, ...] = ()
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)
    left: Left | None = None

    @property
    def role(self) -> str:
        return self.sight.role if self.sight else "unknown"

    @property
    def state(self) -> str:
        """The word for it: a lag state, "primary", "unreachable" (a primary that is not seen), "unknown"."""
        if self.is_the_primary:
            return "primary" if self.is_fresh else "unreachable"
        if self.lag is not None:
            return self.lag.state
        return self.role if self.is_fresh else "unknown"


@dataclass(frozen=True)
class ClusterReport:
    cluster_id: int
    name: str
    at: float
    nodes: tuple[NodeReport, ...]

    @property
    def links(self) -> tuple[tuple[str, ...], ...]:
        """What a drawing shows besides numbers: when it changes, pages draw anew."""
        return tuple(
            (node.name, node.role, node.state, node.upstream, node.sender.sync_state if node.sender else "",
             str(node.sight.timeline if node.sight else 0), str(node.unseen is None), str(node.sight is not None))
            for node in self.nodes
        )  # fmt: skip


class ClusterMemory:
    def __init__(self, target: ClusterTarget) -> None:
        self.target = target
        self.history = History()
        self.nodes: dict[int, NodeMemory] = {}
        self.primary_id: int | None = None
        self.retarget(target)
        if target.past is not None:
            self._recall(target.past)

    def retarget(self, target: ClusterTarget) -> None:
        """Nodes added, removed or changed; what is known of the others stays."""
        self.target = target
        kept = {node_id: memory for node_id, memory in self.nodes.items() if memory.target in target.nodes}
        self.nodes = {node.node_id: kept.get(node.node_id) or NodeMemory(node) for node in target.nodes}

    def _recall(self, past: Past) -> None:
        self.primary_id = past.primary_id
        for position in past.positions:
            self.history.add(position)
        for node_id, sight in past.sights.items():
            if node_id in self.nodes:
                self.nodes[node_id].sight = sight
                self.nodes[node_id].tried_at = sight.at

    def take(self, node_id: int, answer: Sight | Unseen) -> None:
        if memory := self.nodes.get(node_id):
            memory.take(answer)

    def report(self, now: float) -> ClusterReport:
        """The verdict on every node with what is known now."""
        self._remember_primary(now)
        primary = self.nodes.get(self.primary_id) if self.primary_id is not None else None
        for memory in self.nodes.values():
            if memory is not primary:
                self._remember_standby(memory, primary, now)
        return ClusterReport(
            self.target.cluster_id, self.target.name, now, tuple(self._node(memory, primary, now) for memory in self.nodes.values())
        )

    def _remember_primary(self, now: float) -> None:
        """Of several that call themselves primary, the one on the newest timeline; a primary not seen any more stays remembered."""
        fresh = [m for m in self.nodes.values() if m.sight and m.sight.role == "primary" and self._is_fresh(m, now)]
        chosen = max(fresh, key=lambda m: (m.sight.timeline if m.sight else 0, m.target.node_id == self.primary_id), default=None)
        if chosen is None or chosen.sight is None:
            known = self.nodes.get(self.primary_id) if self.primary_id is not None else None
            if known is not None and known.sight and known.sight.role != "primary":
                self.primary_id = None
            return
        self.primary_id = chosen.target.node_id
        if chosen.sight.current_lsn:
            self.history.add(Position(chosen.sight.at, chosen.sight.current_lsn, chosen.sight.timeline))

    def _remember_standby(self, memory: NodeMemory, primary: NodeMemory | None, now: float) -> None:
        sight = memory.sight
        newest = memory.looks[-1] if memory.looks else None
        if sight and sight.role == "standby" and (newest is None or sight.at > newest.at):
            memory.looks.append(_look_of(sight, self._sender(memory, primary), self._sees_senders(primary, now)))
        elif primary and primary.sight and not self._is_fresh(memory, now):
            # the panel does not see it, but what the primary says of it still moves
            sender = self._sender(memory, primary)
            if sender and newest and sender.flush_lsn > (newest.flush_lsn or 0) and primary.sight.at > newest.at:
                memory.looks.append(_look_of_sender(sender, primary.sight, newest))

    def _node(self, memory: NodeMemory, primary: NodeMemory | None, now: float) -> NodeReport:
        is_primary = memory is primary
        sender = None if is_primary else self._sender(memory, self._upstream(memory) or primary)
        lag = None
        if not is_primary and (memory.looks or memory.sight is None or memory.sight.role != "primary"):
            lag = lag_of(
                self.history, memory.looks, now, interval_seconds=max(self.target.interval_seconds, memory.interval_seconds),
                measured_seconds=sender.replay_lag_seconds if sender else None,
            )  # fmt: skip
        upstream = None if is_primary else self._upstream(memory)
        return NodeReport(
            node_id=memory.target.node_id, name=memory.target.name,
            tried_at=memory.tried_at, sight=memory.sight, unseen=memory.unseen,
            is_fresh=self._is_fresh(memory, now), is_the_primary=is_primary, lag=lag, sender=sender,
            upstream=upstream.target.name if upstream else "",
            wal_bytes_per_second=self._wal_rate(now) if is_primary else None, archiver=memory.archiver,
            condition=memory.condition, is_quarantined=memory.target.is_quarantined,
        )  # fmt: skip

    def _is_fresh(self, memory: NodeMemory, now: float) -> bool:
        return memory.is_fresh(now, self.target.interval_seconds)

    def _sees_senders(self, primary: NodeMemory | None, now: float) -> bool:
        return primary is not None and primary.sight is not None and self._is_fresh(primary, now)

    def _sender(self, memory: NodeMemory, upstream: NodeMemory | None) -> WalSender | None:
        """Its row in the upstream's pg_stat_replication: by its own name, else by its address."""
        if upstream is None or upstream.sight is None:
            return None
        names = {memory.target.name, memory.target.name.replace("-", "_")}
        addresses = {memory.target.server.address, memory.target.ssh_host}
        by_name = (row for row in upstream.sight.senders if row.application_name in names)
        by_address = (row for row in upstream.sight.senders if row.client_address in addresses)
        return next(by_name, None) or next(by_address, None)

    def _upstream(self, memory: NodeMemory) -> NodeMemory | None:
        """Whom it follows: by what its receiver says, else by who has it among its senders."""
        sight = memory.sight
        if sight is None or sight.role != "standby":
            return None
        others = [other for other in self.nodes.values() if other is not memory]
        if sight.receiver and sight.receiver.follows:
            return next((other for other in others if _is_at(other.target, sight.receiver.follows)), None)
        return next((other for other in others if self._sender(memory, other)), None)

    def _wal_rate(self, now: float, seconds: float = 10.0) -> float | None:
        newest, before = self.history.last, self.history.lsn_at(now - seconds)
        return max(0, newest.lsn - before) / seconds if newest and before is not None else None


def _is_at(target: NodeTarget, place: str) -> bool:
    return place in (f"{target.server.address}:{target.server.port}", f"{target.ssh_host}:{target.server.port}")


def _look_of(sight: Sight, sender: WalSender | None, sees_senders: bool) -> StandbyLook:
    receiver = sight.receiver
    if sight.knows_receiver:
        is_receiving: bool | None = receiver is not None and receiver.status == "streaming"
    else:
        is_receiving = sender is not None if sees_senders else None
    written = receiver.written_lsn if receiver else 0
    return StandbyLook(
        at=sight.at, timeline=sight.timeline,
        write_lsn=max(written, sight.receive_lsn, sight.replay_lsn) or None,
        flush_lsn=max(sight.receive_lsn, sight.replay_lsn) or None,
        replay_lsn=sight.replay_lsn or None, is_receiving=is_receiving, is_paused=sight.is_replay_paused,
        heard_seconds=receiver.heard_seconds if receiver else None,
    )  # fmt: skip


def _look_of_sender(sender: WalSender, primary: Sight, newest: StandbyLook) -> StandbyLook:
    return StandbyLook(
        at=primary.at, timeline=newest.timeline, write_lsn=sender.write_lsn or None, flush_lsn=sender.flush_lsn or None,
        replay_lsn=sender.replay_lsn or None, is_receiving=sender.state == "streaming", is_paused=newest.is_paused,
    )  # fmt: skip
