"""Whom alerts wake, by page and by API: who may, what is refused, and that a secret goes in and never comes out."""

from __future__ import annotations

import json

import pytest
from api_world import Api, token_of, user
from channel_world import TOKEN, TOPIC, allow_own_machine, fire, ntfy, send
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from django.core import mail
from django.test import Client
from django.urls import reverse
from webhook_receiver import Receiver

from accounts.models import AuditEntry
from clusters.models import Cluster, Credential
from monitor import dispatch
from monitor.channels import CHANNELS
from monitor.models import Channel, Message
from pgpanel import keyring

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = "https://1.1.1.1/services/T000/B000/Kaffeetasse4711"
EVERY = {"name": "on call", "least_severity": "critical", "is_for_all": "on", "is_active": "on", "time_zone": "Europe/Berlin",
         "critical_breaks_through": "on", "quiet-TOTAL_FORMS": "1", "quiet-INITIAL_FORMS": "0"}  # fmt: skip


@pytest.fixture
def cluster(settings, monkeypatch) -> Cluster:
    allow_own_machine(settings)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)
    return cluster_of_two()[0]


@pytest.fixture
def boss(cluster) -> Client:
    client = Client()
    client.force_login(person("boss", "administrator"))
    return client


@pytest.fixture
def api(cluster) -> Api:
    return Api(token_of(user("program", "administrator")))


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


# -- pages ------------------------------------------------------------------------------------------------------------------------


def test_an_administrator_adds_a_mail_address_and_sends_a_test(boss):
    asked = EVERY | {"own-addresses": "a@example.net, b@example.net"}
    new = reverse("monitor:channel_new", args=["email"])
    assert boss.post(new, asked | {"own-addresses": "nobody"}).status_code == 422
    answer = boss.post(new, asked)
    channel = Channel.objects.get()
    assert answer.headers["Location"] == reverse("monitor:channel_messages", args=[channel.pk])
    assert (channel.settings, channel.secret) == ({"addresses": ["a@example.net", "b@example.net"]}, None)
    assert "a@example.net, b@example.net" in boss.get(reverse("monitor:channel_edit", args=[channel.pk])).content.decode()
    boss.post(reverse("monitor:channel_test", args=[channel.pk]))
    assert mail.outbox[0].to == ["a@example.net", "b@example.net"]
    assert "Test of pgpanel" in boss.get(reverse("monitor:channel_messages", args=[channel.pk])).content.decode()
    boss.post(reverse("monitor:channel_remove", args=[channel.pk]))
    assert not Channel.objects.exists()


@pytest.mark.parametrize("kind", CHANNELS)
def test_every_kind_has_a_form_that_says_what_is_missing(kind, boss):
    url = reverse("monitor:channel_new", args=[kind])
    assert boss.get(url).status_code == 200
    answer = boss.post(url, EVERY)
    assert answer.status_code == 422
    assert "This field is required." in answer.content.decode()
    assert not Credential.objects.filter(kind="channel").exists()


def test_a_secret_goes_in_is_kept_when_left_empty_and_never_comes_out(boss):
    boss.post(reverse("monitor:channel_new", args=["slack"]), EVERY | {"own-url": HOOK})
    channel = Channel.objects.get()
    assert (channel.settings, dispatch.secrets_of(channel)) == ({"host": "1.1.1.1"}, {"url": HOOK})
    pages = [reverse("monitor:channels"), *(reverse(f"monitor:channel_{page}", args=[channel.pk]) for page in ("edit", "messages"))]
    for page in pages:
        assert "Kaffeetasse4711" not in boss.get(page).content.decode()
    boss.post(pages[1], EVERY | {"name": "night shift"})
    channel.refresh_from_db()
    assert (channel.name, dispatch.secrets_of(channel)) == ("night shift", {"url": HOOK})
    refused = boss.post(pages[1], EVERY | {"own-url": "ftp://Kaffeetasse4711.example"})
    assert refused.status_code == 422
    assert "Kaffeetasse4711" not in refused.content.decode()
    boss.post(reverse("monitor:channel_remove", args=[channel.pk]))
    assert not Credential.objects.filter(kind="channel").exists()
    assert "Kaffeetasse4711" not in json.dumps(list(AuditEntry.objects.values("target", "detail", "result")))


def test_what_was_entered_for_one_server_is_not_handed_to_another(boss, receiver):
    channel = ntfy(receiver)
    edit = reverse("monitor:channel_edit", args=[channel.pk])
    elsewhere = EVERY | {"own-server": "http://127.0.0.2:8080"}
    assert boss.post(edit, elsewhere).status_code == 422
    assert boss.post(edit, elsewhere | {"own-topic": "another"}).status_code == 302
    channel.refresh_from_db()
    assert dispatch.secrets_of(channel) == {"topic": "another"}  # its token is gone too


def test_a_new_key_covers_the_secrets_of_channels(boss, settings):
    boss.post(reverse("monitor:channel_new", args=["slack"]), EVERY | {"own-url": HOOK})
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    assert keyring.rotate().sealed >= 1
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    assert dispatch.secrets_of(Channel.objects.get()) == {"url": HOOK}


def test_quiet_hours_are_rows_of_days_and_times(boss):
    url = reverse("monitor:channel_new", args=["email"])
    asked = EVERY | {"own-addresses": "a@example.net", "quiet-0-days": ["0", "4"], "quiet-0-begins": "22:00"}
    assert boss.post(url, asked).status_code == 422
    assert boss.post(url, asked | {"quiet-0-ends": "07:00"}).status_code == 302
    channel = Channel.objects.get()
    assert channel.quiet_hours == [{"days": [0, 4], "begins": "22:00", "ends": "07:00"}]
    edit = reverse("monitor:channel_edit", args=[channel.pk])
    assert 'value="22:00"' in boss.get(edit).content.decode()
    always = asked | {"quiet-0-days": list("0123456"), "quiet-0-begins": "00:00", "quiet-0-ends": "00:00"}
    refused = boss.post(edit, always)
    assert refused.status_code == 422
    assert "never loud" in refused.content.decode()


def test_a_message_is_sent_again_by_its_button(boss, cluster, receiver):
    channel = ntfy(receiver)
    fire(cluster)
    assert send() == 1
    page = reverse("monitor:channel_messages", args=[channel.pk])
    assert "Primary does not answer" in boss.get(page).content.decode()
    boss.post(reverse("monitor:message_replay", args=[channel.pk, Message.objects.get().pk]))
    assert dispatch.send_due() == 1
    assert len(receiver.received) == 2
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"channel.replay"}


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_nobody_else_sees_or_changes_whom_they_wake(role, cluster, receiver):
    channel, client = ntfy(receiver), Client()
    client.force_login(person(role, role))
    assert client.get(reverse("monitor:channels")).status_code == 403
    assert client.post(reverse("monitor:channel_remove", args=[channel.pk])).status_code == 403


# -- the API ----------------------------------------------------------------------------------------------------------------------


def test_the_api_says_which_kinds_there_are_and_what_each_keeps_sealed(api):
    kinds = {kind["kind"]: kind for kind in api.get("/channel-kinds").json()["items"]}
    assert set(kinds) == set(CHANNELS)
    assert {field["name"] for field in kinds["ntfy"]["fields"] if field["is_secret"]} == {"topic", "token"}


def test_a_channel_by_the_api_from_its_making_to_its_end(api, cluster, receiver):
    own = {"server": f"http://127.0.0.1:{receiver.port}", "topic": TOPIC, "token": TOKEN}
    quiet = [{"days": [5, 6], "begins": "00:00", "ends": "00:00"}]
    answer = api.post("/channels", {"name": "on call", "kind": "ntfy", "own": own, "clusters": ["registry"], "quiet_hours": quiet})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["goes_to"], made["clusters"], made["quiet_hours"]) == ("127.0.0.1", ["registry"], quiet)
    assert TOKEN not in answer.content.decode()
    path = f"/channels/{made['id']}"
    tested = api.post(f"{path}/test").json()
    assert [attempt["is_taken"] for attempt in tested["attempts"]] == [True]
    changed = api("PATCH", path, {"least_severity": "critical", "is_for_all": True}).json()
    assert (changed["least_severity"], changed["clusters"], changed["quiet_hours"]) == ("critical", None, quiet)
    assert dispatch.secrets_of(Channel.objects.get())["token"] == TOKEN
    fire(cluster)
    assert send() == 1
    told, _test = api.get(f"{path}/messages").json()["items"]
    assert told["title"].startswith("CRITICAL registry")
    assert api.post(f"{path}/messages/{told['id']}/replay").status_code == 202
    assert api.post(f"{path}/messages/{tested['id']}/replay").status_code == 409
    assert api("DELETE", path).status_code == 204
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"own": {}}, "own.addresses"),
        ({"own": {"addresses": "nobody"}}, "own.addresses"),
        ({"own": {"url": HOOK}}, "own.url"),
        ({"clusters": ["nowhere"]}, "clusters"),
        ({"time_zone": "Europe/Nowhere"}, "time_zone"),
        ({"quiet_hours": [{"days": [0, 1, 2, 3, 4, 5, 6], "begins": "00:00", "ends": "00:00"}]}, "quiet_hours"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(body, field, api):
    whole = {"name": "on call", "kind": "email", "own": {"addresses": "a@example.net"}} | body
    answer = api.post("/channels", whole)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert not Channel.objects.exists()
