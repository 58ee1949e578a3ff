"""The end of a server's log: found where it is, bounded, secrets hidden; by page and API, for operators."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_world import person
from django.test import Client
from django.urls import reverse

from clusters.credentials import role_password_keep
from clusters.models import Cluster, Credential, Node
from monitor import log_tail
from monitor.models import LogTail
from remote.command import Secret
from remote.layouts import DEBIAN
from remote.result import Result

pytestmark = pytest.mark.django_db


@pytest.fixture
def node() -> Node:
    cluster = Cluster.objects.create(name="registry")
    credential = Credential.objects.create(kind="ssh-key", label="key", cluster=cluster, sealed="-")
    return Node.objects.create(cluster=cluster, credential=credential, name="pg1", ssh_host="10.0.0.1", node_address="10.0.0.1")


@pytest.fixture
def page(node: Node) -> str:
    return reverse("monitor:node_log", args=["registry", "pg1"])


def operator(node: Node) -> Client:
    client = Client()
    client.force_login(person("ada", "operator", node.cluster))
    return client


def run_here(data: Path, log_file: str = "/nowhere.log") -> subprocess.CompletedProcess[str]:
    paths = replace(DEBIAN.paths("15"), data_directory=str(data), log_file=log_file, service="")
    return subprocess.run(log_tail.command(paths).argv, capture_output=True, text=True, check=False)


def test_the_file_that_the_server_itself_names_is_read(tmp_path: Path) -> None:
    data = tmp_path / "it's data"
    (data / "log").mkdir(parents=True)
    (data / "log" / "other.log").write_text("another\n")
    (data / "log" / "postgresql of today.log").write_text("".join(f"line {number}\n" for number in range(500)))
    (data / "current_logfiles").write_text("stderr log/postgresql of today.log\n")
    said = run_here(data).stdout.splitlines()
    assert said[0] == f"{data}/log/postgresql of today.log"
    assert (said[1], said[-1], len(said)) == ("line 300", "line 499", 1 + log_tail.LINES)


def test_else_the_newest_file_of_the_collector_or_the_layout_s_and_none_is_said(tmp_path: Path) -> None:
    plain = tmp_path / "server.log"
    plain.write_text("of the layout\n")
    assert run_here(tmp_path, str(plain)).stdout == f"{plain}\nof the layout\n"
    (tmp_path / "pg_log").mkdir()
    (tmp_path / "pg_log" / "a.log").write_text("of the collector\n")
    assert run_here(tmp_path, str(plain)).stdout == f"{tmp_path}/pg_log/a.log\nof the collector\n"
    refused = run_here(tmp_path / "away")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "no log that" in refused.stderr


def test_an_endless_line_is_bounded(tmp_path: Path) -> None:
    plain = tmp_path / "server.log"
    plain.write_text("x" * 1_000_000)
    assert len(run_here(tmp_path, str(plain)).stdout) <= log_tail.MOST_BYTES + 300


def test_secrets_are_hidden_and_nothing_draws_over_the_page() -> None:
    text = (
        "STATEMENT:  ALTER ROLE a PASSWORD 'hunter2-hunter2'\n"
        "conninfo host=pg1 password=topsecret1 user=x\n"
        "\x1b[31mred known-secret-value\n"
    )
    shown = log_tail.hidden(text, [Secret("replication password", "known-secret-value")])
    assert "hunter2" not in shown
    assert "topsecret1" not in shown
    assert "known-secret-value" not in shown
    assert "\x1b" not in shown
    assert shown.count("\n") == 2


class FakeHost:
    def __init__(self, result: Result) -> None:
        self.result = result

    def __call__(self, *_args: object, **_more: object) -> FakeHost:
        return self

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def run(self, *_args: object, **_more: object) -> Result:
        return self.result


@pytest.fixture
def read(monkeypatch, node: Node):
    """What the host answers, read at once."""

    def reads(result: Result) -> None:
        monkeypatch.setattr(log_tail, "Host", FakeHost(result))
        monkeypatch.setattr(log_tail, "access_of", lambda _node: None)
        monkeypatch.setattr("monitor.tasks.read_log.delay", log_tail.read)

    return reads


def test_an_operator_has_it_read_and_sees_it_with_the_panel_s_own_passwords_hidden(
    node: Node, page: str, read, django_capture_on_commit_callbacks
) -> None:
    role_password_keep(node.cluster, "monitoring", "pgpanel_monitor", "the-panels-own-password")
    read(Result(0, "/var/log/x.log\nFATAL: the-panels-own-password refused\n<script>\n", "", 0.1))
    client = operator(node)
    assert "Nobody has read it yet" in client.get(page).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(page).status_code == 302
    shown = client.get(page).content.decode()
    assert "/var/log/x.log" in shown
    assert "the-panels-own-password" not in shown
    assert "&lt;script&gt;" in shown


def test_while_a_worker_reads_the_page_asks_again_and_a_second_click_starts_nothing(node: Node, page: str, monkeypatch) -> None:
    client = operator(node)
    client.post(page)
    asked = LogTail.objects.get().asked_at
    client.post(page)
    assert LogTail.objects.get().asked_at == asked
    assert 'hx-trigger="every 1s"' in client.get(page + "?part=tail").content.decode()


def test_a_host_that_has_no_readable_log_is_said(node: Node, page: str, read) -> None:
    read(Result(3, "", "no log that postgres may read: looked for /x.log\n", 0.1))
    log_tail.ask(node)
    log_tail.read(node.pk)
    client = operator(node)
    assert "no log that postgres may read" in client.get(page).content.decode()
