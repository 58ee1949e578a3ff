"""From an empty panel to a primary with two proven standbys, by clicks: real hosts, real workers, a writer all the while."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import Lab
from lab.host import Host
from tests.browser.conftest import Visitor, person, wait_until

pytestmark = pytest.mark.lab


@pytest.fixture
def hosts() -> Iterator[tuple[Lab, Host, Host, Host]]:
    """A primary with a registry, and two bare hosts."""
    with Lab(f"browser-{os.getpid()}", backend=os.environ.get("PGPANEL_LAB_BACKEND", "auto")) as lab:
        if lab.backend == "processes":
            # their accounts, whose authorized_keys page one asks to change, are this machine's own
            pytest.skip("not possible here: hosts that are plain processes share one machine, its accounts and what is found on it")
        pg1, pg2, pg3 = lab.up("pg1"), lab.up("pg2", create=False), lab.up("pg3", create=False)
        lab.registry(pg1, rows=2000)
        yield lab, pg1, pg2, pg3


def test_from_an_empty_panel_to_proven_streaming(stranger: Visitor, workers: None, hosts: tuple[Lab, Host, Host, Host]) -> None:
    lab, pg1, pg2, pg3 = hosts
    visitor, page = stranger, stranger.page
    page.set_default_timeout(60_000)
    writer = lab.writer([pg1, pg2])
    writer.start()
    sign_in_by_hand(visitor)
    page.get_by_role("link", name="Set up replication").click()
    name_the_cluster_and_leave_and_return(visitor, [pg1, pg2])
    page.get_by_role("button", name="Look at the hosts").last.click()
    accept_the_keys(visitor, [pg1, pg2])
    page.get_by_role("button", name="On to the settings").wait_for()
    go_back_to_the_hosts_and_on_again(visitor, [pg1, pg2])
    page.get_by_label("pg1 is the primary").check()
    seen(visitor, "real-found")
    page.get_by_role("button", name="On to the settings").click()
    plan_go_back_and_plan_again(visitor)
    seen(visitor, "real-plan")
    run(visitor, "pg2")
    seen(visitor, "real-job")
    assert the_log_is_whole(visitor)
    report = writer.stop()
    assert report.acknowledged > 100
    assert (report.lost, report.doubled) == (0, 0)
    assert_the_same_rows(pg1, pg2)

    page.locator(".pretitle a").click()
    streams(visitor, "pg2")
    the_chart_moves(visitor)
    seen(visitor, "real-cluster")
    add_a_standby(visitor, pg3)
    run(visitor, "pg3")
    assert_the_same_rows(pg1, pg3)
    assert_the_same_rows(pg1, pg2)
    page.locator(".pretitle a").click()
    streams(visitor, "pg3")
    streams(visitor, "pg2")
    seen(visitor, "real-cluster-of-three")
    visitor.go("/")
    page.get_by_role("link", name="registry-prod").first.wait_for()
    page.wait_for_timeout(1500)
    seen(visitor, "real-fleet")


def seen(visitor: Visitor, name: str) -> None:
    visitor.look(name)
    visitor.page.set_viewport_size({"width": 1440, "height": 900})


def sign_in_by_hand(visitor: Visitor) -> None:
    user, page = person("ana", is_superuser=True), visitor.go("/")
    page.get_by_label("Username").fill("ana")
    page.get_by_label("Password").fill(user.known_password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(visitor.url + "/")


def name_the_cluster_and_leave_and_return(visitor: Visitor, hosts: list[Host]) -> None:
    """Page one: names, addresses; the panel's own key, put on each host by the line that the page shows. Left, and taken up."""
    page = visitor.page
    page.get_by_label("Name of the cluster").fill("registry-prod")
    for number, host in enumerate(hosts):
        name_the_host(visitor, number, host)
    put_the_key(visitor, hosts)
    page.get_by_role("button", name="Save and stay").click()
    page.get_by_role("link", name="Leave").click()
    page.get_by_role("link", name="Take up again").click()
    hosts_are_named(visitor, hosts)


def name_the_host(visitor: Visitor, number: int, host: Host) -> None:
    page = visitor.page
    page.locator(f"#id_hosts-{number}-name").fill(host.name)
    page.locator(f"#id_hosts-{number}-ssh_host").fill(host.ip)
    page.locator(f"#id_hosts-{number}-ssh_user").fill("root")
    page.locator(f"#id_hosts-{number}-postgres_port").fill(str(host.pg_port))
    if host.ssh_port != 22:
        page.locator("details.fold", has=page.locator(f"#id_hosts-{number}-ssh_port")).locator("summary").click()
        page.locator(f"#id_hosts-{number}-ssh_port").fill(str(host.ssh_port))


def put_the_key(visitor: Visitor, hosts: list[Host]) -> None:
    line = visitor.page.get_by_label("Line to run on the hosts").inner_text()
    for host in hosts:
        host.run(line)


def hosts_are_named(visitor: Visitor, hosts: list[Host]) -> None:
    for number, host in enumerate(hosts):
        assert visitor.page.locator(f"#id_hosts-{number}-name").input_value() == host.name
        assert visitor.page.locator(f"#id_hosts-{number}-ssh_host").input_value() == host.ip


def go_back_to_the_hosts_and_on_again(visitor: Visitor, hosts: list[Host]) -> None:
    """Nothing typed is lost, and a key that was accepted is not asked for again."""
    page = visitor.page
    page.get_by_role("link", name="Back to the hosts").click()
    assert page.get_by_label("Name of the cluster").input_value() == "registry-prod"
    hosts_are_named(visitor, hosts)
    page.get_by_role("button", name="Look at the hosts").last.click()
    page.get_by_role("button", name="On to the settings").wait_for()


def plan_go_back_and_plan_again(visitor: Visitor) -> None:
    """What was typed into the settings is there when one comes back from the plan."""
    page, make = visitor.page, "Look at the hosts and make the plan"
    page.locator("#id_archive_hold_megabytes").evaluate("field => field.closest('details')?.setAttribute('open', '')")
    page.locator("#id_archive_hold_megabytes").fill("777")
    page.get_by_role("button", name=make).click()
    page.locator("#plan .btn-primary").wait_for()
    page.get_by_role("link", name="Change the settings").click()
    assert page.locator("#id_archive_hold_megabytes").input_value() == "777"
    page.get_by_role("button", name=make).click()
    page.locator("#plan .btn-primary").wait_for()


def run(visitor: Visitor, standby: str) -> None:
    """Confirm the plan and look on until it has succeeded."""
    page, start = visitor.page, visitor.page.locator("#plan .btn-primary")
    start.wait_for()
    assert standby in start.inner_text(), "the button's text is the operation"
    start.click()
    page.locator("#log [data-seq]").nth(3).wait_for()
    assert page.locator("#job-state .is-succeeded").count() == 0, "lines are there while it runs"
    page.locator("#job-state .is-succeeded").wait_for(timeout=180_000)
    page.locator("#job-steps .verdict").get_by_text("Done").wait_for()
    assert page.get_by_text("Cancel…").count() == 0
    assert page.locator(".steps-list .failed").count() == 0


def the_log_is_whole(visitor: Visitor) -> bool:
    """Every stored line is on the page, once, without a reload."""
    from jobs.models import Job

    shown = visitor.page.locator("#log [data-seq]").evaluate_all("lines => lines.map(line => Number(line.dataset.seq))")
    return [int(seq) for seq in shown] == list(range(1, Job.objects.latest("pk").last_seq + 1))


def streams(visitor: Visitor, standby: str) -> None:
    visitor.page.locator(f"[data-node={standby}] .state.streaming, [data-node={standby}] .state.idle").first.wait_for()


def the_chart_moves(visitor: Visitor) -> None:
    chart = visitor.page.locator("[data-lag-chart]")
    chart.locator("canvas").first.wait_for()
    visitor.page.wait_for_timeout(3000)
    before = chart.locator("canvas").first.screenshot()
    wait_until(lambda: chart.locator("canvas").first.screenshot() != before, "the chart moves", 6)


def add_a_standby(visitor: Visitor, host: Host) -> None:
    """From the cluster's page to the plan for a third host."""
    page = visitor.page
    page.locator("#cluster-more summary").click()
    page.get_by_role("link", name="Add a standby").click()
    name_the_host(visitor, 0, host)
    put_the_key(visitor, [host])
    page.get_by_role("button", name="Look at the hosts").last.click()
    page.get_by_role("button", name=f"Accept the key of {host.name}").click()
    page.get_by_role("button", name="On to the settings").click()
    page.get_by_role("button", name="Look at the hosts and make the plan").click()


def accept_the_keys(visitor: Visitor, hosts: list[Host]) -> None:
    """Page two, first time: the fingerprints that it shows are those of the hosts' consoles."""
    accept = visitor.page.get_by_role("button", name="I have compared all 2: accept them")
    accept.wait_for()
    for host in hosts:
        assert visitor.page.get_by_text(host.host_key_fingerprint).count() >= 1
    seen(visitor, "real-host-keys")
    accept.click()


def assert_the_same_rows(primary: Host, standby: Host) -> None:
    """Table by table, once the standby has replayed what the primary has written until now."""
    end = primary.sql("SELECT pg_current_wal_lsn()")[0][0]
    wait_until(lambda: standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == [["t"]], "replay of the last write")
    tables = [row[0] for row in primary.sql("SELECT relname FROM pg_stat_user_tables ORDER BY 1", database="registry")]
    assert {"lab_writer", "domain", "transaction_log"} <= set(tables)
    for table in tables:
        content = f"SELECT count(*), sum(hashtext(t::text)) FROM {table} t"
        assert primary.sql(content, database="registry") == standby.sql(content, database="registry"), table
