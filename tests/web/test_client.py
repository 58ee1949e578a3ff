"""The command-line client against the real API over HTTP: its words, its exit codes, its questions."""

import json
from types import SimpleNamespace

import pytest
from api_world import token_of, user
from click.testing import CliRunner
from cryptography.fernet import Fernet
from django.utils import timezone
from job_world import make_cluster, make_hosts, run
from small_kind import KIND

from client import panel
from client.commands import cli
from clusters.models import NodeState
from jobs import planning, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cluster(settings, monkeypatch, tmp_path):
    settings.HEARTBEAT_SECONDS = 0.1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(services.tasks, "enqueue", lambda _job_id: None)
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda job_id: planning.make_plan(Job.objects.get(pk=job_id)))
    monkeypatch.setattr(panel, "WAIT_SECONDS", 0.01)
    made, hosts = make_cluster(), make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    for node, role in zip(made.nodes.order_by("name"), ("primary", "standby"), strict=True):
        sample = {"is_the_primary": role == "primary", "state": "primary" if role == "primary" else "streaming"}
        NodeState.objects.update_or_create(
            node=node, defaults={"role": role, "seen_at": timezone.now(), "is_reachable": True, "is_writable": role == "primary",
                                 "sample": sample},
        )  # fmt: skip
    return made


@pytest.fixture
def ask(cluster, live_server, tmp_path):
    """The client as an operator of the cluster."""
    token = token_of(user("ana", "operator", cluster))

    def asked(*words, token=token, url=live_server.url, **more):
        where = {"PGPANEL_URL": url, "PGPANEL_TOKEN": token, "PGPANEL_CONFIG": str(tmp_path / "none")}
        done = CliRunner().invoke(cli, list(words), env=where, **more)
        assert token not in done.output
        return SimpleNamespace(code=done.exit_code, said=done.output, out=done.stdout, json=lambda: json.loads(done.stdout))

    return asked


def small(tmp_path, **more) -> list[str]:
    params = {"nodes": "pg1,pg2", "directory": str(tmp_path)} | more
    return ["small", "registry", *(word for name, value in params.items() for word in ("--set", f"{name}={value}"))]


def test_clusters_nodes_and_kinds_as_tables_and_as_json(ask):
    done = ask("clusters")
    assert (done.code, "registry" in done.said, "pg1" in done.said) == (0, True, True)
    assert [one["name"] for one in ask("clusters", "--json").json()] == ["registry"]
    assert [one["role"] for one in ask("nodes", "registry", "--json").json()] == ["primary", "standby"]
    assert "standby" in ask("nodes", "registry").said
    assert "switchover" in ask("kinds").said
    assert "candidate" in ask("kinds", "switchover").said
    assert ask("kinds", "small", "--json").json()["name"] == "small"
    assert "\x1b[" not in ask("clusters").said


def test_where_the_primary_is_and_exit_code_3_where_none_is_seen(ask):
    assert ask("primary", "registry").said == "pg1.registry.example:5432\n"
    assert ask("primary", "registry", "--replica").said == "pg2.registry.example:5432\n"
    assert ask("primary", "registry", "--json").json() == {"found": ["pg1.registry.example:5432"], "why_not": ""}
    NodeState.objects.update(is_reachable=False)
    done = ask("primary", "registry")
    assert (done.code, done.out, "did not answer" in done.said) == (3, "", True)
    assert ask("primary", "registry", "--json").json()["found"] == []


def test_connection_strings(ask):
    said = ask("connection-strings", "registry", "--form", "jdbc", "--database", "app", "--user", "me").said
    assert said == "jdbc:postgresql://pg1.registry.example:5432,pg2.registry.example:5432/app?user=me&targetServerType=primary\n"
    assert set(ask("connection-strings", "registry", "--json").json()) == {"libpq", "uri", "jdbc", "psycopg"}


def test_a_plan_is_shown_and_started_by_its_hash(ask, tmp_path):
    done = ask("plan", *small(tmp_path))
    job = Job.objects.get()
    assert (done.code, job.status) == (0, "planned")
    assert f"pgpanel start {job.pk} --hash {job.plan_hash}" in done.said
    told = ask("plan", *small(tmp_path), "--json").json()
    newer = Job.objects.latest("pk")
    assert (told["id"], told["hash"]) == (newer.pk, newer.plan_hash)
    wrong = ask("start", str(newer.pk), "--hash", "0" * 64, "--no-follow")
    assert (wrong.code, "no longer the plan" in wrong.said) == (3, True)
    started = ask("start", str(newer.pk), "--hash", newer.plan_hash, "--no-follow", "--json")
    assert (started.code, started.json()["status"]) == (0, "queued")
    assert ask("cancel", str(newer.pk)).said.startswith(f"job {newer.pk} cancelled")
    assert [one["id"] for one in ask("jobs", "--json").json()] == [newer.pk, job.pk]
    assert "cancelled" in ask("jobs", "--cluster", "registry").said


def test_run_asks_first_and_no_means_nothing(ask, tmp_path):
    done = ask("run", *small(tmp_path), input="n\n")
    assert (done.code, "nothing was changed" in done.said) == (6, True)
    assert Job.objects.get().status == "withdrawn"


def test_run_with_yes_starts_and_what_ended_is_told_with_its_exit_code(ask, tmp_path, monkeypatch):
    """The stream itself is a matter of ASGI: tests/lab has it."""
    over = [("status", '{"status": "succeeded"}', None)]
    monkeypatch.setattr("client.following.Panel.events", lambda _panel, _path, _last: iter(over))
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: run(Job.objects.get(pk=job_id)))
    done = ask("run", *small(tmp_path), "--yes")
    assert done.code == 0, done.said
    assert "copied 3 of 3" in done.said
    assert f"job {Job.objects.get().pk} succeeded" in done.said
    (tmp_path / "again" / "pg1").mkdir(parents=True)
    (tmp_path / "again" / "pg1" / "break").touch()
    failed = ask("run", *small(tmp_path, directory=tmp_path / "again"), "--yes", "--json")
    assert (failed.code, failed.json()["status"]) == (1, "failed")


def test_a_refused_plan_says_why_and_exits_with_3(ask, tmp_path):
    done = ask("plan", *small(tmp_path, refuse="true"))
    assert (done.code, "refused" in done.said) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nodes", "nothing"), 3, "No such cluster"), (("follow", "999999"), 3, "No such job"),
        (("plan", "eat", "registry"), 3, "→ One of"),
        (("plan", "small", "registry", "--set", "directory"), 2, "NAME=VALUE"), (("plan", "small"), 2, "Missing argument"),
        (("kinds", "eat"), 2, "switchover"), (("start", "0", "--hash", "x"), 2, "x>=1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_exit_code(ask, words, code, said):
    done = ask(*words)
    assert (done.code, said in done.said) == (code, True), done.said


def test_a_wrong_token_no_panel_and_something_that_is_no_panel(ask, live_server):
    assert ask("clusters", token="pgp_wrong").code == 4
    assert ask("clusters", url="http://127.0.0.1:9").code == 5
    assert ask("clusters", url=f"{live_server.url}/jobs").code == 5


def test_a_viewer_may_look_and_not_start(ask, cluster, tmp_path):
    viewer = token_of(user("vic", "viewer", cluster), "viewer")
    assert ask("nodes", "registry", token=viewer).code == 0
    done = ask("plan", *small(tmp_path), token=viewer)
    assert (done.code, "operator" in done.said) == (3, True)


def test_help_and_completion_need_no_token(tmp_path):
    for words in (["--help"], ["run", "--help"], ["completion", "bash"], ["completion", "zsh"], ["completion", "fish"]):
        done = CliRunner().invoke(
            cli, words, env={"PGPANEL_CONFIG": str(tmp_path / "none"), "PGPANEL_URL": "", "PGPANEL_TOKEN": ""}
        )
        assert (done.exit_code, bool(done.output)) == (0, True)


def completed(live_server, token, monkeypatch, *words) -> list[str]:
    from click.shell_completion import BashComplete

    monkeypatch.setenv("PGPANEL_URL", live_server.url)
    monkeypatch.setenv("PGPANEL_TOKEN", token)
    return [
        item.value for item in BashComplete(cli, {}, "pgpanel", "_PGPANEL_COMPLETE").get_completions(list(words[:-1]), words[-1])
    ]


def test_names_are_completed_from_the_panel(cluster, live_server, tmp_path, monkeypatch):
    for name in ("TRIES", "CONNECT_SECONDS", "ANSWER_SECONDS"):  # completion lowers them in its own process
        monkeypatch.setattr(panel, name, getattr(panel, name))
    token = token_of(user("ana", "operator", cluster))
    complete = lambda *words: completed(live_server, token, monkeypatch, *words)  # noqa: E731
    assert complete("nodes", "re") == ["registry"]
    assert complete("plan", "switch") == ["switchover"]
    assert "candidate=" in complete("plan", "switchover", "registry", "--set", "")
    assert complete("plan", "switchover", "registry", "--set", "candidate=") == ["candidate=pg1", "candidate=pg2"]
    assert complete("promote", "registry", "--candidate", "") == ["pg1", "pg2"]
    monkeypatch.setenv("PGPANEL_TOKEN", "pgp_wrong")
    assert completed(live_server, "pgp_wrong", monkeypatch, "nodes", "re") == []
