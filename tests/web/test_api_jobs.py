"""Plan → job → log by the API: two steps, once only, and never past what moved."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_world import Api, token_of, user
from cryptography.fernet import Fernet
from django.db import connection
from job_world import make_cluster, make_hosts, run
from kombu.exceptions import OperationalError
from small_kind import KIND, PASSWORD

from clusters.models import Cluster
from jobs import planning, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_kind_without_a_broker(settings, monkeypatch):
    settings.HEARTBEAT_SECONDS = 0.1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: None)
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda job_id: None)


@pytest.fixture
def cluster(small_kind_without_a_broker):
    return make_cluster()


@pytest.fixture(autouse=True)
def hosts(cluster, tmp_path, monkeypatch):
    found = make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: found[node.name])
    return found


@pytest.fixture
def ana(cluster):
    return Api(token_of(user("ana", "operator", cluster)))


def wanted(tmp_path, **params) -> dict:
    return {"kind": "small", "params": {"nodes": ["pg1", "pg2"], "directory": str(tmp_path)} | params}


def planned(api: Api, tmp_path, **params) -> dict:
    answer = api.post("/clusters/registry/plans", wanted(tmp_path, **params))
    assert answer.status_code == 202, answer.content
    planning.make_plan(Job.objects.get(pk=answer.json()["id"]))
    return api.get(f"/plans/{answer.json()['id']}").json()


def faults(answer) -> list[dict]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.json()["errors"]


def test_a_plan_is_made_read_started_and_its_log_followed(ana, tmp_path):
    answer = ana.post("/clusters/registry/plans", wanted(tmp_path))
    assert (answer.status_code, answer.json()["status"]) == (202, "planning")
    job = Job.objects.get()
    assert answer["Location"] == f"/api/v1/plans/{job.pk}"
    assert (job.planned_by.username, job.started_from) == ("ana", "API, a test, 127.0.0.1")
    planning.make_plan(job)
    plan = ana.get(f"/plans/{job.pk}").json()
    assert plan["status"] == "planned"
    assert [check["result"] for check in plan["checks"]] == ["ok", "ok"]
    assert "+password is <small password>" in json.dumps(plan["steps"])
    assert PASSWORD.value not in json.dumps(plan)
    started = ana.post("/clusters/registry/jobs", {"plan": job.pk, "hash": plan["hash"]})
    assert (started.status_code, started.json()["status"]) == (202, "queued")
    assert started["Location"] == f"/api/v1/jobs/{job.pk}"
    run(job)
    found = ana.get(f"/jobs/{job.pk}").json()
    assert (found["status"], {step["status"] for step in found["steps"]}) == ("succeeded", {"done"})
    lines, after = [], "0"
    while True:
        log = ana.get(f"/jobs/{job.pk}/log?limit=5&after={after}").json()
        lines, after = lines + log["items"], log["next"]
        if log["is_complete"]:
            break
    assert [line["seq"] for line in lines] == list(range(1, found["last_seq"] + 1))
    assert PASSWORD.value not in json.dumps(lines)
    assert ana.get("/jobs?status=succeeded").json()["items"][0]["id"] == job.pk
    assert "#!/bin/sh" in ana.get(f"/jobs/{job.pk}/runbook").content.decode()


def test_a_refused_plan_says_host_why_and_mend(ana, tmp_path):
    plan = planned(ana, tmp_path, refuse=True)
    assert plan["status"] == "refused"
    refusal = next(check for check in plan["checks"] if check["result"] == "refused")
    assert (refusal["host"], refusal["why"], refusal["mend"], refusal["mend_command"]) == ("pg1", "it is not", "smile", "echo :-)")
    again = ana.post("/clusters/registry/jobs", {"plan": plan["id"], "hash": plan["hash"]})
    assert (again.status_code, again.json()["type"]) == (409, "urn:pgpanel:problem:not-planned")


def test_a_wrong_parameter_names_its_field_and_what_mends_it(ana, tmp_path):
    answer = ana.post("/clusters/registry/plans", {"kind": "small", "params": {"nodes": ["pg1"], "directory": ""}})
    assert answer.status_code == 422
    assert faults(answer) == [{"message": "is missing", "field": "params.directory", "host": "", "mend": "name one"}]
    answer = ana.post("/clusters/registry/plans", {"kind": "switchover", "params": {"candidate": "pg9"}})
    assert faults(answer)[0] | {"mend": ""} == {
        "message": "pg9 is no node of this cluster", "field": "params.candidate", "host": "", "mend": ""}  # fmt: skip
    answer = ana.post("/clusters/registry/plans", {"kind": "nonsense"})
    assert faults(answer)[0]["field"] == "kind"
    assert not Job.objects.exists()


def test_another_hash_than_the_plans_starts_nothing(ana, tmp_path):
    plan = planned(ana, tmp_path)
    answer = ana.post("/clusters/registry/jobs", {"plan": plan["id"], "hash": "0" * 64})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:pgpanel:problem:plan-moved")
    assert Job.objects.get().status == "planned"


def test_whose_job_is_in_the_way_is_said(ana, cluster, tmp_path):
    first, ben = planned(ana, tmp_path), Api(token_of(user("ben", "operator", cluster)))
    assert ana.post("/clusters/registry/jobs", {"plan": first["id"], "hash": first["hash"]}).status_code == 202
    second = planned(ben, tmp_path)
    answer = ben.post("/clusters/registry/jobs", {"plan": second["id"], "hash": second["hash"]})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:pgpanel:problem:cluster-busy")
    assert "started by ana" in answer.json()["detail"]
    assert f"/jobs/{first['id']}/cancel" in faults(answer)[0]["mend"]


def test_after_the_topology_moved_if_match_refuses_every_change(ana, cluster, tmp_path):
    tag = ana.get("/clusters/registry")["ETag"]
    assert ana.post("/clusters/registry/plans", wanted(tmp_path), If_Match=tag).status_code == 202
    Cluster.objects.filter(pk=cluster.pk).update(epoch=7)
    answer = ana.post("/clusters/registry/plans", wanted(tmp_path), If_Match=tag)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:pgpanel:problem:topology-moved")
    assert answer["ETag"] == ana.get("/clusters/registry")["ETag"] != tag
    job = Job.objects.get()
    assert ana("DELETE", f"/plans/{job.pk}", If_Match=tag).status_code == 409
    assert ana("DELETE", f"/plans/{job.pk}", If_Match=answer["ETag"]).status_code == 200


def test_twice_with_the_same_key_is_one_job_and_the_same_answer(ana, tmp_path):
    first = ana.post("/clusters/registry/plans", wanted(tmp_path), Idempotency_Key="k1")
    again = ana.post("/clusters/registry/plans", wanted(tmp_path), Idempotency_Key="k1")
    assert Job.objects.count() == 1
    assert (again.status_code, again.json(), again["Location"]) == (202, first.json(), first["Location"])
    assert again["Idempotent-Replayed"] == "true"
    other = ana.post("/clusters/registry/plans", wanted(tmp_path, lines=4), Idempotency_Key="k1")
    assert (other.status_code, other.json()["type"]) == (422, "urn:pgpanel:problem:key-reused")


def test_a_key_is_its_owners(ana, cluster, tmp_path):
    ben = Api(token_of(user("ben", "operator", cluster)))
    assert ana.post("/clusters/registry/plans", wanted(tmp_path), Idempotency_Key="k1").status_code == 202
    assert ben.post("/clusters/registry/plans", wanted(tmp_path), Idempotency_Key="k1").json()["planned_by"] == "ben"


def test_a_refused_call_did_nothing_and_its_key_may_be_used_again(ana, tmp_path):
    plan = planned(ana, tmp_path)
    body = {"plan": plan["id"], "hash": plan["hash"]}
    assert ana.post("/clusters/registry/jobs", body | {"hash": "x"}, Idempotency_Key="k2").status_code == 409
    assert ana.post("/clusters/registry/jobs", body, Idempotency_Key="k2").status_code == 202


def test_calls_with_one_key_at_the_same_moment_start_one_job(ana, tmp_path):
    plan = planned(ana, tmp_path)
    body = {"plan": plan["id"], "hash": plan["hash"]}

    def call(_number: int) -> tuple[int, str]:
        try:
            answer = Api(ana.token).post("/clusters/registry/jobs", body, Idempotency_Key="same")
            return answer.status_code, answer.content.decode()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(call, range(6)))
    assert {status for status, _body in answers} == {202}
    assert len(answers) == 1


def test_a_broker_that_is_away_does_not_undo_what_was_kept(ana, tmp_path, monkeypatch):
    def away(job_id):
        raise OperationalError("no Redis")

    monkeypatch.setattr(services.tasks, "enqueue_planning", away)
    for key in ({}, {"Idempotency_Key": "k3"}, {"Idempotency_Key": "k3"}):
        assert ana.post("/clusters/registry/plans", wanted(tmp_path), **key).status_code == 202
    assert Job.objects.count() == 2


def test_cancel_and_resume(ana, tmp_path):
    plan = planned(ana, tmp_path)
    ana.post("/clusters/registry/jobs", {"plan": plan["id"], "hash": plan["hash"]})
    assert ana.post(f"/jobs/{plan['id']}/cancel").json()["status"] == "cancelled"
    assert ana.post(f"/jobs/{plan['id']}/resume").json()["status"] == "queued"
    answer = ana.post(f"/jobs/{plan['id']}/resume")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:pgpanel:problem:not-resumable")


def test_a_viewer_reads_but_plans_and_starts_nothing(ana, cluster, tmp_path):
    plan, viewer = planned(ana, tmp_path), Api(token_of(user("vic", "viewer", cluster)))
    assert viewer.get(f"/plans/{plan['id']}").status_code == 200
    assert viewer.post("/clusters/registry/plans", wanted(tmp_path)).status_code == 403
    assert viewer.post("/clusters/registry/jobs", {"plan": plan["id"], "hash": plan["hash"]}).status_code == 403
    for path in ("cancel", "resume"):
        assert viewer.post(f"/jobs/{plan['id']}/{path}").status_code == 403


def test_what_one_may_not_see_does_not_exist(ana, tmp_path):
    plan, stranger = planned(ana, tmp_path), Api(token_of(user("eve", "operator", make_cluster("other"))))
    for path in ("/clusters/registry", f"/plans/{plan['id']}", f"/jobs/{plan['id']}", f"/jobs/{plan['id']}/log",
                 f"/jobs/{plan['id']}/events", f"/jobs/{plan['id']}/runbook"):  # fmt: skip
        missing = stranger.get(path.replace(str(plan["id"]), "999999").replace("registry", "nothing"))
        assert stranger.get(path).status_code == 404
        assert stranger.get(path).content == missing.content
    assert stranger.get("/jobs").json()["items"] == []
    own = {"plan": plan["id"], "hash": plan["hash"]}
    assert stranger.post("/clusters/other/jobs", own).status_code == 422
