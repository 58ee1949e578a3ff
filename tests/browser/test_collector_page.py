"""The collector's own health as a person sees it, from the last line under the clusters; and the cards that come all at once."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from tests.browser import registry
from tests.browser.conftest import Visitor


def collector(holder: str, **fields: object) -> None:
    from clusters.models import Cluster, NodeState
    from monitor.models import Lease, Watcher

    now = timezone.now()
    felt = {"capacity": 600, "nodes": 3, "lines": 3, "looks_a_second": 3.0, "behind_seconds": 0.004, "written_at": now}
    Watcher.objects.create(holder=holder, **{"began_at": now - timedelta(hours=3), "said_at": now} | felt | fields)
    NodeState.objects.update(tried_at=now)
    Lease.objects.update_or_create(
        cluster=Cluster.objects.get(name="registry-prod"), defaults={"holder": holder, "until": now + timedelta(hours=1)}
    )


def test_without_a_collector_the_fleet_says_so_and_leads_to_the_page(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/")
    page.get_by_role("link", name="No collector runs").click()
    page.get_by_role("heading", name="The collector").wait_for()
    page.get_by_text("nobody").first.wait_for()
    ana.look("collector-none")


def test_who_watches_what_and_how_far_behind_he_is(ana: Visitor) -> None:
    registry.cluster()
    collector("panel-a:4711:1f0c99ab")
    collector("panel-b:4712:2e0d88bc", behind_seconds=2.4, last_error="database is locked", last_error_at=timezone.now())
    page = ana.go("/monitor/collector/")
    page.get_by_role("rowheader", name="panel-b:4712:2e0d88bc").wait_for()
    page.get_by_text("database is locked").wait_for()
    ana.look("collector")


def test_the_cards_of_the_fleet_are_drawn_by_one_request(ana: Visitor) -> None:
    registry.cluster()
    asked: list[str] = []
    ana.page.on("request", lambda request: asked.append(request.url))
    page = ana.go("/")
    page.locator("[id^=card-] .state").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert sum("/monitor/cards/" in url for url in asked) == 1
    assert not [url for url in asked if url.endswith("/card/")]
