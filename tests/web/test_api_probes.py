"""“Who is primary now?” by HTTP: with a token, from a named network without one, and from nowhere else."""

from datetime import timedelta

import pytest
from api_world import Api, token_of, user
from cluster_world import cluster_of_two, person
from django.utils import timezone

from clusters.models import NodeState, Quarantine

pytestmark = pytest.mark.django_db
NODE_PROBES = ("primary", "read-write", "replica", "read-only", "synchronous", "asynchronous", "health")


@pytest.fixture
def cluster():
    found, pg1, pg2 = cluster_of_two()
    seen(pg1, "primary", {"is_the_primary": True, "state": "primary"})
    seen(pg2, "standby", {"state": "streaming", "replay_bytes": 20_000, "sync_state": "async"})
    return found


def seen(node, role, sample, **more):
    values = {"role": role, "seen_at": timezone.now(), "is_reachable": True, "is_writable": role == "primary", "sample": sample}
    NodeState.objects.update_or_create(node=node, defaults=values | more)


@pytest.fixture
def ask(cluster):
    return Api(token_of(user("vic", "viewer", cluster), "viewer")).get


def text(answer) -> tuple[int, str]:
    return answer.status_code, answer.content.decode().strip()


def test_where_the_primary_and_where_standbys_are(ask):
    answer = ask("/clusters/registry/primary")
    assert text(answer) == (200, "10.1.0.1:5432")
    assert answer["Content-Type"].startswith("text/plain")
    assert float(answer["X-Seen-Seconds-Ago"]) < 5
    assert answer["Cache-Control"] == "no-store"
    assert text(ask("/clusters/registry/replica")) == (200, "10.1.0.2:5432")
    assert text(ask("/clusters/registry/replica?lag=1MB"))[0] == 200
    status, why = text(ask("/clusters/registry/replica?lag=16kB"))
    assert (status, "pg2: it is 20000 bytes behind" in why) == (503, True)


@pytest.mark.parametrize(("node", "yes"), [("pg1", {"primary", "read-write", "read-only", "health"}),
                                           ("pg2", {"replica", "read-only", "asynchronous", "health"})])  # fmt: skip
def test_each_node_answers_200_to_what_it_is_and_503_to_the_rest(ask, node, yes):
    codes = {probe: ask(f"/clusters/registry/nodes/{node}/{probe}").status_code for probe in NODE_PROBES}
    assert {probe for probe, code in codes.items() if code == 200} == yes
    assert set(codes.values()) == {200, 503}


def test_what_was_not_seen_lately_is_503_with_the_reason(ask):
    NodeState.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    for path in ("/primary", "/replica", "/nodes/pg1/primary", "/nodes/pg2/health"):
        status, why = text(ask(f"/clusters/registry{path}"))
        assert (status, "counts for nothing" in why) == (503, True)


def test_two_that_both_take_writes_are_no_answer(ask, cluster):
    seen(cluster.nodes.get(name="pg2"), "primary", {"is_the_primary": True, "state": "primary"})
    assert text(ask("/clusters/registry/primary")) == (503, "more than one node takes writes: pg1, pg2")


def test_an_old_primary_under_quarantine_is_none(ask, cluster):
    Quarantine.objects.create(node=cluster.nodes.get(name="pg1"), reason="job 7 promoted pg2")
    assert ask("/clusters/registry/primary").status_code == 503
    assert ask("/clusters/registry/nodes/pg1/primary").status_code == 503


def test_connection_strings_in_each_form(ask):
    lines = dict(line.split("\t") for line in text(ask("/clusters/registry/connection-strings"))[1].splitlines())
    assert set(lines) == {"libpq", "uri", "jdbc", "psycopg"}
    asked = "/clusters/registry/connection-strings?form=jdbc&database=registry&user=app&session=prefer-standby"
    place = "10.1.0.1:5432,10.1.0.2:5432"
    assert text(ask(asked))[1] == f"jdbc:postgresql://{place}/registry?user=app&targetServerType=preferSecondary"


@pytest.mark.parametrize("query", ["user=a%20b", "database=x'%3B", "user=-h", "form=odbc", "session=any"])
def test_nothing_strange_gets_into_a_connection_string(ask, query):
    assert ask(f"/clusters/registry/connection-strings?{query}").status_code == 422


@pytest.mark.parametrize("lag", ["-1", "much", "1PB", "1e9", "1 MB", "0x10", "9" * 13])
def test_a_limit_that_is_none_is_said(ask, lag):
    assert ask(f"/clusters/registry/replica?lag={lag}").status_code == 422


def test_without_a_token_only_from_the_clusters_own_networks(cluster):
    nobody = Api()
    assert nobody.get("/clusters/registry/primary").status_code == 401
    cluster.probe_networks = ["10.30.0.0/24", "127.0.0.0/8"]
    cluster.save()
    assert nobody.get("/clusters/registry/primary").status_code == 200
    assert nobody.get("/clusters/registry/nodes/pg2/replica").status_code == 200
    cluster.probe_networks = ["10.30.0.0/24"]
    cluster.save()
    assert nobody.get("/clusters/registry/primary").status_code == 401


def test_a_named_network_opens_these_questions_of_that_cluster_and_nothing_else(cluster):
    other, *_nodes = cluster_of_two("other")
    cluster.probe_networks = ["0.0.0.0/0"]
    cluster.save()
    nobody = Api()
    for path in ("/clusters", "/clusters/registry", "/clusters/registry/nodes", "/clusters/registry/nodes/pg1", "/jobs",
                 "/clusters/other/primary", "/clusters/other/nodes/pg1/health", "/clusters/nothing/primary"):  # fmt: skip
        assert nobody.get(path).status_code == 401, path
    assert nobody.get("/clusters/registry/nodes/pg9/health").status_code == 404
    assert other.probe_networks == []


def test_a_wrong_token_is_refused_even_from_there(cluster):
    cluster.probe_networks = ["0.0.0.0/0"]
    cluster.save()
    assert Api("pgp_wrong").get("/clusters/registry/primary").status_code == 401


def test_a_cluster_that_one_may_not_see_is_not_there(cluster):
    stranger = Api(token_of(user("eve"), "viewer"))
    assert stranger.get("/clusters/registry/primary").status_code == 404
    assert stranger.get("/clusters/registry/nodes/pg1/primary").status_code == 404


def test_the_networks_are_named_on_the_clusters_page(cluster, client):
    client.force_login(person("adm", "administrator"))
    sent = {"name": "registry", "description": "", "sample_interval_seconds": "1"}
    client.post("/c/registry/edit/", sent | {"probe_networks": "10.20.0.5, 10.30.0.0/24"})
    cluster.refresh_from_db()
    assert cluster.probe_networks == ["10.20.0.5/32", "10.30.0.0/24"]
    assert "10.20.0.5/32, 10.30.0.0/24" in client.get("/c/registry/edit/").content.decode()
    page = client.post("/c/registry/edit/", sent | {"probe_networks": "everywhere"}).content.decode()
    assert "write a network as" in page
    cluster.refresh_from_db()
    assert cluster.probe_networks == ["10.20.0.5/32", "10.30.0.0/24"]
