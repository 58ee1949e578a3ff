"""Clusters, nodes, drafts, what is kept secret and people, by the API: over hosts that answer without being there."""

from __future__ import annotations

import json

import pytest
from api_world import Api, token_of, user
from cluster_world import HOST_KEYS, cluster_of_two, facts_of, pair, postgres, standby, streaming
from cryptography.fernet import Fernet

from accounts.models import ApiToken, AuditEntry, User
from clusters import looks, services, tasks
from clusters.models import Cluster, Credential, Draft, Grant, Node
from jobs.models import Job
from remote.hostkeys import generate_key

pytestmark = pytest.mark.django_db

PG1 = {"name": "pg1", "ssh_host": "10.0.0.1", "host_key": HOST_KEYS["10.0.0.1"].fingerprint}
PG2 = {"name": "pg2", "ssh_host": "10.0.0.2", "host_key": HOST_KEYS["10.0.0.2"].fingerprint}


@pytest.fixture(autouse=True)
def keys(settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def hosts(monkeypatch):
    """A look that a call starts is made at once instead of by a worker."""
    found = pair()
    monkeypatch.setattr(looks, "look_at", found)
    monkeypatch.setattr(tasks, "start_look_at_draft", lambda draft: tasks.look_at_draft(draft.pk))
    return found


@pytest.fixture
def root(keys):
    return Api(token_of(user("root", is_superuser=True)))


@pytest.fixture
def registry(keys):
    return cluster_of_two("registry")[0]


@pytest.fixture
def admin(registry):
    return Api(token_of(user("ada", "administrator", registry)))


def kind_of(answer) -> str:
    return answer.json()["type"].rpartition(":")[2]


# -- adding -----------------------------------------------------------------------------------------------------------------------


def test_hosts_that_show_the_expected_keys_become_a_cluster_by_one_call(root, hosts):
    answer = root.post("/clusters", {"name": "registry", "hosts": [PG1, PG2]})
    assert answer.status_code == 202, answer.content
    draft = root.get(answer["Location"].removeprefix("/api/v1")).json()
    assert (draft["status"], draft["cluster"], draft["in_the_way"]) == ("done", "registry", "")
    found = root.get("/clusters/registry").json()
    assert (found["primary"], [node["name"] for node in found["nodes"]]) == ("pg1", ["pg1", "pg2"])
    assert root.get("/clusters/registry/nodes/pg1").json()["host_key"] == PG1["host_key"]
    assert AuditEntry.objects.filter(action="host_key.accept", door="api", who="root", token="a test").count() == 2


def test_another_host_key_than_the_expected_one_is_refused_with_the_one_that_was_shown(root, hosts):
    answer = root.post("/clusters", {"name": "registry", "hosts": [PG1 | {"host_key": PG2["host_key"]}]})
    draft = root.get(answer["Location"].removeprefix("/api/v1")).json()
    assert draft["status"] == "refused"
    assert PG1["host_key"] in draft["hosts"][0]["error"]
    assert "ssh-keygen" in draft["hosts"][0]["mend"]
    assert not Cluster.objects.exists()
    assert not Draft.objects.get().hosts.exclude(host_key="").exists()


def test_without_an_expected_key_the_shown_one_has_to_be_accepted_by_its_fingerprint(root, hosts):
    at = root.post("/clusters", {"name": "registry", "hosts": [{"name": "pg1", "ssh_host": "10.0.0.1"}]})["Location"]
    path = at.removeprefix("/api/v1")
    draft = root.get(path).json()
    assert (draft["status"], draft["hosts"][0]["shown_host_key"]) == ("waiting", PG1["host_key"])
    wrong = root.post(f"{path}/accept", {"host": "pg1", "fingerprint": PG2["host_key"]})
    assert (wrong.status_code, kind_of(wrong)) == (409, "other-host-key")
    assert root.post(f"{path}/accept", {"host": "pg1", "fingerprint": PG1["host_key"]}).status_code == 202
    assert root.get(path).json()["status"] == "done"


def test_what_is_in_the_way_is_said_and_finish_answers_it_as_a_conflict(root, hosts):
    hosts.facts["10.0.0.1"] = facts_of("h1")
    path = root.post("/clusters", {"name": "registry", "hosts": [PG1]})["Location"].removeprefix("/api/v1")
    draft = root.get(path).json()
    assert draft["status"] == "waiting"
    assert "primary" in draft["in_the_way"]
    answer = root.post(f"{path}/finish")
    assert (answer.status_code, kind_of(answer)) == (409, "draft-not-ready")
    assert root("DELETE", path).status_code == 204
    assert (root.get(path).status_code, Draft.objects.count(), Credential.objects.count()) == (404, 0, 0)


def test_an_import_names_its_peers_and_takes_them_in_by_their_keys(root, hosts):
    hosts.facts = {"10.0.0.1": streaming(), "10.0.0.2": standby()}
    path = root.post("/imports", {"name": "registry", "hosts": [PG1]})["Location"].removeprefix("/api/v1")
    draft = root.get(path).json()
    assert (draft["status"], [peer["address"] for peer in draft["peers"]]) == ("waiting", ["10.0.0.2"])
    assert root.post(f"{path}/peers", {"address": "10.9.9.9"}).status_code == 422
    root.post(f"{path}/peers", {"address": "10.0.0.2", "host_key": PG2["host_key"]})
    assert root.get(path).json()["status"] == "done"
    assert Cluster.objects.get().nodes.count() == 2


def test_a_secret_given_for_a_host_is_in_no_answer(root, hosts):
    private = generate_key("x")[0].value
    body = {"name": "registry", "hosts": [PG1], "access": {"method": "pasted-key", "private_key": private}, "finish": False}
    answer = root.post("/clusters", body)
    path = answer["Location"].removeprefix("/api/v1")
    for told in (answer, root.get(path), root.get("/drafts")):
        assert "PRIVATE" not in told.content.decode()
    bad = root.post("/clusters", body | {"name": "other", "access": {"method": "pasted-key", "private_key": "ssh-rsa AAAA"}})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "access.private_key")
    none = root.post("/clusters", body | {"name": "other", "access": {"method": "password-once"}})
    assert none.json()["errors"][0]["field"] == "access.password"


def test_a_wrong_row_names_host_and_field(root, hosts):
    answer = root.post("/clusters", {"name": "registry", "hosts": [PG1, PG2 | {"ssh_host": "-oProxyCommand=x"}]})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "hosts.1.ssh_host")
    answer = root.post("/clusters", {"name": "registry", "hosts": [PG1, PG1]})
    assert answer.json()["errors"][0]["field"] == "hosts"


def test_a_draft_is_its_owners_alone(root, hosts):
    path = root.post("/clusters", {"name": "registry", "hosts": [PG1], "finish": False})["Location"].removeprefix("/api/v1")
    other = Api(token_of(user("other", is_superuser=True)))
    assert other.get(path).status_code == 404
    assert other.get("/drafts").json()["items"] == []


def test_a_node_more_needs_its_expected_key_and_joins_by_the_clusters_own_credential(admin, registry, hosts, monkeypatch):
    services.remember_facts(registry.nodes.get(name="pg1"), facts_of("h1", postgres()))
    HOST_KEYS["10.0.0.3"] = HOST_KEYS["10.0.0.1"].of_blob("ssh-ed25519", b"\0\0\0\x0bssh-ed25519third")
    hosts.facts["10.0.0.3"] = facts_of("h3")
    body = {"name": "pg3", "ssh_host": "10.0.0.3"}
    assert admin.post("/clusters/registry/nodes", body).json()["errors"][0]["field"] == "host_key"
    at = admin.post("/clusters/registry/nodes", body | {"host_key": HOST_KEYS["10.0.0.3"].fingerprint})["Location"]
    assert admin.get(at.removeprefix("/api/v1")).json()["status"] == "done"
    assert Node.objects.get(name="pg3").credential == Node.objects.get(name="pg1").credential
    again = admin.post("/clusters/registry/nodes", body | {"host_key": "SHA256:something"})
    assert (again.status_code, again.json()["errors"][0]["message"]) == (422, "A node of the cluster has this name already.")


# -- clusters and nodes -----------------------------------------------------------------------------------------------------------


def test_a_cluster_is_changed_field_by_field(admin, registry):
    answer = admin("PATCH", "/clusters/registry", {"description": "the TLD's"})
    assert (answer.json()["description"], answer.json()["name"]) == ("the TLD's", "registry")
    assert AuditEntry.objects.get(action="cluster.edit").detail == {"fields": "description"}
    assert admin("PATCH", "/clusters/registry", {"sample_interval_seconds": 0}).status_code == 422


def test_nothing_is_removed_while_a_job_runs_on_it(admin, registry):
    job = Job.objects.create(cluster=registry, kind="reload", status="running")
    node = "/clusters/registry/nodes/pg2"
    for method, path in (("DELETE", "/clusters/registry"), ("DELETE", node), ("PATCH", node), ("DELETE", f"{node}/host-key")):
        answer = admin(method, path, {} if method == "PATCH" else None)
        assert (answer.status_code, kind_of(answer)) == (409, "cluster-busy")
    Job.objects.filter(pk=job.pk).update(status="succeeded")
    assert admin("DELETE", "/clusters/registry/nodes/pg2").status_code == 204
    assert admin("DELETE", "/clusters/registry").status_code == 204
    assert not Cluster.objects.exists()


def test_a_nodes_address_changes_and_its_key_has_to_be_accepted_again(admin, registry):
    node = registry.nodes.get(name="pg2")
    services.accept_host_key(node, HOST_KEYS["10.0.0.2"].line)
    answer = admin("PATCH", "/clusters/registry/nodes/pg2", {"ssh_host": "10.0.0.9", "overrides": {"owner": "pg"}})
    assert (answer.json()["ssh_host"], answer.json()["host_key"], answer.json()["overrides"]) == ("10.0.0.9", "", {"owner": "pg"})
    assert admin("PATCH", "/clusters/registry/nodes/pg2", {"ssh_user": "root"}).json()["overrides"] == {"owner": "pg"}
    wrong = admin("PATCH", "/clusters/registry/nodes/pg2", {"overrides": {"nonsense": "x"}})
    assert wrong.json()["errors"][0]["field"] == "overrides.nonsense"
    wrong = admin("PATCH", "/clusters/registry/nodes/pg2", {"ssh_host": "a b"})
    assert wrong.json()["errors"][0]["field"] == "ssh_host"


def test_an_offered_key_is_accepted_by_its_fingerprint_only(admin, registry):
    node = registry.nodes.get(name="pg2")
    services.remember_offer(node, HOST_KEYS["10.0.0.2"], is_jump=False)
    path = "/clusters/registry/nodes/pg2/host-key"
    wrong = admin.post(path, {"fingerprint": PG1["host_key"]})
    assert (wrong.status_code, wrong.json()["errors"][0]["host"]) == (409, "pg2")
    assert PG2["host_key"] in wrong.json()["errors"][0]["mend"]
    assert admin.post(path, {"fingerprint": PG2["host_key"]}).json()["host_key"] == PG2["host_key"]
    assert admin("DELETE", path).json()["host_key"] == ""


def test_facts_are_told_without_the_texts_of_files(admin, registry):
    services.remember_facts(registry.nodes.get(name="pg1"), facts_of("h1", postgres()))
    told = admin.get("/clusters/registry/nodes/pg1/facts").json()
    assert told["facts"]["clusters"][0]["version"] == "15.18"
    assert all(known["text"] is None for known in told["facts"]["paths"].values())
    assert admin.get("/clusters/registry/evidence").json()["primary"] == "pg1"
    assert admin.get("/clusters/registry/topology").json()["nodes"][0]["role"] == "primary"
    assert admin.get("/clusters/registry/promotions").json() == []


# -- what is kept secret ----------------------------------------------------------------------------------------------------------


def test_credentials_are_replaced_and_never_shown(admin, registry):
    row = admin.get("/clusters/registry/credentials").json()["items"][0]
    assert (row["nodes"], "sealed" in row) == (["pg1", "pg2"], False)
    path = f"/clusters/registry/credentials/{row['id']}"
    answer = admin("PUT", path, {"password": "correct horse battery"})
    assert (answer.status_code, answer.json()["kind"]) == (200, "ssh-password")
    assert "correct horse" not in answer.content.decode() + json.dumps(list(AuditEntry.objects.values_list("detail", flat=True)))
    assert admin("PUT", path, {}).status_code == 422
    assert admin("PUT", path, {"private_key": "ssh-rsa AAAA"}).json()["errors"][0]["field"] == "private_key"


def test_a_fence_command_is_set_by_administrators_over_all_only(admin, root, registry):
    path, body = "/clusters/registry/nodes/pg1/fence", {"command": "/bin/true", "test_command": "/bin/true", "secret": "s3cret"}
    assert admin("PUT", path, body).status_code == 403
    told = root("PUT", path, body)
    assert (told.json()["has_secret"], "s3cret" in told.content.decode()) == (True, False)
    assert root("PUT", path, {"command": "true"}).json()["errors"][0]["field"] == "command"
    assert root("PUT", path, {"command": "/bin/true", "secret": ""}).json()["has_secret"] is False


# -- who may ----------------------------------------------------------------------------------------------------------------------


def test_a_service_account_gets_a_role_and_a_token_whose_secret_is_answered_once(root, registry):
    assert root.post("/people", {"username": "deploy", "is_service": True}).status_code == 201
    assert root.post("/grants", {"user": "deploy", "role": "operator", "cluster": "registry"}).status_code == 201
    body = {"name": "ci", "role": "operator", "user": "deploy", "clusters": ["registry"]}
    made = root.post("/tokens", body, Idempotency_Key="t")
    secret = made.json()["secret"]
    assert Api(secret).get("/me").json() == {
        "username": "deploy", "is_service": True, "token": "ci", "at_most": "operator", "clusters": {"registry": "operator"},
    }  # fmt: skip
    again = root.post("/tokens", body, Idempotency_Key="t")
    assert (again.status_code, again.json()["secret"], ApiToken.objects.filter(name="ci").count()) == (201, None, 1)
    assert secret not in root.get("/tokens").content.decode()
    assert root("DELETE", f"/tokens/{made.json()['id']}").json()["revoked_at"]
    assert Api(secret).get("/me").status_code == 401


def test_a_person_comes_by_a_link_and_is_shut_out_but_not_by_oneself(root):
    ben = root.post("/people", {"username": "ben", "full_name": "Ben B"}).json()
    link = root.post(f"/people/{ben['id']}/link", Idempotency_Key="l")
    assert link.json()["link"].startswith("http://testserver/")
    assert root.post(f"/people/{ben['id']}/link", Idempotency_Key="l").json() == {"link": None}
    assert root("PATCH", f"/people/{ben['id']}", {"is_active": False}).json()["is_active"] is False
    own = User.objects.get(username="root").pk
    assert root("PATCH", f"/people/{own}", {"is_active": False}).status_code == 409
    assert root.post("/people", {"username": "ben"}).status_code == 422


def test_roles_are_given_and_taken_by_administrators_over_all_only(root, admin, registry):
    body = {"user": "ada", "role": "viewer", "cluster": "registry"}
    assert admin.post("/grants", body).status_code == 403
    grant = root.post("/grants", body).json()
    assert Grant.objects.get().role == "viewer"
    assert root("DELETE", f"/grants/{grant['id']}").status_code == 204
    assert admin.get("/clusters/registry").status_code == 404


def test_the_trail_is_told_as_far_as_one_administers(root, admin, registry):
    user("vic", "viewer", registry)
    cluster_of_two("other")
    assert {entry["cluster"] for entry in admin.get("/audit?action=cluster").json()["items"]} == {"registry"}
    assert {entry["cluster"] for entry in root.get("/audit?action=cluster").json()["items"]} == {"registry", "other"}
    for wrong in ("0.5", "2026-11-23T04:00:00", "yesterday"):
        assert root.get(f"/audit?until={wrong}").json()["errors"][0]["field"] == "until"
    page = root.get("/audit?limit=1").json()
    assert page["items"][0]["number"] == int(page["next"])
    assert root.get(f"/audit?limit=1&after={page['next']}").json()["items"][0]["number"] == int(page["next"]) - 1
    assert Api(token_of(User.objects.get(username="vic"))).get("/audit").status_code == 403


def test_a_body_is_limited(root, settings):
    settings.API_BODY_BYTES = 1000
    answer = root.post("/clusters", {"name": "x" * 2000, "hosts": [PG1]})
    assert (answer.status_code, kind_of(answer)) == (413, "too-large")


def test_what_is_not_there_is_a_problem_too(root):
    for answer, status in ((root.get("/nonsense"), 404), (root("PUT", "/clusters"), 405)):
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert "GET" in root("PUT", "/clusters")["Allow"]
