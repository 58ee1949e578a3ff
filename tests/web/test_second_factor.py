"""Second factors: sealed at rest, asked for, slowed down when guessed, and needed for an administrator's rights if that is set."""

from __future__ import annotations

import json
from itertools import count

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from accounts.models import User
from clusters.rights import clusters_for, may

pytestmark = pytest.mark.django_db
GOOD = "a long enough passphrase"


@pytest.fixture(autouse=True)
def world(settings):
    cache.clear()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def secret() -> str:
    return totp.generate_totp_secret()


@pytest.fixture
def ana(secret) -> User:
    user = User.objects.create_superuser("ana", password=GOOD)
    totp.TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return user


def code_of(secret: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))


def wrong(secret: str) -> str:
    return next(f"{number:06}" for number in count() if f"{number:06}" != code_of(secret))


def halfway() -> Client:
    client = Client()
    assert client.post("/accounts/login/", {"login": "ana", "password": GOOD}).url == "/accounts/2fa/authenticate/"
    return client


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_the_password_alone_lets_nobody_in(ana, secret):
    client = halfway()
    assert not is_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert is_in(client)


def test_a_code_serves_once(ana, secret):
    code = code_of(secret)
    first, second = halfway(), halfway()
    first.post("/accounts/2fa/authenticate/", {"code": code})
    second.post("/accounts/2fa/authenticate/", {"code": code})
    assert [is_in(first), is_in(second)] == [True, False]


def test_a_recovery_code_serves_once(ana):
    code = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
    first, second = halfway(), halfway()
    first.post("/accounts/2fa/authenticate/", {"code": code})
    second.post("/accounts/2fa/authenticate/", {"code": code})
    assert [is_in(first), is_in(second)] == [True, False]


def test_guessing_codes_is_slowed_down(ana, secret):
    client = halfway()
    for _guess in range(6):
        page = client.post("/accounts/2fa/authenticate/", {"code": wrong(secret)})
    assert "Too many" in page.content.decode()
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert not is_in(client)


def test_guessing_a_password_is_slowed_down_from_many_addresses_too(ana):
    for number in range(6):
        Client(REMOTE_ADDR=f"198.51.100.{number}").post("/accounts/login/", {"login": "ana", "password": "wrong"})
    client = Client(REMOTE_ADDR="198.51.100.99")
    page = client.post("/accounts/login/", {"login": "ana", "password": GOOD})
    assert "Too many failed login attempts" in page.content.decode()


def test_one_address_does_not_try_many_names(db):
    answers = [Client().post("/accounts/login/", {"login": f"name{number}", "password": "wrong"}) for number in range(12)]
    assert "Too many" in answers[-1].content.decode() or answers[-1].status_code == 429


def test_confirming_with_wrong_passwords_is_slowed_down(settings):
    user = User.objects.create_superuser("bob", password=GOOD)
    client = Client()
    client.force_login(user)
    for _guess in range(11):
        answer = client.post("/accounts/reauthenticate/", {"password": "wrong"})
    assert answer.status_code == 429 or "Too many" in answer.content.decode()


# -- at rest -----------------------------------------------------------------------------------------------------------------------


def test_nothing_in_the_database_makes_a_code(ana, secret):
    kept = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    seed = Authenticator.objects.get(type="recovery_codes")
    assert secret not in kept
    assert Authenticator.objects.get(type="totp").data["secret"].startswith("gAAAA")
    assert seed.data["seed"].startswith("gAAAA")


def test_a_new_key_seals_the_factors_anew(ana, secret, settings):
    codes = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    call_command("keys", "rotate")
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    assert Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes() == codes
    client = halfway()
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert is_in(client)


def test_a_factor_of_before_it_was_sealed_goes_on_and_is_sealed_with_the_next_key(ana, secret):
    Authenticator.objects.filter(type="totp").update(data={"secret": secret})
    client = halfway()
    client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert is_in(client)
    call_command("keys", "rotate")
    assert Authenticator.objects.get(type="totp").data["secret"].startswith("gAAAA")


def test_a_lost_key_is_said_and_crashes_nothing(ana, secret, settings):
    client = halfway()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    page = client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert "has lost the key to your second factor" in page.content.decode()
    inside = Client()
    inside.force_login(ana)
    assert inside.get("/accounts/2fa/").status_code == 200


# -- needed ------------------------------------------------------------------------------------------------------------------------


def test_an_administrator_without_a_second_factor_acts_as_an_operator(settings):
    settings.REQUIRE_MFA = True
    cluster, *_nodes = cluster_of_two()
    root, eve = User.objects.create_superuser("root"), person("eve", "administrator", cluster)
    for user in (root, eve):
        assert not may(user, "administrator", cluster)
        assert may(user, "operator", cluster)
        assert not clusters_for(user, "administrator").exists()
        assert clusters_for(user, "operator").exists()
    client = Client()
    client.force_login(root)
    assert client.get("/people/").status_code == 403
    page = client.get("/").content.decode()
    assert "need a second factor here" in page
    assert "/accounts/2fa/" in page


def test_with_a_second_factor_an_administrator_is_one(settings, ana):
    settings.REQUIRE_MFA = True
    client = Client()
    client.force_login(ana)
    assert client.get("/people/").status_code == 200
    assert "need a second factor here" not in client.get("/").content.decode()


def test_recovery_codes_alone_are_no_second_factor(settings, ana):
    settings.REQUIRE_MFA = True
    Authenticator.objects.filter(type="totp").delete()
    assert not may(User.objects.get(), "administrator", None)


def test_operators_and_programs_are_not_held_back(settings):
    settings.REQUIRE_MFA = True
    cluster, *_nodes = cluster_of_two()
    assert may(person("op", "operator", cluster), "operator", cluster)
    assert may(person("job", "administrator", cluster, is_service=True), "administrator", cluster)
    client = Client()
    client.force_login(User.objects.get(username="op"))
    assert "need a second factor here" not in client.get("/").content.decode()


def test_without_the_setting_nobody_is_held_back():
    assert may(User.objects.create_superuser("root"), "administrator", None)


def test_a_lost_phone_is_forgotten_by_an_administrator(ana):
    client = Client()
    client.force_login(person("boss", "administrator"))
    client.post(f"/people/{ana.pk}/forget-factors/")
    assert not Authenticator.objects.exists()
    assert Client().post("/accounts/login/", {"login": "ana", "password": GOOD}).url == "/"


def test_keys_are_managed_on_a_page_that_opens(ana):
    Authenticator.objects.create(user=ana, type="webauthn", data={"name": "Yellow key", "passwordless": True, "credential": {}})
    client = Client()
    client.force_login(ana)
    assert client.get("/account/").status_code == 200
