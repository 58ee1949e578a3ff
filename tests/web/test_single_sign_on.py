"""Single sign-on, against a real issuer on this machine: the whole code flow with PKCE, and nobody's account is taken over."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp
from cluster_world import cluster_of_two, person
from django.test import Client
from oidc_issuer import Issuer

from accounts.models import User
from accounts.sessions import SIGNED_IN_AT
from clusters.models import Grant
from clusters.rights import clusters_for

pytestmark = pytest.mark.django_db
GOOD = "a long enough passphrase"
ID = "127.0.0.1-realms-ops"
LOGIN = f"/accounts/oidc/{ID}/login/"


@pytest.fixture(autouse=True)
def passwords_are_hashed_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def issuer(settings):
    issuer = Issuer()
    use(settings, issuer)
    yield issuer
    issuer.close()


def use(settings, issuer: Issuer, name: str = ID) -> None:
    """As the environment would say it."""
    app = {
        "provider_id": name, "name": "Example login", "client_id": "pgpanel", "secret": "the secret of the client",
        "settings": {"server_url": issuer.url},
    }  # fmt: skip
    settings.OIDC_ISSUER, settings.OIDC_ID, settings.OIDC_LABEL = issuer.url, name, "Example login"
    known = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": known | {"APPS": [app]}}


def leave(client: Client, path: str, **data: str) -> str:
    """The issuer's address that a form's answer goes on to."""
    page = client.post(path, data)
    assert page.status_code == 200
    return html.unescape(re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page.content.decode()).group(1))


def back_from(url: str) -> str:
    """What the issuer, having let the person in, sends the browser to."""
    answer = requests.get(url, allow_redirects=False, timeout=5)
    assert answer.status_code == 302
    return answer.headers["Location"].removeprefix("http://testserver")


def sign_in(client: Client, path: str = LOGIN, **data: str):
    return client.get(back_from(leave(client, path, **data)))


def signed_in_as(client: Client) -> User | None:
    return User.objects.filter(pk=client.session.get("_auth_user_id", 0)).first()


# -- the door ----------------------------------------------------------------------------------------------------------------------


def test_the_button_is_there_only_where_it_is_configured(client, settings):
    assert "Sign in with Example" not in client.get("/accounts/login/").content.decode()
    issuer = Issuer()
    use(settings, issuer)
    assert "Sign in with Example login" in client.get("/accounts/login/").content.decode()
    issuer.close()


def test_a_row_in_the_database_is_no_way_in(client, issuer, settings):
    SocialApp.objects.create(provider="openid_connect", provider_id="evil", name="Evil", client_id="x")
    assert "Evil" not in client.get("/accounts/login/").content.decode()
    assert client.post("/accounts/oidc/evil/login/").status_code == 404


def test_whoever_comes_for_the_first_time_gets_an_account_without_any_right(client, issuer):
    cluster_of_two()
    answer = sign_in(client)
    ana = signed_in_as(client)
    assert answer.url == "/"
    assert (ana.username, ana.first_name, ana.email) == ("ana", "Ana", "")
    assert not ana.has_usable_password()
    assert not ana.is_superuser
    assert not Grant.objects.filter(user=ana).exists()
    assert not clusters_for(ana).exists()
    assert not EmailAddress.objects.exists()


def test_the_second_time_it_is_the_same_account(client, issuer):
    sign_in(client)
    ana = signed_in_as(client)
    again = Client()
    issuer.person |= {"preferred_username": "ana.married", "email": "other@example.net"}
    sign_in(again)
    assert signed_in_as(again) == ana
    assert User.objects.count() == 1


def test_it_is_a_code_flow_with_pkce_and_a_state_of_its_own(client, issuer):
    asked = parse_qs(urlsplit(leave(client, LOGIN)).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"http://testserver{LOGIN}callback/"]
    assert set(asked["scope"][0].split()) == {"openid", "profile", "email"}
    assert asked["state"] != parse_qs(urlsplit(leave(client, LOGIN)).query)["state"]


def test_a_link_alone_sends_nobody_away(client, issuer):
    page = client.get(LOGIN)
    assert page.status_code == 200
    assert issuer.url not in page.content.decode()


def test_where_new_accounts_are_refused_only_known_people_get_in(client, issuer, settings):
    sign_in(client)
    settings.OIDC_NEW_ACCOUNTS = False
    again, stranger = Client(), Client()
    sign_in(again)
    assert signed_in_as(again).username == "ana"
    issuer.person = {"sub": "another", "preferred_username": "eve"}
    assert "An administrator" in sign_in(stranger).content.decode()
    assert signed_in_as(stranger) is None
    assert User.objects.count() == 1


# -- nobody is taken over ----------------------------------------------------------------------------------------------------------


def test_an_equal_name_is_another_person(client, issuer):
    User.objects.create_superuser("ana", password=GOOD)
    sign_in(client)
    assert signed_in_as(client).username != "ana"
    assert not signed_in_as(client).is_superuser


@pytest.mark.parametrize("is_verified", [True, False])
def test_an_equal_address_is_another_person(client, issuer, is_verified):
    ana = User.objects.create_superuser("root", email="ana@example.net", password=GOOD)
    EmailAddress.objects.create(user=ana, email="ana@example.net", verified=True, primary=True)
    issuer.person |= {"email": "ana@example.net", "email_verified": is_verified}
    sign_in(client)
    ana.refresh_from_db()
    assert signed_in_as(client) not in (ana, None)
    assert ana.check_password(GOOD)
    assert not SocialAccount.objects.filter(user=ana).exists()


def test_the_subject_of_another_issuer_is_another_person(client, issuer, settings):
    sign_in(client)
    other, again = Issuer(), Client()
    use(settings, other, "127.0.0.1-realms-other")
    sign_in(again, "/accounts/oidc/127.0.0.1-realms-other/login/")
    assert signed_in_as(again) != signed_in_as(client)
    other.close()


def test_a_userinfo_about_somebody_else_is_refused(client, issuer):
    issuer.userinfo_of = "0815"
    assert sign_in(client).status_code == 401
    assert signed_in_as(client) is None


def test_a_code_serves_only_the_browser_that_asked_for_it(client, issuer):
    path = back_from(leave(client, LOGIN))
    thief = Client()
    assert thief.get(path).status_code == 401
    assert signed_in_as(thief) is None
    client.get(path)
    assert signed_in_as(client)
    client.logout()
    assert client.get(path).status_code == 401


def test_a_client_that_the_issuer_does_not_know_is_told_so_calmly(client, issuer):
    issuer.client_secret = "another"
    page = sign_in(client)
    assert page.status_code == 401
    assert signed_in_as(client) is None


def test_somebody_shut_out_stays_out(client, issuer):
    sign_in(client)
    User.objects.update(is_active=False)
    again = Client()
    assert sign_in(again).url == "/accounts/inactive/"
    assert signed_in_as(again) is None


def test_a_second_factor_is_asked_after_the_issuer_too(client, issuer):
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    sign_in(client)
    TOTP.activate(signed_in_as(client), generate_totp_secret())
    again = Client()
    assert sign_in(again).url == "/accounts/2fa/authenticate/"
    assert signed_in_as(again) is None


# -- joining the two ---------------------------------------------------------------------------------------------------------------


def local(**fields) -> tuple[User, Client]:
    user = User.objects.create_user("root", password=GOOD, **fields)
    client = Client()
    client.post("/accounts/login/", {"login": "root", "password": GOOD})
    return user, client


def test_an_account_is_connected_from_inside_after_confirming_its_password(issuer):
    root, client = local(is_superuser=True)
    answer = sign_in(client, LOGIN, process="connect")
    assert answer.url == "/accounts/reauthenticate/"
    assert not SocialAccount.objects.exists()
    client.post("/accounts/reauthenticate/", {"password": GOOD})
    assert SocialAccount.objects.get().user == root
    again = Client()
    sign_in(again)
    assert signed_in_as(again) == root


def test_a_connected_identity_is_shown_and_disconnected(issuer):
    _root, client = local()
    assert "not connected" in client.get("/account/").content.decode()
    assert "Connect Example login" in client.get("/accounts/3rdparty/").content.decode()
    sign_in(client, LOGIN, process="connect")
    client.post("/accounts/reauthenticate/", {"password": GOOD})
    assert "Disconnect" in client.get("/accounts/3rdparty/").content.decode()
    client.post("/accounts/3rdparty/", {"account": SocialAccount.objects.get().pk})
    assert not SocialAccount.objects.exists()


def test_the_only_way_in_is_not_disconnected(client, issuer):
    sign_in(client)
    page = client.post("/accounts/3rdparty/", {"account": SocialAccount.objects.get().pk}).content.decode()
    assert "no password" in page
    assert SocialAccount.objects.exists()


def test_no_link_to_a_password_goes_out_by_mail(client, mailoutbox):
    User.objects.create_user("root", email="root@example.net", password=GOOD)
    assert "Ask an administrator" in client.get("/accounts/password/reset/").content.decode()
    assert client.post("/accounts/password/reset/", {"email": "root@example.net"}).status_code == 405
    assert not mailoutbox


def test_an_identity_belongs_to_one_account(issuer):
    sign_in(Client())
    _root, client = local()
    sign_in(client, LOGIN, process="connect")
    client.post("/accounts/reauthenticate/", {"password": GOOD})
    assert SocialAccount.objects.get().user.username == "ana"


# -- confirming --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def late(issuer, settings) -> Client:
    """An administrator without a password, signed in long ago."""
    client = Client()
    sign_in(client)
    ana = signed_in_as(client)
    Grant.objects.create(user=ana, role="administrator")
    session = client.session
    session[SIGNED_IN_AT] -= settings.ACCOUNT_REAUTHENTICATION_TIMEOUT + 1
    session.save()
    issuer.signed_in_at -= 3600
    return client


CONFIRM = "/account/confirm/?next=/people/%s/active/"


def test_who_has_no_password_confirms_by_the_issuer_and_the_request_goes_on(late, issuer):
    bob = person("bob")
    asked = late.post(f"/people/{bob.pk}/active/").url
    assert asked == f"/account/confirm/?next=%2Fpeople%2F{bob.pk}%2Factive%2F"
    assert "Sign in with Example login again" in late.get(asked).content.decode()
    here = sign_in(late, asked).url
    assert issuer.asked[-1]["prompt"] == "login"
    assert issuer.asked[-1]["max_age"] == "0"
    late.get(here)
    bob.refresh_from_db()
    assert not bob.is_active


@pytest.mark.parametrize("fault", ["asks_again", "tells_when"])
def test_an_issuer_that_did_not_ask_again_confirms_nothing(late, issuer, fault):
    setattr(issuer, fault, False)
    bob = person("bob")
    late.post(f"/people/{bob.pk}/active/")
    page = late.get(sign_in(late, CONFIRM % bob.pk).url).content.decode()
    assert "did not ask you to sign in again" in page
    assert "/account/confirm/" in late.post(f"/people/{bob.pk}/active/").url
    bob.refresh_from_db()
    assert bob.is_active


def test_somebody_else_at_the_issuer_confirms_nothing(late, issuer):
    bob = person("bob")
    late.post(f"/people/{bob.pk}/active/")
    issuer.person = {"sub": "another", "preferred_username": "eve"}
    page = late.get(sign_in(late, CONFIRM % bob.pk).url).content.decode()
    assert "another account" in page
    assert signed_in_as(late).username == "ana"
    assert "/account/confirm/" in late.post(f"/people/{bob.pk}/active/").url


def test_who_has_no_password_adds_a_factor_only_after_confirming(late):
    assert late.get("/accounts/2fa/totp/activate/").url.startswith("/account/confirm/")


def test_the_page_alone_confirms_nothing(late, issuer):
    bob = person("bob")
    late.post(f"/people/{bob.pk}/active/")
    late.get(CONFIRM % bob.pk)
    bob.refresh_from_db()
    assert bob.is_active
