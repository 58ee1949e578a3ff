"""The wizard's own two pages: typed by keyboard, left and taken up again without loss, read without scripts."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from remote.facts import facts_to_json
from tests.browser import registry
from tests.browser.conftest import Visitor


@pytest.fixture
def hosts_page(ana: Visitor) -> Visitor:
    ana.go("/new/")
    return ana


def test_hosts_and_access(hosts_page: Visitor) -> None:
    hosts_page.look("wizard-hosts")


def test_what_was_typed_is_there_after_leaving_and_returning(hosts_page: Visitor) -> None:
    page = hosts_page.page
    page.get_by_label("Cluster", exact=False).first.fill("registry-prod")
    page.get_by_label("SSH address").nth(0).fill("10.20.0.11")
    page.get_by_label("SSH address").nth(1).fill("10.20.0.12")
    page.get_by_role("button", name="Save and stay").click()
    page.get_by_role("link", name="Leave").click()
    hosts_page.look("fleet-draft")
    page.get_by_role("link", name="Take up again").click()
    assert page.get_by_label("SSH address").nth(1).input_value() == "10.20.0.12"
    assert page.get_by_label("Cluster", exact=False).first.input_value() == "registry-prod"


def test_a_mistake_is_told_beside_its_field_and_nothing_is_lost(hosts_page: Visitor) -> None:
    hosts_page.expected.append("422")
    page = hosts_page.page
    page.get_by_label("SSH address").nth(0).fill("10.20.0.11")
    page.get_by_role("button", name="Look at the hosts").last.click()
    assert page.locator(".invalid-feedback").count() >= 1
    assert page.get_by_label("SSH address").nth(0).input_value() == "10.20.0.11"
    hosts_page.look("wizard-hosts-mistake")


def draft(user_name: str = "ana") -> Any:
    from accounts.models import User
    from clusters import drafts

    found = drafts.draft_start(User.objects.get(username=user_name))
    drafts.draft_access(found, "made-key")
    rows = [{"name": name, "ssh_host": registry.ADDRESSES[name], "ssh_port": 22, "ssh_user": "root",
             "node_address": registry.ADDRESSES[name], "postgres_port": 5432} for name in ("pg1", "pg2", "pg3")]  # fmt: skip
    found.data["hosts_form"] = {"cluster_name": "registry-prod", "access": "made-key", "rows": rows}
    found.page = "found"
    found.save()
    for position, row in enumerate(rows):
        found.hosts.create(position=position, **row)
    return found


def test_each_host_says_what_was_found_or_why_not(ana: Visitor) -> None:
    found = draft()
    pg1, pg2, pg3 = found.hosts.order_by("position")
    pg1.status, pg1.facts, pg1.seen_at, pg1.data_directory = (
        "seen",
        facts_to_json(registry.facts("pg1")),
        timezone.now(),
        registry.DATA,
    )
    pg1.is_primary = True
    pg2.status, pg2.offered_key, pg2.offered_fingerprint = (
        "host-key",
        registry.KEY,
        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
    )
    pg3.status, pg3.error, pg3.mend = (
        "refused",
        "pg3 (203.0.113.7) does not answer on port 22.",
        "Is sshd running there, and the port open?",
    )
    for host in (pg1, pg2, pg3):
        host.save()
    ana.go(f"/new/{found.uuid}/found/")
    ana.look("wizard-found")


def test_while_the_panel_looks_the_page_says_so(ana: Visitor) -> None:
    found = draft()
    found.hosts.update(status="asking", asked_at=timezone.now())
    page = ana.go(f"/new/{found.uuid}/found/")
    assert page.get_by_role("status").filter(has_text="Looking").is_visible()
    ana.look("wizard-looking")


def test_it_reads_without_scripts(ana: Visitor, chromium: Any, context: Any) -> None:
    found = draft()
    plain = chromium.new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.goto(f"{ana.url}/new/{found.uuid}/hosts/")
    assert page.get_by_label("SSH address").nth(2).input_value() == "203.0.113.7"
    page.get_by_role("button", name="Add a host").click()
    assert page.get_by_label("SSH address").count() == 4
    assert not page.get_by_role("button", name="Copy").first.is_visible()
    plain.close()


def test_the_first_page_is_filled_and_sent_by_keyboard_alone(hosts_page: Visitor) -> None:
    page = hosts_page.page
    wanted = {"cluster_name": "registry-prod", "hosts-0-ssh_host": "127.0.0.1", "hosts-1-ssh_host": "127.0.0.2"}
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.name || ''")
        if name in wanted:
            page.keyboard.type(wanted.pop(name))
        if not wanted:
            break
    assert not wanted, f"Tab never came to {wanted}"
    page.keyboard.press("Enter")
    page.wait_for_url("**/found/")
    assert page.get_by_role("status").filter(has_text="Looking").is_visible()
