"""The pages of webhooks: for administrators over all, the secret once, every attempt to be read, hostile answers as text."""

import re

import pytest
from cluster_world import cluster_of_two, person
from django.utils import timezone

from clusters.models import Credential
from webhooks import services
from webhooks.models import Attempt, Delivery, Subscription

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.net/in"


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)


@pytest.fixture
def boss(client):
    client.force_login(person("boss", "administrator"))
    return client


def text(answer) -> str:
    return answer.content.decode()


def made(**more) -> Subscription:
    return services.subscribe(None, "desk", URL, **more)[0]


def addresses(subscription, delivery) -> list[str]:
    own = f"/webhooks/{subscription.uuid}"
    verbs = ("edit", "secret", "test", "replay", "remove", f"replay/{delivery.pk}")
    return ["/webhooks/", "/webhooks/new/", f"{own}/", *(f"{own}/{verb}/" for verb in verbs)]


def test_nobody_but_an_administrator_over_all_sees_or_does_anything(client):
    cluster, *_nodes = cluster_of_two()
    subscription = made()
    delivery = services.test(subscription, None)
    before = Delivery.objects.count(), Credential.objects.count()
    for name, role, of in (("eve", "", None), ("vic", "viewer", None), ("op", "operator", None), ("adm", "administrator", cluster)):
        client.force_login(person(name, role, of))
        for address in addresses(subscription, delivery):
            assert {client.get(address).status_code, client.post(address, {"name": "desk"}).status_code} <= {403, 405}, (
                name,
                address,
            )
    assert (Delivery.objects.count(), Credential.objects.count()) == before
    assert Subscription.objects.get().is_active
    client.logout()
    for address in addresses(subscription, delivery):
        assert client.post(address).status_code == 302


def test_one_is_made_its_secret_is_shown_once_and_signs(boss):
    cluster, *_nodes = cluster_of_two()
    page = boss.get("/webhooks/new/")
    assert "job.ended" in text(page)
    sent = {"name": "desk", "url": URL, "events": ["job.ended", "cluster.changed"], "clusters": [cluster.pk]}
    answer = boss.post("/webhooks/new/", sent)
    secret = re.search(r"whsec_[A-Za-z0-9+/=]+", text(answer))[0]
    assert "no-store" in answer["Cache-Control"]
    subscription = Subscription.objects.get()
    assert services.secrets_of(subscription) == [secret]
    assert (subscription.events, subscription.is_for_all) == (["job.ended", "cluster.changed"], False)
    assert list(subscription.clusters.all()) == [cluster]
    for address in ("/webhooks/", f"/webhooks/{subscription.uuid}/", f"/webhooks/{subscription.uuid}/edit/"):
        assert secret not in text(boss.get(address))
    assert "whsec_" in text(boss.post(f"/webhooks/{subscription.uuid}/secret/"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://hooks.example.net/"}, "Only https"), ({"url": "https://127.0.0.1/"}, "not a public address"),
        ({"url": "https://169.254.169.254/latest"}, "not a public address"), ({"name": ""}, "required"),
        ({"events": ["job.eaten"]}, "not one of the available choices"), ({"is_for_all": ""}, "at least one"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_beside_its_field(boss, change, words):
    cluster_of_two()
    page = text(boss.post("/webhooks/new/", {"name": "desk", "url": URL, "is_for_all": "on"} | change))
    assert words in page
    assert not Subscription.objects.exists()
    assert not Credential.objects.filter(kind="webhook").exists()


def test_switched_off_it_hears_nothing_and_what_waited_is_dropped(boss):
    subscription = made()
    services.test(subscription, None)
    boss.post(f"/webhooks/{subscription.uuid}/edit/", {"name": "desk", "url": URL, "is_for_all": "on"})
    cluster_of_two()
    assert list(Delivery.objects.values_list("status", flat=True)) == ["dropped"]
    assert "switched off" in text(boss.get(f"/webhooks/{subscription.uuid}/"))


def test_a_test_is_sent_and_each_delivery_can_be_read_and_sent_again(boss):
    subscription = made()
    boss.post(f"/webhooks/{subscription.uuid}/test/")
    delivery = Delivery.objects.get()
    Delivery.objects.update(status="failed", tries=11)
    Attempt.objects.create(
        delivery=delivery, at=timezone.now(), seconds=0.2, status_code=500, answer="<script>alert(1)</script> {{ secret }}"
    )
    page = text(boss.get(f"/webhooks/{subscription.uuid}/"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ secret }}" in page
    assert "<script>alert" not in page
    assert "given up" in page
    boss.post(f"/webhooks/{subscription.uuid}/replay/{delivery.pk}/")
    delivery.refresh_from_db()
    assert (delivery.status, delivery.tries) == ("waiting", 0)


def test_a_delivery_of_another_receiver_is_not_sent_again_by_this_ones_address(boss):
    other = services.test(made(), None)
    subscription = services.subscribe(None, "second", URL)[0]
    assert boss.post(f"/webhooks/{subscription.uuid}/replay/{other.pk}/").status_code == 404


def test_all_since_a_time_and_not_longer_ago_than_is_kept(boss):
    cluster_of_two()
    subscription = made()
    address = f"/webhooks/{subscription.uuid}/replay/"
    assert "3 events" in text(boss.post(address, {"since": timezone.now().strftime("%Y-%m-%dT00:00")}, follow=True))
    answer = boss.post(address, {"since": "2020-01-01T00:00"})
    assert answer.status_code == 400
    assert "kept for 30 days" in text(answer)


def test_why_the_panel_gave_up_stands_on_its_page_and_in_the_list(boss):
    subscription = made()
    services.disable(subscription, "nothing was taken for 3 days")
    assert "Nothing was taken for 3 days." in text(boss.get(f"/webhooks/{subscription.uuid}/"))
    assert "given up" in text(boss.get("/webhooks/"))


def test_it_is_removed_by_its_name(boss):
    subscription = made()
    address = f"/webhooks/{subscription.uuid}/remove/"
    boss.post(address, {"name": "desks"})
    assert Subscription.objects.exists()
    boss.post(address, {"name": "desk"})
    assert not Subscription.objects.exists()
    assert not Credential.objects.filter(kind="webhook").exists()


def test_a_lost_key_is_said_in_place_of_a_secret(boss, settings, tmp_path):
    subscription = made()
    settings.ENCRYPTION_KEYS, settings.ENCRYPTION_KEY_FILE = [], tmp_path / "gone"
    page = text(boss.post("/webhooks/new/", {"name": "second", "url": URL, "is_for_all": "on"}))
    assert "The stored secrets cannot be read" in page
    page = text(boss.post(f"/webhooks/{subscription.uuid}/secret/", follow=True))
    assert "The stored secrets cannot be read" in page
    assert Subscription.objects.count() == 1
