"""The collector on real streaming replication: what it says when replay is paused, a link cut, a host gone, a role changed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography.fernet import Fernet
from host_reach import pinned
from monitor_streaming import MONITOR_PASSWORD, streaming, write

from clusters import services
from clusters.credentials import role_password_keep
from clusters.models import Cluster, Credential, NodeState
from clusters.secrets import seal
from lab import Host, Lab
from monitor import tasks
from monitor.ledger import Ledger
from monitor.models import Sample
from pgpanel import live

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[Host]:
    return streaming(lab, ["pg1", "pg2", "pg3"])


@pytest.fixture(autouse=True)
def key(settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def published(monkeypatch) -> list[tuple[str, str]]:
    """What the live stream was given: (topic, event)."""
    heard: list[tuple[str, str]] = []
    monkeypatch.setattr(live, "publish", lambda topic, event, _data: heard.append((topic, event)))
    return heard


def register(lab: Lab, hosts: list[Host], *, with_role: bool = True) -> Cluster:
    cluster = services.cluster_create(f"registry-{next(_numbers)}")
    if with_role:
        role_password_keep(cluster, "monitoring", "pgpanel_monitor", MONITOR_PASSWORD)
    for host in hosts:
        add_node(lab, cluster, host)
    return cluster


def add_node(lab: Lab, cluster: Cluster, host: Host) -> None:
    credential, _ = Credential.objects.get_or_create(
        kind="ssh-key", label="lab", cluster=cluster, defaults={"sealed": seal(lab.key_path.read_text())}
    )
    services.node_create(
        cluster, credential, host.name, host.ip, ssh_port=host.ssh_port, node_address=host.ip, postgres_port=host.pg_port,
        postgres_major=str(host.postgres_major), layout="debian", host_key=pinned(host),
    )  # fmt: skip


@pytest.fixture
def watch() -> Iterator[Callable[[], None]]:
    """Starts the collector; stopped after the test, and it must stop at once."""
    stopping = threading.Event()
    threads: list[threading.Thread] = []

    def start() -> None:
        threads.append(threading.Thread(target=lambda: tasks.run(Ledger(), stopping.is_set)))
        threads[-1].start()

    yield start
    stopping.set()
    began = time.monotonic()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert time.monotonic() - began < 3


@pytest.fixture
def watched(lab: Lab, hosts: list[Host], watch: Callable[[], None]) -> Cluster:
    cluster = register(lab, hosts)
    watch()
    until(lambda: state(cluster, "pg2") == "idle" and state(cluster, "pg3") == "idle", 15)
    return cluster


def look(cluster: Cluster, name: str) -> NodeState:
    return NodeState.objects.get(node__cluster=cluster, node__name=name)


def state(cluster: Cluster, name: str) -> str:
    return str(look(cluster, name).sample.get("state"))


def until(true: Callable[[], object], seconds: float) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not come true in time"
        time.sleep(0.1)
    return time.monotonic() - began


def test_an_idle_primary_leaves_its_standbys_caught_up_idle_with_seconds_that_do_not_grow(watched: Cluster) -> None:
    for _ in range(6):
        time.sleep(1)
        sample = look(watched, "pg2").sample
        # now and then the server itself writes a little (a checkpoint, a snapshot for its standbys)
        assert sample["state"] in ("idle", "streaming")
        assert sample["replay_seconds"] < 1
    assert look(watched, "pg1").role == "primary"
    assert look(watched, "pg2").follows == f"{look(watched, 'pg1').node.node_address}:5432"
    assert sample["upstream"] == "pg1"
    idle = Sample.objects.filter(node__name="pg2", state="idle")
    assert idle.count() >= 3
    assert set(idle.values_list("replay_bytes", "replay_seconds")) == {(0, 0.0)}


def test_paused_replay_is_called_paused_and_its_lag_grows_in_bytes_and_seconds(watched: Cluster, hosts: list[Host]) -> None:
    primary, standby, _ = hosts
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        until(lambda: state(watched, "pg2") == "paused", 5)
        write(primary, 2)
        until(lambda: (look(watched, "pg2").sample["replay_bytes"] or 0) > 1_500_000, 5)
        seconds = look(watched, "pg2").sample["replay_seconds"]
        until(lambda: look(watched, "pg2").sample["replay_seconds"] > seconds + 2, 5)
        assert look(watched, "pg2").sample["flush_bytes"] == 0
        assert state(watched, "pg3") in ("idle", "streaming")
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    until(lambda: look(watched, "pg2").sample["replay_bytes"] == 0, 5)


def test_a_cut_between_two_hosts_is_disconnected_while_the_primary_still_says_streaming(
    watched: Cluster, hosts: list[Host]
) -> None:
    primary, standby, _ = hosts
    primary.split(standby)
    try:
        write(primary)
        took = until(lambda: state(watched, "pg2") == "disconnected", 8)
        assert took < 6
        assert ["pg2", "streaming"] in primary.sql("SELECT application_name, state FROM pg_stat_replication")
        before = look(watched, "pg2").sample["replay_bytes"]
        write(primary, 1)
        until(lambda: look(watched, "pg2").sample["replay_bytes"] > before + 500_000, 5)
        assert look(watched, "pg2").sample["replay_seconds"] > 3
    finally:
        primary.unsplit()
    until(lambda: state(watched, "pg2") in ("streaming", "idle"), 30)


def test_a_host_that_is_gone_is_stale_with_its_last_values_and_the_others_go_on(watched: Cluster, hosts: list[Host]) -> None:
    primary, _, standby = hosts
    standby.kill()
    try:
        until(lambda: state(watched, "pg3") == "stale", 8)
        until(lambda: not look(watched, "pg3").is_reachable, 5)
        gone = look(watched, "pg3")
        assert gone.error
        assert gone.role == "standby"
        write(primary)
        until(lambda: (look(watched, "pg3").sample["replay_bytes"] or 0) > 50_000, 5)
        assert state(watched, "pg2") in ("streaming", "idle")
        # the dead one holds up nobody: the others' samples stand a second apart
        samples = list(Sample.objects.filter(node__name="pg2").order_by("-at").values_list("at", flat=True)[:6])
        assert max((later - earlier).total_seconds() for later, earlier in itertools.pairwise(samples)) < 2
    finally:
        standby.start()
    standby.wait_postgres()
    until(lambda: state(watched, "pg3") in ("streaming", "idle"), 30)


def test_a_stopped_server_is_told_from_a_host_that_is_gone(watched: Cluster, hosts: list[Host]) -> None:
    standby = hosts[2]
    standby.pg_stop()
    try:
        until(lambda: look(watched, "pg3").sample.get("cause") == "stopped", 10)
    finally:
        standby.pg_start()
    took = until(lambda: state(watched, "pg3") in ("streaming", "idle"), 15)
    assert took < 10


def test_without_a_monitoring_role_it_looks_through_ssh_and_changes_over_when_the_role_appears(
    lab: Lab, hosts: list[Host], watch: Callable[[], None]
) -> None:
    cluster = register(lab, hosts, with_role=False)
    watch()
    until(lambda: state(cluster, "pg2") == "idle", 20)
    assert look(cluster, "pg2").sample["way"] == "ssh"
    assert look(cluster, "pg1").role == "primary"
    role_password_keep(cluster, "monitoring", "pgpanel_monitor", MONITOR_PASSWORD)
    until(lambda: {look(cluster, name).sample["way"] for name in ("pg1", "pg2", "pg3")} == {"tcp"}, 8)


def test_a_wrong_password_falls_back_to_ssh(lab: Lab, hosts: list[Host], watch: Callable[[], None]) -> None:
    cluster = register(lab, hosts[:2], with_role=False)
    role_password_keep(cluster, "monitoring", "pgpanel_monitor", "not the password")
    watch()
    until(lambda: state(cluster, "pg2") == "idle", 20)
    assert look(cluster, "pg2").sample["way"] == "ssh"
    assert look(cluster, "pg2").error == ""


def test_a_node_added_or_removed_is_watched_or_left_without_a_restart(
    lab: Lab, hosts: list[Host], watch: Callable[[], None]
) -> None:
    cluster = register(lab, hosts[:2])
    watch()
    until(lambda: state(cluster, "pg2") == "idle", 15)
    add_node(lab, cluster, hosts[2])
    until(lambda: state(cluster, "pg3") == "idle", 10)
    services.node_remove(cluster.nodes.get(name="pg3"))
    until(lambda: Sample.objects.filter(node__cluster=cluster).latest("at").at and state(cluster, "pg2") == "idle", 5)
    time.sleep(2.5)
    assert not hosts[2].sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'pgpanel monitor'")


def test_it_never_watches_twice_what_another_collector_has(watched: Cluster, hosts: list[Host], watch: Callable[[], None]) -> None:
    watch()
    time.sleep(3)
    assert len(hosts[0].sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'pgpanel monitor'")) == 1


def test_a_role_change_is_found_and_announced_by_itself(
    watched: Cluster, hosts: list[Host], published: list[tuple[str, str]]
) -> None:
    """Last: the pair is not what it was after this."""
    primary, standby, _ = hosts
    primary.pg_stop()
    until(lambda: state(watched, "pg1") == "unreachable", 10)
    published.clear()
    standby.sql("SELECT pg_promote()")
    until(lambda: look(watched, "pg2").role == "primary" and state(watched, "pg2") == "primary", 5)
    promoted = look(watched, "pg2")
    assert promoted.is_writable
    assert promoted.timeline == 2
    until(lambda: (f"cluster:{watched.pk}", "topology") in published and ("fleet:all", "topology") in published, 3)
    until(lambda: look(watched, "pg3").sample["reason"] in ("no-receiver", "other-timeline"), 8)
