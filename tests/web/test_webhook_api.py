"""Webhooks by the API: made, changed, tested, replayed; the secret once; for administrators over all and nobody else."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest
from api_world import Api, token_of, user
from cluster_world import cluster_of_two
from django.utils import timezone

from webhooks import services
from webhooks.api import EventName
from webhooks.catalog import OFFERED
from webhooks.models import Attempt, Delivery, Subscription

pytestmark = pytest.mark.django_db
WANTED = {"name": "desk", "url": "https://hooks.example.net/in", "events": ["job.ended"]}


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)


@pytest.fixture
def boss() -> Api:
    return Api(token_of(user("boss", "administrator")))


def made(api: Api, **more) -> dict:
    answer = api.post("/webhooks", WANTED | more)
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_one_is_made_and_its_secret_stands_in_that_answer_only(boss):
    answer = boss.post("/webhooks", WANTED, Idempotency_Key="k1")
    told = answer.json()
    assert answer["Location"] == f"/api/v1/webhooks/{told['id']}"
    assert services.secrets_of(Subscription.objects.get()) == [told["secret"]]
    again = boss.post("/webhooks", WANTED, Idempotency_Key="k1")
    assert (again.json()["id"], again.json()["secret"]) == (told["id"], None)
    assert Subscription.objects.count() == 1
    assert "secret" not in boss.get(f"/webhooks/{told['id']}").json()
    rotated = boss.post(f"/webhooks/{told['id']}/secret").json()["secret"]
    assert services.secrets_of(Subscription.objects.get()) == [rotated, told["secret"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://hooks.example.net/"}, "url"), ({"url": "https://10.0.0.1/"}, "url"),
        ({"clusters": ["nothing"]}, "clusters"), ({"clusters": []}, "clusters"),
        ({"events": ["job.eaten"]}, "events"), ({"name": ""}, "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_problem_with_its_field(boss, change, field):
    answer = boss.post("/webhooks", WANTED | change)
    assert answer.status_code == 422
    assert field in answer.json()["errors"][0]["field"]
    assert not Subscription.objects.exists()


def test_it_is_changed_by_what_the_call_names_only(boss):
    cluster_of_two()
    one = made(boss)
    path = f"/webhooks/{one['id']}"
    changed = boss("PATCH", path, {"clusters": ["registry"]}).json()
    assert (changed["clusters"], changed["events"], changed["url"]) == (["registry"], ["job.ended"], WANTED["url"])
    assert boss("PATCH", path, {"is_active": False}).json()["clusters"] == ["registry"]
    assert boss("PATCH", path, {"is_for_all": True, "is_active": True}).json()["clusters"] is None
    assert boss("PATCH", path, {"is_for_all": True, "clusters": ["registry"]}).status_code == 422
    assert boss("PATCH", path, {"url": "https://127.0.0.1/"}).status_code == 422
    assert boss("DELETE", path).status_code == 204
    assert boss.get(path).status_code == 404


def test_a_test_its_delivery_and_sending_again(boss):
    one = made(boss)
    sent = boss.post(f"/webhooks/{one['id']}/test").json()
    assert (sent["event"], sent["status"], sent["body"]["data"]["by"]) == ("webhook.test", "waiting", "boss")
    Delivery.objects.update(status="failed", tries=11)
    Attempt.objects.create(delivery_id=sent["id"], at=timezone.now(), seconds=0.1, status_code=500, answer="no")
    listed = boss.get(f"/webhooks/{one['id']}/deliveries").json()["items"][0]
    assert (listed["status"], listed["attempts"][0]["status_code"], listed["event_id"]) == ("failed", 500, sent["body"]["id"])
    again = boss.post(f"/webhooks/{one['id']}/deliveries/{sent['id']}/replay")
    assert (again.status_code, again.json()["status"], again.json()["tries"]) == (202, "waiting", 0)
    other = made(boss, name="other")
    assert boss.post(f"/webhooks/{other['id']}/deliveries/{sent['id']}/replay").status_code == 404
    boss("PATCH", f"/webhooks/{one['id']}", {"is_active": False})
    assert boss.post(f"/webhooks/{one['id']}/test").status_code == 409


def test_all_since_a_time(boss):
    cluster_of_two()
    one = made(boss, events=["node.added"])
    since = (timezone.now() - timedelta(hours=1)).isoformat()
    assert boss.post(f"/webhooks/{one['id']}/replay", {"since": since}).json() == {"events": 2}
    long_ago = boss.post(f"/webhooks/{one['id']}/replay", {"since": "2020-01-01T00:00:00Z"})
    assert (long_ago.status_code, long_ago.json()["errors"][0]["field"]) == (422, "since")


def test_nobody_but_an_administrator_over_all(boss):
    cluster, *_nodes = cluster_of_two()
    one = made(boss)
    asked = [("GET", "/webhooks"), ("POST", "/webhooks"), ("GET", f"/webhooks/{one['id']}"), ("DELETE", f"/webhooks/{one['id']}"),
             ("POST", f"/webhooks/{one['id']}/secret"), ("GET", f"/webhooks/{one['id']}/deliveries")]  # fmt: skip
    for name, role, of in (("vic", "viewer", None), ("op", "operator", None), ("adm", "administrator", cluster)):
        api = Api(token_of(user(name, role, of)))
        assert {api(method, path, WANTED).status_code for method, path in asked} == {403}
    limited = Api(token_of(user("chief", "administrator"), "operator"))
    assert {limited(method, path, WANTED).status_code for method, path in asked} == {403}
    assert Subscription.objects.count() == 1


def test_the_events_of_the_document_are_the_catalogs(boss):
    names = [each.name for each in OFFERED]
    assert list(get_args(EventName)) == names
    assert [each["name"] for each in boss.get("/webhook-events").json()["items"]] == names
