"""What we have, as a person sees it: fleet, cluster, node, wizard, people."""

from __future__ import annotations

import pytest

from tests.browser import registry
from tests.browser.conftest import Visitor


def test_an_empty_fleet_says_what_will_be_installed_where(ana: Visitor) -> None:
    page = ana.go("/")
    assert page.get_by_role("link", name="Set up replication").is_visible()
    ana.look("fleet-empty")


def test_the_fleet_puts_trouble_first(ana: Visitor) -> None:
    registry.samples(found := registry.cluster())
    registry.job(found, "succeeded")
    broken = registry.cluster("whois", ("pg1", "pg2"))
    registry.seen(broken.nodes.get(name="pg2"), is_reachable=False, error="pg2: no route to host")
    page = ana.go("/")
    page.wait_for_load_state("networkidle")
    assert page.locator("article h2").first.inner_text() == "whois"
    ana.look("fleet")


def test_a_cluster_page(ana: Visitor) -> None:
    registry.samples(registry.cluster())
    page = ana.go("/c/registry-prod/")
    page.locator("[data-lag-chart] canvas").first.wait_for()
    assert page.locator(".page-state .state").first.inner_text() == "catching up"
    ana.look("cluster")


def test_a_node_page(ana: Visitor) -> None:
    registry.cluster()
    ana.go("/c/registry-prod/n/pg3/")
    ana.look("node")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/c/registry-prod/edit/", "cluster-edit"),
        ("/c/registry-prod/remove/", "cluster-remove"),
        ("/c/registry-prod/credentials/", "cluster-credentials"),
        ("/c/registry-prod/n/pg2/edit/", "node-edit"),
        ("/c/registry-prod/n/pg2/remove/", "node-remove"),
        ("/people/", "people"),
    ],
)
def test_the_quiet_pages(ana: Visitor, path: str, name: str) -> None:
    registry.cluster()
    ana.go(path)
    ana.look(name)


def test_an_import_has_pages_of_its_own(ana: Visitor) -> None:
    ana.go("/import/")
    ana.look("import-hosts")


def test_a_cluster_in_trouble_says_so_first(ana: Visitor) -> None:
    found = registry.cluster()
    registry.seen(
        found.nodes.get(name="pg1"),
        is_reachable=False,
        error="pg1: no route to host",
        sample={"state": "unreachable", "is_the_primary": True},
    )
    pg2 = {"state": "disconnected", "upstream": "pg1", "reason": "no-receiver", "replay_bytes": None, "replay_seconds": None}
    registry.seen(found.nodes.get(name="pg2"), sample=pg2)
    page = ana.go("/c/registry-prod/")
    page.wait_for_timeout(1200)
    ana.look("cluster-trouble")


def test_many_standbys_and_a_cascade_have_their_places(ana: Visitor) -> None:
    found = registry.cluster()
    key = found.credentials.first()
    for number in range(4, 8):
        node = found.nodes.create(
            name=f"pg{number}", ssh_host=f"10.20.0.1{number}", node_address=f"10.20.0.1{number}", credential=key
        )
        registry.seen(node, sample={**registry.sample("pg2"), "upstream": "pg2" if number > 5 else "pg1", "sync_state": "async"})
    page = ana.go("/c/registry-prod/")
    page.wait_for_timeout(1200)
    ana.look("cluster-many")


def test_a_new_cluster_is_not_yet_watched(ana: Visitor) -> None:
    registry.cluster(is_seen=False)
    page = ana.go("/c/registry-prod/")
    page.wait_for_timeout(1200)
    ana.look("cluster-unseen")


def test_whoever_was_signed_out_meanwhile_gets_the_door(ana: Visitor) -> None:
    registry.cluster()
    page = ana.go("/c/registry-prod/")
    page.locator(".topology").first.wait_for(state="attached")
    page.context.clear_cookies()
    ana.expected.append("EventSource's response")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('live:topology', {detail: {}}))")
    page.wait_for_url("**/accounts/login/**")
