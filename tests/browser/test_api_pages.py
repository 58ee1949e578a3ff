"""The interactive docs under the strict Content-Security-Policy, and the page of tokens."""

from __future__ import annotations

import json
import urllib.request

import pytest

from clusters.secrets import seal
from clusters.services import cluster_create
from tests.browser.conftest import Visitor, person


@pytest.fixture
def root(stranger: Visitor) -> Visitor:
    """Signed in by the form just now, so that nobody asks for a confirmation."""
    user = person("root", is_superuser=True)
    page = stranger.go("/accounts/login/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill(user.known_password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(stranger.url + "/")
    return stranger


def test_the_interactive_docs_call_the_api_by_the_session(root: Visitor) -> None:
    cluster_create("registry")
    page = root.go("/api/v1/docs")
    page.get_by_text("Clusters that you may see", exact=True).click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="200").first.wait_for()
    assert '"registry"' in page.locator(".live-responses-table").inner_text()
    # a call that changes something carries the CSRF token
    page.get_by_text("Ask everybody about the primary again").click()
    block = page.locator("#operations-Clusters-evidence_ask")
    block.get_by_role("button", name="Try it out").click()
    block.get_by_placeholder("name").fill("registry")
    block.get_by_role("button", name="Execute").click()
    block.locator(".live-responses-table tbody .response-col_status").first.wait_for()
    assert block.locator(".live-responses-table tbody .response-col_status").first.inner_text().startswith("202")
    page.screenshot(path="screenshots/api-docs.png")


def test_a_token_is_made_shown_once_used_and_revoked(root: Visitor) -> None:
    seal("makes the key")
    cluster_create("registry")
    page = root.go("/tokens/")
    root.look("tokens-none")
    page.get_by_label("What it is for").fill("nightly rehearsal")
    page.get_by_label("It may at most").select_option("operator")
    page.get_by_label("registry").check()
    page.get_by_role("button", name="Make the token").click()
    token = page.locator(".copy-line code").first.inner_text()
    root.look("token-made")
    request = urllib.request.Request(f"{root.url}/api/v1/clusters", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        assert [each["name"] for each in json.load(answer)["items"]] == ["registry"]
    root.go("/tokens/")
    assert token not in page.content()
    page.get_by_role("button", name="Revoke nightly rehearsal").click()
    page.get_by_text("counts no more").wait_for()
    assert page.get_by_text("revoked").is_visible()
    root.look("tokens")
