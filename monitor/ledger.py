"""The collector's desk: whom to watch (claimed by leases), and where its reports go (database, live stream).

Two threads of its own: one keeps the books once a second, whatever has piled up in one transaction; the other publishes. A
database that is locked or away, or a missing Redis, delays no look; reports wait, the oldest are given up first.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from clusters.signals import tell, topology_changed
from monitor import books, drift, leases, marks, rollups, stream, watchers, zombies
from monitor.alerts import Watchman
from monitor.collector import Pulse
from monitor.conditions import Conditions
from monitor.watch import ClusterReport, ClusterTarget
from pgpanel import live

logger = logging.getLogger(__name__)

BOOKS_SECONDS = 1.0
REPORTS_KEPT = 20_000
TIDY_SECONDS = 10.0
TIDY_WITHIN_SECONDS = 1.0
"""How often what has aged is rolled up and let go, and how long that may take before samples are written again."""
RENEW_SECONDS = 2.0


class Ledger:
    def __init__(self, capacity: int | None = None) -> None:
        self.holder = f"{socket.gethostname()[:24]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.capacity = capacity or settings.COLLECTOR_NODES
        self.written_samples = 0
        self._targets: Sequence[ClusterTarget] | None = None
        self._held: dict[int, int] = {}
        self._reports: deque[ClusterReport] = deque(maxlen=REPORTS_KEPT)
        self._to_publish: deque[ClusterReport] = deque(maxlen=1000)
        self._links: dict[int, tuple[tuple[str, ...], ...]] = {}
        self._watchman = Watchman()
        self._condition = watchers.Condition(self.holder, self.capacity)
        self._marker = marks.Marker()
        self._hosts = Conditions(settings.MONITOR_HOST_SECONDS, drift.drifted)
        self._ending = threading.Event()
        self._reported = threading.Event()
        self._renewed_at = self._tidied_at = 0.0
        self._threads = [
            threading.Thread(target=self._keep_books, name="monitor-books", daemon=True),
            threading.Thread(target=self._publish, name="monitor-publish", daemon=True),
        ]

    # -- what the collector calls; never blocks --------------------------------------------------------------------------------

    def targets(self) -> Sequence[ClusterTarget] | None:
        found, self._targets = self._targets, None
        return found

    def take(self, report: ClusterReport) -> None:
        self._reports.append(report)
        self._to_publish.append(report)
        self._reported.set()

    def feel(self, pulse: Pulse) -> None:
        self._condition.feel(pulse)

    # -- its life --------------------------------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Take what is free; False when there is nothing for us to do."""
        self._held = leases.claim(self.holder, self.capacity)
        self._take_over(self._held, self._held)
        self._renewed_at = time.monotonic()
        return bool(self._held)

    def _take_over(self, held: dict[int, int], new: Collection[int]) -> None:
        self._watchman.take_over(held)
        self._marker.take_over(held)
        self._targets = found = leases.read_targets(held, new)
        self._hosts.retarget(found)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        self._hosts.start()

    def stop(self) -> None:
        """What is written is written; the clusters are free for the next one."""
        self._ending.set()
        self._reported.set()
        self._hosts.stop()
        for thread in self._threads:
            thread.join(timeout=5.0)
        with suppress(DatabaseError):
            leases.give_back(self.holder)
            self._condition.end()

    # -- the books -------------------------------------------------------------------------------------------------------------

    def _keep_books(self) -> None:
        while not self._ending.wait(BOOKS_SECONDS):
            self._keep_books_once()
        self._keep_books_once()
        connection.close()

    def _keep_books_once(self) -> None:
        try:
            close_old_connections()
            if time.monotonic() - self._renewed_at >= RENEW_SECONDS and not self._ending.is_set():
                self._renew()
            self._write()
            if time.monotonic() - self._tidied_at >= TIDY_SECONDS:
                self._tidied_at = time.monotonic()
                self._tidy()
        except DatabaseError as error:
            logger.warning("the panel's database did not take the samples, which wait: %s", error)
            self._condition.note(f"the panel's database did not take the samples: {error}")
        except Exception as error:
            logger.exception("keeping the samples")
            self._condition.note(f"keeping the samples: {error!r}")

    def _tidy(self) -> None:
        rollups.roll_up(self._held)
        watchers.forget_old()
        marks.prune()
        while time.monotonic() - self._tidied_at < TIDY_WITHIN_SECONDS and books.prune() + rollups.prune():
            pass

    def _renew(self) -> None:
        """Ours still, with what has changed since; and what has become free."""
        held = leases.renew(self.holder, self.capacity)
        self._renewed_at = time.monotonic()
        self._condition.say(waiting=len(self._reports))
        if held != self._held:
            self._take_over(held, held.keys() - self._held.keys())
            self._held = held

    def _write(self) -> None:
        reports = [self._reports.popleft() for _ in range(len(self._reports))]
        if not reports:
            return
        completed = self._hosts.complete(reports)
        try:
            self.written_samples += books.write(completed)
        except DatabaseError:
            self._reports.extendleft(reversed(reports))
            raise
        self._condition.has_written()
        zombies.watch(reports)
        self._watchman.watch(completed)
        self._marker.note(reports)
        for report in reports:
            if self._links.get(report.cluster_id) != report.links:
                self._links[report.cluster_id] = report.links
                stream.publish_topology(report.cluster_id)
                tell(topology_changed, ClusterReport, cluster_id=report.cluster_id)

    # -- the live stream -------------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        while not self._ending.is_set():
            self._reported.wait(1.0)
            self._reported.clear()
            while self._to_publish:
                report = self._to_publish.popleft()
                try:
                    if not live.publish(f"cluster:{report.cluster_id}", "sample", stream.sample_of(report)):
                        self._condition.note("Redis does not take what is seen: open pages read it from the database instead")
                except Exception:
                    logger.exception("publishing a sample")
