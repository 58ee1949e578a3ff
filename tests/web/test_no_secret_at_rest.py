"""After a walk through all that takes or makes a secret: none stands in the database, in a session or in the log, in any form."""

from __future__ import annotations

import io
import logging
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import hotp_value, yield_hotp_counters_from_time
from channel_world import TOKEN, TOPIC, allow_own_machine
from cluster_world import cluster_of_two, pair
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from job_world import make_hosts, run, start
from small_kind import KIND, PASSWORD
from webhook_receiver import Receiver

from accounts.models import User
from accounts.tokens import token_make
from clusters import fencing, looks, services
from clusters.models import Draft, NodeState
from jobs import planning, tasks
from jobs import services as jobs
from jobs.kinds import KINDS
from monitor.models import Channel, Sending
from pgpanel import keyring
from pgpanel.redaction import faces
from webhooks import services as webhooks

pytestmark = pytest.mark.django_db(transaction=True)
LOGIN, NEW_LOGIN = "Login-Kaffee-tasse-4711", "Neues-Kaffee-tasse-4712"
REPLACED, FENCE, ONCE = "Ersetzt-'\"$ Geheim-4714", "Fence-Geheim-4715", "Einmal-Geheim-4716"
WRONG = "not the password 4717!"


def dumped() -> str:
    """Every table, every column; what stands in a session as it is read from it."""
    told = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            told += [bytes(value).decode(errors="replace") if isinstance(value, bytes | memoryview) else str(value)
                     for row in cursor.fetchall() for value in row]  # fmt: skip
            if table == "django_session":
                cursor.execute("SELECT session_data FROM django_session")
                told += [str(SessionStore().decode(data)) for (data,) in cursor.fetchall()]
    return "\n".join(told)


def private_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()


@pytest.fixture
def cluster(settings, monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    settings.HEARTBEAT_SECONDS = 0.1
    cache.clear()
    cluster, *_nodes = cluster_of_two()
    hosts = make_hosts(tmp_path)
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(tasks, "_send", lambda *_arguments: None)
    monkeypatch.setattr("clusters.tasks.look_at_draft.delay", lambda *_arguments: None)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    monkeypatch.setattr(looks, "look_at", pair())
    monkeypatch.setattr(webhooks, "check_url", urlsplit)
    return cluster


def test_no_secret_stands_anywhere_in_the_clear(client, cluster, caplog, tmp_path, settings):
    boss = User.objects.create_superuser("boss", password=LOGIN)
    # the front door: a wrong password, one typed where the name belongs, the right one, a second factor, a new password
    client.post("/accounts/login/", {"login": "boss", "password": WRONG})
    client.post("/accounts/login/", {"login": WRONG, "password": LOGIN})
    client.post("/accounts/login/", {"login": "boss", "password": LOGIN})
    client.post("/accounts/reauthenticate/", {"password": WRONG})
    client.post("/accounts/reauthenticate/", {"password": LOGIN})
    page = client.get("/accounts/2fa/totp/activate/")
    assert page.status_code == 200, page.headers
    totp = page.context["form"].secret
    code = next(hotp_value(totp, counter) for counter in yield_hotp_counters_from_time())
    client.post("/accounts/2fa/totp/activate/", {"code": f"{code:06}"})
    recovery = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    client.post("/accounts/password/change/", {"oldpassword": LOGIN, "password1": NEW_LOGIN, "password2": NEW_LOGIN})
    assert User.objects.get(pk=boss.pk).check_password(NEW_LOGIN)
    # what reaches hosts: a wizard with a pasted key, another with a password, one replaced, a fence command, keys that are made
    pasted = private_key()
    for access in ({"access": "pasted-key", "key_text": pasted}, {"access": "password-once", "password": ONCE}):
        Draft.objects.all().delete()
        wizard = client.get("/new/").headers["Location"]
        client.post(wizard, {"cluster_name": "shop", "hosts-TOTAL_FORMS": "0", "hosts-INITIAL_FORMS": "0", "do": "add", **access})
        assert Draft.objects.get().typed is not None
    first = cluster.nodes.get(name="pg1")
    replaced = client.post(f"/c/registry/credentials/{first.credential_id}/", {"password": REPLACED})
    assert services.access_of(cluster.nodes.get(name="pg1")).password.value == REPLACED, replaced.content
    fencing.fence_set(first, "/bin/sh -c 'echo $IPMI_PASSWORD'", "/bin/sh -c 'echo $IPMI_PASSWORD; exit 1'", FENCE)
    fencing.fence_test(first)
    _name, role = services.role_password(cluster, "replication")
    archive, _public = services.archive_key(first)
    # a job with a secret of its own, tokens, webhooks, another key for all of it
    run(
        start(jobs.job_plan(cluster, "small", {"nodes": ["pg1", "pg2"], "directory": str(tmp_path)}, boss, "a test", plan_now=True))
    )
    assert PASSWORD.value in str(NodeState.objects.values_list("facts", flat=True))  # FakeHost shows the file that the job wrote,
    NodeState.objects.update(facts={})  # a real look leaves passwords out (tests/unit/test_facts_parse.py)
    _token, token = token_make(boss, "ci", "viewer", by=boss)
    _subscription, webhook = webhooks.subscribe(boss, "ci", "https://hooks.example.net/x")
    # a channel whose server says back what it was told, and fails
    allow_own_machine(settings)
    with Receiver("403", f"{TOPIC} and {TOKEN} are wrong".encode()) as receiver:
        new = {"name": "on call", "least_severity": "warning", "is_for_all": "on", "is_active": "on", "time_zone": "UTC",
               "quiet-TOTAL_FORMS": "0", "quiet-INITIAL_FORMS": "0"}  # fmt: skip
        own = {"own-server": f"http://127.0.0.1:{receiver.port}", "own-topic": TOPIC, "own-token": TOKEN}
        made = client.post("/monitor/channels/new/ntfy/", new | own)
        assert made.status_code == 302, made.content
        channel = Channel.objects.get()
        client.post(f"/monitor/channels/{channel.pk}/test/")
        assert "HTTP 403" in Sending.objects.get().error
        assert len(receiver.received) == 1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    call_command("keys", "rotate", stdout=io.StringIO())

    secrets = [
        LOGIN, NEW_LOGIN, WRONG, totp, *recovery, pasted, ONCE, REPLACED, FENCE, role.value, archive.value, PASSWORD.value, token,
        webhook, TOPIC, TOKEN, *settings.ENCRYPTION_KEYS,
    ]  # fmt: skip
    told = {"database": dumped(), "log": caplog.text}
    found = [(place, secret[:24]) for place, text in told.items() for secret in secrets for face in faces(secret) if face in text]
    assert found == []
    # the search finds what is there, and everything sealed is known to `manage.py keys`
    assert "boss" in told["database"]
    assert sum(kept.sealed in told["database"] for kept in keyring.everything()) == told["database"].count(keyring.TOKEN)
