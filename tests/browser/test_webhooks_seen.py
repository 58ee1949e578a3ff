"""Webhooks as an administrator sees them: named, its secret once, what was sent and answered, and that the panel gave up."""

from __future__ import annotations

import json
from datetime import timedelta

from django.utils import timezone

from tests.browser import registry
from tests.browser.conftest import Visitor


def test_nobody_is_told_yet_and_then_somebody_is(ana: Visitor) -> None:
    page = ana.go("/webhooks/")
    assert "Nobody is told yet" in page.inner_text("main")
    ana.look("webhooks-empty")
    page.get_by_role("link", name="Tell somebody").click()
    page.get_by_label("Name").fill("ticket desk")
    page.get_by_label("URL", exact=True).fill("http://tickets.example.net/in")
    ana.look("webhook-new")
    page.get_by_role("button", name="Make the secret and begin").click()
    assert "Only https" in page.inner_text("main")
    ana.look("webhook-refused")
    page.get_by_label("URL", exact=True).fill("https://tickets.example.net/in")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Copy it now").wait_for()
    assert page.inner_text(".copy-line code").startswith("whsec_")
    ana.look("webhook-secret")
    page.get_by_role("link", name="I have it").click()
    assert "whsec_" not in page.content()


def test_what_was_sent_what_was_answered_and_that_the_panel_gave_up(ana: Visitor) -> None:
    from webhooks import catalog, services
    from webhooks.models import Attempt, Delivery, Event, Subscription

    found = registry.cluster()
    made, _secret = services.subscribe(
        None, "ticket desk", "https://tickets.example.net/in", ["job.ended", "cluster.changed"], [found]
    )
    services.subscribe(None, "audit", "https://audit.example.net/pgpanel/with/a/rather/long/path/to/see/where/it/wraps")
    now = timezone.now()
    for number, (kind, status, code) in enumerate(
        (("job.ended", "delivered", 200), ("cluster.changed", "failed", 500), ("node.quarantined", "waiting", None))
    ):
        body = json.dumps(catalog.example(catalog.EVENTS[kind]))
        event = Event.objects.create(key=f"{number}", type=kind, at=now - timedelta(hours=9 - number), cluster=found, body=body)
        delivery = Delivery.objects.create(
            subscription=made, event=event, status=status, due_at=now + timedelta(minutes=5), tries=2
        )
        for tries in range(2):
            Attempt.objects.create(
                delivery=delivery, at=now - timedelta(hours=9 - number, minutes=-tries), seconds=0.2 + tries,
                status_code=code if tries else None, error="" if tries and code else "no answer within 15 s",
                answer="<h1>Internal Server Error</h1>" if code == 500 and tries else "",
            )  # fmt: skip
    Subscription.objects.filter(pk=made.pk).update(failing_since=now - timedelta(hours=2))
    page = ana.go(f"/webhooks/{made.uuid}/")
    page.locator("summary", has_text="2 attempts").nth(1).click()
    assert "<h1>Internal Server Error</h1>" in page.inner_text("main")
    ana.look("webhook")
    services.disable(made, "nothing was taken for 3 days")
    ana.go(f"/webhooks/{made.uuid}/")
    ana.look("webhook-given-up")
    ana.go("/webhooks/")
    ana.look("webhooks")
    ana.go(f"/webhooks/{made.uuid}/remove/")
    ana.look("webhook-remove")
