"""Who is due, over which way, and what came of it: one thread with an event loop over all connections of its share of nodes.

The collector touches neither database nor Redis: `desk` (monitor/ledger.py) says whom to watch and takes the reports, from threads
of its own, so that a locked database or a missing Redis delays no look. A node that does not answer delays nobody either: its
connection has a deadline, and it is asked less and less often.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

from monitor.agenda import Agenda
from monitor.names import Names
from monitor.probe import ANSWER_SECONDS, Line
from monitor.sight import Sight, Unseen
from monitor.ssh_look import SshLook
from monitor.watch import ClusterReport, ClusterTarget
from monitor.ways import ClusterWatch, NodeWatch

logger = logging.getLogger(__name__)

SSH_THREADS = 8
CONNECTS_A_SECOND, CONNECTS_AT_ONCE = 50.0, 20
"""A login costs both ends as much as many looks: a worker that begins with hundreds of nodes spreads them, or all time out."""
PULSE_SECONDS = 1.0
IDLE_SECONDS = 0.5


class Desk(Protocol):
    """Where the collector's work comes from and goes to. Neither call may block."""

    def targets(self) -> Sequence[ClusterTarget] | None:
        """Whom to watch, when that has changed since the last call; else None."""

    def take(self, report: ClusterReport) -> None: ...

    def feel(self, pulse: Pulse) -> None:
        """How the collector is, once a second."""


@dataclass(frozen=True)
class Pulse:
    """looks: answered in the last `seconds`. behind_seconds: how late the latest round of that time began."""

    seconds: float
    nodes: int
    lines: int
    looks: int
    behind_seconds: float


class Collector:
    def __init__(self, desk: Desk, is_stopping: Callable[[], bool]) -> None:
        self.desk = desk
        self.is_stopping = is_stopping
        self.clusters: dict[int, ClusterWatch] = {}
        self._agenda = Agenda()
        self._touched: set[ClusterWatch] = set()
        self._connect_at = 0.0
        self._looks, self._behind_seconds, self._felt_at = 0, 0.0, time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._ssh_pool = ThreadPoolExecutor(SSH_THREADS, thread_name_prefix="monitor-ssh")
        self._names = Names(self._ssh_pool)
        self._ssh_answers: SimpleQueue[tuple[ClusterWatch, NodeWatch, Sight | Unseen]] = SimpleQueue()
        self._bell, self._bell_rope = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)

    # -- the loop --------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until told to stop."""
        self._agenda.at(time.monotonic() + PULSE_SECONDS, self._feel)
        try:
            while not self.is_stopping():
                self.turn()
        finally:
            self.close()

    def turn(self) -> None:
        """Begin what is due, wait for the next thing to happen, deal with it."""
        targets = self.desk.targets()
        if targets is not None:
            self._retarget(targets)
        for call in self._agenda.due(time.monotonic()):
            call()
        self._report_complete_ones()
        self._wait(self._agenda.seconds_until_next(time.monotonic(), IDLE_SECONDS))
        self._take_ssh_answers()
        self._report_complete_ones()

    def _report_complete_ones(self) -> None:
        """All that this round waited for has answered."""
        for cluster in self._touched:
            if not cluster.awaited:
                self._report(cluster)
        self._touched.clear()

    def _report(self, cluster: ClusterWatch) -> None:
        """Once a round. A cluster that we misjudge must not stop the others from being watched."""
        if not cluster.is_reporting or not self._is_ours(cluster):
            return
        cluster.is_reporting = False
        try:
            self.desk.take(cluster.memory.report(time.time()))
        except Exception:
            logger.exception("%s could not be judged", cluster.target.name)

    def _is_ours(self, cluster: ClusterWatch) -> bool:
        return self.clusters.get(cluster.target.cluster_id) is cluster

    def _is_watched(self, cluster: ClusterWatch, node: NodeWatch) -> bool:
        return self._is_ours(cluster) and cluster.nodes.get(node.target.node_id) is node

    def _feel(self) -> None:
        nodes = [node for cluster in self.clusters.values() for node in cluster.nodes.values()]
        lines = sum(node.line is not None and node.line.is_open for node in nodes)
        now = time.monotonic()
        self.desk.feel(Pulse(max(now - self._felt_at, 0.001), len(nodes), lines, self._looks, round(self._behind_seconds, 3)))
        self._looks, self._behind_seconds, self._felt_at = 0, 0.0, now
        self._agenda.at(now + PULSE_SECONDS, self._feel)

    def close(self) -> None:
        for cluster in self.clusters.values():
            for node in cluster.nodes.values():
                self._drop_line(node)
                if node.ssh is not None and not node.is_on_ssh:
                    node.ssh.close()
        self.clusters = {}
        self._ssh_pool.shutdown(wait=False, cancel_futures=True)
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()

    def _wait(self, seconds: float) -> None:
        for key, _events in self._selector.select(seconds):
            if key.fileobj is self._bell:
                with suppress(BlockingIOError):
                    self._bell.recv(4096)
                continue
            cluster, node = key.data
            node.line.on_ready()
            self._after_line(cluster, node)
            self._touched.add(cluster)

    # -- who is watched --------------------------------------------------------------------------------------------------------

    def _retarget(self, targets: Sequence[ClusterTarget]) -> None:
        wanted = {target.cluster_id: target for target in targets}
        for cluster_id in [known for known in self.clusters if known not in wanted]:
            for node in self.clusters.pop(cluster_id).nodes.values():
                self._leave(node)
        # spread over the interval, so that a thousand nodes are not asked in one moment
        for place, target in enumerate(targets):
            watch = self.clusters.get(target.cluster_id)
            if watch is None:
                late = target.interval_seconds * place / len(targets)
                watch = self.clusters[target.cluster_id] = ClusterWatch(target, time.monotonic() + late)
                self._plan_round(watch)
            self._retarget_nodes(watch, target)

    def _retarget_nodes(self, watch: ClusterWatch, target: ClusterTarget) -> None:
        has_changed = watch.target.changes != target.changes
        watch.memory.retarget(target)
        for node in [node for node in watch.nodes.values() if node.target not in target.nodes]:
            self._leave(node)
            del watch.nodes[node.target.node_id]
        for node_target in target.nodes:
            node = watch.nodes.setdefault(node_target.node_id, NodeWatch(node_target))
            if has_changed:
                node.look_again()
        watch.awaited &= set(watch.nodes)
        soonest = time.monotonic() + target.interval_seconds
        if soonest < watch.due_at:
            watch.due_at = soonest
            self._plan_round(watch)

    def _leave(self, node: NodeWatch) -> None:
        self._drop_line(node)
        self._leave_ssh(node)

    def _leave_ssh(self, node: NodeWatch) -> None:
        if node.ssh is not None and not node.is_on_ssh:
            self._ssh_pool.submit(node.ssh.close)
            node.ssh = None

    # -- looking ---------------------------------------------------------------------------------------------------------------

    def _plan_round(self, cluster: ClusterWatch) -> None:
        self._agenda.at(cluster.due_at, partial(self._begin_round, cluster, cluster.due_at))

    def _begin_round(self, cluster: ClusterWatch, due_at: float) -> None:
        if cluster.due_at != due_at or not self._is_ours(cluster):
            return
        now = time.monotonic()
        self._behind_seconds = max(self._behind_seconds, now - due_at)
        report_at = cluster.next_round(now)
        self._agenda.at(report_at, partial(self._report_round, cluster, cluster.due_at))
        self._plan_round(cluster)
        for node in cluster.primary_first():
            if node.is_line_due(now):
                self._begin_line(cluster, node)
            elif node.is_ssh_due(now):
                self._begin_ssh(cluster, node)
        self._touched.add(cluster)

    def _report_round(self, cluster: ClusterWatch, next_due_at: float) -> None:
        """Without those that have not answered yet; not if the next round has begun meanwhile."""
        if cluster.due_at <= next_due_at:
            self._report(cluster)

    def _begin_line(self, cluster: ClusterWatch, node: NodeWatch) -> None:
        if node.line is None:
            name = node.target.server.address
            address = self._names.address_of(name)
            if address is None:
                if failure := self._names.failure_of(name):
                    self._line_answered(cluster, node, Unseen(time.time(), "name", failure))
                return
            if not self._may_connect(cluster, node):
                return
            node.line = Line(node.target.server, address)
        cluster.awaited.add(node.target.node_id)
        self._look(cluster, node, node.line)

    def _look(self, cluster: ClusterWatch, node: NodeWatch, line: Line) -> None:
        line.look()
        self._agenda.at(line.asked_at + ANSWER_SECONDS, partial(self._give_up, cluster, node, line, line.asked_at))
        self._after_line(cluster, node)

    def _may_connect(self, cluster: ClusterWatch, node: NodeWatch) -> bool:
        """Now, or when it is its turn."""
        now = time.monotonic()
        self._connect_at = max(self._connect_at, now - CONNECTS_AT_ONCE / CONNECTS_A_SECOND) + 1 / CONNECTS_A_SECOND
        if self._connect_at <= now:
            return True
        node.is_in_line = True
        self._agenda.at(self._connect_at, partial(self._connect, cluster, node))
        return False

    def _connect(self, cluster: ClusterWatch, node: NodeWatch) -> None:
        """Its turn has come."""
        node.is_in_line = False
        if not self._is_watched(cluster, node) or node.line is not None:
            return
        if address := self._names.address_of(node.target.server.address):
            node.line = Line(node.target.server, address)
            self._look(cluster, node, node.line)

    def _after_line(self, cluster: ClusterWatch, node: NodeWatch) -> None:
        line = node.line
        if line is None:
            return
        answer, line.answer = line.answer, None
        if answer is None and not line.is_broken:
            self._register(cluster, node, line)
            return
        if line.is_broken:
            self._drop_line(node)
        else:
            self._register(cluster, node, line)
        if answer is not None:
            self._line_answered(cluster, node, answer)

    def _line_answered(self, cluster: ClusterWatch, node: NodeWatch, answer: Sight | Unseen) -> None:
        cluster.awaited.discard(node.target.node_id)
        node.line_answered(time.monotonic(), answer)
        if isinstance(answer, Sight):
            self._looks += 1
            cluster.memory.take(node.target.node_id, answer)
            self._leave_ssh(node)
            return
        if not node.is_seen_by_ssh:
            cluster.memory.take(node.target.node_id, answer)
        if node.is_ssh_due(time.monotonic()):
            self._begin_ssh(cluster, node)

    def _register(self, cluster: ClusterWatch, node: NodeWatch, line: Line) -> None:
        """libpq may change its socket while it connects, even under the same number: so register anew until it is open."""
        events = selectors.EVENT_WRITE if line.wants == "write" else selectors.EVENT_READ
        fileno = line.fileno()
        known = self._selector.get_map().get(node.registered) if node.registered >= 0 else None
        if known is not None and line.is_open and node.registered == fileno and known.events == events:
            return
        self._unregister(node)
        self._selector.register(fileno, events, (cluster, node))
        node.registered = fileno

    def _unregister(self, node: NodeWatch) -> None:
        if node.registered >= 0:
            with suppress(KeyError, ValueError):
                self._selector.unregister(node.registered)
            node.registered = -1

    def _drop_line(self, node: NodeWatch) -> None:
        self._unregister(node)
        if node.line is not None:
            node.line.close()
            node.line = None

    def _give_up(self, cluster: ClusterWatch, node: NodeWatch, line: Line, asked_at: float) -> None:
        """Still no answer to what was asked then."""
        if node.line is line and line.is_looking and line.asked_at == asked_at:
            line.give_up()
            self._after_line(cluster, node)
            self._touched.add(cluster)

    # -- through SSH -----------------------------------------------------------------------------------------------------------

    def _begin_ssh(self, cluster: ClusterWatch, node: NodeWatch) -> None:
        node.is_on_ssh = True
        if node.ssh is None:
            node.ssh = SshLook(node.target)
        look = node.ssh
        self._ssh_pool.submit(lambda: self._ssh_answered(cluster, node, look.look()))

    def _ssh_answered(self, cluster: ClusterWatch, node: NodeWatch, answer: Sight | Unseen) -> None:
        """In a thread of the pool."""
        self._ssh_answers.put((cluster, node, answer))
        with suppress(OSError):
            self._bell_rope.send(b"!")

    def _take_ssh_answers(self) -> None:
        with suppress(Empty):
            while True:
                cluster, node, answer = self._ssh_answers.get_nowait()
                node.ssh_answered(time.monotonic(), answer)
                self._looks += isinstance(answer, Sight)
                is_needed = self._is_watched(cluster, node) and (node.line is None or not node.line.is_open)
                if is_needed:
                    cluster.memory.take(node.target.node_id, answer)
                else:
                    self._leave_ssh(node)
