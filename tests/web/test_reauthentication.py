"""Before something dangerous a person confirms that it is they; what was sent goes on from there, no secret is kept meanwhile."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from cluster_world import cluster_of_two, person
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import get_resolver

from accounts.models import User
from accounts.reauthentication import DANGERS
from accounts.sessions import SIGNED_IN_AT
from clusters.models import Cluster, Grant
from jobs.models import Job

pytestmark = pytest.mark.django_db
GOOD = "a long enough passphrase"
PLAN = {"steps": [{"key": "a", "node": "pg1", "title": "", "why": "", "is_needed": True, "shown": [], "diffs": []}]}


@pytest.fixture(autouse=True)
def passwords_are_hashed_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def cluster() -> Cluster:
    return cluster_of_two()[0]


@pytest.fixture
def root() -> User:
    user = person("root", "administrator")
    user.set_password(GOOD)
    user.save()
    return user


def client_of(user: User, signed_in_seconds_ago: float = 0) -> Client:
    client = Client()
    client.force_login(user)
    session = client.session
    session[SIGNED_IN_AT] -= signed_in_seconds_ago
    session.save()
    return client


@pytest.fixture
def late(root, settings) -> Client:
    return client_of(root, settings.ACCOUNT_REAUTHENTICATION_TIMEOUT + 1)


def confirm(client: Client, path: str, password: str = GOOD):
    return client.post("/accounts/reauthenticate/", {"password": password, "next": path})


def test_whoever_signed_in_just_now_is_not_asked(root):
    bob = person("bob")
    client_of(root).post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": "", "grant-role": "viewer"})
    assert Grant.objects.filter(user=bob).exists()


def test_whoever_signed_in_long_ago_confirms_and_the_request_goes_on(late):
    bob = person("bob")
    sent = {"do": "grant", "grant-user": bob.pk, "grant-cluster": "", "grant-role": "viewer"}
    assert late.post("/people/", sent).url == "/accounts/reauthenticate/?next=%2Fpeople%2F"
    assert not Grant.objects.filter(user=bob).exists()
    assert str(DANGERS["person.change"]) in late.get("/accounts/reauthenticate/?next=/people/").content.decode()
    confirm(late, "/people/")
    assert Grant.objects.get(user=bob).role == "viewer"


def test_a_wrong_password_goes_nowhere(late):
    bob = person("bob")
    late.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": "", "grant-role": "viewer"})
    assert "Incorrect password" in confirm(late, "/people/", "wrong").content.decode()
    assert not Grant.objects.filter(user=bob).exists()


def test_one_confirmation_is_enough_for_a_while(late, settings):
    bob = person("bob")
    late.post(f"/people/{bob.pk}/active/")
    confirm(late, f"/people/{bob.pk}/active/")
    late.post(f"/people/{bob.pk}/active/")
    bob.refresh_from_db()
    assert bob.is_active
    session = late.session
    session["account_authentication_methods"][-1]["at"] = time.time() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT - 1
    session.save()
    assert "/reauthenticate/" in late.post(f"/people/{bob.pk}/active/").url


def test_what_waits_is_not_done_by_confirming_something_else(late):
    bob = person("bob")
    late.post(f"/people/{bob.pk}/active/")
    confirm(late, "/account/")
    bob.refresh_from_db()
    assert bob.is_active


def job_of(cluster: Cluster, **fields) -> Job:
    fields = {"kind": "restart", "status": "planned", "plan_hash": "abc", "plan": plan()} | fields
    return Job.objects.create(cluster=cluster, title="A job", **fields)


def plan(**step) -> dict:
    return {"steps": [PLAN["steps"][0] | step]}


@pytest.mark.parametrize(
    ("fields", "is_dangerous"),
    [
        ({}, False),
        ({"plan": plan(destroys="everything")}, True),
        ({"plan": plan(is_point_of_no_return=True)}, True),
        ({"kind": "promote", "params": {"accept_loss": True}}, True),
        ({"kind": "fence"}, True),
        ({"kind": "rotate_password"}, True),
    ],
)
def test_a_job_is_confirmed_where_its_plan_is_dangerous(late, cluster, fields, is_dangerous, monkeypatch):
    monkeypatch.setattr("jobs.services.tasks.enqueue", lambda _job_id: None)
    job = job_of(cluster, **fields)
    for what in ("start", "resume"):
        Job.objects.update(status="planned" if what == "start" else "failed")
        answer = late.post(f"/jobs/{job.pk}/{what}/", {"hash": "abc"})
        assert ("/reauthenticate/" in answer.url) == is_dangerous
    job.refresh_from_db()
    assert (job.status == "queued") != is_dangerous
    if is_dangerous:
        Job.objects.update(status="planned")
        late.post(f"/jobs/{job.pk}/start/", {"hash": "abc"})
        assert confirm(late, f"/jobs/{job.pk}/start/").url == f"/jobs/{job.pk}/"
        job.refresh_from_db()
        assert job.status == "queued"


def test_who_may_not_start_it_learns_nothing_by_being_asked(cluster, settings):
    stranger = client_of(person("eve"), settings.ACCOUNT_REAUTHENTICATION_TIMEOUT + 1)
    viewer = client_of(person("vic", "viewer", cluster), settings.ACCOUNT_REAUTHENTICATION_TIMEOUT + 1)
    job = job_of(cluster, kind="fence")
    assert stranger.post(f"/jobs/{job.pk}/start/", {"hash": "abc"}).status_code == 404
    assert viewer.post(f"/jobs/{job.pk}/start/", {"hash": "abc"}).status_code == 403


@pytest.mark.parametrize("path", ["/c/registry/remove/", "/c/registry/n/pg1/remove/"])
def test_removing_is_confirmed_with_the_name_that_was_typed(late, cluster, path):
    name = "pg1" if "pg1" in path else "registry"
    assert late.get(path).status_code == 200
    late.post(path, {"name": name})
    assert Cluster.objects.get().nodes.filter(name="pg1").exists()
    confirm(late, path)
    assert not Cluster.objects.filter(nodes__name="pg1").exists()


def test_a_page_that_takes_a_secret_asks_before_it_is_typed(late, cluster):
    credential = cluster.credentials.get(purpose="login")
    path = f"/c/registry/credentials/{credential.pk}/"
    assert late.get(path).url.startswith("/accounts/reauthenticate/")
    confirm(late, path)
    assert late.get(path).status_code == 200


def test_no_secret_is_kept_while_a_person_confirms(late, cluster):
    credential = cluster.credentials.get(purpose="login")
    path = f"/c/registry/credentials/{credential.pk}/"
    late.post(path, {"key_text": "", "password": "hunter2-hunter2"})
    assert all("hunter2" not in str(session.get_decoded()) for session in Session.objects.all())
    sealed = credential.sealed
    page = confirm(late, path).content.decode()
    assert "Give either a private key or a password" in page
    credential.refresh_from_db()
    assert credential.sealed == sealed


def test_a_fence_command_comes_back_as_typed_but_for_its_password(late, cluster):
    path = "/c/registry/n/pg1/fence/"
    late.post(path, {"command": "/usr/bin/ipmitool off", "test_command": "", "secret": "hunter2-hunter2"})
    page = confirm(late, path).content.decode()
    assert "/usr/bin/ipmitool off" in page
    assert "Type the password once more" in page
    assert not Cluster.objects.get().nodes.exclude(fence_command="").exists()


def test_an_operator_who_only_looks_at_a_fence_is_not_asked(cluster, settings):
    operator = client_of(person("op", "operator", cluster), settings.ACCOUNT_REAUTHENTICATION_TIMEOUT + 1)
    assert operator.get("/c/registry/n/pg1/fence/").status_code == 200


def test_every_danger_of_the_table_stands_before_a_view():
    guarded = set(_dangers(get_resolver().url_patterns))
    written = {key for file in Path().glob("*/*.py") for key in re.findall(r'@dangerous\(\s*"([a-z_.]+)"', file.read_text())}
    assert guarded == written
    assert set(DANGERS) - guarded <= {"token.make"}


def _dangers(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from _dangers(pattern.url_patterns)
        else:
            view = pattern.callback
            while view is not None:
                if danger := getattr(view, "danger", None):
                    yield danger
                view = getattr(view, "__wrapped__", None)
