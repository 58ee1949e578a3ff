"""The audit trail as an administrator sees it: entries, a search, a broken chain, credentials that no key opens."""

from __future__ import annotations

from accounts import acting, audit
from accounts.acting import Actor
from accounts.audit_chain import verify_and_keep
from accounts.trail import AuditHead
from tests.browser import registry
from tests.browser.conftest import Visitor


def write_some() -> None:
    with acting.as_(Actor(name="ana", address="2001:db8:85a3::8a2e:370:7334", door="api", token="nightly rebuild of the registry")):
        audit.record("job.start", "job 418: Switch over from pg1 to pg2", cluster="registry-prod", plan_hash="3fa9" * 16,
                     result="queued", detail={"job": 418, "kind": "switchover"})  # fmt: skip
    with acting.as_(Actor(address="203.0.113.9", door="page")):
        audit.record("login.failed", "x" * 120, result="failed")
    for number in range(110):
        audit.record("node.edit", f"pg{number}", cluster="registry-prod", detail={"fields": "ssh_host, node_address, layout"})
    verify_and_keep()


def test_the_trail_is_read_searched_and_turned_by_keyboard_and_links(ana: Visitor) -> None:
    registry.cluster()
    write_some()
    page = ana.go("/audit/")
    assert page.get_by_text("Whole: 11").is_visible()
    ana.look("audit")
    page.get_by_role("link", name="Older").click()
    page.get_by_label("Action").fill("job")
    page.keyboard.press("Enter")
    page.get_by_text("Switch over from pg1 to pg2").wait_for()
    assert page.get_by_text("node.edit").count() == 0
    ana.look("audit-search")


def test_a_broken_trail_and_an_empty_search(ana: Visitor) -> None:
    write_some()
    AuditHead.objects.update(finding="Entry 7 was changed.", verified_count=6)
    page = ana.go("/audit/?text=nothing-says-this")
    assert page.get_by_role("heading", name="The trail is broken").is_visible()
    ana.look("audit-broken")


def test_credentials_that_no_key_opens(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/c/registry-prod/credentials/")
    assert page.get_by_text("no key opens it").first.is_visible()
    ana.look("credentials-lost")
