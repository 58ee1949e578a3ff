"""What we do, as a person sees it: settings, plan, the running job with its live log."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import registry
from tests.browser.conftest import Panel, Visitor


def operator() -> Any:
    from accounts.models import User

    return User.objects.get(username="ana")


def seqs(visitor: Visitor) -> list[int]:
    found = visitor.page.locator("#log [data-seq]").evaluate_all("lines => lines.map(line => Number(line.dataset.seq))")
    return [int(seq) for seq in found]


def test_the_settings_of_a_set_up(ana: Visitor) -> None:
    registry.cluster()
    ana.go("/jobs/new/setup/?cluster=registry-prod&primary=pg1&standby=pg3")
    ana.look("job-settings")


def test_the_settings_of_a_base_backup(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/jobs/new/base_backup/?cluster=registry-prod")
    assert (page.get_by_label("Copy from").input_value(), page.get_by_label("Copy to").input_value()) == ("pg1", "pg2")
    ana.look("backup-settings")


@pytest.mark.parametrize("status", ["planning", "planned", "refused"])
def test_a_plan(ana: Visitor, status: str) -> None:
    job = registry.job(registry.cluster(), status, operator())
    page = ana.go(f"/jobs/{job.pk}/plan/")
    page.wait_for_timeout(300)
    ana.look(f"plan-{status}")


def test_the_only_primary_button_of_a_plan_is_the_operation(ana: Visitor) -> None:
    job = registry.job(registry.cluster(), "planned", operator())
    page = ana.go(f"/jobs/{job.pk}/plan/")
    assert page.locator(".btn-primary").all_inner_texts() == ["Set up standby pg3 from pg1"]


@pytest.mark.parametrize("status", ["queued", "running", "failed", "succeeded", "cancelled"])
def test_a_job(ana: Visitor, status: str) -> None:
    job = registry.job(registry.cluster(), status, operator())
    page = ana.go(f"/jobs/{job.pk}/")
    page.wait_for_timeout(400)
    ana.look(f"job-{status}")


def test_the_list_of_jobs(ana: Visitor) -> None:
    ana.go("/jobs/")
    ana.look("jobs-empty")
    cluster = registry.cluster()
    for status in ("succeeded", "failed", "planned", "running"):
        registry.job(cluster, status, operator())
    ana.go("/jobs/")
    ana.look("jobs")


def test_lines_arrive_as_they_are_written(ana: Visitor) -> None:
    job = registry.job(registry.cluster(), "running", operator(), lines=5)
    page = ana.go(f"/jobs/{job.pk}/")
    page.locator("body[data-live=open]").wait_for()
    page.wait_for_timeout(300)
    for number in range(20):
        registry.line(job, f"fresh {number}")
    ana.until("document.querySelectorAll('#log [data-seq]').length === 25")
    assert seqs(ana) == list(range(1, 26))


def test_no_line_is_lost_or_doubled_when_the_connection_breaks(ana: Visitor, context: Any) -> None:
    job = registry.job(registry.cluster(), "running", operator(), lines=5)
    ana.expected += ["ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest"]
    page = ana.go(f"/jobs/{job.pk}/")
    page.locator("body[data-live=open]").wait_for()
    registry.line(job, "before")
    context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('pagehide'))")  # an open stream outlives the emulated cut
    for number in range(50):
        registry.line(job, f"while away {number}")
    context.set_offline(False)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    registry.line(job, "after")
    ana.until("document.querySelectorAll('#log [data-seq]').length === 57")
    assert seqs(ana) == list(range(1, 58))


def test_no_line_is_lost_when_redis_dies(ana: Visitor, panel: Panel) -> None:
    job = registry.job(registry.cluster(), "running", operator(), lines=5)
    page = ana.go(f"/jobs/{job.pk}/")
    page.locator("body[data-live=open]").wait_for()
    registry.line(job, "before")
    panel.redis.kill()
    try:
        for number in range(30):
            registry.line(job, f"without Redis {number}")
        ana.until("document.querySelectorAll('#log [data-seq]').length === 36")
    finally:
        panel.redis.start()
    registry.line(job, "Redis is back")
    ana.until("document.querySelectorAll('#log [data-seq]').length === 37")
    assert seqs(ana) == list(range(1, 38))


def test_a_step_that_ends_is_ticked_without_a_reload(ana: Visitor) -> None:
    from pgpanel import live

    job = registry.job(registry.cluster(), "running", operator())
    page = ana.go(f"/jobs/{job.pk}/")
    page.locator("body[data-live=open]").wait_for()
    page.get_by_text("Cancel…").click()
    job.steps.filter(key="standby.copy#pg3").update(status="done")
    job.steps.filter(key="standby.verify#pg3").update(status="running")
    live.publish(f"job:{job.pk}", "steps", {})
    page.locator("li.running", has_text="Verify the copy").wait_for()
    assert page.get_by_role("button", name="Stop: Set up standby").is_visible(), "what a person opened stays open"


def test_a_long_log_begins_with_its_last_lines_and_says_where_the_others_are(ana: Visitor) -> None:
    job = registry.job(registry.cluster(), "succeeded", operator(), lines=2500)
    page = ana.go(f"/jobs/{job.pk}/")
    assert seqs(ana) == list(range(501, 2501))
    assert page.locator("#log").get_by_text("Earlier lines are in the download.").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert len(download.value.path().read_text().splitlines()) == 2500


def test_the_last_of_a_burst_of_events_is_what_stays_on_the_page(ana: Visitor) -> None:
    from pgpanel import live

    job = registry.job(registry.cluster(), "running", operator())
    page = ana.go(f"/jobs/{job.pk}/")
    page.locator("body[data-live=open]").wait_for()
    page.wait_for_timeout(500)  # what the stream sends at its beginning

    def slowly(route: Any) -> None:
        """The job ends while the answer about its steps is on its way."""
        answer = route.fetch()
        job.steps.filter(status__in=("running", "todo")).update(status="done")
        type(job).objects.filter(pk=job.pk).update(status="succeeded", outcome="Done: all of it")
        live.publish(f"job:{job.pk}", "status", {"status": "succeeded"})
        page.locator("#job-state .is-succeeded").wait_for()
        route.fulfill(response=answer)

    page.route("**/?part=steps", slowly, times=1)
    live.publish(f"job:{job.pk}", "steps", {})
    page.locator("#job-steps .verdict").get_by_text("Done: all of it").wait_for(timeout=1500)
    assert page.get_by_text("Cancel…").count() == 0


def test_a_job_reads_without_scripts(ana: Visitor, chromium: Any, context: Any) -> None:
    job = registry.job(registry.cluster(), "failed", operator())
    plain = chromium.new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.goto(f"{ana.url}/jobs/{job.pk}/")
    assert page.locator("#log [data-seq]").count() == 60
    assert page.get_by_role("button", name="Resume").is_visible()
    page.goto(f"{ana.url}/c/registry-prod/")
    assert page.get_by_role("link", name="pg3").first.is_visible()
    plain.close()


def test_every_setting_of_a_set_up_is_on_its_page(ana: Visitor) -> None:
    from jobs.forms import SetupForm

    registry.cluster()
    page = ana.go("/jobs/new/setup/?cluster=registry-prod")
    shown = set(page.locator("form.card [name]").evaluate_all("fields => fields.map(field => field.name)"))
    assert shown - {"csrfmiddlewaretoken"} == set(SetupForm.base_fields)
