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
from queue import Empty, SimpleQueue
from typing import Protocol

from monitor.names import Names
from monitor.probe import ANSWER_SECONDS, Line
from monitor.sight import Sight, Unseen
from monitor.ssh_look import SshLook
from monitor.watch import SSH_SECONDS, ClusterMemory, ClusterReport, ClusterTarget, NodeTarget

logger = logging.getLogger(__name__)

REPORT_WITHIN = 0.4
"""Share of the interval after which a round is reported without those that have not answered yet."""
LINE_RETRY_SECONDS = (0.0, 1.0, 2.0, 5.0)
NO_ROLE_RETRY_SECONDS = (15.0, 15.0, 60.0, 600.0)
"""A refused login stands in the server's log: it is repeated ever more seldom. A job that ends makes it try again at once."""
SSH_RETRY_SECONDS = (SSH_SECONDS, 5.0, 10.0, 20.0, 30.0)
SSH_GRACE_SECONDS = 1.0
"""After a line that was open broke: most restarts and switchovers are over by then, and a login would cost the host most now."""
ZOMBIE_RETRY_SECONDS = (1.0,)
"""A node under quarantine that comes back is to be stopped within one poll: it is asked at every one."""
SSH_THREADS = 8
IDLE_SECONDS = 0.5


class Desk(Protocol):
    """Where the collector's work comes from and goes to. Neither call may block."""

    def targets(self) -> Sequence[ClusterTarget] | None:
        """Whom to watch, when that has changed since the last call; else None."""

    def take(self, report: ClusterReport) -> None: ...


class NodeWatch:
    """The ways to one node: a kept-open line where it lets the panel in, else SSH at a calmer rate."""

    def __init__(self, target: NodeTarget) -> None:
        self.target = target
        self.line: Line | None = None
        self.registered = -1
        self.ssh: SshLook | None = None
        self.is_on_ssh = False
        self.is_seen_by_ssh = False
        self._has_answered = False
        self._line_failures = 0
        self._line_due_at = 0.0
        self._ssh_failures = 0
        self._ssh_due_at = 0.0

    def is_line_due(self, now: float) -> bool:
        if not self.target.server.role or (self.line is not None and self.line.is_looking):
            return False
        return self.line is not None or now >= self._line_due_at

    def is_ssh_due(self, now: float) -> bool:
        is_needed = self._line_failures > 0 or not self.target.server.role
        return is_needed and not self.is_on_ssh and now >= self._ssh_due_at

    def line_answered(self, now: float, answer: Sight | Unseen) -> None:
        if isinstance(answer, Sight):
            self._line_failures, self._ssh_failures, self._ssh_due_at = 0, 0, 0.0
            self.is_seen_by_ssh, self._has_answered = False, True
            return
        waits: tuple[float, ...] = NO_ROLE_RETRY_SECONDS if answer.cause == "no-role" else LINE_RETRY_SECONDS
        if self.target.is_quarantined and answer.cause != "no-role":
            waits = ZOMBIE_RETRY_SECONDS
        elif self._has_answered:
            self._ssh_due_at, self._has_answered = now + SSH_GRACE_SECONDS, False
        self._line_due_at = now + waits[min(self._line_failures, len(waits) - 1)]
        self._line_failures += 1

    def look_again(self) -> None:
        """Something has changed: do not wait."""
        self._line_due_at = self._ssh_due_at = 0.0

    def ssh_answered(self, now: float, answer: Sight | Unseen) -> None:
        self.is_on_ssh = False
        self.is_seen_by_ssh = isinstance(answer, Sight)
        self._ssh_failures = 0 if isinstance(answer, Sight) else self._ssh_failures + 1
        waits = ZOMBIE_RETRY_SECONDS if self.target.is_quarantined else SSH_RETRY_SECONDS
        self._ssh_due_at = now + waits[min(self._ssh_failures, len(waits) - 1)]


class ClusterWatch:
    def __init__(self, target: ClusterTarget, now: float) -> None:
        self.memory = ClusterMemory(target)
        self.nodes: dict[int, NodeWatch] = {}
        self.due_at = now
        self.report_at: float | None = None
        self.awaited: set[int] = set()

    @property
    def target(self) -> ClusterTarget:
        return self.memory.target

    def next_round(self, now: float) -> None:
        """Rounds that were missed are not made up for."""
        interval = self.target.interval_seconds
        self.due_at = max(self.due_at + interval, now + interval / 2)
        self.report_at = now + interval * REPORT_WITHIN

    def primary_first(self) -> list[NodeWatch]:
        """A standby looked at after its primary is never behind by what was written in between."""
        return sorted(self.nodes.values(), key=lambda node: node.target.node_id != self.memory.primary_id)


class Collector:
    def __init__(self, desk: Desk, is_stopping: Callable[[], bool]) -> None:
        self.desk = desk
        self.is_stopping = is_stopping
        self.clusters: dict[int, ClusterWatch] = {}
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
        now = time.time()
        for cluster in self.clusters.values():
            # a due time far ahead: the clock was set back
            if now >= cluster.due_at or cluster.due_at - now > 2 * cluster.target.interval_seconds:
                self._begin_round(cluster, now)
        self._wait(self._next_at() - time.time())
        self._take_ssh_answers()
        self._give_up_late_ones()
        now = time.time()
        for cluster in self.clusters.values():
            is_over = not cluster.awaited or now >= (cluster.report_at or now)
            if cluster.report_at is not None and is_over:
                cluster.report_at = None
                self._report(cluster, now)

    def _report(self, cluster: ClusterWatch, now: float) -> None:
        """A cluster that we misjudge must not stop the others from being watched."""
        try:
            self.desk.take(cluster.memory.report(now))
        except Exception:
            logger.exception("%s could not be judged", cluster.target.name)

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

    def _next_at(self) -> float:
        soonest = time.time() + IDLE_SECONDS
        for cluster in self.clusters.values():
            soonest = min(soonest, cluster.due_at, cluster.report_at or cluster.due_at)
        return soonest

    def _wait(self, seconds: float) -> None:
        for key, _events in self._selector.select(max(0.0, seconds)):
            if key.fileobj is self._bell:
                with suppress(BlockingIOError):
                    self._bell.recv(4096)
                continue
            cluster, node = key.data
            node.line.on_ready()
            self._after_line(cluster, node)

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
                watch = self.clusters[target.cluster_id] = ClusterWatch(target, time.time() + late)
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
        watch.due_at = min(watch.due_at, time.time() + target.interval_seconds)

    def _leave(self, node: NodeWatch) -> None:
        self._drop_line(node)
        self._leave_ssh(node)

    def _leave_ssh(self, node: NodeWatch) -> None:
        if node.ssh is not None and not node.is_on_ssh:
            self._ssh_pool.submit(node.ssh.close)
            node.ssh = None

    # -- looking ---------------------------------------------------------------------------------------------------------------

    def _begin_round(self, cluster: ClusterWatch, now: float) -> None:
        cluster.next_round(now)
        cluster.awaited.clear()
        for node in cluster.primary_first():
            if node.is_line_due(now):
                self._begin_line(cluster, node)
            elif node.is_ssh_due(now):
                self._begin_ssh(cluster, node)

    def _begin_line(self, cluster: ClusterWatch, node: NodeWatch) -> None:
        if node.line is None:
            name = node.target.server.address
            address = self._names.address_of(name)
            if address is None:
                if failure := self._names.failure_of(name):
                    self._line_answered(cluster, node, Unseen(time.time(), "name", failure))
                return
            node.line = Line(node.target.server, address)
        cluster.awaited.add(node.target.node_id)
        node.line.look()
        self._after_line(cluster, node)

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
        node.line_answered(time.time(), answer)
        if isinstance(answer, Sight):
            cluster.memory.take(node.target.node_id, answer)
            self._leave_ssh(node)
            return
        if not node.is_seen_by_ssh:
            cluster.memory.take(node.target.node_id, answer)
        if node.is_ssh_due(time.time()):
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

    def _give_up_late_ones(self) -> None:
        now = time.time()
        for cluster in self.clusters.values():
            for node in cluster.nodes.values():
                if node.line is not None and node.line.is_looking and now - node.line.asked_at > ANSWER_SECONDS:
                    node.line.give_up()
                    self._after_line(cluster, node)

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
                node.ssh_answered(time.time(), answer)
                is_ours = self.clusters.get(cluster.target.cluster_id) is cluster and cluster.nodes.get(node.target.node_id) is node
                is_needed = is_ours and (node.line is None or not node.line.is_open)
                if is_needed:
                    cluster.memory.take(node.target.node_id, answer)
                else:
                    self._leave_ssh(node)
