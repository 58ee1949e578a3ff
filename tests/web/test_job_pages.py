"""Pages of jobs, read and confirmed without JavaScript."""

from __future__ import annotations

import re

import pytest
from cryptography.fernet import Fernet
from django.urls import reverse
from job_world import make_cluster, make_hosts, plan, run, start
from small_kind import KIND, PASSWORD

from accounts.models import User
from clusters.models import Grant, NodeState
from jobs import forms, planning, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


class SmallForm(forms.JobForm):
    directory = forms.forms.CharField(label="Directory", required=False)

    def params(self):
        return {"nodes": self.node_names, "directory": self.cleaned_data["directory"]}


@pytest.fixture(autouse=True)
def small_kind_without_a_broker(settings, monkeypatch):
    settings.HEARTBEAT_SECONDS = 0.1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setitem(forms.FORMS, "small", SmallForm)
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


def person(cluster, name: str, role: str) -> User:
    user = User.objects.create_user(name)
    Grant.objects.create(user=user, cluster=cluster, role=role)
    return user


@pytest.fixture
def ana(cluster, client) -> User:
    user = person(cluster, "ana", "operator")
    client.force_login(user)
    return user


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def no_inline_code(response) -> None:
    html = response.content.decode()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<script>|javascript:", html)


def test_settings_lead_to_a_plan_that_is_being_made(client, cluster, ana, tmp_path):
    response = client.get("/jobs/new/small/?cluster=registry")
    assert "Look at the hosts and make the plan" in text_of(response)
    no_inline_code(response)
    response = client.post("/jobs/new/small/?cluster=registry", {"directory": str(tmp_path)})
    job = Job.objects.get()
    assert response.url == f"/jobs/{job.pk}/plan/"
    assert (job.planned_by, job.started_from) == (ana, "127.0.0.1")
    page = client.get(response.url)
    assert "Looking at the hosts. Nothing is changed." in text_of(page)
    planning.make_plan(job)
    part = client.get(response.url, headers={"HX-Request": "true"})
    assert "What will happen, in this order" in text_of(part)
    assert b"<html" not in part.content


def test_a_wrong_setting_names_its_field_and_what_mends_it(client, cluster, ana):
    response = client.post("/jobs/new/small/?cluster=registry", {"directory": ""})
    assert response.status_code == 422
    assert "Is missing: name one" in text_of(response)
    assert not Job.objects.exists()


def test_the_plan_shows_checks_commands_differences_and_what_is_destroyed(client, cluster, ana, tmp_path):
    job = plan(cluster, tmp_path, by=ana)
    response = client.get(f"/jobs/{job.pk}/plan/")
    text = text_of(response)
    for said in (
        "The host answers",
        "mkdir -p",
        "+password is &lt;small password&gt;",
        "pg1/copied",
        "Nothing restarts.",
        job.plan_hash[:12],
    ):
        assert said in text, said
    assert PASSWORD.value not in response.content.decode()
    assert '<button type="submit" class="btn btn-primary">Small job on pg1, pg2</button>' in response.content.decode()
    no_inline_code(response)


def test_a_refused_plan_says_why_and_what_to_paste_and_offers_no_start(client, cluster, ana, tmp_path):
    job = plan(cluster, tmp_path, refuse=True)
    response = client.get(f"/jobs/{job.pk}/plan/")
    assert "Not possible as things are" in text_of(response)
    assert "it is not smile" in text_of(response)
    assert "echo :-)" in text_of(response)
    assert f"/jobs/{job.pk}/start/" not in response.content.decode()


def test_a_confirmed_plan_starts_and_the_job_is_shown(client, cluster, ana, tmp_path):
    job = plan(cluster, tmp_path, by=ana)
    response = client.post(f"/jobs/{job.pk}/start/", {"hash": job.plan_hash}, follow=True)
    assert response.redirect_chain[-1][0] == f"/jobs/{job.pk}/"
    assert "Waiting for a worker to take it." in text_of(response)
    assert f'data-live-topics="job:{job.pk}" data-live-after="0"' in response.content.decode()
    run(job)
    response = client.get(f"/jobs/{job.pk}/")
    for said in ("succeeded", "Done: Small job", "copied 3 of 3", "the secret is &lt;small password&gt;", "ana from 127.0.0.1"):
        assert said in text_of(response), said
    no_inline_code(response)
    assert "Copy slowly" in text_of(client.get(f"/jobs/{job.pk}/?part=steps", headers={"HX-Request": "true"}))


def test_the_wizard_is_done_when_its_job_succeeded(client, cluster, ana, tmp_path, monkeypatch):
    job = plan(cluster, tmp_path, by=ana)
    services.job_start(job, job.plan_hash, ana, "a test")
    Job.objects.filter(pk=job.pk).update(kind="setup")

    def bar() -> str:
        return client.get(f"/jobs/{job.pk}/?part=wizard", headers={"HX-Request": "true"}).content.decode()

    assert bar().count("is-done") == 4
    Job.objects.filter(pk=job.pk).update(status=Job.Status.SUCCEEDED)
    assert bar().count("is-done") == 5


def test_a_second_start_is_a_conflict_that_names_job_and_person(client, cluster, ana, tmp_path):
    first, second = plan(cluster, tmp_path), plan(cluster, tmp_path, by=ana)
    start(first, by=person(cluster, "ben", "operator"))
    response = client.post(f"/jobs/{second.pk}/start/", {"hash": second.plan_hash})
    assert response.status_code == 409
    assert f"job {first.pk}, “Small job on pg1, pg2”, started by ben, is queued" in text_of(response)
    assert f"/jobs/{first.pk}/" in response.content.decode()


def test_a_start_with_another_hash_is_a_conflict(client, cluster, ana, tmp_path):
    job = plan(cluster, tmp_path)
    response = client.post(f"/jobs/{job.pk}/start/", {"hash": "f" * 64})
    assert (response.status_code, "no longer the plan that you read" in text_of(response)) == (409, True)


def test_broker_away_is_said_and_the_job_stays_queued(client, cluster, ana, tmp_path, monkeypatch):
    def away(job_id):
        raise services.OperationalError("connection refused")

    monkeypatch.setattr(services.tasks, "enqueue", away)
    job = plan(cluster, tmp_path)
    response = client.post(f"/jobs/{job.pk}/start/", {"hash": job.plan_hash}, follow=True)
    assert "no worker could be told: Redis does not answer" in text_of(response)
    assert Job.objects.get(pk=job.pk).status == "queued"


def test_cancel_and_resume_by_their_buttons(client, cluster, ana, tmp_path):
    job = start(plan(cluster, tmp_path))
    assert "Stop: Small job on pg1, pg2" in text_of(client.get(f"/jobs/{job.pk}/"))
    response = client.post(f"/jobs/{job.pk}/cancel/", follow=True)
    assert "Cancelled by ana before it began." in text_of(response)
    assert "Resume from the step that is not done" in text_of(response)
    client.post(f"/jobs/{job.pk}/resume/")
    assert run(job).status == "succeeded"
    assert client.post(f"/jobs/{job.pk}/resume/").status_code == 409


def test_a_viewer_reads_all_and_changes_nothing(client, cluster, tmp_path):
    client.force_login(person(cluster, "vera", "viewer"))
    job = plan(cluster, tmp_path)
    assert "the role “operator” is needed" in text_of(client.get(f"/jobs/{job.pk}/plan/"))
    for url in (f"/jobs/{job.pk}/start/", f"/jobs/{job.pk}/cancel/", f"/jobs/{job.pk}/resume/", f"/jobs/{job.pk}/withdraw/"):
        assert client.post(url, {"hash": job.plan_hash}).status_code == 403
    assert client.get("/jobs/new/small/?cluster=registry").status_code == 403
    start(job)
    assert "Stop:" not in text_of(client.get(f"/jobs/{job.pk}/"))


def test_jobs_of_a_cluster_that_is_not_yours_do_not_exist(client, cluster, tmp_path):
    job = start(plan(cluster, tmp_path))
    client.force_login(User.objects.create_user("stranger"))
    for name in ("detail", "plan", "log", "runbook"):
        assert client.get(reverse(f"jobs:{name}", args=[job.pk])).status_code == 404
    assert "Small job" not in text_of(client.get("/jobs/"))
    assert client.get("/jobs/of/registry/").status_code == 404
    assert client.get("/jobs/99999/").status_code == 404


def test_lists_of_jobs(client, cluster, ana, tmp_path):
    assert "No job has run yet" in text_of(client.get("/jobs/"))
    job = start(plan(cluster, tmp_path), by=ana)
    for url in ("/jobs/", "/jobs/?cluster=registry", "/jobs/of/registry/"):
        assert f'href="/jobs/{job.pk}/"' in client.get(url).content.decode()
    assert b"<html" not in client.get("/jobs/of/registry/").content


def test_the_log_is_downloaded_whole_or_after_a_line(client, cluster, ana, tmp_path):
    job = run(start(plan(cluster, tmp_path)))
    response = client.get(f"/jobs/{job.pk}/log")
    assert response["Content-Disposition"] == f'attachment; filename="job-{job.pk}.txt"'
    text = response.content.decode()
    assert re.search(r"Z pg1 +command \$ .*\n? *mkdir -p", text)
    assert PASSWORD.value not in text
    assert client.get(f"/jobs/{job.pk}/log?after={job.last_seq - 1}").content.decode().count("Z ") == 1


def test_the_runbook_holds_every_command_and_no_secret(client, cluster, ana, tmp_path):
    job = plan(cluster, tmp_path)
    text = client.get(f"/jobs/{job.pk}/runbook.sh").content.decode()
    assert text.startswith("#!/bin/sh\n# Small job on pg1, pg2\n")
    assert "ssh -p 22 root@pg1.registry.example" in text
    assert "<small password>" in text
    assert "#    +password is <small password>" in text
    assert PASSWORD.value not in text


def test_settings_of_setup_begin_with_what_was_seen_and_come_back_as_they_were(client, cluster, ana, monkeypatch):
    class FakeSetup:
        label = "Set up replication"
        name = "setup"

        def params(self, data):
            return data

        def title(self, params):
            return f"Set up {', '.join(params['standbys'])} from {params['primary']}"

    monkeypatch.setitem(KINDS, "setup", FakeSetup())
    NodeState.objects.filter(node__name="pg2").update(role="primary")
    page = client.get("/jobs/new/setup/?cluster=registry").content.decode()
    assert '<option value="pg2" selected>' in page
    values = {"primary": "pg2", "standbys": ["pg1"], "method": "rsync", "retention": "slots", "keep_megabytes": "4096",
              "archive_hold_megabytes": "512", "replication_role": "repl", "monitoring_role": "mon",
              "panel_addresses": "10.0.0.1, 10.0.0.2",
              "tablespaces": "/srv/a = /srv/b", "link_megabits": "200"}  # fmt: skip
    assert client.post("/jobs/new/setup/?cluster=registry", values).status_code == 302
    job = Job.objects.get()
    assert job.title == "Set up pg1 from pg2"
    assert job.params["standbys"] == ["pg1"]
    assert job.params["keep_megabytes"] == 4096
    assert job.params["panel_addresses"] == ["10.0.0.1", "10.0.0.2"]
    assert job.params["tablespaces"] == {"/srv/a": "/srv/b"}
    assert (job.params["archive"], job.params["verify"]) == (False, False)
    page = client.get(f"/jobs/new/setup/?cluster=registry&job={job.pk}").content.decode()
    assert "/srv/a = /srv/b" in page
    assert "10.0.0.1, 10.0.0.2" in page
    assert '<option value="rsync" selected>' in page
