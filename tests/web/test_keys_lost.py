"""Keys that change, and keys that are lost: said plainly on the page, at the checks and in a job's refusal, and nothing crashes."""

from __future__ import annotations

import io

import pytest
from api_world import Api, token_of
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from job_world import make_cluster, make_hosts, plan, run, start
from small_kind import KIND

from accounts.trail import AuditEntry
from clusters import credentials, services
from clusters.models import Credential
from jobs import planning, tasks
from jobs.kinds import KINDS
from jobs.models import Job
from pgpanel import keyring
from remote.command import Secret

pytestmark = pytest.mark.django_db
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def old_key(settings):
    settings.ENCRYPTION_KEYS = [OLD]


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("keys", *words, stdout=out)
    return out.getvalue()


def failed(*words: str) -> tuple[str, str]:
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("keys", *words, stdout=out)
    return out.getvalue(), str(caught.value)


def test_everything_is_sealed_with_the_newest_key_and_a_second_run_finds_nothing_to_do(settings):
    cluster, *_nodes = cluster_of_two()
    services.role_password(cluster, "replication")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert said("rotate").startswith("2 encrypted anew, 0 had the newest key already.")
    assert said("rotate").startswith("0 encrypted anew, 2 had the newest key already.")
    settings.ENCRYPTION_KEYS = [NEW]
    assert said("check") == "2 sealed values: every one opens.\n"
    assert [entry.detail["sealed"] for entry in AuditEntry.objects.filter(action="key.rotate")] == [0, 2]


def test_a_secret_that_somebody_replaces_during_the_rotation_stays_replaced(settings, monkeypatch):
    kept = credentials.password_keep("the first password", "login", "root")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    listed = list(keyring.everything())
    monkeypatch.setattr(keyring, "everything", lambda: iter(listed))
    credentials.secret_replace(kept, password="the second password")
    assert keyring.rotate().sealed == 0
    assert credentials.secret_of(Credential.objects.get()).value == "the second password"


def test_what_no_key_opens_is_named_with_its_mend_and_the_others_are_rotated(settings):
    cluster, *_nodes = cluster_of_two()
    settings.ENCRYPTION_KEYS = [NEW]
    services.role_password(cluster, "replication")
    text, error = failed("check")
    assert "no key opens “login” of registry" in text
    assert "type it again on the page “Credentials” of registry" in text
    assert "1 of 2" in error
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), NEW]
    text, error = failed("rotate")
    assert "1 encrypted anew" in text
    assert "1 left as they are" in error


def test_the_database_check_warns_and_stops_nothing(settings):
    cluster_of_two()
    assert not [message for message in run_checks(tags=[Tags.database], databases=["default"]) if message.id == "pgpanel.W003"]
    settings.ENCRYPTION_KEYS = [NEW]
    (warning,) = [message for message in run_checks(tags=[Tags.database], databases=["default"]) if message.id == "pgpanel.W003"]
    assert "“login” of registry" in warning.msg
    assert not warning.is_serious()


def test_the_credentials_page_marks_them_and_takes_them_again(client, settings):
    cluster, first, _second = cluster_of_two()
    name, _password = services.role_password(cluster, "replication")
    _private, public = services.archive_key(first)
    client.force_login(person("ana", "administrator", cluster))
    assert "no key opens it" not in client.get("/c/registry/credentials/").content.decode()
    settings.ENCRYPTION_KEYS = [NEW]
    page = client.get("/c/registry/credentials/").content.decode()
    assert page.count("no key opens it") == 3
    assert "Some of these cannot be read any more" in page
    role, archive = cluster.credentials.get(purpose="replication"), cluster.credentials.get(purpose="archive:pg1")
    there = f"/c/registry/credentials/{role.pk}/"
    assert client.post(there, {}).status_code == 200
    assert client.post(there, {"password": "what the server knows"}).status_code == 302
    assert services.role_password(cluster, "replication") == (name, Secret("replication_password", "what the server knows"))
    client.get(f"/c/registry/credentials/{archive.pk}/")
    assert client.post(f"/c/registry/credentials/{archive.pk}/").status_code == 302
    assert services.archive_key(first)[1] != public
    # what can be read is not typed over
    assert client.get(there).status_code == 404
    assert client.post(f"/c/registry/credentials/{archive.pk}/").status_code == 404


@pytest.mark.parametrize("path", ["/new/", "/import/", "/c/registry/add/"])
def test_a_page_that_would_seal_something_says_what_is_lost_instead_of_failing(client, settings, tmp_path, path):
    cluster_of_two()
    settings.ENCRYPTION_KEYS, settings.ENCRYPTION_KEY_FILE = [], tmp_path / "gone"
    client.force_login(person("root", "administrator"))
    page = client.get(path)
    assert page.status_code == 409
    assert "The panel cannot read its own secrets" in page.content.decode()
    assert "Put the old key back" in page.content.decode()


def test_the_api_says_it_as_a_problem(settings, tmp_path):
    cluster, *_nodes = cluster_of_two()
    api = Api(token_of(person("root", "administrator")))
    settings.ENCRYPTION_KEYS, settings.ENCRYPTION_KEY_FILE = [], tmp_path / "gone"
    answer = api("PUT", f"/clusters/registry/credentials/{cluster.credentials.get().pk}", {"password": "another one"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:pgpanel:problem:keys-lost")
    assert "Put the old key back" in answer.json()["detail"]


@pytest.fixture
def cluster(old_key, settings, monkeypatch, tmp_path):
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(tasks, "_send", lambda *_arguments: None)
    made, hosts = make_cluster(), make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    return made


def test_a_plan_is_refused_for_each_host_with_what_to_type_again(cluster, settings, tmp_path):
    settings.ENCRYPTION_KEYS = [NEW]
    job = plan(cluster, tmp_path)
    assert job.status == Job.Status.REFUSED
    checks = [(check["node"], check["level"], check["reason"]) for check in job.plan["checks"]]
    assert checks == [(node, "refused", "no key at hand opens “key”") for node in ("pg1", "pg2")]
    assert "type it again" in job.plan["checks"][0]["mend"]


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_key_was_lost_since_its_plan_fails_with_the_mend_and_can_be_resumed(cluster, settings, tmp_path):
    job = start(plan(cluster, tmp_path))
    settings.ENCRYPTION_KEYS = [NEW]
    run(job)
    assert job.status == Job.Status.FAILED
    assert "cannot be read" in job.outcome
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    Job.objects.filter(pk=job.pk).update(status=Job.Status.QUEUED)
    assert run(job).status == Job.Status.SUCCEEDED
