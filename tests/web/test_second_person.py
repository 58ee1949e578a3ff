"""Two people for a grave plan: whoever starts it, by whatever door, another one has approved exactly that plan."""

from __future__ import annotations

from datetime import timedelta

import pytest
from api_world import Api, token_of
from cluster_world import person
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from job_world import make_cluster, make_hosts
from small_kind import KIND

from clusters.models import Cluster
from jobs import dangers, planning, second_person, services, superseding, tasks
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch, settings):
    from cryptography.fernet import Fernet

    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    hosts = make_hosts(tmp_path)
    monkeypatch.setitem(KINDS, KIND.name, KIND)
    monkeypatch.setitem(dangers.GRAVE, KIND.name, lambda _job, _plan: True)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    monkeypatch.setattr(tasks, "enqueue", lambda _job_id: None)


@pytest.fixture
def cluster() -> Cluster:
    cluster = make_cluster()
    second_person.ask_for_two(cluster, True)
    return cluster


@pytest.fixture
def ana(cluster):
    return person("ana", "operator", cluster)


@pytest.fixture
def bob(cluster):
    return person("bob", "operator", cluster)


@pytest.fixture
def job(cluster, ana, tmp_path) -> Job:
    data = {"nodes": ["pg1", "pg2"], "directory": str(tmp_path)}
    return services.job_plan(cluster, "small", data, ana, "a test", plan_now=True)


def start(job: Job, by) -> Job:
    return services.job_start(job, job.plan_hash, by, "a test")


def test_a_grave_plan_does_not_start_before_somebody_else_has_approved_it(job, ana, bob):
    assert job.needs_second_person
    with pytest.raises(services.NeedsSecondPerson, match="bob"):
        start(job, ana)
    services.job_approve(job, job.plan_hash, bob)
    assert start(job, ana).status == Job.Status.QUEUED


def test_nobody_approves_the_own_plan(job, ana):
    with pytest.raises(services.NotYoursToApprove):
        services.job_approve(job, job.plan_hash, ana)
    job.refresh_from_db()
    assert job.approved_hash == ""


def test_who_approved_it_does_not_start_it(job, bob):
    services.job_approve(job, job.plan_hash, bob)
    with pytest.raises(services.NeedsSecondPerson, match="somebody else"):
        start(job, bob)
    assert Job.objects.get().status == Job.Status.PLANNED


@pytest.mark.parametrize(
    ("role", "fields"),
    [("viewer", {}), ("", {}), ("operator", {"is_active": False}), ("operator", {"is_service": True})],
)
def test_only_an_active_operator_is_a_second_person(job, cluster, role, fields):
    other = person("carol", role, cluster if role else None, **fields)
    with pytest.raises(services.NotYoursToApprove):
        services.job_approve(job, job.plan_hash, other)


def test_an_operator_of_another_cluster_is_no_second_person(job):
    other = person("dave", "administrator", make_cluster("other"))
    with pytest.raises(services.NotYoursToApprove):
        services.job_approve(job, job.plan_hash, other)


def test_an_approval_is_of_one_plan_only(job, bob):
    with pytest.raises(services.PlanMoved):
        services.job_approve(job, "another" * 5, bob)
    services.job_approve(job, job.plan_hash, bob)
    Job.objects.update(plan_hash="changed meanwhile")
    job.refresh_from_db()
    with pytest.raises(services.NeedsSecondPerson):
        start(job, None)


def test_a_new_plan_is_not_approved_with_the_old_one(job, ana, bob, cluster):
    services.job_approve(job, job.plan_hash, bob)
    again = services.job_plan(cluster, "small", job.params, ana, "a test", plan_now=True)
    job.refresh_from_db()
    assert job.status == Job.Status.WITHDRAWN
    with pytest.raises(services.NeedsSecondPerson):
        start(again, ana)
    with pytest.raises(services.NotPlanned):
        services.job_approve(job, job.plan_hash, bob)


def test_an_approval_grows_old(job, ana, bob, settings):
    services.job_approve(job, job.plan_hash, bob)
    Job.objects.update(approved_at=timezone.now() - timedelta(seconds=settings.APPROVAL_SECONDS + 1))
    job.refresh_from_db()
    with pytest.raises(services.NeedsSecondPerson, match="too old"):
        start(job, ana)
    services.job_approve(job, job.plan_hash, bob)
    assert start(job, ana).status == Job.Status.QUEUED


def test_the_command_line_is_no_way_around(job, bob):
    with pytest.raises(services.NeedsSecondPerson):
        start(job, None)
    services.job_approve(job, job.plan_hash, bob)
    assert start(job, None).status == Job.Status.QUEUED


@pytest.mark.parametrize("status", [Job.Status.QUEUED, Job.Status.RUNNING])
def test_the_database_itself_refuses_a_job_that_nobody_approved(job, ana, bob, status):
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(status=status)
    services.job_approve(job, job.plan_hash, bob)
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(status=status, started_by=bob)
    assert Job.objects.filter(pk=job.pk).update(status=status, started_by=ana)


def test_a_job_that_waits_for_another_one_was_approved_before(job, ana, bob, cluster, monkeypatch):
    monkeypatch.setattr(tasks, "URGENT", ("small",))
    running = Job.objects.create(cluster=cluster, kind="other", status=Job.Status.RUNNING, plan_hash="x")
    with pytest.raises(services.NeedsSecondPerson):
        services.job_start(job, job.plan_hash, ana, "a test", supersede=True)
    services.job_approve(job, job.plan_hash, bob)
    services.job_start(job, job.plan_hash, ana, "a test", supersede=True)
    Job.objects.filter(pk=running.pk).update(status=Job.Status.CANCELLED)
    assert superseding.ready() == [job.pk]


def test_what_two_people_began_is_resumed_without_a_third(job, ana, bob, cluster):
    services.job_approve(job, job.plan_hash, bob)
    start(job, ana)
    long_ago = timezone.now() - timedelta(days=1)
    Job.objects.filter(pk=job.pk).update(status=Job.Status.FAILED, approved_at=long_ago)
    with pytest.raises(services.NeedsSecondPerson):
        services.job_resume(job, bob)
    assert services.job_resume(job, person("carol", "operator", cluster)).status == Job.Status.QUEUED


def test_the_setting_holds_for_plans_that_wait_too(job, ana, cluster):
    second_person.ask_for_two(cluster, False)
    job.refresh_from_db()
    assert not job.needs_second_person
    second_person.ask_for_two(cluster, True)
    with pytest.raises(services.NeedsSecondPerson):
        start(job, ana)
    second_person.ask_for_two(cluster, False)
    assert start(job, ana).status == Job.Status.QUEUED


def test_a_plan_that_is_not_grave_needs_nobody_else(cluster, ana, tmp_path, monkeypatch):
    monkeypatch.delitem(dangers.GRAVE, "small")
    job = services.job_plan(cluster, "small", {"nodes": ["pg1"], "directory": str(tmp_path)}, ana, "a test", plan_now=True)
    assert start(job, ana).status == Job.Status.QUEUED


# -- pages -------------------------------------------------------------------------------------------------------------------------


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_plans_page_says_who_may_approve_and_lets_them(job, ana, bob):
    starter, approver = client_of(ana), client_of(bob)
    page = starter.get(f"/jobs/{job.pk}/plan/").content.decode()
    assert "who may approve it: <b>bob</b>" in page
    assert f"http://testserver/jobs/{job.pk}/plan/" in page
    assert f"/jobs/{job.pk}/start/" not in page
    assert starter.post(f"/jobs/{job.pk}/start/", {"hash": job.plan_hash}).status_code == 409
    assert "Approve this plan" in approver.get(f"/jobs/{job.pk}/plan/").content.decode()
    assert starter.post(f"/jobs/{job.pk}/approve/", {"hash": job.plan_hash}).status_code == 409
    approver.post(f"/jobs/{job.pk}/approve/", {"hash": job.plan_hash})
    page = starter.get(f"/jobs/{job.pk}/plan/").content.decode()
    assert "bob has approved this plan" in page
    assert f"/jobs/{job.pk}/start/" in page
    starter.post(f"/jobs/{job.pk}/start/", {"hash": job.plan_hash})
    job.refresh_from_db()
    assert (job.status, job.started_by, job.approved_by) == (Job.Status.QUEUED, ana, bob)


def test_alone_one_is_told_what_to_do(job, ana):
    page = client_of(ana).get(f"/jobs/{job.pk}/plan/").content.decode()
    assert "Nobody else is an operator here" in page
    assert "/c/registry/edit/" in page


def test_an_administrator_of_the_cluster_switches_it_on_and_only_one_over_all_off(cluster):
    second_person.ask_for_two(cluster, False)
    of_cluster, over_all = client_of(person("eve", "administrator", cluster)), client_of(person("root", "administrator"))
    assert of_cluster.post("/c/registry/second-person", {"is_asked": "yes"}).status_code == 302
    assert of_cluster.post("/c/registry/second-person", {}).status_code == 403
    cluster.refresh_from_db()
    assert cluster.needs_second_person
    assert over_all.post("/c/registry/second-person", {}).status_code == 302
    cluster.refresh_from_db()
    assert not cluster.needs_second_person


# -- the API -------------------------------------------------------------------------------------------------------------------


def api_of(user) -> Api:
    return Api(token_of(user))


def test_by_the_api_too_an_administrator_of_the_cluster_switches_it_on_and_only_one_over_all_off(cluster, ana):
    second_person.ask_for_two(cluster, False)
    of_cluster, over_all = api_of(person("eve", "administrator", cluster)), api_of(person("root", "administrator"))
    path = "/clusters/registry/second-person"
    assert api_of(ana)("PUT", path, {"is_asked": True}).status_code == 403
    assert of_cluster("PUT", path, {"is_asked": True}).json() == {"is_asked": True}
    refused = of_cluster("PUT", path, {"is_asked": False})
    assert (refused.status_code, refused.json()["detail"]) == (403, "This needs the role “administrator” over all clusters.")
    assert api_of(ana).get(path).json() == {"is_asked": True}
    assert over_all("PUT", path, {"is_asked": False}).json() == {"is_asked": False}
    assert api_of(person("outsider", "administrator", make_cluster("other")))("PUT", path, {"is_asked": False}).status_code == 404


def test_by_the_api_a_plan_waits_for_somebody_else_and_each_refusal_says_what_to_do(job, ana, bob, cluster):
    hers, his = api_of(ana), api_of(bob)
    start, approval = {"plan": job.pk, "hash": job.plan_hash}, {"hash": job.plan_hash}

    def refused(answer) -> tuple[str, str]:
        assert answer.status_code == 409
        return answer.json()["type"].rpartition(":")[2], answer.json()["detail"]

    assert hers.get(f"/plans/{job.pk}").json()["needs_second_person"] is True
    asks = "registry asks for a second person: this plan has to be approved by one of bob first."
    assert refused(hers.post("/clusters/registry/jobs", start)) == ("needs-second-person", asks)
    own = "You made this plan: somebody else has to approve it."
    assert refused(hers.post(f"/plans/{job.pk}/approval", approval)) == ("not-yours-to-approve", own)
    moved = "This is no longer the plan that you read. Read it again."
    assert refused(his.post(f"/plans/{job.pk}/approval", {"hash": "another"})) == ("plan-moved", moved)
    robot = api_of(person("robot", "operator", cluster, is_service=True))
    assert refused(robot.post(f"/plans/{job.pk}/approval", approval))[0] == "not-yours-to-approve"
    assert his.post(f"/plans/{job.pk}/approval", approval).json()["approved_by"] == "bob"
    starts = "You have approved this plan: somebody else has to start it."
    assert refused(his.post("/clusters/registry/jobs", start)) == ("needs-second-person", starts)
    assert hers.post("/clusters/registry/jobs", start).json()["status"] == "queued"


def test_an_operator_does_not_change_the_setting(cluster, ana):
    assert client_of(ana).post("/c/registry/second-person", {"is_asked": "yes"}).status_code == 403
