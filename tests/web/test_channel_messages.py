"""What goes out together and when: groups, quiet hours, retries, a worker killed in the middle, sending again."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from channel_world import allow_own_machine, clear, fire, ntfy, pass_by, send
from cluster_world import cluster_of_two
from cryptography.fernet import Fernet
from django.db import connection
from django.utils import timezone
from webhook_receiver import Receiver

from clusters.models import Cluster
from monitor import channel_services, dispatch, notices
from monitor.models import Alert, Channel, Message, Notice, Sending

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
ALWAYS = [{"days": list(range(7)), "begins": "00:00", "ends": "00:00"}]


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture
def cluster(settings, monkeypatch) -> Cluster:
    allow_own_machine(settings)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr("webhooks.tasks._send", lambda _subscription_id: None)
    return cluster_of_two()[0]


def quiet_for(hours: float) -> list[dict]:
    now = timezone.now()
    return [
        {"days": list(range(7)), "begins": f"{now - timedelta(hours=1):%H:%M}", "ends": f"{now + timedelta(hours=hours):%H:%M}"}
    ]


def said(receiver: Receiver) -> list[str]:
    return [got.said["title"] for got in receiver.received]


# -- together ---------------------------------------------------------------------------------------------------------------------


def test_what_fires_together_on_a_cluster_is_one_message_and_each_cluster_has_its_own(cluster, receiver):
    ntfy(receiver)
    fire(cluster, "lag_soft", "pg2", seconds=90)
    fire(cluster)
    fire(Cluster.objects.create(name="shop"))
    assert send() == 2
    assert said(receiver) == [
        "CRITICAL registry: Primary does not answer (pg1), and 1 more", "CRITICAL shop: Primary does not answer (pg1)",
    ]  # fmt: skip
    assert "pg2 is" in receiver.received[0].said["message"]


def test_a_network_that_is_cut_is_one_message_and_no_storm(cluster, receiver):
    ntfy(receiver)
    for number in range(7):
        fire(Cluster.objects.create(name=f"shop-{number}"))
    assert send() == 1
    assert said(receiver) == ["CRITICAL shop-0: Primary does not answer (pg1), 7 clusters in all"]
    assert Message.objects.get().cluster is None


def test_a_channel_that_hangs_or_fails_holds_up_no_other(cluster, receiver):
    receiver.manner = "503"
    ntfy(receiver)
    with Receiver() as other:
        ntfy(other)
        fire(cluster)
        assert send() == 1
        assert len(other.received) == 1
    waiting = Message.objects.get(status="waiting")
    assert (waiting.tries, waiting.due_at > timezone.now()) == (1, True)


def test_after_nine_hours_it_is_given_up_and_that_is_said(cluster, receiver):
    receiver.manner = "503"
    ntfy(receiver)
    fire(cluster)
    for _try in range(20):
        pass_by(4 * 3600)
        dispatch.send_due()
    message = Message.objects.get()
    assert (message.status, message.tries) == ("given up", dispatch.MOST_TRIES)
    assert sum(dispatch.wait_after(n).total_seconds() for n in range(1, dispatch.MOST_TRIES)) > 8 * 3600


# -- beginning and end ------------------------------------------------------------------------------------------------------------


def test_who_was_told_that_it_began_is_told_once_that_it_is_over(cluster, receiver):
    ntfy(receiver)
    alert = fire(cluster)
    assert send() == 1
    clear(alert)
    assert (send(), send()) == (1, 0)
    assert said(receiver)[1] == "OVER registry: Primary does not answer (pg1)"


def test_what_is_over_before_anybody_could_be_told_is_told_no_more(cluster, receiver):
    receiver.manner = "503"
    ntfy(receiver)
    alert = fire(cluster)
    assert send() == 0
    clear(alert)
    receiver.manner = "takes"
    pass_by(60)
    assert dispatch.send_due() == 0
    assert Message.objects.get().status == "dropped"
    assert set(Notice.objects.values_list("status", flat=True)) == {"given up"}


# -- quiet hours ------------------------------------------------------------------------------------------------------------------


def test_a_warning_of_the_night_is_told_in_the_morning_if_it_still_holds(cluster, receiver):
    channel = ntfy(receiver, quiet_hours=quiet_for(2))
    fire(cluster, "lag_soft", "pg2", seconds=90)
    fire(cluster, "lag_soft", "pg3", seconds=90)
    clear(Alert.objects.get(about="pg3"))
    assert send() == 0
    assert Notice.objects.get(alert__about="pg2").due_at > timezone.now() + timedelta(hours=1)
    Channel.objects.filter(pk=channel.pk).update(quiet_hours=[])  # morning
    pass_by(3 * 3600)
    assert dispatch.send_due() == 1
    assert said(receiver) == ["WARNING registry: Behind, and not catching up (pg2)"]


@pytest.mark.parametrize(("breaks_through", "sent"), [(True, 1), (False, 0)])
def test_critical_alerts_break_through_by_choice(breaks_through, sent, cluster, receiver):
    ntfy(receiver, quiet_hours=quiet_for(2), critical_breaks_through=breaks_through)
    fire(cluster)
    assert send() == sent


def test_other_quiet_hours_count_at_once_for_what_was_held(cluster, receiver):
    channel = ntfy(receiver, quiet_hours=quiet_for(2))
    fire(cluster, "lag_soft", "pg2", seconds=90)
    assert send() == 0
    channel.quiet_hours = []
    channel.save()
    notices.look_again(channel)
    assert dispatch.send_due() == 1


def test_of_a_channel_that_is_switched_off_nothing_waits(cluster, receiver):
    channel = ntfy(receiver, quiet_hours=ALWAYS, critical_breaks_through=False)
    fire(cluster)
    assert send() == 0
    channel.is_active = False
    channel.save()
    notices.look_again(channel)
    assert Notice.objects.get().status == "given up"
    assert send() == 0


# -- workers that die -------------------------------------------------------------------------------------------------------------

WORKER = """
import os, signal, django
django.setup()
from monitor import dispatch
from monitor.channels.ntfy import Ntfy
real = Ntfy.send
def send(*words):
    if {is_after}:
        real(*words)
    os.kill(os.getpid(), signal.SIGKILL)
Ntfy.send = send
dispatch.send_to({channel})
"""


def worker_dies(channel: Channel, settings, *, is_after: bool) -> None:
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "pgpanel.settings", "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "PGPANEL_ENCRYPTION_KEYS": settings.ENCRYPTION_KEYS[0], "PGPANEL_WEBHOOK_NETWORKS": "127.0.0.0/8",
        "PGPANEL_WEBHOOK_PLAIN_HTTP": "1", "PGPANEL_WEBHOOK_PORTS": ",".join(map(str, {443, int(channel.settings["server"][17:])})),
    }  # fmt: skip
    script = WORKER.format(is_after=is_after, channel=channel.pk)
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=False, timeout=120)
    assert ended.returncode == -9, ended.stderr.decode()[-2000:]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="hands the file of the database to another process")
@pytest.mark.parametrize(("is_after", "arrived"), [(False, 0), (True, 1)])
def test_a_worker_killed_in_the_middle_loses_nothing_and_a_double_has_the_same_id(is_after, arrived, cluster, receiver, settings):
    channel = ntfy(receiver)
    fire(cluster)
    pass_by(4)
    worker_dies(channel, settings, is_after=is_after)
    assert len(receiver.received) == arrived
    assert [sending.is_taken for sending in Sending.objects.all()] == [None]
    pass_by(10)
    assert dispatch.send_due() == 0  # the dead one's claim still holds
    pass_by(dispatch.CLAIM.total_seconds())
    assert dispatch.send_due() == 1
    assert dispatch.send_due() == 0
    assert len(receiver.received) == arrived + 1
    assert len({got.said["sequence_id"] for got in receiver.received}) == 1
    assert (Message.objects.get().status, Notice.objects.get().status) == ("sent", "sent")


def test_two_workers_send_a_message_once(cluster, receiver):
    channel = ntfy(receiver)
    fire(cluster)
    pass_by(4)
    held = dispatch._claim(channel.pk, None)
    assert held is not None
    assert dispatch.send_to(channel.pk) == 0
    Channel.objects.update(busy_until=None)
    assert (dispatch.send_to(channel.pk), dispatch.send_to(channel.pk)) == (1, 0)
    assert len(receiver.received) == 1


# -- again ------------------------------------------------------------------------------------------------------------------------


def test_a_message_is_sent_again_under_the_same_id(cluster, receiver):
    ntfy(receiver)
    fire(cluster)
    assert send() == 1
    channel_services.message_replay(Message.objects.get())
    assert dispatch.send_due() == 1
    first, second = receiver.received
    assert first.said["sequence_id"] == second.said["sequence_id"]
    assert Message.objects.get().sendings.count() == 2


def test_what_cannot_be_sent_again_says_why(cluster, receiver):
    channel = ntfy(receiver)
    test = channel_services.channel_test(channel).message
    with pytest.raises(channel_services.NothingToReplay, match="its own button"):
        channel_services.message_replay(test)
    fire(cluster)
    send()
    told = Message.objects.get(is_test=False)
    Alert.objects.all().delete()
    with pytest.raises(channel_services.NothingToReplay, match="gone"):
        channel_services.message_replay(told)


def test_messages_of_long_ago_are_forgotten(cluster, receiver):
    ntfy(receiver)
    fire(cluster)
    send()
    assert dispatch.forget_old() == 0
    Message.objects.update(made_at=timezone.now() - timedelta(days=31))
    assert dispatch.forget_old() > 0
    assert not Message.objects.exists()
