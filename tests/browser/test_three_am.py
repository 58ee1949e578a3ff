"""Switched over, cut off, promoted, rebuilt, all by clicks: real hosts, real workers, a writer that dials all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab import Lab
from lab.errors import LabError
from lab.host import Host
from tests.browser.conftest import ROOT, Panel, Visitor, wait_until

pytestmark = pytest.mark.lab

CLUSTER = """
import json, sys
from clusters import services
from clusters.models import Credential
from clusters.secrets import seal
told = json.loads(sys.stdin.read())
cluster = services.cluster_create("registry-prod")
key = Credential.objects.create(kind="ssh-key", label="lab key", sealed=seal(told["key"]), cluster=cluster, purpose="login")
for name, host in told["hosts"].items():
    services.node_create(cluster, key, name, **host)
"""
JOB_SECONDS = 240_000


@pytest.fixture
def hosts(panel: Panel, rows: None) -> Iterator[tuple[Lab, dict[str, Host]]]:
    """A primary and two standbys that stream, set up by the panel from its command line."""
    with Lab(f"three-am-{os.getpid()}", backend=os.environ.get("PGPANEL_LAB_BACKEND", "auto")) as lab:
        if lab.backend == "processes":
            pytest.skip("not possible here: hosts that are plain processes cannot be cut off")
        found = {"pg1": lab.up("pg1"), "pg2": lab.up("pg2", create=False), "pg3": lab.up("pg3", create=False)}
        lab.registry(found["pg1"], rows=500)
        told = {
            name: {
                "ssh_host": host.ip, "ssh_port": host.ssh_port, "layout": host.layout, "postgres_port": host.pg_port,
                "postgres_major": str(host.postgres_major),
                "host_key": " ".join(host.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[:2]),
            }
            for name, host in found.items()
        }  # fmt: skip
        manage(panel, "shell", "-c", CLUSTER, said=json.dumps({"key": lab.key_path.read_text(), "hosts": told}))
        manage(panel, "job", "run", "setup", "--cluster", "registry-prod", "--set", "primary=pg1", "--set", "standbys=pg2,pg3",
               "--yes", "--here")  # fmt: skip
        yield lab, found


def manage(panel: Panel, *words: str, said: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=panel.environment, input=said, text=True, capture_output=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(autouse=True)
def interfaces_come_and_go(ana: Visitor) -> None:
    """Chromium drops its connections when a lab on this machine makes or loses one; the page takes them up again."""
    ana.expected += ["ERR_NETWORK_CHANGED", "htmx:sendError", "htmx:afterRequest"]


def test_a_switchover_by_clicks(ana: Visitor, workers: None, hosts: tuple[Lab, dict[str, Host]]) -> None:
    lab, found = hosts
    ana.page.set_default_timeout(120_000)
    writer = lab.writer(list(found.values()))
    writer.start()
    switch_over(ana)
    report = writer.stop()
    assert (report.lost, report.doubled) == (0, 0)
    assert report.longest_gap_ms < 5000
    assert [name for name, host in found.items() if is_writable(host)] == ["pg2"]


def test_a_power_cut_is_mended_by_clicks(ana: Visitor, workers: None, hosts: tuple[Lab, dict[str, Host]]) -> None:
    _lab, found = hosts
    ana.page.set_default_timeout(120_000)
    ana.go("/c/registry-prod/")
    wait_until(lambda: offers(ana, "Switch over: pg"), "the collector has seen who streams", 90)
    found["pg1"].kill()
    candidate = promote_after_the_power_cut(ana)
    assert is_writable(found[candidate])
    found["pg1"].start()
    rebuild_what_came_back(ana, candidate)
    assert [name for name, host in found.items() if is_writable(host)] == [candidate]


def switch_over(visitor: Visitor) -> None:
    """From the button on the cluster's page to the incident page; the button says the same on both pages."""
    words = "Switch over: pg2 becomes primary, pg1 becomes its standby"
    page = visitor.go("/c/registry-prod/")
    wait_until(lambda: offers(visitor, "Switch over: pg"), "the collector has seen who streams", 60)
    page.goto(f"{visitor.url}/c/registry-prod/n/pg2/")
    page.get_by_role("button", name=words).click()
    page.locator("#plan .btn-primary").wait_for()
    assert page.locator("#plan .btn-primary").inner_text() == words
    seen(visitor, "night-switchover-plan")
    page.locator("#plan .btn-primary").click()
    page.locator("#job-steps .verdict").get_by_role("heading", name="Done").wait_for(timeout=JOB_SECONDS)
    seen(visitor, "night-switchover-job")
    page.get_by_role("link", name="What happened, to read, print or copy").click()
    page.get_by_text("without writes").first.wait_for()
    seen(visitor, "night-switchover-incident")
    visitor.go("/")
    page.get_by_text("Switchover proven").wait_for()
    visitor.go("/c/registry-prod/")
    wait_until(lambda: offers(visitor, "pg2 becomes its standby"), "the way back is offered", 60)
    page.wait_for_timeout(1500)
    seen(visitor, "night-cluster-switched")


def promote_after_the_power_cut(visitor: Visitor) -> str:
    """Nobody hears pg1 any more: evidence, a name typed, the plan, the promotion. The promoted node's name."""
    page = visitor.go("/")
    page.get_by_role("link", name="What is proven, and who can take over").click(timeout=90_000)
    page.get_by_role("heading", name="pg1 is unreachable from everywhere").wait_for(timeout=90_000)
    wait_until(lambda: page.get_by_text("asking every host now").count() == 0, "everybody has been asked", 60)
    seen(visitor, "night-promote-unreachable")
    candidate = page.locator("#best-title").inner_text()
    page.get_by_label("Name of the old primary: pg1").first.fill("pg1")
    page.get_by_role("button", name=f"pg1 is off: promote {candidate}").click()
    page.wait_for_url("**/promote?job=*")
    page.locator("#plan form .btn-primary").wait_for()
    seen(visitor, "night-promote-planned")
    page.locator("#plan form .btn-primary").click()
    page.locator("#job-state .is-succeeded, #job-state .streaming").first.wait_for(timeout=JOB_SECONDS)
    page.get_by_role("link", name="What happened, to read, print or copy").click()
    page.get_by_text("pg1 is under quarantine").first.wait_for()
    seen(visitor, "night-promote-incident")
    return candidate


def rebuild_what_came_back(visitor: Visitor, primary: str) -> None:
    words = f"Rebuild pg1 as a standby of {primary}"
    page = visitor.go("/c/registry-prod/")
    wait_until(lambda: offers(visitor, words), "the rebuild is offered", 120)
    seen(visitor, "night-cluster-promoted")
    page.get_by_role("button", name=words).click()
    page.locator("#plan .btn-primary").wait_for()
    assert page.locator("#plan .btn-primary").inner_text() == words
    seen(visitor, "night-rebuild-plan")
    page.locator("#plan .btn-primary").click()
    page.locator("#job-state .is-succeeded, #job-state .streaming").first.wait_for(timeout=JOB_SECONDS)
    visitor.go("/c/registry-prod/n/pg1/")
    page.get_by_text("Old data directory", exact=True).wait_for()
    seen(visitor, "night-node-rebuilt")


def offers(visitor: Visitor, words: str) -> bool:
    """Is it on a button of the cluster's page, loaded anew?"""
    visitor.page.goto(f"{visitor.url}/c/registry-prod/")
    return visitor.page.get_by_role("button", name=words).count() > 0


def seen(visitor: Visitor, name: str) -> None:
    visitor.look(name)
    visitor.page.set_viewport_size({"width": 1440, "height": 900})


def is_writable(host: Host) -> bool:
    try:
        return host.sql("SELECT pg_is_in_recovery()") == [["f"]]
    except LabError:
        return False
