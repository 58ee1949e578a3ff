"""Signing in and out, and what the panel says when something is wrong."""

from __future__ import annotations

from typing import Any

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
    page.get_by_role("button", name="Sign in", exact=True).click()
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


def test_a_second_factor_is_set_up_and_asked_for(stranger: Visitor) -> None:
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time

    def code(secret: str) -> str:
        return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))

    user = person("ana", is_superuser=True)
    page = stranger.page
    enter(stranger, user)
    page.goto(stranger.url + "/accounts/2fa/totp/activate/")
    confirm(stranger, user)
    secret = page.get_by_label("Authenticator secret").input_value()
    stranger.look("two-factor-activate")
    page.get_by_label("Authenticator code").fill(code(secret))
    page.get_by_role("button", name="Activate").click()
    page.goto(stranger.url + "/accounts/2fa/recovery-codes/")
    stranger.look("two-factor-recovery")
    page.goto(stranger.url + "/accounts/2fa/")
    stranger.look("two-factor-active")
    stranger.page.context.clear_cookies()
    enter(stranger, user, is_all=False)
    stranger.look("two-factor-asked")
    page.goto(stranger.url + "/")
    assert page.url.endswith("/accounts/2fa/authenticate/"), "the password alone does not let anybody in"


def test_a_security_keys_page_needs_no_inline_script(stranger: Visitor) -> None:
    user = person("ana", is_superuser=True)
    enter(stranger, user)
    stranger.go("/accounts/2fa/webauthn/add/")
    confirm(stranger, user)
    assert stranger.page.locator("main h1").inner_text() == "Add Security Key"
    stranger.look("two-factor-key")


def confirm(visitor: Visitor, user: Any) -> None:
    """Before anything about sign-in changes, the password is asked for again."""
    visitor.page.get_by_label("Password").fill(user.known_password)
    visitor.page.get_by_role("button", name="Confirm").click()
    visitor.page.wait_for_url("**/2fa/**")


def enter(visitor: Visitor, user: Any, is_all: bool = True) -> None:
    page = visitor.go("/accounts/login/")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(user.known_password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(visitor.url + "/" if is_all else "**/2fa/authenticate/")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(ana: Visitor) -> None:
    page = ana.go("/accounts/password/change/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    assert page.locator(".skip").bounding_box()["y"] >= 0, "the skip link shows itself"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "oldpassword"
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.tagName + ':' + (document.activeElement.name || document.activeElement.textContent.trim())"
            )
        )
        ring = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.boxShadow + s.borderColor })()"
        )
        assert ring != "nonenonergb(0, 0, 0)", f"{seen[-1]} does not show that it has the focus"
    assert "BUTTON:Change Password" in seen
