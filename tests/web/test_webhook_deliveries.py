"""Deliveries to a receiver that is really there, over real sockets; what it may do to the panel, and what the panel keeps of it."""

import itertools
import time
from datetime import timedelta

import jsonschema_rs
import pytest
from cluster_world import cluster_of_two, person
from django.utils import timezone
from webhook_receiver import Receiver

from clusters import secrets
from clusters import services as clusters
from clusters.models import Credential, Quarantine
from pgpanel.outgoing import posting
from webhooks import catalog, delivering, services
from webhooks.models import Attempt, Delivery, Event, Subscription

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    """Only rows: tests deliver by themselves."""
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)


@pytest.fixture(autouse=True)
def own_machine_may_be_reached(settings):
    settings.WEBHOOK_NETWORKS, settings.WEBHOOK_PLAIN_HTTP = ["127.0.0.0/8"], True
    settings.WEBHOOK_PORTS = range(1, 65536)


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


def subscribed(receiver, **more):
    return services.subscribe(None, "desk", receiver.url, **more)


def deliver(subscription) -> Delivery:
    delivering.deliver_due(subscription.pk)
    return Delivery.objects.filter(subscription=subscription).latest("pk")


def due_now(**which) -> None:
    Delivery.objects.filter(**which).update(due_at=timezone.now())


def test_what_arrives_is_signed_named_and_as_the_schema_says(receiver):
    subscription, secret = subscribed(receiver)
    cluster, *_nodes = cluster_of_two()
    assert delivering.deliver_due(subscription.pk) == 3
    assert [one.said["type"] for one in receiver.received] == ["cluster.added", "node.added", "node.added"]
    for one in receiver.received:
        assert one.is_signed_with(secret)
        assert one.said["id"] == one.headers["webhook-id"]
        assert one.headers["content-type"] == "application/json"
        assert one.headers["host"] == f"127.0.0.1:{receiver.port}"
        jsonschema_rs.validate(catalog.schema(), one.said)
    assert receiver.received[0].said["data"]["cluster"] == {"name": "registry", "uuid": str(cluster.uuid)}
    attempt = Attempt.objects.latest("pk")
    assert (attempt.status_code, attempt.answer, attempt.error) == (200, "thanks", "")


def test_only_what_was_asked_for_is_told(receiver):
    first, *_nodes = cluster_of_two("first")
    subscription, _secret = subscribed(receiver, events=["node.removed", "webhook.test"], clusters=[first])
    second, *_nodes = cluster_of_two("second")
    for cluster in (first, second):
        clusters.node_remove(cluster.nodes.get(name="pg2"))
    delivering.deliver_due(subscription.pk)
    assert [(one.said["type"], one.said["data"]["cluster"]["name"]) for one in receiver.received] == [("node.removed", "first")]


def test_a_subscription_whose_only_cluster_is_gone_hears_of_its_going_and_of_no_other(receiver):
    cluster, *_nodes = cluster_of_two("first")
    subscription, _secret = subscribed(receiver, clusters=[cluster])
    clusters.cluster_remove(cluster)
    cluster_of_two("second")
    delivering.deliver_due(subscription.pk)
    assert [one.said["type"] for one in receiver.received] == ["node.removed", "node.removed", "cluster.removed"]


def test_nothing_is_told_of_what_was_rolled_back(receiver):
    from django.db import transaction

    subscribed(receiver)
    with transaction.atomic():
        cluster_of_two()
        transaction.set_rollback(True)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("manner", "code", "words"),
    [("503", 503, ""), ("404", 404, ""), ("redirects", 302, "not followed"), ("garbles", None, "not an HTTP answer")],
)
def test_an_answer_that_is_no_yes_is_kept_and_tried_again(receiver, manner, code, words):
    receiver.manner = manner
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    delivery = deliver(subscription)
    attempt = delivery.attempts.get()
    assert (delivery.status, delivery.tries, attempt.status_code) == ("waiting", 1, code)
    assert words in attempt.error
    assert delivery.due_at > timezone.now() + timedelta(seconds=2)
    receiver.manner = "takes"
    due_now()
    assert deliver(subscription).status == "delivered"
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_a_redirect_is_not_followed(receiver):
    with Receiver() as inside:
        receiver.manner = "redirects"
        subscription, _secret = subscribed(receiver)
        services.test(subscription, None)
        deliver(subscription)
        assert inside.received == []


@pytest.mark.parametrize("manner", ["hangs", "drips"])
def test_a_receiver_that_hangs_or_drips_is_left_when_its_time_is_over(receiver, manner, monkeypatch):
    receiver.manner = manner
    place = services_destination(receiver)
    began = time.monotonic()
    answer = posting.post(place, b"{}", {}, whole_seconds=0.7)
    assert (answer.status, answer.error) == (None, "no answer within 0.7 s")
    assert time.monotonic() - began < 20, "the receiver itself would go on for half a minute"


def services_destination(receiver):
    from pgpanel.outgoing.addresses import destination

    return destination(receiver.url)


def test_of_an_endless_answer_the_first_kilobyte_is_kept(receiver):
    receiver.manner = "floods"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    assert deliver(subscription).status == "delivered"
    assert Attempt.objects.get().answer == "x" * 1024


def test_an_answer_that_breaks_off_has_answered(receiver):
    receiver.manner = "breaks off"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    assert deliver(subscription).status == "delivered"


def test_what_a_stranger_answers_is_text_that_can_be_stored_and_shown(receiver):
    receiver.answer = b"\x00\x1b[31m\xff<script>alert(1)</script>\nline"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    deliver(subscription)
    answer = Attempt.objects.get().answer
    assert "\x00" not in answer
    assert "\x1b" not in answer
    assert answer.endswith("\nline")


def test_nobody_there_is_an_attempt_too(receiver):
    subscription, _secret = subscribed(receiver)
    receiver.server.shutdown()
    receiver.server.server_close()
    services.test(subscription, None)
    attempt = deliver(subscription).attempts.get()
    assert (attempt.status_code, "refused" in attempt.error.lower()) == (None, True)


def test_an_address_that_is_refused_at_the_time_of_sending_gets_nothing(receiver, settings):
    subscription, _secret = subscribed(receiver)
    settings.WEBHOOK_NETWORKS = []
    services.test(subscription, None)
    attempt = deliver(subscription).attempts.get()
    assert "not a public address" in attempt.error
    assert receiver.received == []


def test_waits_grow_to_hours_with_jitter_and_end_after_a_good_day():
    waits = [delivering.wait_after(tries).total_seconds() for tries in range(1, delivering.MOST_TRIES)]
    assert 4 <= waits[0] <= 6
    assert all(after > before for before, after in itertools.pairwise(waits[:7]))
    assert max(waits) <= 6 * 3600 * 1.2
    assert 20 * 3600 < sum(waits) < 31 * 3600
    assert len({delivering.wait_after(5) for _count in range(20)}) > 1
    assert delivering.wait_after(1, 120) == timedelta(seconds=120)
    assert delivering.wait_after(1, 10**6) == timedelta(hours=6)


def test_a_receiver_that_asks_for_time_gets_it(receiver):
    receiver.manner, receiver.retry_after = "429", "120"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    assert deliver(subscription).due_at > timezone.now() + timedelta(seconds=110)


def test_it_is_given_up_after_the_last_try_and_can_be_sent_again(receiver):
    receiver.manner = "500"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    for _count in range(delivering.MOST_TRIES):
        due_now()
        delivery = deliver(subscription)
    assert (delivery.status, delivery.attempts.count()) == ("failed", delivering.MOST_TRIES)
    due_now()
    assert delivering.deliver_due(subscription.pk) == 0
    receiver.manner = "takes"
    services.replay(delivery)
    assert deliver(subscription).status == "delivered"
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1


def test_after_days_in_vain_it_is_disabled_with_a_reason_and_the_others_are_told(receiver):
    subscription, _secret = subscribed(receiver)
    with Receiver() as other:
        watcher, _secret = services.subscribe(None, "watcher", other.url, events=["webhook.disabled"])
        receiver.manner = "500"
        services.test(subscription, None)
        services.test(subscription, None)
        deliver(subscription)
        Subscription.objects.filter(pk=subscription.pk).update(failing_since=timezone.now() - timedelta(days=3, minutes=1))
        due_now(subscription=subscription)
        deliver(subscription)
        subscription.refresh_from_db()
        assert (subscription.is_active, subscription.disabled_because) == (False, "nothing was taken for 3 days")
        assert set(subscription.deliveries.values_list("status", flat=True)) == {"dropped"}
        assert delivering.deliver_due(watcher.pk) == 1
        assert other.received[0].said["data"]["subscription"]["uuid"] == str(subscription.uuid)


def test_410_gone_disables_at_once(receiver):
    receiver.manner = "410"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    deliver(subscription)
    subscription.refresh_from_db()
    assert (subscription.is_active, subscription.disabled_because) == (False, "the receiver answered 410 Gone")


def test_something_taken_forgives_what_was_not(receiver):
    receiver.manner = "500"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    deliver(subscription)
    receiver.manner = "takes"
    due_now()
    deliver(subscription)
    subscription.refresh_from_db()
    assert subscription.failing_since is None


def test_two_workers_do_not_deliver_to_one_receiver_at_once_and_a_dead_ones_claim_runs_out(receiver):
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    Subscription.objects.update(busy_until=timezone.now() + timedelta(seconds=60))
    assert delivering.deliver_due(subscription.pk) == 0
    assert delivering.with_something_due() == []
    Subscription.objects.update(busy_until=timezone.now() - timedelta(seconds=1))
    assert delivering.with_something_due() == [subscription.pk]
    assert delivering.deliver_due(subscription.pk) == 1
    subscription.refresh_from_db()
    assert subscription.busy_until is None


def test_the_rows_outlive_the_broker(receiver, monkeypatch):
    """Redis is away while it happens: nothing is lost, since the sweep asks the rows."""
    from kombu.exceptions import OperationalError

    from webhooks import tasks

    monkeypatch.undo()

    def away(*_words, **_more):
        raise OperationalError("away")

    monkeypatch.setattr(tasks.deliver, "apply_async", away)
    subscription = Subscription.objects.create(name="desk", url=receiver.url, secret=services._kept("desk", services.secret_make()))
    services.tell("cluster.added", {"cluster": {"name": "registry", "uuid": "4f6c1f9e-52a7-4a52-9f0c-0c8f6f1f2b11"}})
    assert Delivery.objects.get().status == "waiting"
    sent = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda arguments, **_more: sent.append(arguments))
    tasks.sweep()
    assert sent == [(subscription.pk,)]


def test_both_secrets_sign_for_a_day_and_the_old_one_is_gone_with_the_next(receiver):
    subscription, old = subscribed(receiver)
    new = services.secret_rotate(subscription)
    services.test(subscription, None)
    deliver(subscription)
    assert receiver.received[-1].is_signed_with(old)
    assert receiver.received[-1].is_signed_with(new)
    Subscription.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    services.test(subscription, None)
    deliver(subscription)
    assert not receiver.received[-1].is_signed_with(old)
    services.secret_rotate(Subscription.objects.get())
    assert Credential.objects.filter(kind="webhook").count() == 2


def test_secrets_are_sealed_rotated_with_the_others_and_gone_with_the_subscription(receiver):
    from django.core.management import call_command

    subscription, secret = subscribed(receiver)
    sealed = Credential.objects.get(kind="webhook").sealed
    assert secret not in sealed
    assert secrets.open_sealed(sealed, "x").value == secret
    call_command("keys", "rotate", "--new-key")
    assert Credential.objects.get(kind="webhook").sealed != sealed
    subscription.refresh_from_db()
    assert services.secrets_of(subscription) == [secret]
    services.unsubscribe(subscription)
    assert not Credential.objects.filter(kind="webhook").exists()


def test_since_a_time_also_what_was_told_before_one_subscribed(receiver):
    cluster_of_two()
    Event.objects.filter(type="cluster.added").update(at=timezone.now() - timedelta(days=2))
    subscription, _secret = subscribed(receiver, events=["cluster.added", "node.added"])
    assert services.replay_since(subscription, timezone.now() - timedelta(hours=1)) == 2
    delivering.deliver_due(subscription.pk)
    assert [one.said["type"] for one in receiver.received] == ["node.added", "node.added"]
    assert services.replay_since(subscription, timezone.now() - timedelta(hours=1)) == 2
    delivering.deliver_due(subscription.pk)
    assert len(receiver.received) == 4


def test_a_quarantine_is_told_when_it_begins_when_it_is_broken_and_when_it_ends(receiver, monkeypatch):
    from clusters.signals import quarantined_node_seen

    _cluster, _pg1, pg2 = cluster_of_two()
    subscription, _secret = subscribed(receiver)
    monkeypatch.setattr("jobs.zombies.is_wanted", lambda _node_id: False)
    held = Quarantine.objects.create(node=pg2, reason="job 7 promoted pg1")
    for _poll in range(3):
        quarantined_node_seen.send(None, node_id=pg2.pk)
    held.lifted_at = timezone.now()
    held.save(update_fields=["lifted_at"])
    delivering.deliver_due(subscription.pk)
    assert [one.said["type"] for one in receiver.received] == ["node.quarantined", "node.writable_unexpectedly", "node.released"]
    assert receiver.received[0].said["data"]["reason"] == "job 7 promoted pg1"
    for one in receiver.received:
        jsonschema_rs.validate(catalog.schema(), one.said)


def test_events_older_than_thirty_days_are_forgotten(receiver):
    subscribed(receiver)
    cluster_of_two()
    Event.objects.filter(type="cluster.added").update(at=timezone.now() - timedelta(days=31))
    services.forget_old()
    assert set(Event.objects.values_list("type", flat=True)) == {"node.added"}
    assert Delivery.objects.count() == 2


def test_made_active_again_it_starts_anew(receiver):
    receiver.manner = "410"
    subscription, _secret = subscribed(receiver)
    services.test(subscription, None)
    deliver(subscription)
    subscription.refresh_from_db()
    services.change(subscription, name="desk", url=receiver.url, events=[], clusters=None, is_active=True)
    subscription.refresh_from_db()
    assert (subscription.is_active, subscription.disabled_because, subscription.failing_since) == (True, "", None)


def test_who_did_what_with_a_webhook_is_audited_without_its_url(receiver):
    from accounts.models import AuditEntry

    subscription, secret = services.subscribe(person("boss", "administrator"), "desk", receiver.url)
    services.secret_rotate(subscription)
    services.unsubscribe(subscription)
    entries = list(AuditEntry.objects.order_by("number"))
    assert [entry.action for entry in entries] == ["webhook.create", "webhook.rotate", "webhook.remove"]
    kept = str([entry.detail for entry in entries])
    assert "127.0.0.1" in kept
    assert "of-the-receiver" not in kept
    assert secret not in kept
