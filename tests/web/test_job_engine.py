"""The engine over hosts that are directories of this machine."""

import pytest
from cryptography.fernet import Fernet
from fake_host import FakeHost
from small_kind import KIND

from clusters.models import Cluster, Credential
from clusters.secrets import seal
from clusters.services import cluster_create, node_create
from jobs import engine, planning, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick_and_alone(settings, monkeypatch):
    settings.HEARTBEAT_SECONDS = 0.1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: None)


@pytest.fixture
def cluster() -> Cluster:
    cluster = cluster_create("registry")
    credential = Credential.objects.create(kind=Credential.Kind.SSH_KEY, label="key", sealed=seal("no key"))
    for name in ("pg1", "pg2"):
        node_create(cluster, credential, name, f"{name}.example", postgres_major="15")
    return cluster


@pytest.fixture
def hosts(cluster, tmp_path, monkeypatch) -> dict[str, FakeHost]:
    found = {name: FakeHost(name, tmp_path) for name in ("pg1", "pg2")}
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: found[node.name])
    return found


def plan(cluster, tmp_path, **params) -> Job:
    data = {"nodes": ["pg1", "pg2"], "directory": str(tmp_path)} | params
    return services.job_plan(cluster, "small", data, None, "a test", plan_now=True)


def start(job: Job) -> Job:
    return services.job_start(job, job.plan_hash, None, "a test")


def run(job: Job, **more) -> Job:
    engine.run_job(job.pk, **more)
    job.refresh_from_db()
    return job


def log_text(job: Job) -> str:
    return "\n".join(job.lines.values_list("text", flat=True))


def test_a_job_runs_from_plan_to_proof(cluster, hosts, tmp_path):
    job = run(start(plan(cluster, tmp_path)))
    assert (job.status, job.outcome) == ("succeeded", "Done: Small job on pg1, pg2")
    assert [step.status for step in job.steps.all()] == ["done"] * 8
    assert "copied 3 of 3" in log_text(job)
    assert (tmp_path / "pg2/copied").read_text() == f"job-{job.pk}"


def test_a_second_run_changes_nothing(cluster, hosts, tmp_path):
    first = run(start(plan(cluster, tmp_path)))
    (tmp_path / "pg1/copied").write_text(f"job-{first.pk + 1}")
    (tmp_path / "pg2/copied").write_text(f"job-{first.pk + 1}")
    for host in hosts.values():
        host.ran.clear()
    second = run(start(plan(cluster, tmp_path)))
    assert second.status == "succeeded"
    assert [step.status for step in second.steps.all()] == ["already", "already", "already", "done"] * 2
    assert [host.ran for host in hosts.values()] == [["true"], ["true"]]
