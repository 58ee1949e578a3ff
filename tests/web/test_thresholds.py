"""From when on something is an alert, per cluster: own limits count in the next round, are audited, and shown as what they are."""

from __future__ import annotations

from dataclasses import fields

import pytest
from api_world import Api, token_of, user
from cluster_world import cluster_of_two, person
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from clusters.models import Cluster
from monitor.models import Thresholds
from monitor.rules import Limits
from monitor.thresholds import BY_NAME, limits_by_cluster, thresholds_save

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster() -> Cluster:
    return cluster_of_two()[0]


def test_every_limit_of_the_rules_can_be_a_clusters_own():
    assert {field.name for field in fields(Limits)} == set(BY_NAME)
    assert all(one.least <= one.default <= one.most for one in BY_NAME.values())


def test_own_limits_count_for_their_cluster_and_the_others_keep_the_defaults(cluster):
    other = Cluster.objects.create(name="other")
    thresholds_save(cluster, {"lag_soft_seconds": 5, "breaches_in_a_row": 3})
    found = limits_by_cluster([cluster.pk, other.pk])
    assert found == {cluster.pk: Limits(lag_soft_seconds=5.0, breaches_in_a_row=3)}


def test_a_limit_of_another_release_spoils_nothing(cluster):
    Thresholds.objects.create(cluster=cluster, own={"lag_soft_seconds": 5.0, "from_the_future": 1})
    assert limits_by_cluster([cluster.pk])[cluster.pk] == Limits(lag_soft_seconds=5.0)


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ({"lag_soft_seconds": 0}, "lag_soft_seconds"),
        ({"breaches_in_a_row": 1.5}, "breaches_in_a_row"),
        ({"lag_soft_seconds": 700}, "lag_soft_seconds"),  # after the alarm
        ({"lag_hard_bytes": 1 << 20}, "lag_hard_bytes"),  # before the default warning
        ({"no_such": 1}, "no_such"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(own, field, cluster):
    with pytest.raises(ValidationError) as refused:
        thresholds_save(cluster, own)
    assert list(refused.value.message_dict) == [field]


def test_the_page_says_which_is_own_and_which_the_default(cluster):
    client, url = Client(), reverse("monitor:thresholds", args=["registry"])
    client.force_login(person("ana", "administrator", cluster))
    assert client.get(url).content.decode().count("is-own") == 0
    assert client.post(url, {"lag_hard_bytes": "16384"}).status_code == 302
    assert Thresholds.objects.get().own == {"lag_hard_bytes": 16384 << 20}
    page = client.get(url).content.decode()
    assert page.count("is-own") == 1
    assert 'value="16384"' in page
    entry = AuditEntry.objects.filter(action="thresholds.change").get()
    assert entry.detail == {"lag_hard_bytes": 16384 << 20}
    assert client.post(url, {"lag_soft_seconds": "700"}).status_code == 422
    client.post(url, {})
    assert Thresholds.objects.get().own == {}


def test_an_operator_sees_them_by_the_api_and_only_an_administrator_changes_them(cluster):
    operator = Api(token_of(user("operator", "operator", cluster)))
    boss = Api(token_of(user("boss", "administrator", cluster)))
    path = "/clusters/registry/thresholds"
    assert operator("PATCH", path, {"thresholds": {"lag_hard_seconds": 1800}}).status_code == 403
    assert boss("PATCH", path, {"thresholds": {"lag_hard_seconds": 1800}}).status_code == 200
    shown = {one["name"]: one for one in operator.get(path).json()["thresholds"]}
    assert (shown["lag_hard_seconds"]["value"], shown["lag_hard_seconds"]["is_own"]) == (1800, True)
    assert shown["lag_soft_seconds"]["is_own"] is False
    assert boss("PATCH", path, {"thresholds": {"lag_hard_seconds": None}}).json()["thresholds"][2]["is_own"] is False
    refused = boss("PATCH", path, {"thresholds": {"no_such": 1}})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "no_such")
