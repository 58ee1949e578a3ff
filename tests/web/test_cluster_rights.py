"""Who may see and do what on the clusters' pages: URLs × roles."""

import pytest
from cluster_world import HOST_KEYS, cluster_of_two, facts_of, pair, person, postgres

from clusters import services, tasks
from clusters.models import Cluster, Node
from clusters.rights import clusters_for, may
from jobs.models import Job
from remote.facts import Control, Unreachable

pytestmark = pytest.mark.django_db

# page, method → what a viewer, an operator, an administrator of the cluster get; a stranger always gets 404
PAGES = [
    ("/c/registry/", "get", 200, 200, 200),
    ("/c/registry/n/pg1/", "get", 200, 200, 200),
    ("/c/registry/n/pg1/look/", "post", 403, 302, 302),
    ("/c/registry/edit/", "get", 403, 403, 200),
    ("/c/registry/remove/", "get", 403, 403, 200),
    ("/c/registry/credentials/", "get", 403, 403, 200),
    ("/c/registry/n/pg1/edit/", "get", 403, 403, 200),
    ("/c/registry/n/pg1/remove/", "get", 403, 403, 200),
    ("/c/registry/add/", "get", 403, 403, 302),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0])
def test_each_role_gets_what_it_may_and_a_stranger_sees_no_cluster(client, page):
    url, method, *answers = page
    cluster, *_nodes = cluster_of_two()
    expected = dict(zip(("viewer", "operator", "administrator", ""), [*answers, 404], strict=True))
    got = {}
    for role in expected:
        client.force_login(person(f"p-{role}", role, cluster))
        got[role] = getattr(client, method)(url).status_code
    assert got == expected


@pytest.mark.parametrize("url", ["/", "/new/", "/import/", "/people/", "/c/registry/", "/c/registry/n/pg1/"])
def test_without_a_login_every_page_asks_for_one(client, url):
    cluster_of_two()
    answer = client.get(url)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("url", ["/new/", "/import/", "/people/"])
def test_only_an_administrator_over_all_makes_clusters_and_people(client, url):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("one", "administrator", cluster))
    assert client.get(url).status_code == 403
    client.force_login(person("all", "administrator", None))
    assert client.get(url).status_code in (200, 302)


def test_a_role_on_one_cluster_does_not_count_on_another():
    cluster, *_nodes = cluster_of_two()
    other = Cluster.objects.create(name="other")
    user = person("op", "operator", cluster)
    assert may(user, "operator", cluster)
    assert may(user, "viewer", cluster)
    assert not may(user, "administrator", cluster)
    assert not may(user, "viewer", other)
    assert not may(user, "viewer", None)
    assert list(clusters_for(user)) == [cluster]


def test_somebody_shut_out_may_nothing_even_as_superuser():
    cluster, *_nodes = cluster_of_two()
    user = person("root", is_superuser=True)
    assert may(user, "administrator", cluster)
    user.is_active = False
    assert not may(user, "viewer", cluster)


def test_the_fleet_shows_only_what_one_may_see(client):
    cluster, *_nodes = cluster_of_two()
    Cluster.objects.create(name="elsewhere")
    client.force_login(person("viewer", "viewer", cluster))
    page = client.get("/").content.decode()
    assert "registry" in page
    assert "elsewhere" not in page


def test_a_draft_belongs_to_who_began_it(client):
    client.force_login(person("a", "administrator"))
    there = client.get("/new/")["Location"]
    assert client.get(there).status_code == 200
    client.force_login(person("b", "administrator"))
    assert client.get(there).status_code == 404


def test_removing_asks_for_the_name_and_says_what_stays(client):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("a", "administrator", cluster))
    page = client.get("/c/registry/remove/").content.decode()
    assert "pgpanel_replication" in page
    assert "pg_drop_replication_slot(&#x27;pgpanel_pg2&#x27;)" in page
    client.post("/c/registry/remove/", {"name": "registri"})
    assert Cluster.objects.filter(name="registry").exists()
    client.post("/c/registry/remove/", {"name": "registry"})
    assert not Cluster.objects.filter(name="registry").exists()


def test_a_node_is_removed_by_its_name_with_the_credentials_that_only_it_used(client):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("a", "administrator", cluster))
    client.post("/c/registry/n/pg2/remove/", {"name": "pg2"})
    assert [node.name for node in cluster.nodes.all()] == ["pg1"]
    assert cluster.credentials.count() == 1  # pg1 still uses the login key


def test_another_ssh_address_must_show_its_host_key_again(client):
    cluster, first, _second = cluster_of_two()
    Node.objects.filter(pk=first.pk).update(host_key="ssh-ed25519 AAAA")
    client.force_login(person("a", "administrator", cluster))
    form = {
        "name": "pg1", "ssh_host": "10.0.0.9", "ssh_port": 22, "ssh_user": "root", "node_address": "10.1.0.1",
        "postgres_port": 5432,
        "jump_port": 22, "layout": "debian",
    }  # fmt: skip
    assert client.post("/c/registry/n/pg1/edit/", form).status_code == 302
    first.refresh_from_db()
    assert (first.ssh_host, first.host_key) == ("10.0.0.9", "")


def test_a_new_host_key_is_accepted_on_the_nodes_page_by_the_fingerprint_that_was_read(client, monkeypatch):
    cluster, first, _second = cluster_of_two()
    hosts = pair()
    monkeypatch.setattr(tasks, "look_at", hosts)
    monkeypatch.setattr(tasks, "start_look_at_node", lambda node: tasks.look_at_node(node.pk))
    client.force_login(person("a", "administrator", cluster))
    client.post("/c/registry/n/pg1/look/")
    key = HOST_KEYS["10.0.0.1"]
    page = client.get("/c/registry/n/pg1/").content.decode()
    assert key.fingerprint in page
    assert "which nobody has accepted yet" in page
    answer = client.post("/c/registry/n/pg1/accept/", {"fingerprint": "SHA256:another"}, follow=True)
    assert "another key than the one you accepted" in answer.content.decode()
    client.post("/c/registry/n/pg1/accept/", {"fingerprint": key.fingerprint})
    first.refresh_from_db()
    assert first.host_key == key.line
    assert first.state.role == "primary"
    assert "which nobody has accepted yet" not in client.get("/c/registry/n/pg1/").content.decode()


def test_an_operator_may_look_but_not_accept_a_host_key(client):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("op", "operator", cluster))
    assert client.post("/c/registry/n/pg1/accept/", {"fingerprint": "x"}).status_code == 403


def test_a_reinstalled_hosts_key_is_forgotten_only_when_asked_for(client):
    cluster, first, _second = cluster_of_two()
    Node.objects.filter(pk=first.pk).update(host_key="ssh-ed25519 AAAA")
    client.force_login(person("a", "administrator", cluster))
    form = {
        "name": "pg1", "ssh_host": "10.0.0.1", "ssh_port": 22, "ssh_user": "root", "node_address": "10.1.0.1",
        "postgres_port": 5432, "jump_port": 22, "layout": "debian",
    }  # fmt: skip
    client.post("/c/registry/n/pg1/edit/", form)
    first.refresh_from_db()
    assert first.host_key == "ssh-ed25519 AAAA"
    client.post("/c/registry/n/pg1/edit/", form | {"is_reinstalled": "on"})
    first.refresh_from_db()
    assert first.host_key == ""


def test_an_unreachable_node_keeps_its_facts_and_is_the_worst_problem_of_the_fleet(client):
    cluster, first, second = cluster_of_two()
    services.remember_facts(first, facts_of("h1", postgres()))
    services.remember_facts(second, Unreachable("timeout", "pg2 does not answer", "Look at its network."))
    services.remember_facts(first, Unreachable("timeout", "pg1 does not answer"))
    first.state.refresh_from_db()
    assert (first.state.role, first.state.is_reachable) == ("primary", False)
    assert first.state.facts
    client.force_login(person("v", "viewer", cluster))
    assert "The panel does not reach pg1, pg2." in client.get("/").content.decode()


def test_a_packages_empty_database_cluster_is_not_a_second_primary(client):
    cluster, first, second = cluster_of_two()
    own, other = (Control(identifier, "in production", 1, 1, 1, "0") for identifier in ("77", "88"))
    services.remember_facts(first, facts_of("h1", postgres(control=own)))
    services.remember_facts(second, facts_of("h2", postgres(control=other)))
    cluster.refresh_from_db()
    assert cluster.system_identifier == "77"
    second.state.refresh_from_db()
    assert second.state.role == "unknown"
    second.state.role = "primary"  # as the collector may write it, who asks for nothing but the role
    second.state.save()
    client.force_login(person("o", "operator", cluster))
    page = client.get("/c/registry/").content.decode()
    assert "No replication on pg2 yet." in page
    assert "Set up pg2 as standby of pg1" in page


def test_a_cluster_with_a_running_job_is_not_forgotten(client):
    cluster, *_nodes = cluster_of_two()
    Job.objects.create(cluster=cluster, kind="setup", status=Job.Status.RUNNING)
    client.force_login(person("a", "administrator", cluster))
    assert "A job runs on this cluster" in client.post("/c/registry/remove/", {"name": "registry"}).content.decode()
    client.post("/c/registry/n/pg2/remove/", {"name": "pg2"})
    assert Cluster.objects.get().nodes.count() == 2
