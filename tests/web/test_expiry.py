"""What rebuilds put aside goes when its time is over: once a day at most, after all else, never where two people must agree."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from job_world import make_cluster

from jobs import planning, tasks
from jobs.expiry import WHO, forget_expired
from jobs.models import Job
from pgpanel.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_broker(settings, monkeypatch):
    monkeypatch.setattr(tasks, "enqueue", lambda job_id: None)


@pytest.fixture
def is_planned(monkeypatch):
    """No host is looked at: the plan is there at once."""

    def make_plan(job):
        Job.objects.filter(pk=job.pk).update(status="planned", plan_hash="0" * 64)

    monkeypatch.setattr(planning, "make_plan", make_plan)


@pytest.fixture
def cluster():
    cluster = make_cluster()
    long_ago = timezone.now() - timedelta(days=4)
    Job.objects.create(
        cluster=cluster, kind="rebuild", params={"node": "pg2", "keep_days": 3}, status="succeeded", ended_at=long_ago
    )
    return cluster


def deletions(cluster) -> list[tuple[str, dict, str]]:
    return list(Job.objects.filter(cluster=cluster, kind="forget_old").values_list("status", "params", "started_from"))


@pytest.mark.usefixtures("is_planned")
def test_what_is_expired_is_deleted_once(cluster) -> None:
    assert len(forget_expired()) == 1
    assert deletions(cluster) == [("queued", {"node": "pg2", "only_expired": True}, WHO)]
    assert forget_expired() == []
    Job.objects.filter(kind="forget_old").update(status="succeeded", ended_at=timezone.now())
    Job.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert forget_expired() == []


@pytest.mark.usefixtures("is_planned")
def test_what_did_not_succeed_is_tried_again_the_next_day(cluster) -> None:
    assert len(forget_expired()) == 1
    Job.objects.filter(kind="forget_old").update(status="failed", ended_at=timezone.now())
    assert forget_expired() == []
    Job.objects.filter(kind="forget_old").update(created_at=timezone.now() - timedelta(hours=25))
    assert len(forget_expired()) == 1


@pytest.mark.usefixtures("is_planned")
def test_it_waits_for_its_day_for_other_jobs_and_for_a_second_person(cluster) -> None:
    rebuild = Job.objects.get(kind="rebuild")
    Job.objects.filter(pk=rebuild.pk).update(ended_at=timezone.now() - timedelta(days=2))
    assert forget_expired() == []
    Job.objects.filter(pk=rebuild.pk).update(ended_at=rebuild.ended_at)
    other = Job.objects.create(cluster=cluster, kind="switchover", status="running", title="a switchover")
    assert forget_expired() == []
    Job.objects.filter(pk=other.pk).update(status="succeeded", ended_at=timezone.now())
    cluster.needs_second_person = True
    cluster.save()
    assert forget_expired() == []
    assert deletions(cluster) == []


def test_a_host_that_cannot_be_looked_at_keeps_what_it_has(cluster, monkeypatch) -> None:
    monkeypatch.setattr(planning, "make_plan", lambda job: Job.objects.filter(pk=job.pk).update(status="refused", outcome="away"))
    assert forget_expired() == []
    assert [status for status, _params, _who in deletions(cluster)] == ["refused"]


def test_the_panel_looks_every_hour() -> None:
    entry = app.conf.beat_schedule["forget-expired"]
    assert entry["task"] in app.tasks
    assert entry["schedule"] == 3600.0
