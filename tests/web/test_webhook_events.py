"""What the panel tells of its own life: jobs once per start and end, a cluster when roles move, a silent node not at all."""

import json

import jsonschema_rs
import pytest
from cluster_world import cluster_of_two
from django.utils import timezone
from job_world import make_cluster, make_hosts, plan, run, start
from small_kind import KIND

from accounts.models import User
from clusters.models import NodeState
from clusters.signals import topology_changed
from jobs import planning, services
from jobs.ended import tell_status
from jobs.kinds import KINDS
from jobs.models import Job
from monitor import alerts
from monitor.breaches import Change
from monitor.models import Alert
from monitor.rules import Breach
from webhooks import catalog
from webhooks.models import Event, Shape

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)


def told(*kinds: str) -> list[dict]:
    bodies = [json.loads(event.body) for event in Event.objects.order_by("pk")]
    for body in bodies:
        jsonschema_rs.validate(catalog.schema(), body)
    return [body for body in bodies if body["type"] in kinds or body["type"].split(".")[0] in kinds]


def seen(node, role: str, timeline: int = 1, upstream: str = "") -> None:
    values = {"role": role, "timeline": timeline, "seen_at": timezone.now(), "is_reachable": True, "sample": {"upstream": upstream}}
    NodeState.objects.update_or_create(node=node, defaults=values)


def look(cluster) -> None:
    topology_changed.send(None, cluster_id=cluster.pk)


def test_an_alert_is_told_when_it_fires_when_somebody_takes_it_on_and_when_it_is_over():
    cluster, *_nodes = cluster_of_two()
    breach, at = Breach("pg1", {"why": "no answer"}), timezone.now()
    for what in ("fires", "says", "fires"):
        alerts.keep(cluster.pk, Change(what, "primary_down", "pg1", breach, at.timestamp()), at)
    alert = Alert.objects.get()
    alerts.acknowledge(alert, User.objects.create_user("ana"), "on my way")
    for _twice in range(2):
        alerts.keep(cluster.pk, Change("clears", "primary_down", "pg1", breach, at.timestamp()), at)
    fired, taken_on, resolved = told("alert")
    assert [body["type"] for body in (fired, taken_on, resolved)] == ["alert.fired", "alert.acknowledged", "alert.resolved"]
    assert (fired["data"]["alert"]["about"], fired["data"]["alert"]["over_at"]) == ("pg1", None)
    assert fired["data"]["alert"]["path"] == "/c/registry/promote"
    assert (taken_on["data"]["alert"]["acknowledged_by"], taken_on["data"]["alert"]["comment"]) == ("ana", "on my way")
    assert resolved["data"]["alert"]["over_at"]


def test_a_cluster_tells_when_its_primary_its_timeline_or_its_topology_moves_and_only_then():
    cluster, pg1, pg2 = cluster_of_two()
    seen(pg1, "primary")
    seen(pg2, "standby", upstream="pg1")
    look(cluster)
    look(cluster)
    first = told("cluster.changed")
    assert [(body["data"]["before"], body["data"]["after"]["primary"]) for body in first] == [(None, "pg1")]
    seen(pg2, "standby", upstream="")  # silent for a moment: nobody has moved
    look(cluster)
    assert len(told("cluster.changed")) == 1
    seen(pg1, "standby", 2, upstream="pg2")
    seen(pg2, "primary", 2)
    look(cluster)
    moved = told("cluster.changed")[-1]["data"]
    assert moved["changed"] == ["primary", "timeline", "topology"]
    assert (moved["before"]["primary"], moved["after"]["primary"], moved["after"]["timeline"]) == ("pg1", "pg2", 2)
    assert {node["name"]: node["follows"] for node in moved["after"]["nodes"]} == {"pg1": "pg2", "pg2": ""}


def test_while_nobody_is_primary_nothing_is_told():
    cluster, pg1, _pg2 = cluster_of_two()
    seen(pg1, "primary")
    look(cluster)
    seen(pg1, "standby")
    look(cluster)
    assert len(told("cluster.changed")) == 1
    assert Shape.objects.get().told["primary"] == "pg1"


def test_two_collectors_tell_a_change_once(monkeypatch):
    """The other one has told it between the look and the writing."""
    cluster, pg1, _pg2 = cluster_of_two()
    seen(pg1, "primary")
    real = Shape.objects.get_or_create

    def overtaken(**fields):
        kept, made = real(**fields)
        Shape.objects.filter(pk=kept.pk).update(digest="another's")
        return kept, made

    monkeypatch.setattr(Shape.objects, "get_or_create", overtaken)
    look(cluster)
    assert told("cluster.changed") == []


def test_a_job_tells_its_plan_its_start_and_its_end_once_each(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(services.tasks, "enqueue", lambda _job_id: None)
    cluster, hosts = make_cluster(), make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    job = run(start(plan(cluster, tmp_path)))
    for _again in range(3):  # a takeover, a second tab that cancels: the status is said again
        tell_status(job.pk, job.status)
    said = told("job")
    assert [body["type"] for body in said] == ["job.planned", "job.started", "job.finished"]
    assert said[-1]["data"]["job"] | {"id": job.pk, "status": "succeeded", "kind": "small"} == said[-1]["data"]["job"]
    assert said[-1]["data"]["outcome"].startswith("Done")
    assert [event.cluster_id for event in Event.objects.filter(type__startswith="job.")] == [cluster.pk] * 3


def test_a_job_that_changes_roles_tells_besides_how_that_ended():
    cluster, *_nodes = cluster_of_two()
    job = Job.objects.create(
        cluster=cluster, kind="switchover", title="Switch over to pg2", status="failed", ending="rolled_back", outcome="No.",
        queued_at=timezone.now(), ended_at=timezone.now(), report={"gap_ms": 88.5, "timeline_before": 1},
    )  # fmt: skip
    tell_status(job.pk, "failed")
    finished, ended = told("job")
    assert (finished["type"], ended["type"]) == ("job.finished", "job.ended")
    assert (ended["data"]["ending"], ended["data"]["gap_ms"], ended["data"]["timeline_after"]) == ("rolled_back", 88.5, None)


def test_a_resumed_job_is_told_anew():
    cluster, *_nodes = cluster_of_two()
    job = Job.objects.create(cluster=cluster, kind="setup", title="x", status="failed", queued_at=timezone.now())
    tell_status(job.pk, "failed")
    Job.objects.update(status="running", queued_at=timezone.now())
    tell_status(job.pk, "running")
    assert [body["type"] for body in told("job")] == ["job.finished", "job.started"]


def test_no_parameter_of_a_job_goes_out():
    cluster, *_nodes = cluster_of_two()
    job = Job.objects.create(
        cluster=cluster,
        kind="set_parameter",
        title="x",
        status="planned",
        params={"name": "x", "value": "hush-hush"},
    )
    tell_status(job.pk, "planned")
    assert "hush-hush" not in Event.objects.get(type="job.planned").body
