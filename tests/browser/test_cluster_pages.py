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
    page.wait_for_timeout(1200)
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
