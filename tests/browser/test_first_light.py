"""From an empty panel to proven streaming, by clicks: real hosts, real workers, a writer that commits all the while."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab import Lab
from lab.host import Host
from tests.browser.conftest import ROOT, Panel, Visitor, wait_until

pytestmark = pytest.mark.lab


@pytest.fixture
def workers(panel: Panel) -> Iterator[None]:
    """Everything that works behind the pages: jobs, plans, the collector, the clock that starts them."""
    celery = [sys.executable, "-m", "celery", "-A", "pgpanel"]
    commands = [
        [*celery, "worker", "-Q", "jobs,plans,notify,observe", "-P", "threads", "-c", "6", "-l", "warning", "--without-mingle"],
        [*celery, "beat", "-l", "warning", "-s", str(panel.log.parent / "beat"), "--pidfile="],
    ]
    with (panel.log.parent / "workers.log").open("wb") as output:
        started = [subprocess.Popen(one, cwd=ROOT, env=panel.environment, stdout=output, stderr=output) for one in commands]
    yield
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def hosts() -> Iterator[tuple[Lab, Host, Host]]:
    with Lab("browser") as lab:
        pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
        lab.registry(pg1, rows=2000)
        yield lab, pg1, pg2


def test_from_an_empty_panel_to_proven_streaming(ana: Visitor, workers: None, hosts: tuple[Lab, Host, Host]) -> None:
    lab, pg1, pg2 = hosts
    ana.page.set_default_timeout(60_000)
    writer = lab.writer([pg1, pg2])
    writer.start()
    page = ana.go("/")
    page.get_by_role("link", name="Set up replication").click()
    name_the_hosts(ana, [pg1, pg2])
    page.get_by_role("button", name="Look at the hosts").last.click()
    accept_the_keys(ana, [pg1, pg2])
    page.get_by_role("button", name="On to the settings").wait_for()
    page.get_by_label("pg1 is the primary").check()
    ana.look("real-found")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_role("button", name="On to the settings").click()
    page.get_by_role("button", name="Look at the hosts and make the plan").click()
    start = page.locator("#plan .btn-primary")
    start.wait_for()
    ana.look("real-plan")
    assert "pg2" in start.inner_text(), "the button's text is the operation"
    page.set_viewport_size({"width": 1440, "height": 900})
    start.click()
    page.locator("#job-state .is-succeeded").wait_for(timeout=180_000)
    assert page.locator(".steps-list .failed").count() == 0
    ana.look("real-job")
    page.set_viewport_size({"width": 1440, "height": 900})
    report = writer.stop()
    assert (report.lost, report.doubled) == (0, 0)
    assert_the_same_rows(pg1, pg2)
    page.locator(".pretitle a").click()
    page.locator("[data-node=pg2] .state.streaming, [data-node=pg2] .state.idle").first.wait_for()
    page.wait_for_timeout(8000)  # some seconds of the live chart
    ana.look("real-cluster")
    ana.go("/")
    page.wait_for_timeout(1500)
    ana.look("real-fleet")


def name_the_hosts(ana: Visitor, hosts: list[Host]) -> None:
    """Page one: names, addresses; the panel's own key, put on each host by the line that the page shows."""
    page = ana.page
    page.get_by_label("Name of the cluster").fill("registry-prod")
    for number, host in enumerate(hosts):
        page.locator(f"#id_hosts-{number}-name").fill(host.name)
        page.locator(f"#id_hosts-{number}-ssh_host").fill(host.ip)
        page.locator(f"#id_hosts-{number}-ssh_user").fill("root")
        page.locator(f"#id_hosts-{number}-postgres_port").fill(str(host.pg_port))
        if host.ssh_port != 22:
            page.locator("details.fold", has=page.locator(f"#id_hosts-{number}-ssh_port")).locator("summary").click()
            page.locator(f"#id_hosts-{number}-ssh_port").fill(str(host.ssh_port))
    line = page.get_by_label("Line to run on the hosts").inner_text()
    for host in hosts:
        host.run(line)


def accept_the_keys(ana: Visitor, hosts: list[Host]) -> None:
    """Page two, first time: the fingerprints that it shows are those of the hosts' consoles."""
    accept = ana.page.get_by_role("button", name="I have compared all 2: accept them")
    accept.wait_for()
    for host in hosts:
        assert ana.page.get_by_text(host.host_key_fingerprint).count() >= 1
    ana.look("real-host-keys")
    ana.page.set_viewport_size({"width": 1440, "height": 900})
    accept.click()


def assert_the_same_rows(primary: Host, standby: Host) -> None:
    end = primary.sql("SELECT pg_current_wal_lsn()")[0][0]
    wait_until(lambda: standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == [["t"]], "replay of the last write")
    tables = "SELECT count(*), sum(hashtext(t::text)) FROM"
    for table in ("lab_writer", "domain"):
        assert primary.sql(f"{tables} {table} t", database="registry") == standby.sql(f"{tables} {table} t", database="registry")
