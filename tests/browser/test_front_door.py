"""Signing in and out, and what the panel says when something is wrong."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.template.loader import render_to_string

from tests.browser.conftest import Visitor, person


def csp() -> str:
    return "; ".join(f"{name} {' '.join(values)}" for name, values in settings.CONTENT_SECURITY_POLICY["DIRECTIVES"].items())


def test_a_person_signs_in_by_keyboard_and_out_again(stranger: Visitor) -> None:
    user = person("ana", is_superuser=True)
    page = stranger.go("/")
    stranger.look("login")
    page.keyboard.type("ana")
    page.keyboard.press("Tab")
    page.keyboard.type(user.known_password)
    page.keyboard.press("Enter")
    page.wait_for_url(stranger.url + "/")
    page.get_by_text("Ana P.").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/**")


def test_a_wrong_password_is_refused_beside_the_form(stranger: Visitor) -> None:
    page = stranger.go("/accounts/login/")
    page.get_by_label("Username").fill("nobody")
    page.get_by_label("Password").fill("not-the-password")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text()
    stranger.look("login-refused")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/accounts/password/change/", "account-password"),
        ("/accounts/2fa/", "account-two-factor"),
        ("/accounts/logout/", "account-sign-out"),
        ("/accounts/reauthenticate/", "account-confirm"),
    ],
)
def test_account_pages_are_in_the_panels_look(ana: Visitor, path: str, name: str) -> None:
    page = ana.go(path)
    assert page.locator("main h1").count() == 1
    ana.look(name)


def test_what_does_not_exist_says_so_calmly(ana: Visitor) -> None:
    ana.expected.append("404")
    page = ana.go("/no/such/page")
    assert page.get_by_role("heading", level=1).inner_text()
    ana.look("error-404")


@pytest.mark.parametrize("code", ["400", "403_csrf", "500"])
def test_an_error_page_needs_nothing_of_the_panel(stranger: Visitor, code: str) -> None:
    body = render_to_string(f"{code}.html")
    stranger.page.route(
        "**/broken", lambda route: route.fulfill(body=body, content_type="text/html", headers={"Content-Security-Policy": csp()})
    )
    page = stranger.go("/broken")
    assert page.get_by_role("heading", level=1).inner_text()
    stranger.look(f"error-{code}")
