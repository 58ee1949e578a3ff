"""People at a real browser: a passkey made and used, the confirmation that goes on with what was sent, links that are shown once,
sessions that end, and two people for one plan."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page

from tests.browser import registry
from tests.browser.conftest import Panel, Visitor, person, sign_in


@pytest.fixture
def by_name(stranger: Visitor) -> Visitor:
    """WebAuthn wants a name: an address is no relying party."""
    stranger.url = stranger.url.replace("127.0.0.1", "localhost")
    return stranger


@pytest.fixture
def authenticator(by_name: Visitor) -> Iterator[CDPSession]:
    """A fingerprint reader that says yes."""
    session = by_name.page.context.new_cdp_session(by_name.page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield session
    session.detach()


def enter(visitor: Visitor, user: Any) -> Page:
    page = visitor.go("/accounts/login/")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(user.known_password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(visitor.url + "/")
    return page


def age_the_login(visitor: Visitor) -> None:
    """As if it had been long ago."""
    from django.contrib.sessions.models import Session

    for row in Session.objects.all():
        store = row.get_session_store_class()(row.session_key)
        store["signed_in_at"] = time.time() - 24 * 3600
        store["account_authentication_methods"] = []
        store.save()


def test_a_passkey_is_made_signs_in_alone_and_confirms(by_name: Visitor, authenticator: CDPSession) -> None:
    user = person("ana", is_superuser=True)
    bob = person("bob")
    page = enter(by_name, user)
    page.goto(by_name.url + "/account/")
    by_name.look("your-account")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Password").fill(user.known_password)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Name").fill("Laptop")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/recovery-codes/")
    by_name.look("recovery-codes")
    page.goto(by_name.url + "/accounts/2fa/webauthn/")
    assert "Laptop" in page.inner_text("main")
    by_name.look("passkeys")

    page.context.clear_cookies()
    page.goto(by_name.url + "/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(by_name.url + "/")

    age_the_login(by_name)
    page.goto(f"{by_name.url}/people/{bob.pk}/")
    page.get_by_role("button", name="Shut bob out").click()
    page.wait_for_url("**/reauthenticate/**")
    by_name.look("confirm-password-or-key")
    page.get_by_role("link", name="Use a security key").click()
    page.get_by_role("button", name="Use a security key").click()
    page.wait_for_url(f"**/people/{bob.pk}/")
    bob.refresh_from_db()
    assert not bob.is_active


def test_what_was_sent_goes_on_after_the_password(ana: Visitor) -> None:
    from accounts.models import User

    bob, root = person("bob"), User.objects.get(username="ana")
    known = person("carol", is_superuser=True).known_password
    root.set_password(known)
    root.save()
    ana.page.context.clear_cookies()
    sign_in(ana.page.context, root, ana.url)
    page = ana.go("/people/")
    ana.look("people")
    page.get_by_label("Login name").fill("dora")
    age_the_login(ana)
    page.get_by_role("button", name="Make the account").click()
    page.get_by_label("Password").fill(known)
    ana.look("confirm-password")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("heading", name="The link for dora, shown this once").wait_for()
    ana.look("person-link")
    link = page.locator("#main .copy-line code").inner_text()
    page.context.clear_cookies()
    page.goto(link)
    ana.look("choose-password")
    page.get_by_label("New Password", exact=True).fill("four words in a row")
    page.get_by_label("New Password (again)").fill("four words in a row")
    page.get_by_role("button", name="Set the password").click()
    page.wait_for_url("**/done/")
    page.goto(link)
    assert "This link is used up" in page.inner_text("main")
    assert User.objects.get(username="dora").check_password("four words in a row")
    bob.refresh_from_db()


def test_a_session_is_ended_from_another_browser(ana: Visitor, chromium: Browser, panel: Panel) -> None:
    from accounts.models import User

    other = chromium.new_context(locale="en-GB")
    sign_in(other, User.objects.get(username="ana"), panel.url)
    page = other.new_page()
    page.goto(panel.url + "/")
    ana.go("/account/")
    ana.look("your-sessions")
    ana.page.get_by_role("button", name="Sign out everywhere else").click()
    ana.page.get_by_text("One other session was ended.").wait_for()
    page.reload()
    assert "/accounts/login/" in page.url
    other.close()


def test_two_people_for_one_plan(ana: Visitor, chromium: Browser, panel: Panel) -> None:
    from jobs.models import Job
    from jobs.second_person import ask_for_two

    cluster = registry.cluster()
    ask_for_two(cluster, True)
    bob = person("bob", is_superuser=True)
    step = {"key": "a", "node": "pg3", "title": "Move the old data aside", "why": "", "is_needed": True, "shown": ["mv a b"],
            "accounts": ["postgres"], "diffs": [], "destroys": "/var/lib/postgresql/15/main is moved aside"}  # fmt: skip
    from accounts.models import User

    job = Job.objects.create(
        cluster=cluster, kind="rebuild", title="Rebuild pg3 as a standby", status="planned", plan_hash="4f" * 32,
        plan={"steps": [step], "summary": ["pg3 gets a new copy of pg1."]}, planned_by=User.objects.get(username="ana"),
        is_grave=True, needs_second_person=True, params={"node": "pg3"},
    )  # fmt: skip
    page = ana.go(f"/jobs/{job.pk}/plan/")
    assert "who may approve it: Bob P." in page.inner_text("main")
    ana.look("second-person-needed")
    other = chromium.new_context(locale="en-GB")
    sign_in(other, bob, panel.url)
    approver = other.new_page()
    approver.goto(page.locator("#approval code").inner_text())
    approver.get_by_role("button", name="Approve this plan").click()
    approver.get_by_text("Bob P. has approved this plan").wait_for()
    page.get_by_text("Bob P. has approved this plan").wait_for()
    ana.look("second-person-given")
    assert page.locator("#plan-do form[action$='/start/'] button").is_visible()
    other.close()
    ana.go("/c/registry-prod/edit/")
    ana.look("second-person-setting")


def test_a_persons_page(ana: Visitor) -> None:
    bob = person("bob")
    ana.go(f"/people/{bob.pk}/")
    ana.look("person")
