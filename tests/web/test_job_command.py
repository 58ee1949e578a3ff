"""`manage.py job …` over hosts that are directories of this machine."""

from __future__ import annotations

import io
import json

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from job_world import make_cluster, make_hosts, plan, start
from small_kind import KIND

from accounts.models import User
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


@pytest.fixture(autouse=True)
def cluster(small_kind_without_a_broker, monkeypatch, tmp_path):
    cluster = make_cluster()
    hosts = make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    return cluster


def job(*words: str) -> str:
    out = io.StringIO()
    call_command("job", *words, stdout=out, stderr=out)
    return out.getvalue()


def settings_of(tmp_path) -> list[str]:
    return ["small", "--cluster", "registry", "--set", "nodes=pg1,pg2", "--set", f"directory={tmp_path}"]


def test_run_plans_prints_starts_and_follows_to_the_end(tmp_path):
    said = job("run", *settings_of(tmp_path), "--yes", "--here")
    for text in (
        "ok      pg1",
        "1. pg1: Make the directory",
        "destroys: ",
        "+password is <small password>",
        "copied 3 of 3",
        "done",
    ):
        assert text in said, text
    assert Job.objects.get().status == "succeeded"


def test_run_asks_and_changes_nothing_without_a_yes(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    with pytest.raises(CommandError, match="nothing was changed"):
        job("run", *settings_of(tmp_path), "--here")
    assert Job.objects.get().status == "withdrawn"
    assert not (tmp_path / "pg1").exists()


def test_run_as_json_is_one_document(tmp_path):
    told = json.loads(job("run", *settings_of(tmp_path), "--yes", "--here", "--json"))
    assert (told["status"], [step["status"] for step in told["steps"]]) == ("succeeded", ["done"] * 8)
    assert told["seconds"] > 0


def test_a_job_that_fails_is_an_error_of_the_command(tmp_path):
    (tmp_path / "pg1").mkdir()
    (tmp_path / "pg1/break").touch()
    with pytest.raises(CommandError, match=r"job \d+ failed"):
        job("run", *settings_of(tmp_path), "--yes", "--here")
    (tmp_path / "pg1/break").unlink()
    failed = Job.objects.get()
    assert "no space left on device" in job("show", str(failed.pk))
    assert "copied 3 of 3" in job("resume", str(failed.pk), "--here")


def test_plan_then_start_by_the_beginning_of_its_hash(tmp_path):
    ana = User.objects.create_user("ana")
    told = json.loads(job("plan", *settings_of(tmp_path), "--json", "--as", "ana"))
    with pytest.raises(CommandError, match="no longer the plan"):
        job("start", str(told["id"]), "--hash", "0123456789abcdef", "--here")
    job("start", str(told["id"]), "--hash", told["plan_hash"][:12], "--here", "--as", "ana")
    started = Job.objects.get()
    assert (started.status, started.planned_by, started.started_by) == ("succeeded", ana, ana)
    assert started.started_from.startswith("command line of ")


def test_a_refused_plan_prints_the_mend_and_is_an_error(tmp_path, capsys):
    out = io.StringIO()
    with pytest.raises(CommandError, match="refused"):
        call_command("job", "plan", *settings_of(tmp_path), "--set", "refuse=true", stdout=out)
    assert "REFUSED pg1      The mood is good: it is not" in out.getvalue()
    assert "→ echo :-)" in out.getvalue()


def test_a_single_name_is_enough_where_a_list_is_wanted(tmp_path, monkeypatch):
    class Strict(type(KIND)):
        def params(self, data):
            if isinstance(data.get("nodes"), str):
                from jobs.recipe import ParamsError

                raise ParamsError("nodes", "is not a list of names")
            return super().params(data)

    monkeypatch.setitem(KINDS, "small", Strict())
    job("plan", "small", "--cluster", "registry", "--set", "nodes=pg1", "--set", f"directory={tmp_path}")
    assert Job.objects.get().params["nodes"] == ["pg1"]


def test_wrong_words_say_what_is_known(tmp_path):
    for words, said in (
        (["plan", "small", "--cluster", "nowhere"], "known: registry"),
        (["plan", "large", "--cluster", "registry"], "small"),
        (["plan", "small", "--cluster", "registry", "--set", "oops"], "NAME=VALUE"),
        (["show", "99"], "no job 99"),
        (["cancel", "99", "--as", "nobody"], "nobody is called 'nobody'"),
    ):
        with pytest.raises(CommandError, match=said):
            job(*words)


def test_lists_and_cancel(cluster, tmp_path):
    queued = start(plan(cluster, tmp_path))
    assert "small            A small job" in job("kinds")
    assert "Small job on pg1, pg2" in job("list")
    assert job("list", "--cluster", "elsewhere") == ""
    assert f"job {queued.pk} is cancelled" in job("cancel", str(queued.pk))
