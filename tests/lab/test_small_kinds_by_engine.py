"""The kinds of one node and of one setting, planned and run by the panel's own engine on real hosts."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet

from clusters import services as clusters
from clusters.models import Cluster, Credential
from clusters.secrets import seal
from jobs import engine, services
from jobs.models import Job
from lab import Lab
from lab.host import Host

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def without_a_broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr(services.tasks, "enqueue", lambda _job_id: None)


def cluster_of(lab: Lab, hosts: list[Host]) -> Cluster:
    cluster = clusters.cluster_create("shop")
    key = Credential.objects.create(kind=Credential.Kind.SSH_KEY, label="lab", sealed=seal(lab.key_path.read_text()))
    for host in hosts:
        line = " ".join(host.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[:2])
        clusters.node_create(
            cluster, key, host.name, host.ip, ssh_port=host.ssh_port, host_key=line, layout="debian", postgres_major="15"
        )
    return cluster


def done(cluster: Cluster, kind: str, **params: Any) -> Job:
    job = services.job_plan(cluster, kind, params, None, "a test", plan_now=True)
    assert job.status == "planned", (job.outcome, [check for check in job.plan["checks"] if check["level"] == "refused"])
    services.job_start(job, job.plan_hash, None, "a test")
    engine.run_job(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded", job.outcome + "\n".join(job.lines.values_list("text", flat=True))
    return job


def acted(job: Job) -> list[str]:
    return list(job.steps.filter(status="done").values_list("key", flat=True))


def test_a_setting_a_password_a_restart_and_a_repair_by_the_engine(new_lab: Any) -> None:
    lab: Lab = new_lab()
    pg1 = lab.up("pg1")
    pg2 = lab.up("pg2", create=False)
    cluster = cluster_of(lab, [pg1, pg2])
    done(cluster, "setup", primary="pg1", standbys=["pg2"])
    job = done(cluster, "set_parameter", name="max_connections", value="130")
    assert [key for key in acted(job) if key.startswith("parameter")] == ["parameter.apply#pg2", "parameter.apply#pg1"]
    assert [host.sql("SHOW max_connections") for host in (pg1, pg2)] == [[["130"]], [["130"]]]
    before = {purpose: clusters.role_password(cluster, purpose)[1].value for purpose in ("replication", "monitoring")}
    for purpose, old in before.items():
        job = done(cluster, "rotate_password", purpose=purpose)
        new = clusters.role_password(cluster, purpose)[1].value
        assert new != old
        said = "\n".join([str(job.plan), str(job.notes), *job.lines.values_list("text", flat=True)])
        assert not [secret for secret in (new, old) if secret in said]
    assert not Credential.objects.filter(purpose__endswith=".next").exists()
    # who comes next goes by the new passwords, and finds nothing to change
    again = acted(done(cluster, "setup", primary="pg1", standbys=["pg2"]))
    assert [key for key in again if not key.startswith("proof.")] == []
    assert "node.restart#pg2" in acted(done(cluster, "restart", node="pg2"))
    done(cluster, "reload", node="pg1")
    done(cluster, "stop", node="pg2")
    assert "node.start#pg2" in acted(done(cluster, "repair", node="pg2"))
    assert pg1.sql("SELECT application_name, state FROM pg_stat_replication") == [["pg2", "streaming"]]
    assert done(cluster, "repair", node="pg2").plan["summary"] == ["Nothing to repair: pg2 streams."]
