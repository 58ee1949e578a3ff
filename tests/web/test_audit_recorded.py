"""What people, commands and workers do stands in the audit trail: by whom, from where, on what, with which result; no secret."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from cluster_world import HOST_KEYS, cluster_of_two, person
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from job_world import make_cluster, make_hosts, plan, start
from small_kind import KIND

from accounts import acting
from accounts.acting import Actor
from accounts.models import User
from accounts.trail import AuditEntry
from clusters import credentials, drafts, fencing, observing, services
from clusters.models import Grant
from jobs import planning, tasks
from jobs import services as services_of_jobs
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db
GOOD = "a long enough passphrase"
OTHER = "another long passphrase"


@pytest.fixture(autouse=True)
def keys(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    cache.clear()


def trail(action: str = "") -> list[AuditEntry]:
    entries = AuditEntry.objects.order_by("number")
    return list(entries.filter(action=action) if action else entries)


def one(action: str) -> AuditEntry:
    (entry,) = trail(action)
    return entry


def as_ana(client: Client) -> User:
    ana = person("ana", "administrator")
    client.force_login(ana)
    return ana


# -- the front door ----------------------------------------------------------------------------------------------------------


def test_a_login_by_password_says_by_what_and_from_where(client):
    User.objects.create_user("ana", password=GOOD)
    client.post("/accounts/login/", {"login": "ana", "password": GOOD}, REMOTE_ADDR="192.0.2.7")
    entry = one("login.succeeded")
    assert (entry.who, entry.target, entry.address, entry.door) == ("ana", "ana", "192.0.2.7", "page")
    assert entry.detail == {"by": "password"}


@pytest.mark.parametrize(("name", "kept"), [("ana", "ana"), ("nobody", "nobody"), ("my pass phrase!", "(no user name)")])
def test_a_failed_login_says_which_name_was_tried_where_it_can_be_one(client, name, kept):
    User.objects.create_user("ana", password=GOOD)
    client.post("/accounts/login/", {"login": name, "password": OTHER}, REMOTE_ADDR="192.0.2.7")
    entry = one("login.failed")
    assert (entry.who, entry.target, entry.address, entry.result) == ("", kept, "192.0.2.7", "failed")


def test_who_guesses_too_fast_is_recorded_as_slowed_once_a_minute(client):
    User.objects.create_user("ana", password=GOOD)
    for _guess in range(9):
        client.post("/accounts/login/", {"login": "ana", "password": OTHER})
    assert len(trail("login.failed")) == 5
    assert one("login.slowed").target == "ana"


def test_an_address_that_asks_too_often_gets_a_page_of_ours_and_an_entry(client):
    answers = [client.post("/accounts/login/", {"login": f"ana{number}", "password": OTHER}).status_code for number in range(31)]
    assert answers[-1] == 429
    assert one("login.slowed")


def test_a_logout_is_recorded(client):
    as_ana(client)
    client.post("/accounts/logout/")
    assert one("logout").who == "ana"


def test_a_new_password_is_recorded_whichever_way_it_came():
    User.objects.create_user("ana", password=GOOD)
    user = User.objects.get()
    user.set_password(OTHER)
    user.save()
    assert one("password.set").target == "ana"
    user.save()
    assert len(trail("password.set")) == 1


# -- people ------------------------------------------------------------------------------------------------------------------


def test_people_and_grants(client):
    cluster, *_nodes = cluster_of_two()
    as_ana(client)
    client.post("/people/", {"do": "person", "person-username": "bob"})
    bob = User.objects.get(username="bob")
    client.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": cluster.pk, "grant-role": "viewer"})
    client.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": cluster.pk, "grant-role": "operator"})
    client.post(f"/people/grants/{Grant.objects.get(user=bob).pk}/remove/")
    client.post(f"/people/{bob.pk}/active/")
    client.post(f"/people/{bob.pk}/active/")
    entries = [entry for entry in trail() if entry.action.split(".")[0] in ("person", "grant")]
    said = [(entry.action, entry.who, entry.target, entry.cluster) for entry in entries]
    assert said == [
        ("person.make", "ana", "bob", ""), ("person.link", "ana", "bob", ""),
        ("grant.give", "ana", "bob", "registry"), ("grant.give", "ana", "bob", "registry"),
        ("grant.take", "ana", "bob", "registry"), ("person.shut_out", "ana", "bob", ""), ("person.let_in", "ana", "bob", ""),
    ]  # fmt: skip
    given = trail("grant.give")[1]
    assert (given.result, given.detail) == ("operator", {"before": "viewer", "over_all": False})


def test_the_first_administrator_is_made_by_whoever_runs_the_command():
    with acting.as_(acting.by_command()):
        call_command("first_administrator", stdout=io.StringIO())
    entry = one("person.make")
    assert (entry.target, entry.door, entry.who) == ("admin", "command", acting.by_command().who)


# -- what we have ------------------------------------------------------------------------------------------------------------


def test_a_cluster_and_its_nodes_from_the_first_to_the_last(client):
    as_ana(client)
    cluster, first, _second = cluster_of_two()
    edited = {"name": "whois", "description": "", "sample_interval_seconds": "1.0"}
    client.post("/c/registry/edit/", edited)
    form = {name: getattr(first, name) for name in ("name", "ssh_host", "ssh_port", "ssh_user", "node_address", "layout")}
    client.post("/c/whois/n/pg1/edit/", form | {"postgres_port": 5433, "jump_port": 22})
    client.post("/c/whois/n/pg2/remove/", {"name": "pg2"})
    client.post("/c/whois/remove/", {"name": "whois"})
    assert one("cluster.edit").detail == {"fields": "name", "was": "registry"}
    assert one("node.edit").detail == {"fields": "postgres_port"}
    assert one("node.remove").target == "pg2"
    removed = one("cluster.remove")
    assert (removed.who, removed.cluster, removed.detail) == ("ana", "whois", {"nodes": "pg1"})
    assert [entry.target for entry in trail("node.add")] == ["pg1", "pg2"]
    assert not services.Cluster.objects.filter(pk=cluster.pk).exists()


def test_a_host_key_that_is_accepted_and_one_that_is_forgotten(client):
    as_ana(client)
    _cluster, first, _second = cluster_of_two()
    key = HOST_KEYS["10.0.0.1"]
    services.remember_offer(first, key, is_jump=False)
    client.post("/c/registry/n/pg1/accept/", {"fingerprint": key.fingerprint})
    client.post("/c/registry/n/pg1/rekey/")
    for action in ("host_key.accept", "host_key.forget"):
        entry = one(action)
        assert (entry.who, entry.target, entry.cluster) == ("ana", "pg1", "registry")
        assert entry.detail == {"host": "10.0.0.1", "fingerprint": key.fingerprint}


def test_a_host_key_accepted_in_the_wizard_before_there_is_a_cluster():
    draft = drafts.draft_start(person("ana"))
    drafts.draft_hosts(draft, [{"name": "pg1", "ssh_host": "10.0.0.1", "node_address": "10.0.0.1"}])
    host = draft.hosts.get()
    services.remember_offer(host, HOST_KEYS["10.0.0.1"], is_jump=False)
    drafts.draft_accept(host, HOST_KEYS["10.0.0.1"].fingerprint)
    assert (one("host_key.accept").target, one("host_key.accept").cluster) == ("pg1", "")


def test_credentials_by_their_name_and_fingerprint_never_by_their_secret(client):
    as_ana(client)
    cluster, first, _second = cluster_of_two()
    client.post(f"/c/registry/credentials/{first.credential_id}/", {"password": OTHER})
    name, password = services.role_password(cluster, "replication")
    credentials.role_password_keep(cluster, "replication", name, OTHER)
    private, _public = services.archive_key(first)
    assert [entry.target for entry in trail("credential.make")] == ["login", "role pgpanel_replication", "archive registry/pg1"]
    assert [entry.detail["kind"] for entry in trail("credential.replace")] == ["ssh-password", "database-role"]
    told = str([entry.told() for entry in trail()])
    assert not [secret for secret in (OTHER, password.value, private.value.splitlines()[1]) if secret in told]


def test_a_fence_command_by_its_program_and_never_by_its_arguments():
    _cluster, first, _second = cluster_of_two()
    fencing.fence_set(first, f"/usr/bin/ipmitool -P {GOOD.replace(' ', '-')} off", "", OTHER)
    entry = one("fence.set")
    assert entry.detail == {"program": "/usr/bin/ipmitool", "test": "", "secret": "replaced"}
    assert GOOD.replace(" ", "-") not in str([each.told() for each in trail()])


def test_evidence_that_somebody_asks_for_and_not_what_a_page_asks_by_itself(monkeypatch):
    monkeypatch.setattr("clusters.tasks.gather_evidence.delay", lambda *_arguments: None)
    cluster, *_nodes = cluster_of_two()
    observing.evidence_refresh(cluster)
    observing.Evidence.objects.update(asked_at=None)
    observing.evidence_refresh(cluster, by_hand=True)
    assert one("evidence.refresh").cluster == "registry"


# -- jobs --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(settings, monkeypatch, tmp_path):
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(tasks, "_send", lambda *_arguments: None)
    cluster, hosts = make_cluster(), make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    return cluster


def jobs_said() -> list[tuple[str, str, str, str]]:
    return [(entry.action, entry.who, entry.door, entry.result) for entry in trail() if entry.action.startswith("job.")]


@pytest.mark.django_db(transaction=True)
def test_a_job_from_its_plan_to_its_end_by_whom_and_with_which_hash(cluster, tmp_path):
    ana = person("ana")
    with acting.as_(Actor(ana, door="page")):
        job = plan(cluster, tmp_path, by=ana)
        start(job, by=ana)
    tasks.run_job(job.pk)
    assert jobs_said() == [
        ("job.plan", "ana", "page", ""), ("job.planned", "ana", "page", "planned"), ("job.start", "ana", "page", "queued"),
        ("job.end", "ana", "panel", "succeeded"),
    ]  # fmt: skip
    job.refresh_from_db()
    entries = [entry for entry in trail() if entry.action.startswith("job.")]
    assert [entry.plan_hash for entry in entries] == ["", *[job.plan_hash] * 3]
    assert {entry.target for entry in entries} == {f"job {job.pk}: Small job on pg1, pg2"}


@pytest.mark.django_db(transaction=True)
def test_refusals_cancelling_resuming_and_withdrawing(cluster, tmp_path):
    ana, bob = person("ana"), person("bob")
    job, other = plan(cluster, tmp_path, by=ana), plan(cluster, tmp_path, by=bob)
    with acting.as_(Actor(bob, door="page")):
        with pytest.raises(services_of_jobs.PlanMoved):
            services_of_jobs.job_start(job, "another", bob, "a test")
        start(job, by=bob)
        with pytest.raises(services_of_jobs.ClusterBusy):
            start(other, by=bob)
        services_of_jobs.job_withdraw(other)
        services_of_jobs.job_cancel(job, bob)
        services_of_jobs.job_resume(job, bob)
        services_of_jobs.job_cancel(job, bob)
    said = [(action, result) for action, who, _door, result in jobs_said() if who == "bob"]
    assert said == [
        ("job.start", "refused"), ("job.start", "queued"), ("job.start", "refused"), ("job.withdraw", "withdrawn"),
        ("job.cancel", "cancelled"), ("job.end", "cancelled"), ("job.resume", "queued"), ("job.cancel", "cancelled"),
        ("job.end", "cancelled"),
    ]  # fmt: skip
    assert [entry.detail["why"] for entry in trail("job.start") if entry.result == "refused"] == ["PlanMoved", "ClusterBusy"]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_ten_workers_lost_is_recorded_for_who_started_it(cluster, tmp_path):
    ana = person("ana")
    job = start(plan(cluster, tmp_path, by=ana), by=ana)
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(status="running", heartbeat_at=long_ago, handovers_in_vain=10)
    tasks.sweep_lost_jobs()
    assert jobs_said()[-1] == ("job.end", "ana", "panel", "lost")


@pytest.mark.django_db(transaction=True)
def test_a_job_of_the_command_line_names_the_account_and_whom_it_claims_to_act_for(cluster, tmp_path):
    person("ana")
    words = ["small", "--cluster", "registry", "--set", "nodes=pg1,pg2", "--set", f"directory={tmp_path}"]
    with acting.as_(Actor(name="root", door="command", address="panel1")):
        call_command("job", "run", *words, "--yes", "--here", "--as", "ana", stdout=io.StringIO(), stderr=io.StringIO())
    assert {(entry.who, entry.door, entry.address) for entry in trail() if entry.action.startswith("job.")} == {
        ("ana by root", "command", "panel1")
    }


def test_a_plan_that_cannot_be_made_is_recorded_without_its_secrets(cluster, tmp_path, monkeypatch):
    def broken(*_arguments):
        raise RuntimeError(f"password={GOOD}")

    monkeypatch.setattr(planning, "brief_of", broken)
    plan(cluster, tmp_path)
    assert one("job.planned").result == "errored"
    assert GOOD not in str(one("job.planned").told())
