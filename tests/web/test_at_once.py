"""Several calls in the same moment: two people, two tabs, the API and a page at once. One job, and the others are told whose it is.

On SQLite here; `test_on_postgresql.py` runs the same on a real PostgreSQL, where transactions really overlap.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_world import Api, token_of, user
from cryptography.fernet import Fernet
from django.db import connection
from django.test import Client
from job_world import make_cluster, make_hosts, plan
from small_kind import KIND

from accounts.models import RememberedAnswer
from accounts.trail import AuditEntry
from jobs import dangers, planning, second_person, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 4
"""Each of which may go another way."""


@pytest.fixture(autouse=True)
def world(settings, monkeypatch, tmp_path):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: None)
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda job_id: None)
    hosts = make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])


@pytest.fixture
def cluster(world):
    return make_cluster()


@pytest.fixture
def ana(cluster):
    return user("ana", "operator", cluster)


@pytest.fixture
def ben(cluster):
    return user("ben", "operator", cluster)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Each in a thread and with a connection of its own, let go together."""
    together = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        try:
            together.wait(timeout=30)
            return one()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def start_by_api(person: Any, job: Job, **headers: str) -> Callable[[], Any]:
    api = Api(token_of(person))
    return lambda: api.post("/clusters/registry/jobs", {"plan": job.pk, "hash": job.plan_hash}, **headers)


def start_by_page(person: Any, job: Job) -> Callable[[], Any]:
    client = Client(raise_request_exception=False)
    client.force_login(person)
    return lambda: client.post(f"/jobs/{job.pk}/start/", {"hash": job.plan_hash})


def queued() -> list[Job]:
    return list(Job.objects.filter(status=Job.Status.QUEUED))


def free(cluster: Any) -> None:
    for job in queued():
        services.job_cancel(job, None)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_one_key_is_one_plan_and_every_call_gets_the_same_answer(cluster, ana, tmp_path, round_):
    body = {"kind": "small", "params": {"nodes": ["pg1", "pg2"], "directory": str(tmp_path)}}
    apis = [Api(token_of(ana)) for _call in range(6)]
    answers = at_once(*[lambda api=api: api.post("/clusters/registry/plans", body, Idempotency_Key="same") for api in apis])
    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({answer.content for answer in answers}) == 1
    assert Job.objects.count() == 1
    assert Counter(answer.get("Idempotent-Replayed", "first") for answer in answers) == {"true": 5, "first": 1}


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_of_two_people_with_a_plan_each_one_starts_and_the_other_is_told_whose_job_is_in_the_way(
    cluster, ana, ben, tmp_path, round_
):
    hers, his = plan(cluster, tmp_path, ana), plan(cluster, tmp_path, ben)
    answers = at_once(start_by_api(ana, hers), start_by_api(ben, his))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    (job,) = queued()
    (refused,) = [answer.json() for answer in answers if answer.status_code == 409]
    assert refused["type"] == "urn:pgpanel:problem:cluster-busy"
    assert f"job {job.pk}, “{job.title}”, started by {job.started_by}, is queued" in refused["detail"]
    assert {hers.pk: ana, his.pk: ben}[job.pk] == job.started_by


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_page_and_the_api_start_one_job_and_the_page_leads_there(cluster, ana, ben, tmp_path, round_):
    hers, his = plan(cluster, tmp_path, ana), plan(cluster, tmp_path, ben)
    by_page, by_api = at_once(start_by_page(ana, hers), start_by_api(ben, his))
    (job,) = queued()
    assert (by_page.status_code, by_api.status_code) == ((302, 409) if job == hers else (409, 202))
    if job == his:
        assert f"/jobs/{his.pk}/" in by_page.content.decode()
        assert "started by ben" in by_page.content.decode()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_tabs_with_the_same_plan_start_it_once(cluster, ana, tmp_path, round_):
    job = plan(cluster, tmp_path, ana)
    answers = at_once(start_by_page(ana, job), start_by_page(ana, job), start_by_api(ana, job, Idempotency_Key="a-tab-too"))
    assert [found.pk for found in queued()] == [job.pk]
    started = [entry for entry in AuditEntry.objects.filter(action="job.start") if entry.result == "queued"]
    assert len(started) == 1
    assert sum(answer.status_code in (302, 202) for answer in answers) >= 1
    assert all(answer.status_code in (302, 202, 409) for answer in answers)


def test_a_second_person_approves_while_the_first_one_starts_and_it_is_both_or_neither(cluster, ana, ben, tmp_path, monkeypatch):
    monkeypatch.setitem(dangers.GRAVE, "small", lambda _job, _plan: True)
    second_person.ask_for_two(cluster, True)
    for _round in range(ROUNDS):
        job = plan(cluster, tmp_path, ana)
        approve = Api(token_of(ben))
        body = {"hash": job.plan_hash}
        approved, started = at_once(
            lambda api=approve, job=job, body=body: api.post(f"/plans/{job.pk}/approval", body), start_by_api(ana, job)
        )
        assert approved.status_code == 200
        job.refresh_from_db()
        assert (started.status_code, job.status) in ((202, "queued"), (409, "planned"))
        assert job.approved_by == ben
        free(cluster)


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "done"])
def test_a_call_waits_for_one_with_its_key_and_does_it_itself_only_where_that_was_refused(
    cluster, ana, tmp_path, monkeypatch, is_refused
):
    if connection.vendor != "postgresql":
        pytest.skip("not possible here: SQLite has one writer at a time")
    job, service, begun = plan(cluster, tmp_path, ana), services.job_start, threading.Event()

    def slow(*arguments: Any, **options: Any) -> Job:
        if begun.is_set():
            return service(*arguments, **options)
        begun.set()
        deadline = time.monotonic() + 20
        while not waits_for_a_lock():
            assert time.monotonic() < deadline, "nobody waits for the key"
            time.sleep(0.02)
        if is_refused:
            raise services.JobRefused("not now")
        return service(*arguments, **options)

    monkeypatch.setattr(services, "job_start", slow)
    call = start_by_api(ana, job, Idempotency_Key="one")
    answers = at_once(call, call)
    codes = sorted(answer.status_code for answer in answers)
    assert codes == ([202, 409] if is_refused else [202, 202])
    assert [found.pk for found in queued()] == [job.pk]
    replayed = [answer for answer in answers if "Idempotent-Replayed" in answer]
    assert len(replayed) == (0 if is_refused else 1)
    assert RememberedAnswer.objects.count() == 1


def test_that_a_start_was_refused_stands_in_the_trail_with_a_key_too(cluster, ana, tmp_path):
    job = plan(cluster, tmp_path, ana)
    api = Api(token_of(ana))
    for headers in ({}, {"Idempotency_Key": "k"}):
        answer = api.post("/clusters/registry/jobs", {"plan": job.pk, "hash": "another"}, **headers)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:pgpanel:problem:plan-moved")
    assert [entry.result for entry in AuditEntry.objects.filter(action="job.start")] == ["refused", "refused"]
    assert not RememberedAnswer.objects.exists()
