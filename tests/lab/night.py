"""A night on call: a cluster of lab hosts in the panel, real workers, a writer that dials all hosts, what must hold after it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine_panel import Panel, Worker, wait_for
from host_reach import pinned

from clusters import services as clusters
from clusters.models import Cluster, Credential
from clusters.secrets import seal
from jobs import services
from jobs.models import Job
from lab import Host as LabHost
from lab import Lab
from lab.errors import LabError
from lab.writer import Writer, WriterReport

LOST_AFTER_SECONDS = 2.0
STORY_LINES = 40


class Night:
    """hosts: by node name. Two workers are always up, so that one can fall over the other's job."""

    def __init__(self, lab: Lab, hosts: Mapping[str, LabHost], panel: Panel, faults: Path, name: str = "registry") -> None:
        self.lab, self.hosts, self.panel, self.faults = lab, dict(hosts), panel, faults
        self.cluster = cluster_of(lab, hosts, name)
        self.panel.sweeper()
        self._number = 0
        self._workers: list[Worker] = []
        self.more_workers()

    # -- workers ---------------------------------------------------------------------------------------------------------------

    def more_workers(self) -> None:
        """Up to two that live."""
        self._workers = [worker for worker in self._workers if worker.process.poll() is None]
        while len(self._workers) < 2:
            self._number += 1
            self._workers.append(self.panel.worker(f"worker{self._number}"))

    # -- jobs ------------------------------------------------------------------------------------------------------------------

    def plan(self, kind: str, **params: Any) -> Job:
        job = services.job_plan(self.cluster, kind, params, None, "a night", plan_now=True)
        assert job.status == Job.Status.PLANNED, (kind, params, job.outcome, refusals(job))
        return job

    def start(self, kind: str, **params: Any) -> Job:
        job = self.plan(kind, **params)
        return services.job_start(job, job.plan_hash, None, "a night")

    def run(self, kind: str, seconds: float = 180, **params: Any) -> Job:
        """To its end, which must be a good one."""
        job = self.ended(self.start(kind, **params), seconds)
        assert job.status == Job.Status.SUCCEEDED, story(job)
        return job

    def ended(self, job: Job, seconds: float = 180) -> Job:
        def has_ended() -> bool:
            job.refresh_from_db()
            return not job.is_active

        try:
            wait_for(has_ended, seconds)
        except AssertionError:
            raise AssertionError(f"not ended in {seconds:g} s\n{story(job)}") from None
        return job

    # -- a worker that dies or sleeps ------------------------------------------------------------------------------------------

    def commands_of(self, kind: str, **params: Any) -> list[str]:
        """What a run without a fault says to hosts."""
        self._arm("count", 0)
        self.run(kind, **params)
        return self.counted()

    def counted(self) -> list[str]:
        rows = [line.split("\t", 3) for line in (self.faults / "trace").read_text().splitlines()]
        last = rows[-1][0]
        return [what for token, _number, _pid, what in rows if token == last]

    def hit(self) -> str:
        """The command before which the last fault came."""
        return (self.faults / "hit").read_text() if (self.faults / "hit").exists() else "none: the job had fewer commands"

    def run_with_fault(self, kind: str, how: str, at: int, seconds: float = 240, **params: Any) -> Job:
        """The worker kills itself, or stops itself until another has taken the job over and gone on, before its `at`-th command."""
        self.more_workers()
        job = self.plan(kind, **params)
        (self.faults / "hit").unlink(missing_ok=True)
        self._arm(how, at)
        services.job_start(job, job.plan_hash, None, "a night")
        wait_for(lambda: (self.faults / "hit").exists() or not self._is_active(job), seconds)
        if how == "stop" and (self.faults / "hit").exists():
            group = int((self.faults / "hit").read_text().split()[0])
            stopped_at = time.monotonic()
            wait_for(lambda: self._was_taken_over(job), 60)
            time.sleep(max(0.0, stopped_at + LOST_AFTER_SECONDS + 1 - time.monotonic()))
            os.killpg(group, signal.SIGCONT)
        (self.faults / "fault.json").unlink(missing_ok=True)
        self.more_workers()
        return self.ended(job, seconds)

    def _arm(self, how: str, at: int) -> None:
        self._number += 1
        new = self.faults / "fault.new"
        new.write_text(json.dumps({"token": f"{how}-{at}-{self._number}", "at": at, "how": how}))
        new.rename(self.faults / "fault.json")

    @staticmethod
    def _is_active(job: Job) -> bool:
        job.refresh_from_db()
        return job.is_active

    def _was_taken_over(self, job: Job) -> bool:
        return not self._is_active(job) or job.handovers > 0

    # -- what must hold --------------------------------------------------------------------------------------------------------

    def primaries(self) -> list[str]:
        return [name for name, host in self.hosts.items() if answer(host, "SELECT pg_is_in_recovery()") == "f"]

    def the_primary(self, seconds: float = 30) -> str:
        """The only one that is writable."""
        until = time.monotonic() + seconds
        while len(found := self.primaries()) != 1:
            assert time.monotonic() < until, f"writable: {found}"
            time.sleep(0.2)
        return found[0]

    def followers(self) -> dict[str, str]:
        """Who streams from the primary, by their rows there."""
        rows = self.hosts[self.the_primary()].sql("SELECT application_name, state FROM pg_stat_replication")
        return {name: state for name, state in rows if name in self.hosts}

    def wait_streaming(self, *names: str, seconds: float = 60) -> None:
        wanted = set(names) or set(self.hosts) - {self.the_primary()}
        until = time.monotonic() + seconds
        while {name for name, state in self.followers().items() if state == "streaming"} != wanted:
            assert time.monotonic() < until, f"{self.followers()} of {wanted}"
            time.sleep(0.2)

    def timelines(self) -> dict[str, int]:
        """By the WAL file that each is at: right after a promotion the control file still names the old one."""
        return {name: int(answer(host, TIMELINE) or 0) for name, host in self.hosts.items()}


TIMELINE = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT max(received_tli) FROM pg_stat_wal_receiver)"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END"
)


def cluster_of(lab: Lab, hosts: Mapping[str, LabHost], name: str) -> Cluster:
    cluster = clusters.cluster_create(name)
    credential = Credential.objects.create(kind="ssh-key", label="lab key", sealed=seal(lab.key_path.read_text()))
    for node, host in hosts.items():
        clusters.node_create(
            cluster, credential, node, host.ip, ssh_port=host.ssh_port, host_key=pinned(host), layout=host.layout,
            postgres_major=str(host.postgres_major), postgres_port=host.pg_port, overrides=overrides_of(host),
        )  # fmt: skip
    return cluster


def overrides_of(host: LabHost) -> dict[str, str]:
    if host.layout != "custom":
        return {}
    return {"bin_directory": host.bin_directory, "data_directory": host.data_directory, "log_file": host.record.log_file}


def answer(host: LabHost, query: str) -> str:
    """The first value; "" from a server that does not answer."""
    with suppress(LabError, IndexError):
        return host.sql(query)[0][0]
    return ""


def refusals(job: Job) -> list[str]:
    checks = (job.plan or {}).get("checks", [])
    return [f"{one['node']}: {one['title']}: {one['reason']} – {one['mend']}" for one in checks if one["level"] == "refused"]


def story(job: Job) -> str:
    """What to read when a test fails."""
    job.refresh_from_db()
    lines = list(job.lines.order_by("-seq").values_list("node", "voice", "text")[:STORY_LINES])[::-1]
    told = [f"{node:5} {voice:7} {text[:400]}" for node, voice, text in lines]
    steps = [f"{row.status:8} {row.key}" for row in job.steps.all()]
    return "\n".join([f"job {job.pk} ({job.kind}) is {job.status}", job.outcome, *steps, *told])


def nothing_lost(writer: Writer) -> WriterReport:
    report = writer.stop()
    assert report.lost == 0, report
    return report


def soon(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def sample(count: int, wanted: int, seed: str) -> Sequence[int]:
    """Command numbers from 1 on: the first, the last and some between, the same for the same seed."""
    import random

    if wanted >= count:
        return range(1, count + 1)
    between = random.Random(seed).sample(range(2, count), max(wanted - 2, 0))
    return sorted({1, count, *between})
