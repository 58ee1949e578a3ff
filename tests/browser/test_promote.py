"""The page for 3am: four verdicts, what each standby would lose, one safe thing to do next."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import evidence_rows, registry
from tests.browser.conftest import Visitor


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unreachable", "pg1 is unreachable from everywhere"),
        ("stopped", "pg1 is stopped, proven"),
        ("blind", "Only the panel cannot see pg1"),
        ("alive", "pg1 lives"),
    ],
)
def test_each_verdict_is_the_biggest_sentence_on_the_page(ana: Visitor, name: str, said: str) -> None:
    found = evidence_rows.gone(registry.cluster())
    said_by = {
        "unreachable": evidence_rows.SILENT,
        "stopped": evidence_rows.STOPPED,
        "blind": evidence_rows.BLIND,
        "alive": evidence_rows.ALIVE,
    }
    evidence_rows.observed(found, said_by[name])
    page = ana.go("/c/registry-prod/promote")
    assert page.locator("h1").inner_text() == said
    ana.look(f"promote-{name}")


def operator() -> Any:
    from accounts.models import User

    return User.objects.get(username="ana")


def test_where_the_fence_answers_and_nothing_can_be_lost_one_click_promotes(ana: Visitor) -> None:
    """The plan is made at once; the page shows it folded, with the button that runs it."""
    from jobs.models import Job

    found = evidence_rows.gone(registry.cluster(), fence_command="/usr/bin/ipmitool chassis power off")
    evidence_rows.observed(found, evidence_rows.SILENT)
    page = ana.go("/c/registry-prod/promote")
    page.locator("#plan").get_by_role("button", name="Fence pg1, then promote pg2").wait_for()
    assert Job.objects.get().params["use_fence"] is True
    ana.look("promote-planning")
    Job.objects.all().delete()
    job = evidence_rows.planned(found, operator(), use_fence=True)
    page = ana.go(f"/c/registry-prod/promote?job={job.pk}")
    page.get_by_text("The fence does not answer?").first.click()
    assert page.get_by_role("button", name="pg1 is off: promote pg2").is_visible(), "the other way stays in reach"
    page.get_by_text("The fence does not answer?").first.click()
    ana.look("promote-planned")
    page.get_by_role("button", name="Fence pg1, then promote pg2").click()
    page.wait_for_url(f"**/jobs/{job.pk}/")
    assert Job.objects.get().status == "queued"


def test_a_name_is_typed_where_a_person_has_to_vouch_and_where_rows_may_be_lost(ana: Visitor) -> None:
    from jobs.models import Job

    ana.expected.append("422")
    found = evidence_rows.gone(registry.cluster(), is_synchronous=False)
    evidence_rows.observed(found, evidence_rows.SILENT)
    page = ana.go("/c/registry-prod/promote")
    page.get_by_role("button", name="pg1 is off: promote pg2").click()
    page.get_by_text("Type “pg1”.").wait_for()
    assert not Job.objects.exists()
    ana.look("promote-typed-wrong")
    page.get_by_label("Name of the old primary: pg1").first.fill("pg1")
    page.get_by_role("button", name="pg1 is off: promote pg2").click()
    page.wait_for_url("**/promote?job=*")
    assert (Job.objects.get().params["attested"], Job.objects.get().params["accept_loss"]) == ("pg1", True)


def test_what_a_person_types_stays_while_the_evidence_comes_anew(ana: Visitor) -> None:
    from pgpanel import live

    found = evidence_rows.gone(registry.cluster(), is_synchronous=False)
    evidence_rows.observed(found, evidence_rows.SILENT)
    page = ana.go("/c/registry-prod/promote")
    page.locator("body[data-live=open]").wait_for()
    page.get_by_label("Name of the old primary: pg1").first.type("pg")
    evidence_rows.observed(found, evidence_rows.BLIND)
    evidence_rows.observed(found, evidence_rows.SILENT, seconds_ago=0.5)
    with page.expect_response("**/promote"):
        live.publish(f"cluster:{found.pk}", "evidence", {})
    page.wait_for_timeout(200)
    assert page.get_by_label("Name of the old primary: pg1").first.input_value() == "pg"


def test_it_works_without_scripts(ana: Visitor, chromium: Any, context: Any) -> None:
    from jobs.models import Job

    found = evidence_rows.gone(registry.cluster(), fence_command="/usr/bin/ipmitool chassis power off")
    evidence_rows.observed(found, evidence_rows.SILENT)
    plain = chromium.new_context(
        java_script_enabled=False, storage_state=context.storage_state(), viewport={"width": 390, "height": 844}
    )
    page = plain.new_page()
    page.goto(f"{ana.url}/c/registry-prod/promote")
    page.get_by_role("button", name="Fence pg1, then promote pg2").click()
    assert "?job=" in page.url
    made = evidence_rows.planned(found, operator(), use_fence=True)
    page.goto(f"{ana.url}/c/registry-prod/promote?job={made.pk}")
    page.get_by_role("button", name="Fence pg1, then promote pg2").click()
    assert page.url == f"{ana.url}/jobs/{made.pk}/"
    assert Job.objects.get(pk=made.pk).status == "queued"
    plain.close()


def test_it_works_by_keyboard(ana: Visitor) -> None:
    from jobs.models import Job

    found = evidence_rows.gone(registry.cluster(), is_synchronous=False)
    evidence_rows.observed(found, evidence_rows.SILENT)
    page = ana.go("/c/registry-prod/promote")
    field = page.get_by_label("Name of the old primary: pg1").first
    for _ in range(30):
        if field.evaluate("field => field === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.type("pg1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/promote?job=*")
    assert Job.objects.get().params["attested"] == "pg1"
