"""Alerts as a person sees them: what is open, taking it on, a maintenance, whom they wake; and a month of lag."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from tests.browser import registry
from tests.browser.conftest import Visitor


def alert(rule: str, about: str, minutes: int, over: bool = False, **values: object) -> object:
    from clusters.models import Cluster
    from monitor.models import Alert
    from monitor.rules import RULES

    now = timezone.now()
    return Alert.objects.create(
        cluster=Cluster.objects.get(name="registry-prod"), rule=rule, about=about, severity=RULES[rule].severity, values=values,
        since=now - timedelta(minutes=minutes), fired_at=now - timedelta(minutes=minutes), over_at=now if over else None,
    )  # fmt: skip


def test_somebody_takes_an_alert_on_and_sees_it_on_the_clusters_page(ana: Visitor) -> None:
    registry.cluster()
    alert("lag_soft", "pg3", 4, seconds=75.0, state="stalled")
    alert("archiving_fails", "pg1", 12, wal="0000000100000000000000A1", since=0.0)
    alert("standby_disconnected", "pg2", 90, over=True)
    page = ana.go("/monitor/alerts/")
    ana.look("alerts")
    section = page.get_by_role("region", name="Behind, and not catching up")
    section.get_by_label("Comment").fill("long report runs until noon")
    section.get_by_role("button", name="I take it on").click()
    page.get_by_text("long report runs until noon").wait_for()
    page = ana.go("/c/registry-prod/")
    page.get_by_text("pg3 is 1 min 15 s behind and does not catch up.").or_(page.get_by_text("does not catch up")).first.wait_for()
    ana.look("cluster-alert")


def test_an_administrator_says_whom_alerts_wake(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/monitor/channels/")
    ana.look("channels-empty")
    ana.expected.append("422")
    page.get_by_role("link", name="E-mail").click()
    page.get_by_label("Name").fill("on call")
    page.get_by_label("E-mail addresses").fill("nobody")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Enter a valid email address").wait_for()
    ana.look("channel-refused")
    page.get_by_label("E-mail addresses").fill("oncall@example.net")
    page.get_by_label("Mon", exact=True).check()
    page.get_by_label("From").fill("22:00")
    page.get_by_label("Until").fill("07:00")
    page.get_by_label("Time zone").select_option("Europe/Berlin")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="on call").wait_for()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("The panel has no mail server").first.wait_for()  # the true error: here it has none
    page.get_by_text("1 attempt").click()
    ana.look("channel-messages")
    page.get_by_role("link", name="Edit").click()
    assert page.get_by_label("From").first.input_value() == "22:00"
    ana.look("channel-edit")
    ana.go("/monitor/channels/")
    page.get_by_role("rowheader", name="on call").wait_for()
    ana.look("channels")


def test_what_is_typed_as_a_secret_is_not_shown_and_a_test_says_what_went_wrong(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/monitor/channels/new/ntfy/")
    page.get_by_label("Name").fill("my phone")
    page.get_by_label("Server").fill("https://ntfy.invalid")
    topic = page.get_by_label("Topic")
    assert topic.get_attribute("type") == "password"
    topic.fill("Kaffeetasse-4711")
    ana.look("channel-ntfy")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("ntfy.invalid does not resolve").first.wait_for()
    assert "Kaffeetasse-4711" not in page.content()
    ana.look("channel-failed")
    page.get_by_role("link", name="Edit").click()
    page.get_by_text("Kept, and not shown.").first.wait_for()
    assert "Kaffeetasse-4711" not in page.content()


def test_thresholds_are_shown_as_the_clusters_own_or_the_default(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/c/registry-prod/edit/")
    page.get_by_role("link", name="Thresholds of its alerts").click()
    page.get_by_label("Far behind (seconds)").fill("1800")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("It counts from the next look on.").wait_for()
    assert page.get_by_label("Far behind (seconds)").input_value() == "1800"
    assert page.get_by_text("own", exact=True).count() == 1
    ana.look("thresholds")


def test_a_month_of_lag_is_drawn_from_its_rollups(ana: Visitor) -> None:
    from monitor.models import Rollup

    found = registry.cluster()
    standby, now = found.nodes.get(name="pg2"), timezone.now().replace(minute=0, second=0, microsecond=0)
    Rollup.objects.bulk_create(
        Rollup(node=standby, seconds=3600, at=now - timedelta(hours=hour), state="streaming", samples=3600, unknown=0,
               replay_bytes=(1 << 20) * (1 + hour % 24), replay_seconds=0.2 + (hour % 24) / 10)
        for hour in range(1, 24 * 30)
    )  # fmt: skip
    page = ana.go("/c/registry-prod/")
    page.get_by_text("No standby has been sampled yet.").wait_for()  # nothing in the last minute
    page.get_by_role("button", name="30 d").click()
    ana.until("document.querySelector('[data-lag-chart] canvas') !== null")
    page.wait_for_load_state("networkidle")
    ana.look("cluster-30-days")
