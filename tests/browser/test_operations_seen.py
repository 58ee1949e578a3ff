"""What is done to a running replication, as a person sees it: buttons, settings, endings, the incident page, the fence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import evidence_rows, registry
from tests.browser.conftest import Visitor


def operator() -> Any:
    from accounts.models import User

    return User.objects.get(username="ana")


def test_a_cluster_says_what_can_be_done_with_it(ana: Visitor) -> None:
    found = registry.cluster()
    registry.samples(found)
    registry.switched(found, "done", operator())
    page = ana.go("/c/registry-prod/")
    page.get_by_role("button", name="Switch over: pg2 becomes primary, pg1 becomes its standby").wait_for()
    page.locator("[data-lag-chart] canvas").first.wait_for()
    page.get_by_text("113 ms without writes").wait_for()
    ana.look("cluster-offers")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_label("More actions").click()
    page.screenshot(path="screenshots/cluster-menu.png")


def test_a_cluster_whose_primary_is_gone_leads_to_the_evidence(ana: Visitor) -> None:
    found = evidence_rows.gone(registry.cluster())
    evidence_rows.observed(found, evidence_rows.SILENT)
    page = ana.go("/c/registry-prod/")
    page.wait_for_timeout(800)
    ana.look("cluster-primary-gone")
    page.get_by_role("link", name="What is proven, and who can take over").click()
    page.wait_for_url("**/c/registry-prod/promote")
    page.goto(f"{ana.url}/")
    page.get_by_role("link", name="What is proven, and who can take over").click()
    page.wait_for_url("**/c/registry-prod/promote")


def test_the_fleet_says_when_a_switchover_was_last_proven(ana: Visitor) -> None:
    found = registry.cluster()
    registry.samples(found)
    registry.switched(found, "done", operator())
    evidence_rows.gone(registry.cluster("whois", ("pg1", "pg2")))
    page = ana.go("/")
    page.get_by_text("Switchover proven 12 d ago").wait_for()
    page.get_by_text("No switchover proven yet").wait_for()
    page.wait_for_timeout(500)
    ana.look("fleet-proven")


def test_a_node_says_what_can_be_done_with_it_and_what_holds_if_it_fails(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/c/registry-prod/n/pg2/")
    page.get_by_role("button", name="Switch over: pg2 becomes primary, pg1 becomes its standby").wait_for()
    page.wait_for_timeout(300)
    ana.look("node-offers")


@pytest.mark.parametrize("kind", ["switchover", "rebuild", "repair", "repoint", "set_parameter", "rotate_password", "forget_old"])
def test_the_settings_of_each_operation(ana: Visitor, kind: str) -> None:
    registry.cluster()
    page = ana.go(f"/jobs/new/{kind}/?cluster=registry-prod")
    if kind == "switchover":
        page.get_by_text("Commands before and after").click()
    ana.look(f"settings-{kind}")


@pytest.mark.parametrize("ending", ["done", "rolled_back", "cleanup_pending", "unknown"])
def test_each_ending_is_a_word_a_colour_and_what_to_do_next(ana: Visitor, ending: str) -> None:
    job = registry.switched(registry.cluster(), ending, operator())
    page = ana.go(f"/jobs/{job.pk}/")
    page.wait_for_timeout(300)
    ana.look(f"job-ending-{ending}")
    assert page.get_by_role("button", name="Finish the clean-up").count() == (ending == "cleanup_pending")


@pytest.mark.parametrize("ending", ["done", "cleanup_pending"])
def test_an_incident_can_be_read_printed_and_copied(ana: Visitor, ending: str) -> None:
    job = registry.switched(registry.cluster(), ending, operator())
    page = ana.go(f"/jobs/{job.pk}/incident/")
    ana.look(f"incident-{ending}")
    page.get_by_role("button", name="Copy as text").click()
    page.get_by_text("Copied").wait_for()
    copied = str(page.evaluate("navigator.clipboard.readText()"))
    assert "takes writes on timeline 8" in copied
    assert "Without writes: 113 ms" in copied
    page.emulate_media(media="print")
    page.screenshot(path=f"screenshots/incident-{ending}-print.png", full_page=True)
    page.emulate_media(media="screen")


def test_a_fence_is_set_and_says_that_it_was_never_tested(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/c/registry-prod/n/pg1/fence/")
    page.get_by_label("Command that switches the host off").fill("ipmitool chassis power off")
    page.get_by_role("button", name="Save the fence command").click()
    page.get_by_text("Begin with the whole path of the program").wait_for()
    page.get_by_label("Command that switches the host off").fill("/usr/bin/ipmitool chassis power off")
    page.get_by_label("Command that asks the same device").fill("/usr/bin/ipmitool chassis power status")
    page.get_by_role("button", name="Save the fence command").click()
    page.get_by_text("never tested").wait_for()
    ana.look("fence")
