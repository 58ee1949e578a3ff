"""A cluster of lab hosts in the panel, its jobs run by the engine in this process: fast, and every step's seconds are at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from night import answer, cluster_of, refusals, story

from jobs import engine, services, tasks
from jobs.models import Job
from lab import Host, Lab
from pgpanel import live


class Stage:
    """hosts: by node name."""

    def __init__(self, lab: Lab, hosts: Mapping[str, Host], monkeypatch: Any, name: str = "registry") -> None:
        self.lab, self.hosts = lab, dict(hosts)
        self.cluster = cluster_of(lab, hosts, name)
        monkeypatch.setattr(tasks, "_send", lambda *_words: None)
        monkeypatch.setattr(live, "publish", lambda *_words, **_more: None)

    def plan(self, kind: str, **params: Any) -> Job:
        return services.job_plan(self.cluster, kind, params, None, "a test", plan_now=True)

    def refused(self, kind: str, **params: Any) -> str:
        """Why, in the words of the plan."""
        job = self.plan(kind, **params)
        assert job.status == Job.Status.REFUSED, (job.status, job.outcome)
        return "\n".join(refusals(job))

    def run(self, kind: str, ends: str = "succeeded", **params: Any) -> Job:
        job = self.plan(kind, **params)
        assert job.status == Job.Status.PLANNED, (job.outcome, refusals(job))
        return self.go(services.job_start(job, job.plan_hash, None, "a test"), ends)

    def resume(self, job: Job, ends: str = "succeeded") -> Job:
        return self.go(services.job_resume(job, None, "a test"), ends)

    @staticmethod
    def go(job: Job, ends: str) -> Job:
        engine.run_job(job.pk)
        job.refresh_from_db()
        assert job.status == ends, story(job)
        return job

    # -- what holds --------------------------------------------------------------------------------------------------------------

    def primary(self) -> str:
        (found,) = [name for name, host in self.hosts.items() if answer(host, "SELECT pg_is_in_recovery()") == "f"]
        return found

    def senders(self, name: str) -> dict[str, str]:
        return dict(self.hosts[name].sql("SELECT application_name, state FROM pg_stat_replication"))  # type: ignore[arg-type]

    def slots(self, name: str) -> list[str]:
        return [row[0] for row in self.hosts[name].sql("SELECT slot_name FROM pg_replication_slots ORDER BY 1")]

    def timeline(self, name: str) -> int:
        """Of the last checkpoint."""
        said = self.hosts[name].run([f"{self.hosts[name].bin_directory}/pg_controldata", self.hosts[name].data_directory]).stdout
        return int(next(line for line in said.splitlines() if line.startswith("Latest checkpoint's TimeLineID")).split()[-1])


def seconds_of(job: Job) -> dict[str, float]:
    return {
        row.key: round((row.ended_at - row.started_at).total_seconds(), 2)
        for row in job.steps.all()
        if row.started_at and row.ended_at
    }


def streaming_after(job: Job, old: Host) -> float:
    """Seconds from the word to stop until the old primary received WAL from the new one, by its log."""
    said = re.findall(r"^(\S+ \S+) UTC .*started streaming WAL", old.pg_log_tail(200), re.MULTILINE)
    began = datetime.fromisoformat(job.report["timeline"][0]["at"])
    return (datetime.fromisoformat(said[-1]).replace(tzinfo=UTC) - began).total_seconds()
