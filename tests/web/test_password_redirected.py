"""A kept SSH password goes to the hosts that it was typed for: whoever names another address types it again."""

from __future__ import annotations

import pytest
from api_world import Api, token_of
from cluster_world import HOST_KEYS, person
from cryptography.fernet import Fernet

from clusters import credentials, services, tasks
from clusters.models import Draft, Node

pytestmark = pytest.mark.django_db
PASSWORD = "korrekt-Pferd-42"


@pytest.fixture(autouse=True)
def world(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr(tasks, "start_look_at_draft", lambda draft: None)


@pytest.fixture
def node() -> Node:
    cluster = services.cluster_create("registry")
    kept = credentials.password_keep(PASSWORD, "login password", "root", cluster)
    services.node_create(cluster, kept, "pg2", "10.0.0.2", postgres_major="15")
    return services.node_create(cluster, kept, "pg1", "10.0.0.1", postgres_major="15")


@pytest.fixture
def eve(node):
    return person("eve", "administrator", node.cluster)


def as_typed(node: Node, **changed) -> dict:
    names = (
        "name",
        "ssh_host",
        "ssh_port",
        "ssh_user",
        "node_address",
        "postgres_port",
        "jump_host",
        "jump_port",
        "jump_user",
        "layout",
    )
    return {name: getattr(node, name) for name in names} | changed


def login_of(node: Node) -> tuple[str, str]:
    found = Node.objects.get(pk=node.pk)
    access = services.access_of(found)
    return access.host, access.password.value


MOVES = [{"ssh_host": "10.6.6.6"}, {"ssh_port": 2222}, {"jump_host": "10.6.6.6"}]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: next(iter(move)))
def test_on_the_page_another_address_needs_the_password_typed(client, node, eve, move):
    client.force_login(eve)
    page = client.post("/c/registry/n/pg1/edit/", as_typed(node, **move))
    assert page.status_code == 200
    assert "The address changes: type the password for it." in page.content.decode()
    assert PASSWORD not in page.content.decode()
    assert login_of(node) == ("10.0.0.1", PASSWORD)
    assert client.post("/c/registry/n/pg1/edit/", as_typed(node, **move, password="another")).status_code == 302
    assert login_of(node)[1] == "another"
    assert login_of(Node.objects.get(name="pg2")) == ("10.0.0.2", PASSWORD)


def test_what_is_no_address_is_changed_without_it(client, node, eve):
    client.force_login(eve)
    assert client.post("/c/registry/n/pg1/edit/", as_typed(node, postgres_port=5433)).status_code == 302
    assert login_of(node) == ("10.0.0.1", PASSWORD)


def test_by_the_api_too(node, eve):
    api = Api(token_of(eve))
    for move in MOVES:
        answer = api("PATCH", "/clusters/registry/nodes/pg1", move)
        assert (answer.status_code, [fault["field"] for fault in answer.json()["errors"]]) == (422, ["password"])
    assert login_of(node) == ("10.0.0.1", PASSWORD)
    answer = api("PATCH", "/clusters/registry/nodes/pg1", MOVES[0] | {"password": "another"})
    assert answer.status_code == 200
    assert "another" not in answer.content.decode()
    assert login_of(node) == ("10.6.6.6", "another")


def test_a_new_node_by_the_api_gets_the_password_that_is_typed_for_it_and_not_the_kept_one(node, eve):
    body = {"name": "pg3", "ssh_host": "10.6.6.6", "host_key": HOST_KEYS["10.0.0.1"].fingerprint}
    for more in ({}, {"credential": node.credential_id}):
        answer = Api(token_of(eve)).post("/clusters/registry/nodes", body | more)
        assert (answer.status_code, [fault["field"] for fault in answer.json()["errors"]]) == (422, ["password"])
    assert not Draft.objects.exists()
    assert Api(token_of(eve)).post("/clusters/registry/nodes", body | {"password": "another"}).status_code == 202
    assert credentials.secret_of(Draft.objects.get().typed).value == "another"


def test_a_node_that_is_reached_by_a_key_is_asked_for_none(client, node, eve):
    Node.objects.filter(pk=node.pk).update(credential=credentials.key_make("login", node.cluster))
    client.force_login(eve)
    assert "SSH password" not in client.get("/c/registry/n/pg1/edit/").content.decode()
    assert client.post("/c/registry/n/pg1/edit/", as_typed(node, ssh_host="10.6.6.6")).status_code == 302
