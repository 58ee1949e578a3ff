"""What a single look cannot say of a node: its host, read now and then, and what its slots have held over time.

`Conditions` completes the reports of the rounds before rules and books take them. Hosts are looked at by threads of its own; one
that does not answer delays nobody, and its last answer stays until it is too old to be believed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from monitor import host_look
from monitor.forecast import Forecast, Left, Room, SlotMemory, forecast, left_of
from monitor.host_look import Asked, HostSight
from monitor.sight import Unseen
from monitor.watch import ClusterReport, ClusterTarget, NodeReport, NodeTarget

logger = logging.getLogger(__name__)

OLD_LOOKS = 5
"""A host's answer is believed for so many times the interval."""
THREADS = 4
LOOKS_PER_SECOND = 2.0
"""A login costs either end some hundredths of a second of CPU: with more hosts than this allows, each is looked at less often."""
URGENT_SECONDS = 15.0
"""So often where a slot fills the disk."""


@dataclass
class Known:
    """Of one node. due_at: monotonic."""

    target: NodeTarget
    due_at: float
    is_under_way: bool = False
    sight: HostSight | None = None
    drifted: tuple[str, ...] = ()
    slots: dict[str, SlotMemory] = field(default_factory=dict)
    asked: Asked = field(default_factory=Asked)
    is_filling: bool = False


class Conditions:
    """drift: of a node and its host's answer, the files whose managed block is not as the last job left it."""

    def __init__(
        self,
        interval_seconds: float,
        drift: Callable[[NodeTarget, HostSight], tuple[str, ...]],
        look: Callable[[NodeTarget, Asked], HostSight | Unseen] = host_look.look,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._drift, self._look = drift, look
        self._known: dict[int, Known] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="monitor-hosts")
        self._thread = threading.Thread(target=self._run, name="monitor-hosts", daemon=True)

    # -- its life ------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Looks that are under way end by themselves: nobody waits for them."""
        self._ending.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def retarget(self, clusters: Sequence[ClusterTarget]) -> None:
        """New nodes are looked at soon, spread over the interval; after a change of the cluster (a job, say) at once."""
        now = time.monotonic()
        targets = [node for cluster in clusters for node in cluster.nodes]
        with self._lock:
            before, self._known = self._known, {}
            for place, target in enumerate(targets):
                known = before.get(target.node_id)
                if known is None or known.target != target:
                    known = Known(target, now + min(place / LOOKS_PER_SECOND, self.interval_seconds * place / len(targets)))
                self._known[target.node_id] = known

    def look_again(self, node_ids: Collection[int]) -> None:
        with self._lock:
            for node_id in node_ids:
                if known := self._known.get(node_id):
                    known.due_at = time.monotonic()

    def _run(self) -> None:
        while not self._ending.wait(1 / LOOKS_PER_SECOND):
            if (known := self._next()) is not None:
                self._pool.submit(self._look_at, known)

    def _next(self) -> Known | None:
        """Of those that are due, the one that has waited longest."""
        now = time.monotonic()
        with self._lock:
            due = [known for known in self._known.values() if now >= known.due_at and not known.is_under_way]
            known = min(due, key=lambda one: one.due_at, default=None)
            if known is not None:
                known.is_under_way = True
                wait = min(self.interval_seconds, URGENT_SECONDS) if known.is_filling else self.interval_seconds
                known.due_at = now + wait
        return known

    def _look_at(self, known: Known) -> None:
        try:
            answer = self._look(known.target, known.asked)
            if isinstance(answer, HostSight):
                known.drifted = self._drift(known.target, answer)
                known.sight = answer
        except Exception:
            logger.exception("%s: its host could not be looked at", known.target.name)
        finally:
            known.is_under_way = False

    # -- reports -------------------------------------------------------------------------------------------------------------------

    def complete(self, reports: Iterable[ClusterReport]) -> list[ClusterReport]:
        return [self._completed(report) for report in reports]

    def _completed(self, report: ClusterReport) -> ClusterReport:
        primary = next((node for node in report.nodes if node.is_the_primary), None)
        nodes = tuple(replace(self._node(node, report.at), left=_left(node, primary)) for node in report.nodes)
        return replace(report, nodes=nodes)

    def _node(self, node: NodeReport, now: float) -> NodeReport:
        known = self._known.get(node.node_id)
        if known is None:
            return node
        sight = known.sight
        if sight is not None and now - sight.at > OLD_LOOKS * self.interval_seconds:
            sight = None
        forecasts = self._forecasts(known, node, sight.room if sight else None)
        known.asked = _asked(node)
        known.is_filling = any(one.word != "steady" for one in forecasts.values())
        return replace(node, host=sight, drifted=known.drifted if sight else (), forecasts=forecasts)

    def _forecasts(self, known: Known, node: NodeReport, room: Room | None) -> Mapping[str, Forecast]:
        """Of the slots that hold WAL and that nobody reads; one that is read follows its standby, and that has rules of its own."""
        if not (node.is_fresh and node.sight):
            return {}
        idle = {slot.name: slot for slot in node.sight.slots if not slot.is_active and slot.restart_lsn}
        known.slots = {name: known.slots.get(name) or SlotMemory() for name in idle}
        for name, memory in known.slots.items():
            memory.add(node.sight.at, idle[name].held_bytes)
        return {name: forecast(memory, room, idle[name].safe_wal_bytes) for name, memory in known.slots.items()}


def _asked(node: NodeReport) -> Asked:
    certificate = node.condition.certificate_file if node.condition else ""
    if not (node.sight and node.sight.role == "primary"):
        return Asked(certificate)
    return Asked(certificate, node.sight.timeline, node.sight.current_lsn)


def _left(node: NodeReport, primary: NodeReport | None) -> Left | None:
    """Of a standby that hears nobody, or that is not seen."""
    if primary is None or node is primary or primary.sight is None or not node.lag:
        return None
    if node.is_fresh and node.state not in ("disconnected", "stalled"):
        return None
    name = slot_of(node)
    slot = next((slot for slot in primary.sight.slots if slot.name == name), None)
    keep = primary.condition.wal_keep_bytes if primary.condition else None
    return left_of(
        node.lag.flush_bytes, primary.wal_bytes_per_second, slot_status=slot.wal_status if slot else None,
        safe_wal_bytes=slot.safe_wal_bytes if slot else None, wal_keep_bytes=keep,
    )  # fmt: skip


def slot_of(node: NodeReport) -> str:
    """What its receiver says, else the name that pgpanel gives (`clusters.Node.slot_name`)."""
    receiver = node.sight.receiver if node.sight else None
    return (receiver.slot_name if receiver else "") or "pgpanel_" + node.name.replace("-", "_")
