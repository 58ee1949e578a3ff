"""API tokens: what they are, what they narrow, when they count no more."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from api_world import Api, token_of, user
from cluster_world import cluster_of_two
from cryptography.fernet import Fernet
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.utils import timezone

from accounts import tokens as account_tokens
from accounts.models import ApiToken, AuditEntry, TokenLimits
from clusters import tokens
from clusters.models import Cluster, Grant
from clusters.rights import clusters_for, may

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def keys(settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def registry(keys):
    return cluster_of_two("registry")[0]


@pytest.fixture
def shop(keys):
    return cluster_of_two("shop")[0]


def test_a_token_can_be_told_by_its_looks_and_its_secret_is_nowhere_in_the_database():
    text = token_of(user("ana"))
    assert re.fullmatch(r"pgp_[a-z0-9]{10}_[0-9A-Za-z]{49}", text)
    token = ApiToken.objects.get()
    assert text.split("_")[2] not in str(vars(token))
    assert token.public_id == text.split("_")[1]
    said = AuditEntry.objects.get(action="token.create")
    assert text.split("_")[2] not in str(vars(said))


def test_it_counts_for_what_its_user_may_now_and_not_a_moment_longer(registry):
    ana = user("ana", "operator", registry)
    api = Api(token_of(ana))
    assert api.get("/clusters/registry").status_code == 200
    Grant.objects.all().delete()
    assert api.get("/clusters/registry").status_code == 404
    ana.is_active = False
    ana.save()
    assert api.get("/clusters").status_code == 401


def test_its_role_and_its_clusters_narrow_even_an_administrator_over_all(registry, shop):
    root = user("root", is_superuser=True)
    viewer = Api(token_of(root, "viewer"))
    assert viewer.get("/clusters/shop").status_code == 200
    assert viewer.post("/clusters/shop/plans", {"kind": "reload", "params": {"node": "pg1"}}).status_code == 403
    scoped = Api(token_of(root, clusters=[shop]))
    assert [each["name"] for each in scoped.get("/clusters").json()["items"]] == ["shop"]
    assert scoped.get("/clusters/registry").status_code == 404


def test_a_scoped_token_counts_nowhere_once_its_cluster_is_gone(shop):
    api = Api(token_of(user("root", is_superuser=True), clusters=[shop]))
    shop.nodes.all().delete()
    shop.delete()
    cluster_of_two("registry")
    assert api.get("/clusters").json()["items"] == []


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator"])
@pytest.mark.parametrize("ceiling", ["viewer", "operator", "administrator"])
def test_rights_are_the_lesser_of_the_role_and_the_tokens_ceiling(registry, role, ceiling):
    rank = ["viewer", "operator", "administrator"].index
    ana = user("ana", role, registry)
    ana.limits = TokenLimits(ceiling)
    for wanted in ("viewer", "operator", "administrator"):
        is_right = rank(wanted) <= min(rank(role), rank(ceiling))
        assert may(ana, wanted, registry) is is_right
        assert clusters_for(ana, wanted).exists() is is_right
        assert may(ana, wanted, None) is False


def test_a_wrong_a_revoked_and_an_expired_token_are_answered_alike_and_audited():
    ana = user("ana")
    text = token_of(ana)
    other = text[:20] + ("a" if text[20] != "a" else "b") + text[21:]
    answers = [Api(wrong).get("/clusters") for wrong in ("nonsense", other, f"{text}x", "pgp_")]
    ApiToken.objects.update(expires_at=timezone.now())
    answers.append(Api(text).get("/clusters"))
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(days=1), revoked_at=timezone.now())
    answers.append(Api(text).get("/clusters"))
    assert {(answer.status_code, answer.content, answer["WWW-Authenticate"]) for answer in answers} == {
        (401, answers[0].content, 'Bearer realm="pgpanel"')
    }
    whys = [entry.detail["why"] for entry in AuditEntry.objects.filter(action="token.refused").order_by("number")]
    assert len(whys) == 6
    assert (whys[-2], whys[-1]) == ("ana: a test: it has expired", "ana: a test: it was revoked")
    assert text not in str(whys)


def test_guessing_is_slowed_by_address_and_a_good_token_is_not_held_up_by_it(settings):
    settings.API_FAILURES_PER_ADDRESS = "3/m"
    good = Api(token_of(user("ana")))
    answers = [Api("pgp_guess").get("/clusters") for _attempt in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert int(answers[-1]["Retry-After"]) > 0
    assert AuditEntry.objects.filter(action="token.refused").count() == 3
    assert good.get("/clusters").status_code == 200


def test_a_token_counts_from_its_networks_only():
    ana = user("ana")
    near, far = (Api(token_of(ana, networks=[network])) for network in ("127.0.0.0/8", "192.0.2.0/24"))
    assert near.get("/clusters").status_code == 200
    assert far.get("/clusters").status_code == 401
    assert "none of its networks" in AuditEntry.objects.get(action="token.refused").detail["why"]
    with pytest.raises(ValidationError, match=r"write a network as 10\.0\.0\.0/24"):
        token_of(ana, networks=["10.0.0.0/24", "the office"])


def test_when_and_from_where_it_was_last_used_is_written_at_most_once_a_minute(django_assert_num_queries):
    api = Api(token_of(user("ana")))
    api.get("/clusters")
    token = ApiToken.objects.get()
    assert (token.last_used_from, timezone.now() - token.last_used_at < timedelta(minutes=1)) == ("127.0.0.1", True)
    api.get("/clusters")
    assert ApiToken.objects.get().last_used_at == token.last_used_at
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    api.get("/clusters")
    assert ApiToken.objects.get().last_used_at > token.last_used_at


def test_a_year_is_the_most_and_ninety_days_the_usual():
    ana = user("ana")
    token_of(ana)
    assert timedelta(days=89) < ApiToken.objects.get().expires_at - timezone.now() <= timedelta(days=90)
    for days in (-1, 0, 367):
        with pytest.raises(ValidationError, match="Within a year"):
            token_of(ana, expires_at=timezone.now() + timedelta(days=days))


def test_a_token_makes_no_other_of_its_own_user_and_nobody_one_of_another_person(registry):
    ana, ben, root = user("ana"), user("ben"), user("root", is_superuser=True)
    robot = user("robot", "operator", registry, is_service=True)
    ana.limits = TokenLimits("administrator")
    for by, whose in ((ana, ana), (ben, robot), (root, ben)):
        with pytest.raises(PermissionDenied):
            tokens.token_create(by, whose, "x", "viewer")
    assert tokens.token_create(root, robot, "deploy", "operator")[0].user == robot
    with pytest.raises(ValidationError):
        tokens.token_create(ben, ben, "x", "viewer", clusters=[registry])


def test_a_session_reads_without_and_changes_only_with_the_csrf_token(registry):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user("root", is_superuser=True))
    api = Api(client=client)
    assert api.get("/clusters").status_code == 200
    answer = api.post("/clusters/registry/plans", {"kind": "nonsense"})
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert Api("nonsense", client=client).get("/clusters").status_code == 401  # never back to the cookie
    assert client.get("/api/v1/clusters", headers={"Authorization": "Basic eDp5"}).status_code == 401


def test_without_any_login_the_answer_says_how():
    answer = Api().get("/clusters")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert "Bearer" in answer.json()["detail"]
    assert Api().post("/clusters/registry/plans", {"kind": "x"}).status_code == 401


def test_too_many_calls_of_one_token_wait(settings):
    settings.API_RATE = "2/m"
    api, other = Api(token_of(user("ana"))), Api(token_of(user("ben")))
    assert [api.get("/clusters").status_code for _call in range(3)] == [200, 200, 429]
    assert int(api.get("/clusters")["Retry-After"]) > 0
    assert other.get("/clusters").status_code == 200


def test_a_checksum_makes_a_mistyped_token_known_without_a_question(django_assert_num_queries):
    text = token_of(user("ana"))
    with django_assert_num_queries(0), pytest.raises(account_tokens.TokenRefused):
        account_tokens.token_of(text[:-1] + ("a" if text[-1] != "a" else "b"), "127.0.0.1")


def test_every_cluster_is_one_page_after_another():
    for number in range(5):
        Cluster.objects.create(name=f"c{number}")
    api, found, after = Api(token_of(user("root", is_superuser=True))), [], ""
    while True:
        page = api.get(f"/clusters?limit=2&after={after}").json()
        found += [each["name"] for each in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert found == ["c0", "c1", "c2", "c3", "c4"]
