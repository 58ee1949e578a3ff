"""A fence command is set by whoever is administrator over all, tested by an operator, and its secret is never shown."""

from __future__ import annotations

import re
import sys

import pytest
from cryptography.fernet import Fernet
from operation_world import three

from accounts.models import User
from clusters import fencing
from clusters.models import Credential, Grant, Node

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/c/registry/n/pg1/fence/"
SECRET = "s3cret-Kaffee"


@pytest.fixture
def cluster(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr("clusters.tasks.test_fence.delay", lambda node_id: None)
    return three()


def person(client, cluster, role: str, *, over_all: bool = False) -> None:
    user = User.objects.create_user(role)
    Grant.objects.create(user=user, cluster=None if over_all else cluster, role=role)
    client.force_login(user)


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_an_administrator_of_one_cluster_may_not_run_commands_on_the_panel_s_machine(client, cluster):
    person(client, cluster, "administrator")
    assert "only an administrator over all clusters may set it" in text_of(client.get(PAGE))
    assert client.post(PAGE, {"command": "/bin/true"}).status_code == 403
    assert Node.objects.get(name="pg1").fence_command == ""


def test_it_is_set_with_its_secret_which_no_page_shows_again(client, cluster):
    person(client, cluster, "administrator", over_all=True)
    client.post(PAGE, {"command": "/bin/ipmi off", "test_command": "/bin/ipmi status", "secret": SECRET})
    node = Node.objects.get(name="pg1")
    assert (node.fence_command, node.fence_test_command) == ("/bin/ipmi off", "/bin/ipmi status")
    assert SECRET not in client.get(PAGE).content.decode()
    assert SECRET not in client.get("/c/registry/credentials/").content.decode()
    client.post(PAGE, {"command": "/bin/ipmi off", "test_command": "", "is_forgotten": "on"})
    assert not Credential.objects.filter(kind=Credential.Kind.FENCE).exists()


@pytest.mark.parametrize(
    ("command", "said"), [("ipmitool off", "Begin with the whole path"), ("/bin/x 'open", "cannot be taken apart into words")]
)
def test_what_is_no_command_is_refused_with_its_reason(client, cluster, command, said):
    person(client, cluster, "administrator", over_all=True)
    assert said in text_of(client.post(PAGE, {"command": command}))
    assert Node.objects.get(name="pg1").fence_command == ""


def test_an_operator_tests_it_and_reads_what_it_said(client, cluster):
    person(client, cluster, "operator")
    node = Node.objects.get(name="pg1")
    fencing.fence_set(node, f"{sys.executable} -c 'exit(0)'", f"{sys.executable} -c 'print(\"Chassis Power is on\")'")
    assert "never tested" in text_of(client.get(PAGE))
    client.post(f"{PAGE}test/")
    assert "being tested" in text_of(client.get(PAGE))
    fencing.fence_test(node)
    page = text_of(client.get(PAGE))
    assert "answers" in page
    assert "Chassis Power is on" in page


def test_a_viewer_neither_sets_nor_tests_it(client, cluster):
    person(client, cluster, "viewer")
    assert client.post(f"{PAGE}test/").status_code == 403
