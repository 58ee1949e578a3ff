"""The panel's own backup: everything comes back as it was, what ran elsewhere is lost, and nothing but a whole file is taken."""

from __future__ import annotations

import gzip
import io
import json
import stat

import pytest
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from django.apps import apps
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts import audit, audit_chain, guards
from accounts.models import AuditEntry, AuditHead, User
from clusters import credentials, restored, services
from clusters.models import Cluster, Credential, Node
from jobs import tasks
from jobs.models import Job, JobStep, LogLine
from pgpanel import backup

pytestmark = pytest.mark.django_db(transaction=True)
GOOD = "a long enough passphrase"
KEY = Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def world(settings, monkeypatch):
    """Two nodes, people, sealed secrets, a job that ran with its log, one that waits to be confirmed."""
    settings.ENCRYPTION_KEYS = [KEY]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setattr(tasks, "_send", lambda *_arguments: None)
    cluster, *_nodes = cluster_of_two()
    person("ana", "operator", cluster)
    User.objects.create_user("bob", password=GOOD, email="bob@example.net")
    services.role_password(cluster, "replication")
    credentials.password_keep(GOOD, "login password", "root", cluster)
    ran = Job.objects.create(cluster=cluster, kind="small", status="succeeded", report={"gap_ms": 7}, last_seq=2)
    JobStep.objects.create(
        job=ran, position=1, key="pg1.write", node="pg1", title="Write", status="done", started_at=timezone.now()
    )
    for seq in (1, 2):
        LogLine.objects.create(job=ran, seq=seq, at=timezone.now(), node="pg1", text=f"line {seq} ␛ <b>")
    Job.objects.create(cluster=cluster, kind="small", status="planned", plan_hash="ab" * 32)
    return cluster


def command(*words: str) -> str:
    out = io.StringIO()
    call_command("panel", *words, stdout=out)
    return out.getvalue()


def rows(*left_out: str) -> dict[str, list]:
    found = {}
    for model in backup.kept_models():
        if model._meta.label not in left_out:
            every = backup.QuerySet(model).order_by("pk")
            found[model._meta.label] = json.loads(serializers.serialize("json", every, cls=backup.Exact))
    return found


def test_everything_comes_back_as_it_was(tmp_path):
    file = tmp_path / "panel.backup"
    before = rows("clusters.Cluster", "accounts.AuditEntry", "accounts.AuditHead")
    epoch, entries = Cluster.objects.get().epoch, AuditEntry.objects.count()
    said = command("backup", str(file))
    assert "encryption keys are NOT in it" in said
    call_command("flush", interactive=False, verbosity=0)
    said = command("restore", str(file))
    assert "The audit trail is whole" in said
    assert rows("clusters.Cluster", "accounts.AuditEntry", "accounts.AuditHead") == before
    assert Cluster.objects.get().epoch == epoch + restored.AHEAD
    assert AuditEntry.objects.count() == entries + 1
    assert AuditEntry.objects.first().action == "panel.restore"
    assert User.objects.get(username="bob").check_password(GOOD)
    assert credentials.secret_of(Credential.objects.get(label="login password")).value == GOOD
    assert LogLine.objects.exists()
    # new rows do not take the numbers of the old ones
    assert services.cluster_create("whois").pk > Cluster.objects.get(name="registry").pk


def test_the_file_is_its_owners_alone_holds_no_key_and_no_secret_in_clear(tmp_path, world):
    file = tmp_path / "panel.backup"
    command("backup", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.glob(".panel*")) == []
    text = "".join(lines_of(file))
    _name, password = services.role_password(world, "replication")
    assert not [secret for secret in (KEY, GOOD, password.value, "PRIVATE KEY") if secret in text]


def test_a_backup_is_never_written_over_another_one(tmp_path):
    file = tmp_path / "panel.backup"
    file.write_text("precious")
    with pytest.raises(CommandError, match="is there already"):
        command("backup", str(file))
    assert file.read_text() == "precious"
    assert list(tmp_path.glob(".panel*")) == []


def test_with_another_key_all_else_is_there_and_what_is_lost_is_said(tmp_path, settings):
    file = tmp_path / "panel.backup"
    command("backup", str(file))
    call_command("flush", interactive=False, verbosity=0)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    said = command("restore", str(file))
    assert f"NO KEY AT HAND OPENS {Credential.objects.count()} of the stored secrets" in said
    assert Node.objects.count() == 2
    with pytest.raises(CommandError, match="are lost"):
        call_command("keys", "check", stdout=io.StringIO())


def test_a_panel_that_is_not_empty_is_replaced_only_when_told(tmp_path):
    file = tmp_path / "panel.backup"
    command("backup", str(file))
    services.cluster_create("newer")
    last = audit_chain.anchor()
    with pytest.raises(CommandError, match="not empty"):
        command("restore", str(file))
    assert Cluster.objects.filter(name="newer").exists()
    command("restore", str(file), "--replace")
    assert list(Cluster.objects.values_list("name", flat=True)) == ["registry"]
    assert AuditEntry.objects.first().detail["replaced"] == str(last)
    with pytest.raises(Exception, match="append-only"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_auditentry")


@pytest.mark.parametrize(
    ("status", "then"),
    [("running", "lost"), ("queued", "lost"), ("planning", "errored"), ("planned", "planned"), ("succeeded", "succeeded"),
     ("failed", "failed")],
)  # fmt: skip
def test_what_was_under_way_ran_elsewhere_and_nothing_starts_by_itself(tmp_path, status, then):
    file = tmp_path / "panel.backup"
    job = Job.objects.order_by("pk").last()
    Job.objects.filter(pk=job.pk).update(status=status)
    command("backup", str(file))
    command("restore", str(file), "--replace")
    assert Job.objects.get(pk=job.pk).status == then
    tasks.sweep_lost_jobs()
    assert Job.objects.get(pk=job.pk).status == then


def test_a_plan_that_waited_for_another_job_to_end_does_not_begin(tmp_path):
    older, job = Job.objects.order_by("pk")
    Job.objects.filter(pk=older.pk).update(status="running")
    Job.objects.filter(pk=job.pk).update(supersedes=older)
    command("backup", str(tmp_path / "b"))
    command("restore", str(tmp_path / "b"), "--replace")
    tasks.sweep_lost_jobs()
    assert Job.objects.get(pk=job.pk).status == "withdrawn"


def test_a_trail_that_was_changed_is_said_after_the_restore(tmp_path):
    with guards.lifted(connection), connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_auditentry SET who = 'eve' WHERE number = 2")
    command("backup", str(tmp_path / "b"))
    with pytest.raises(CommandError, match="BROKEN at entry 2"):
        command("restore", str(tmp_path / "b"), "--replace")
    assert Node.objects.count() == 2
    assert "Entry 2 was changed" in AuditEntry.objects.get(action="panel.restore").result


def lines_of(file) -> list[str]:
    with gzip.open(file, "rt") as lines:
        return list(lines)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines[:-1], "cut off"), (lambda lines: lines[:-5] + lines[-1:], "cut off"),
        (lambda lines: lines[1:], "no backup of a panel"), (lambda lines: [], "no backup of a panel"),
        (lambda lines: [lines[0].replace('"version": 1', '"version": 9'), *lines[1:]], "format 9"),
        (lambda lines: [lines[0].replace('"clusters.0001_initial"', '"clusters.9999_later"'), *lines[1:]], "newer panel"),
        (lambda lines: [lines[0].replace('"clusters.0001_initial", ', ""), *lines[1:]], "older panel"),
        (lambda lines: [lines[0], '{"model": "sessions.session", "pk": "x", "fields": {}}\n', *lines[1:]], "does not hold"),
        (lambda lines: [lines[0], "nonsense\n", *lines[1:]], "damaged"),
    ],
    ids=["no end", "rows missing", "no head", "empty", "other format", "newer", "older", "a session", "nonsense"],
)  # fmt: skip
def test_a_file_that_is_not_whole_or_not_for_this_panel_changes_nothing(tmp_path, change, says):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command("backup", str(whole))
    with gzip.open(broken, "wt") as out:
        out.write("".join(change(lines_of(whole))))
    before = rows()
    with pytest.raises(CommandError, match=says):
        command("restore", str(broken), "--replace")
    assert rows() == before
    audit.record("cluster.add", "still")  # and the panel goes on


def test_half_a_file_and_no_archive_at_all_are_refused(tmp_path):
    whole = tmp_path / "whole"
    command("backup", str(whole))
    (tmp_path / "half").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text").write_text("hello")
    for name in ("half", "text"):
        with pytest.raises(CommandError, match="damaged"):
            command("restore", str(tmp_path / name), "--replace")
    with pytest.raises(CommandError):
        command("restore", str(tmp_path / "nowhere"), "--replace")
    assert Node.objects.count() == 2


def test_every_model_is_backed_up_or_left_out_for_a_reason():
    known = {model._meta.label for model in apps.get_models()}
    assert set(backup.LEFT_OUT) <= known
    assert {model._meta.label for model in backup.kept_models()} == known - set(backup.LEFT_OUT)
    assert all(backup.LEFT_OUT.values())


def test_nobody_hears_of_a_restored_cluster(tmp_path):
    from django.db.models.signals import post_save

    heard = []
    listener = lambda **more: heard.append(more)  # noqa: E731
    command("backup", str(tmp_path / "b"))
    post_save.connect(listener, sender=Cluster)
    try:
        command("restore", str(tmp_path / "b"), "--replace")
    finally:
        post_save.disconnect(listener, sender=Cluster)
    assert heard == []
    assert AuditHead.objects.get().number == AuditEntry.objects.first().number
