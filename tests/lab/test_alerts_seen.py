"""Alerts on real hosts: a standby that is cut off, a primary that dies, and both over when they are back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from django.core import mail
from monitor_streaming import streaming
from test_monitor_states import register, until

from lab import Host, Lab
from monitor import dispatch, tasks
from monitor.ledger import Ledger
from monitor.models import Alert, Channel

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[Host]:
    return streaming(lab, ["pg1", "pg2"])


@pytest.fixture
def watched(lab: Lab, hosts: list[Host], settings) -> Iterator[None]:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    register(lab, hosts)
    stopping = threading.Event()
    thread = threading.Thread(target=lambda: tasks.run(Ledger(), stopping.is_set))
    thread.start()
    yield
    stopping.set()
    thread.join(10)


def opened(rule: str, about: str) -> bool:
    return Alert.objects.filter(rule=rule, about=about, over_at=None).exists()


def is_over(rule: str, about: str) -> bool:
    return Alert.objects.filter(rule=rule, about=about, over_at__isnull=False).exists() and not opened(rule, about)


def test_a_dead_primary_is_one_alert_that_goes_out_by_mail_and_ends_when_it_is_back(hosts: list[Host], watched: None) -> None:
    primary, _standby = hosts
    Channel.objects.create(kind="email", name="on call", settings={"addresses": ["oncall@example.net"]})
    primary.pg_stop("immediate")
    until(lambda: opened("primary_down", "pg1"), 30)
    until(lambda: dispatch.send_due() > 0, 30)
    assert "pg1" in mail.outbox[0].body
    assert "Unreachable is not dead" in mail.outbox[0].body
    primary.pg_start()
    until(lambda: is_over("primary_down", "pg1"), 40)
    until(lambda: any("OVER" in told.body for told in mail.outbox) or dispatch.send_due() > 0, 30)
    assert Alert.objects.filter(rule="primary_down").count() == 1


def test_a_standby_that_hears_nobody_is_told_and_over_when_it_streams_again(hosts: list[Host], watched: None) -> None:
    _primary, standby = hosts
    before = standby.sql("SHOW primary_conninfo")[0][0]
    standby.sql("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
    standby.sql("SELECT pg_reload_conf()")
    until(lambda: opened("standby_disconnected", "pg2"), 60)
    standby.sql("ALTER SYSTEM SET primary_conninfo = '" + before.replace("'", "''") + "'")
    standby.sql("SELECT pg_reload_conf()")
    until(lambda: is_over("standby_disconnected", "pg2"), 60)
