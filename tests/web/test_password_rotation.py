"""The panel's side of a password's change: where the next one waits, when it is in force, who goes by it, who picks it up."""

import pytest
from job_world import make_cluster

from clusters import services as clusters
from clusters.models import Credential
from jobs.brief import brief_of, settle
from jobs.models import Job, JobStep
from monitor.leases import read_targets

pytestmark = pytest.mark.django_db


def job_of(cluster, kind="rotate_password", **params):
    return Job.objects.create(cluster=cluster, kind=kind, params=params)


def test_the_next_password_waits_beside_the_one_in_force_until_the_job_has_succeeded():
    cluster = make_cluster()
    _name, before = clusters.role_password(cluster, "monitoring")
    job = job_of(cluster, purpose="monitoring")
    first, again = brief_of(job).secrets, brief_of(job).secrets
    assert first["monitoring_password"].value == before.value
    assert first["monitoring.next_password"].value == again["monitoring.next_password"].value != before.value
    settle(job)
    name, after = clusters.role_password(cluster, "monitoring")
    assert (name, after.value) == ("pgpanel_monitor", first["monitoring.next_password"].value)
    settle(job)
    assert clusters.role_password(cluster, "monitoring")[1].value == after.value
    assert not Credential.objects.filter(purpose="monitoring.next").exists()


def test_between_the_change_on_the_server_and_the_end_every_other_job_goes_by_the_new_one():
    cluster = make_cluster()
    job, other = job_of(cluster, purpose="replication"), job_of(cluster, "setup")
    old = brief_of(other).secrets["replication_password"].value
    new = brief_of(job).secrets["replication.next_password"].value
    assert brief_of(other).secrets["replication_password"].value == old
    step = JobStep.objects.create(job=job, position=1, key="password.change", node="pg1", title="x", status="done")
    step.ended_at = Credential.objects.get(purpose="replication.next").created_at.replace(year=2100)
    step.save()
    assert brief_of(other).secrets["replication_password"].value == new
    assert brief_of(other).secrets["replication_password"].name == "replication_password"
    assert brief_of(job).secrets["replication_password"].value == old
    settle(job)
    # a step that an earlier change has left says nothing of the next one
    brief_of(job_of(cluster, purpose="replication"))
    Credential.objects.filter(purpose="replication.next").update(created_at=step.ended_at.replace(year=2101))
    assert brief_of(other).secrets["replication_password"].value == new


def test_who_watches_reads_the_password_anew():
    cluster = make_cluster()
    clusters.role_password(cluster, "monitoring")
    job = job_of(cluster, purpose="monitoring")
    new = brief_of(job).secrets["monitoring.next_password"].value

    def watched_with():
        return {node.server.password.value for target in read_targets({cluster.pk: 0}) for node in target.nodes}

    assert new not in watched_with()
    settle(job)
    assert watched_with() == {new}
