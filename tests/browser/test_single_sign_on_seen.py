"""Single sign-on in a real browser: another origin, the strict policy's `form-action 'self'`, and the way there and back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from oidc_issuer import Issuer

from tests.browser.conftest import ROOT, Panel, Visitor, free_port, listens, wait_until


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def joined(panel: Panel, stranger: Visitor, issuer: Issuer) -> Iterator[Visitor]:
    """A panel of the same database whose environment names the issuer."""
    port = free_port()
    environment = panel.environment | {
        "PGPANEL_OIDC_ISSUER": issuer.url, "PGPANEL_OIDC_CLIENT_ID": issuer.client_id,
        "PGPANEL_OIDC_CLIENT_SECRET": issuer.client_secret, "PGPANEL_OIDC_LABEL": "Example login",
    }  # fmt: skip
    with (panel.log.parent / "joined.log").open("wb") as output:
        web = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "pgpanel.asgi:application", "--port", str(port), "--no-access-log"],
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    wait_until(lambda: listens(port) or web.poll() is not None, "the panel that is joined")
    stranger.url = f"http://127.0.0.1:{port}"
    yield stranger
    web.terminate()
    web.wait(timeout=10)


def test_a_person_goes_there_and_comes_back_signed_in(joined: Visitor, issuer: Issuer) -> None:
    from accounts.models import User

    page = joined.go("/accounts/login/")
    joined.look("login-single-sign-on")
    page.get_by_role("button", name="Sign in with Example login").click()
    page.wait_for_url(joined.url + "/")
    assert issuer.asked
    assert User.objects.get().username == "ana"
    page.goto(joined.url + "/account/")
    assert "Example login" in page.inner_text("main")
    joined.look("your-account-single-sign-on")
    page.goto(joined.url + "/accounts/3rdparty/")
    joined.look("single-sign-on-connected")


def test_who_has_no_password_confirms_there(joined: Visitor, issuer: Issuer) -> None:
    page = joined.go("/accounts/login/")
    page.get_by_role("button", name="Sign in with Example login").click()
    page.wait_for_url(joined.url + "/")
    page.goto(joined.url + "/account/confirm/?next=/account/")
    joined.look("confirm-single-sign-on")
    page.get_by_role("button", name="Sign in with Example login again").click()
    page.wait_for_url(joined.url + "/account/")
    assert issuer.asked[-1]["prompt"] == "login"
