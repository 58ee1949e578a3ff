"""Lag that cannot lie, on real hosts: a receiver that is frozen, a link that is cut, roles that change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from monitor_streaming import streaming, write
from test_monitor_states import look, register, state, until

from clusters.models import Cluster
from lab import Host, Lab
from monitor import tasks
from monitor.ledger import Ledger
from monitor.marks import marks_of
from monitor.models import Sample
from monitor.series import series_of

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]

PROMISED_SECONDS = 3.0
SLACK_SECONDS = 2.5
"""A look a second, books once a second, and a machine with two cores on which everything else runs too."""


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[Host]:
    return streaming(lab, ["pg1", "pg2", "pg3"])


@pytest.fixture
def watched(lab: Lab, hosts: list[Host], settings) -> Iterator[Cluster]:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    cluster = register(lab, hosts)
    stopping = threading.Event()
    thread = threading.Thread(target=lambda: tasks.run(Ledger(), stopping.is_set))
    thread.start()
    until(lambda: state(cluster, "pg2") == "idle" and state(cluster, "pg3") == "idle", 30)
    yield cluster
    stopping.set()
    thread.join(10)


def lag(cluster: Cluster, name: str) -> dict:
    return look(cluster, name).sample


def test_a_link_that_is_cut_is_disconnected_in_time_with_bytes_that_grow_by_the_real_position(
    watched: Cluster, hosts: list[Host]
) -> None:
    """Remembered and then real: when the link heals, what was told is what the standby then has to fetch."""
    primary, standby, _ = hosts
    primary.split(standby)
    try:
        write(primary)
        took = until(lambda: state(watched, "pg2") == "disconnected", 15)
        assert took < PROMISED_SECONDS + SLACK_SECONDS
        for megabytes in (1, 2):
            before = lag(watched, "pg2")["replay_bytes"]
            write(primary, megabytes)
            until(lambda: lag(watched, "pg2")["replay_bytes"] > before + megabytes * 900_000, 5)  # noqa: B023
        behind = (
            primary.sql("SELECT pg_current_wal_lsn() - '0/0'")[0][0],
            standby.sql("SELECT pg_last_wal_receive_lsn() - '0/0'")[0][0],
        )
        until(lambda: abs(lag(watched, "pg2")["flush_bytes"] - (int(behind[0]) - int(behind[1]))) < 100_000, 5)
    finally:
        primary.unsplit()
    until(lambda: lag(watched, "pg2")["replay_bytes"] == 0, 60)


def test_a_receiver_that_is_frozen_with_all_that_it_has_replayed_is_stalled_and_never_zero_seconds(
    watched: Cluster, hosts: list[Host]
) -> None:
    primary, _, standby = hosts
    ((pid,),) = standby.sql("SELECT pid FROM pg_stat_wal_receiver")
    standby.run(["kill", "-STOP", pid])
    try:
        since = timezone.now()
        write(primary, 1)
        until(lambda: state(watched, "pg3") in ("stalled", "disconnected"), 15)
        received, replayed = standby.sql("SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()")[0]
        assert received == replayed  # the old formula says 0 here
        first = lag(watched, "pg3")["replay_seconds"]
        time.sleep(2)
        write(primary)
        until(lambda: lag(watched, "pg3")["replay_seconds"] > first + 1, 10)
        bad = Sample.objects.filter(node__name="pg3", node__cluster=watched, at__gt=since, state="stalled", replay_seconds=0)
        assert not bad.exists()
    finally:
        standby.run(["kill", "-CONT", pid])
    until(lambda: lag(watched, "pg3")["replay_bytes"] == 0, 30)


def test_after_a_change_of_roles_charts_follow_and_say_so(watched: Cluster, hosts: list[Host]) -> None:
    """Last: the pair is not what it was after this."""
    primary, standby, _ = hosts
    primary.pg_stop()
    standby.sql("SELECT pg_promote()")
    until(lambda: state(watched, "pg2") == "primary", 15)
    says = [mark["says"] for mark in marks_of(watched, watched.created_at)]
    assert "pg2 became primary on timeline 2." in says
    assert any(mark["says"] == "pg2 became primary on timeline 2." for mark in series_of(watched, 600)["marks"])
    newest = Sample.objects.filter(node__name="pg2", node__cluster=watched).latest("at")
    assert newest.state == "primary"
