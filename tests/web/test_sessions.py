"""Sessions: who sees them, what ends them, and that nothing of a person goes on after the end."""

from __future__ import annotations

import time

import pytest
from allauth.usersessions.models import UserSession
from cluster_world import person
from django.contrib.sessions.models import Session
from django.test import Client

from accounts import sessions
from accounts.models import User

pytestmark = pytest.mark.django_db
GOOD, OTHER = "a long enough passphrase", "another passphrase, as long"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile/15E148 Safari/604.1"


def client_of(user: User, agent: str = FIREFOX, address: str = "192.0.2.7") -> Client:
    client = Client(headers={"user-agent": agent}, REMOTE_ADDR=address)
    client.force_login(user)
    assert client.get("/").status_code == 200
    return client


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def turn_back(client: Client, key: str, seconds: float) -> None:
    session = client.session
    session[key] -= seconds
    session.save()


@pytest.fixture(autouse=True)
def passwords_are_hashed_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana", password=GOOD)


def test_a_person_sees_where_they_are_signed_in(ana):
    client_of(ana, SAFARI, "198.51.100.9")
    page = client_of(ana).get("/account/").content.decode()
    for words in ("Firefox, Linux", "192.0.2.7", "Safari, iPhone", "198.51.100.9", "this one"):
        assert words in page


def test_one_session_is_ended_and_the_others_go_on(ana):
    phone, desk, here = client_of(ana, SAFARI), client_of(ana), client_of(ana)
    row = UserSession.objects.get(session_key=phone.session.session_key)
    here.post(f"/account/sessions/{row.pk}/end/")
    assert [is_in(phone), is_in(desk), is_in(here)] == [False, True, True]


def test_all_other_sessions_are_ended(ana):
    phone, desk, here = client_of(ana, SAFARI), client_of(ana), client_of(ana)
    here.post("/account/sessions/end/")
    assert [is_in(phone), is_in(desk), is_in(here)] == [False, False, True]


def test_nobody_ends_somebody_elses_session(ana):
    theirs, mine = client_of(ana), client_of(User.objects.create_user("eve"))
    row = UserSession.objects.get(session_key=theirs.session.session_key)
    mine.post(f"/account/sessions/{row.pk}/end/")
    mine.post("/account/sessions/end/")
    assert is_in(theirs)


def test_ending_the_session_one_sits_in_is_signing_out(ana):
    here = client_of(ana)
    row = UserSession.objects.get()
    assert here.post(f"/account/sessions/{row.pk}/end/").url == "/accounts/login/"
    assert not is_in(here)


def test_an_ended_session_leaves_no_row_to_come_back_to(ana):
    phone, here = client_of(ana, SAFARI), client_of(ana)
    key = phone.session.session_key
    here.post("/account/sessions/end/")
    assert not Session.objects.filter(session_key=key).exists()


def test_a_new_password_ends_the_other_sessions(ana):
    phone, here = client_of(ana, SAFARI), client_of(ana)
    here.post("/accounts/password/change/", {"oldpassword": GOOD, "password1": OTHER, "password2": OTHER})
    assert [is_in(phone), is_in(here)] == [False, True]


def test_a_session_ends_when_nobody_did_anything_for_long(ana, settings):
    here = client_of(ana)
    turn_back(here, sessions.SEEN_AT, settings.SESSION_IDLE_SECONDS - 60)
    assert is_in(here)
    turn_back(here, sessions.SEEN_AT, settings.SESSION_IDLE_SECONDS + 1)
    answer = here.get("/", follow=True)
    assert answer.redirect_chain[-1][0] == "/accounts/login/?next=/"
    assert "Your session is over" in answer.content.decode()
    assert not UserSession.objects.exists()


def test_what_a_page_asks_for_by_itself_keeps_no_session_alive(ana, settings):
    here = client_of(ana)
    turn_back(here, sessions.SEEN_AT, settings.SESSION_IDLE_SECONDS - 60)
    before = here.session[sessions.SEEN_AT]
    here.get("/", headers={"hx-request": "true"})
    here.get("/live/?topic=nonsense")
    assert here.session[sessions.SEEN_AT] == before
    assert is_in(here)
    assert here.session[sessions.SEEN_AT] > before


def test_a_session_ends_after_its_whole_time_however_busy(ana, settings):
    here = client_of(ana)
    turn_back(here, sessions.BEGUN_AT, settings.SESSION_COOKIE_AGE + 1)
    assert not is_in(here)


def test_who_is_there_is_written_down_once_a_minute_at_most(ana, monkeypatch):
    here = client_of(ana)
    seen = UserSession.objects.get().last_seen_at
    is_in(here)
    assert UserSession.objects.get().last_seen_at == seen
    turn_back(here, sessions.SEEN_AT, sessions.SEEN_SECONDS + 1)
    is_in(here)
    assert UserSession.objects.get().last_seen_at > seen


def test_a_person_without_a_role_is_told_so(ana):
    assert "An administrator of this panel gives roles" in client_of(ana).get("/account/").content.decode()


def test_a_session_of_before_an_upgrade_goes_on_and_ends_in_time(ana, settings):
    here = client_of(ana)
    session = here.session
    for key in (sessions.SIGNED_IN_AT, sessions.BEGUN_AT, sessions.SEEN_AT):
        del session[key]
    session.save()
    assert is_in(here)
    assert time.time() - here.session[sessions.BEGUN_AT] < 60


def test_devices_are_told_apart():
    assert sessions.device_of(FIREFOX) == "Firefox, Linux"
    assert sessions.device_of(SAFARI) == "Safari, iPhone"
    assert sessions.device_of("curl/8.9") == "curl"
    assert sessions.device_of("something else") == "something else"


def test_an_administrator_is_a_person_too():
    assert is_in(client_of(person("root", "administrator")))
