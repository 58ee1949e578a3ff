"""Each kind of channel towards a real receiver; and what a stranger's server does never brings a secret out."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from channel_world import TOKEN, TOPIC, allow_own_machine, channel_of, clear, fire, ntfy, send
from cluster_world import cluster_of_two
from cryptography.fernet import Fernet
from django.core import mail
from webhook_receiver import Receiver

from clusters.models import Cluster
from monitor.channel_services import channel_test
from monitor.channels import email, pushover
from monitor.models import Channel, Message, Sending

pytestmark = pytest.mark.django_db(transaction=True)
USER_KEY, APP_TOKEN = "u" * 30, "a" * 30
PANEL = "https://panel.example"
PROMOTE = f"{PANEL}/c/registry/promote"


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture
def cluster(settings, monkeypatch) -> Cluster:
    allow_own_machine(settings)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    settings.PANEL_URL = PANEL
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)
    return cluster_of_two()[0]


def test_a_phone_hears_by_ntfy_with_the_way_to_the_promote_page(cluster, receiver):
    ntfy(receiver)
    alert = fire(cluster)
    assert send() == 1
    (got,) = receiver.received
    assert (got.said["topic"], got.said["priority"], got.said["click"]) == (TOPIC, 5, PROMOTE)
    assert got.said["title"] == "CRITICAL registry: Primary does not answer (pg1)"
    assert "Do next:" in got.said["message"]
    assert got.headers["authorization"] == f"Bearer {TOKEN}"
    assert got.said["sequence_id"] == str(Message.objects.get().uuid)
    clear(alert)
    assert send() == 1
    assert (receiver.received[1].said["priority"], receiver.received[1].said["tags"]) == (2, ["white_check_mark"])


def test_a_phone_hears_by_pushover_until_somebody_confirms(cluster, receiver, monkeypatch):
    monkeypatch.setattr(pushover, "URL", receiver.url)
    channel_of("pushover", {"repeats": True}, {"user_key": USER_KEY, "app_token": APP_TOKEN})
    fire(cluster)
    assert send() == 1
    fields = {name: value[0] for name, value in parse_qs(receiver.received[0].body.decode()).items()}
    assert (fields["user"], fields["token"], fields["url"]) == (USER_KEY, APP_TOKEN, PROMOTE)
    assert (fields["priority"], fields["retry"], fields["expire"]) == ("2", "60", "1800")


@pytest.mark.parametrize("kind", ["slack", "mattermost", "teams"])
def test_a_chat_hears_by_its_incoming_webhook(kind, cluster, receiver):
    channel_of(kind, {"host": "127.0.0.1"}, {"url": receiver.url})
    fire(cluster)
    assert send() == 1
    (got,) = receiver.received
    assert PROMOTE in got.body.decode()
    assert got.said["type"] == "message" if kind == "teams" else got.said["text"]


def test_a_mail_has_the_same_id_in_every_attempt(cluster, monkeypatch):
    channel = Channel.objects.create(kind="email", name="on call", settings={"addresses": ["oncall@example.net"]})
    fire(cluster)
    assert send() == 1
    Message.objects.update(status="waiting")
    Message.objects.get().notices.update(status="waiting")
    assert send() == 1
    first, second = mail.outbox
    assert first.message()["Message-ID"] == second.message()["Message-ID"] == f"<{channel.messages.get().uuid}@pgpanel>"
    assert first.subject == "[pgpanel] CRITICAL registry: Primary does not answer (pg1)"


@pytest.mark.parametrize("backend", [email.PRINTS, email.SPEAKS])
def test_a_panel_without_a_mail_server_does_not_say_that_a_mail_was_sent(backend, cluster, settings):
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = backend, None
    Channel.objects.create(kind="email", name="on call", settings={"addresses": ["oncall@example.net"]})
    fire(cluster)
    assert send() == 0
    assert "EMAIL_URL" in Sending.objects.get().error


@pytest.mark.parametrize(
    ("manner", "why"),
    [("404", "HTTP 404 “no_service"), ("redirects", "redirects (302)"), ("garbles", "not an HTTP answer"), ("503", "HTTP 503")],
)
def test_what_went_wrong_is_said_without_the_secret(manner, why, cluster, receiver, caplog):
    """Also where the other side says it back."""
    receiver.manner = manner
    receiver.answer = f"no_service at {receiver.url} /hook?token=of-the-receiver".encode()
    channel_of("slack", {"host": "127.0.0.1"}, {"url": receiver.url})
    fire(cluster)
    assert send() == 0
    error = Sending.objects.get().error
    assert why in error
    for text in (error, caplog.text):
        assert "of-the-receiver" not in text
        assert receiver.url not in text


def test_a_test_says_the_true_error_and_stands_among_the_messages(cluster, receiver):
    receiver.manner = "403"
    receiver.answer = f'{{"error":"forbidden {TOKEN}"}}'.encode()
    sending = channel_test(ntfy(receiver))
    assert sending.is_taken is False
    assert "HTTP 403" in sending.error
    assert TOKEN not in sending.error
    receiver.manner = "takes"
    assert channel_test(Channel.objects.get()).is_taken
    assert [message.status for message in Message.objects.filter(is_test=True)] == ["sent", "given up"]
    assert send() == 0


@pytest.mark.parametrize("inside", ["127.0.0.1", "169.254.169.254", "10.0.0.5"])
def test_the_panels_own_network_is_not_called_unless_it_is_named(inside, cluster, receiver, settings):
    settings.WEBHOOK_NETWORKS = []
    channel_of("ntfy", {"server": f"http://{inside}:{receiver.port}"}, {"topic": TOPIC})
    fire(cluster)
    assert send() == 0
    assert "not a public address" in Sending.objects.get().error
    assert receiver.received == []


def test_a_secret_that_no_key_opens_is_said_and_nothing_is_sent(cluster, receiver, settings):
    ntfy(receiver)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    fire(cluster)
    assert send() == 0
    assert "channel on call" in Sending.objects.get().error
    assert receiver.received == []
