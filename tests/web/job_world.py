"""A cluster of two nodes whose hosts are FakeHosts, and short words for what tests do with jobs."""

from __future__ import annotations

from pathlib import Path

from fake_host import FakeHost

from clusters.models import Cluster, Credential
from clusters.secrets import seal
from clusters.services import cluster_create, node_create
from jobs import engine, services
from jobs.models import Job


def make_cluster(name: str = "registry") -> Cluster:
    cluster = cluster_create(name)
    credential = Credential.objects.create(kind=Credential.Kind.SSH_KEY, label="key", sealed=seal("no key"))
    for node in ("pg1", "pg2"):
        node_create(cluster, credential, node, f"{node}.{name}.example", postgres_major="15")
    return cluster


def make_hosts(directory: Path) -> dict[str, FakeHost]:
    return {name: FakeHost(name, directory) for name in ("pg1", "pg2")}


def plan(cluster: Cluster, directory: Path, by=None, **params) -> Job:
    data = {"nodes": ["pg1", "pg2"], "directory": str(directory)} | params
    return services.job_plan(cluster, "small", data, by, "a test", plan_now=True)


def start(job: Job, by=None) -> Job:
    return services.job_start(job, job.plan_hash, by, "a test")


def run(job: Job, **more) -> Job:
    engine.run_job(job.pk, **more)
    job.refresh_from_db()
    return job


def log_text(job: Job) -> str:
    return "\n".join(job.lines.values_list("text", flat=True))


def statuses(job: Job) -> list[str]:
    return list(job.steps.values_list("status", flat=True))
