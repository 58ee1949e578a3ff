"""When each way to a node is tried again, and a cluster's rounds. Times are the monotonic clock's; nothing is asked here."""

from __future__ import annotations

from monitor.probe import Line
from monitor.sight import Sight, Unseen
from monitor.ssh_look import SshLook
from monitor.watch import SSH_SECONDS, ClusterMemory, ClusterTarget, NodeTarget

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


class NodeWatch:
    """The ways to one node: a kept-open line where it lets the panel in, else SSH at a calmer rate. now: the monotonic clock.

    is_in_line: waits for its turn to connect.
    """

    def __init__(self, target: NodeTarget) -> None:
        self.target = target
        self.line: Line | None = None
        self.registered = -1
        self.ssh: SshLook | None = None
        self.is_on_ssh = False
        self.is_seen_by_ssh = False
        self.is_in_line = False
        self._has_answered = False
        self._line_failures = 0
        self._line_due_at = 0.0
        self._ssh_failures = 0
        self._ssh_due_at = 0.0

    def is_line_due(self, now: float) -> bool:
        if not self.target.server.role or self.is_in_line or (self.line is not None and self.line.is_looking):
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
    """One cluster's rounds. due_at: when the next one begins; awaited: the nodes whose answer this round's report waits for.

    is_reporting: a round is under way, its report is still to come. Times are the monotonic clock's.
    """

    def __init__(self, target: ClusterTarget, due_at: float) -> None:
        self.memory = ClusterMemory(target)
        self.nodes: dict[int, NodeWatch] = {}
        self.due_at = due_at
        self.is_reporting = False
        self.awaited: set[int] = set()

    @property
    def target(self) -> ClusterTarget:
        return self.memory.target

    def next_round(self, now: float) -> float:
        """A round begins. Those that were missed are not made up for. Returns when it is to be reported at the latest."""
        interval = self.target.interval_seconds
        self.due_at = max(self.due_at + interval, now + interval / 2)
        self.is_reporting = True
        self.awaited.clear()
        return now + interval * REPORT_WITHIN

    def primary_first(self) -> list[NodeWatch]:
        """A standby looked at after its primary is never behind by what was written in between."""
        return sorted(self.nodes.values(), key=lambda node: node.target.node_id != self.memory.primary_id)
