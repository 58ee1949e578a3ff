"""Alerts as rows: opened once, held back by what explains them, told to whom it concerns, taken on by a person, over."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, Credential, Grant, Node
from clusters.services import cluster_remove
from clusters.signals import job_moved
from monitor import alerts, dispatch, notices
from monitor.alerts import Watchman
from monitor.lag import Lag
from monitor.models import Alert, Channel, Maintenance, Message, Notice, RunningJob, Sending
from monitor.sight import Sight, Unseen
from monitor.watch import ClusterReport, NodeReport

pytestmark = pytest.mark.django_db

AWAY = Unseen(0, "timeout", "no answer from 10.0.0.1:5432 within 2.5 s")


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster.objects.create(name="registry")
    credential = Credential.objects.create(kind="ssh-key", label="key", cluster=made, sealed="-")
    for number in (1, 2):
        address = f"10.0.0.{number}"
        Node.objects.create(cluster=made, credential=credential, name=f"pg{number}", ssh_host=address, node_address=address)
    return made


@pytest.fixture
def channel() -> Channel:
    return Channel.objects.create(kind="email", name="on call", settings={"addresses": ["oncall@example.net"]})


def report(cluster: Cluster, at: float, *, is_down: bool) -> ClusterReport:
    one, two = cluster.nodes.order_by("name")
    seen = Sight(at, "tcp", 0.001, "15", "primary", True, 1, current_lsn=1000)
    primary = NodeReport(one.pk, "pg1", at, seen, AWAY if is_down else None, not is_down, True, None, None, "")
    lag = Lag("streaming", replay_bytes=0, replay_seconds=0.0)
    standby = NodeReport(two.pk, "pg2", at, replace(seen, role="standby"), None, True, False, lag, None, "pg1")
    return ClusterReport(cluster.pk, cluster.name, at, (primary, standby))


def rounds(watchman: Watchman, cluster: Cluster, begin: float, seconds: int, *, is_down: bool) -> None:
    watchman.watch([report(cluster, begin + at, is_down=is_down) for at in range(seconds)])


def send() -> int:
    for rows in (Notice, Message):
        rows.objects.filter(status="waiting").update(due_at=timezone.now() - timedelta(seconds=1))
    return dispatch.send_due()


# -- the books ------------------------------------------------------------


def test_a_primary_that_stays_away_is_one_alert_from_its_beginning_to_its_end(cluster: Cluster) -> None:
    watchman, begin = Watchman(), time.time()
    watchman.take_over([cluster.pk])
    rounds(watchman, cluster, begin, 60, is_down=True)
    alert = Alert.objects.get()
    assert (alert.rule, alert.about, alert.severity, alert.over_at) == ("primary_down", "pg1", "critical", None)
    assert abs(alert.since.timestamp() - begin) < 0.01
    assert 4.9 < (alert.fired_at - alert.since).total_seconds() < 6
    rounds(watchman, cluster, begin + 60, 30, is_down=False)
    alert.refresh_from_db()
    assert alert.over_at is not None


def test_the_next_collector_takes_an_open_alert_up_and_opens_no_second_one(cluster: Cluster, channel: Channel) -> None:
    begin = time.time()
    first = Watchman()
    rounds(first, cluster, begin, 10, is_down=True)
    second = Watchman()
    second.take_over([cluster.pk])
    rounds(second, cluster, begin + 10, 10, is_down=True)
    rounds(first, cluster, begin + 20, 3, is_down=True)  # a holder that has not heard yet that it lost the lease
    assert Alert.objects.count() == 1
    assert Notice.objects.count() == 1
    rounds(second, cluster, begin + 20, 15, is_down=False)
    assert Alert.objects.get().over_at is not None


def test_two_collectors_at_once_open_one_alert(cluster: Cluster) -> None:
    begin = time.time()
    for watchman in (Watchman(), Watchman()):
        rounds(watchman, cluster, begin, 10, is_down=True)
    assert Alert.objects.count() == 1


def test_a_running_job_explains_for_a_while_and_then_no_more(cluster: Cluster) -> None:
    watchman, begin = Watchman(), time.time()
    job_moved.send(sender=None, job_id=7, status="running", cluster_id=cluster.pk)
    rounds(watchman, cluster, begin, 30, is_down=True)
    assert Alert.objects.count() == 0
    RunningJob.objects.update(since=timezone.now() - timedelta(seconds=alerts.EXPLAINS_SECONDS + 1))
    rounds(watchman, cluster, begin + 30, 1, is_down=True)
    assert Alert.objects.count() == 1


@pytest.mark.parametrize("status", ["succeeded", "failed", "lost", "cancelled"])
def test_a_job_that_is_over_explains_nothing(status: str, cluster: Cluster) -> None:
    for moved in ("running", "running", status):
        job_moved.send(sender=None, job_id=7, status=moved, cluster_id=cluster.pk)
    rounds(Watchman(), cluster, time.time(), 10, is_down=True)
    assert Alert.objects.filter(rule="primary_down").count() == 1


def test_a_maintenance_window_wakes_nobody_and_what_holds_after_it_does(cluster: Cluster) -> None:
    admin = User.objects.create_superuser("admin")
    window = alerts.maintenance_begin(cluster, 30, "new disks", admin)
    watchman, begin = Watchman(), time.time()
    rounds(watchman, cluster, begin, 10, is_down=True)
    assert Alert.objects.count() == 0
    alerts.maintenance_end(window)
    rounds(watchman, cluster, begin + 10, 2, is_down=True)
    assert Alert.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_cluster_removed_meanwhile_spoils_nothing(cluster: Cluster) -> None:
    watchman = Watchman()
    late = [report(cluster, time.time() + at, is_down=True) for at in range(10)]
    cluster_remove(cluster)
    watchman.watch(late)
    assert Alert.objects.count() == 0


# -- messages ------------------------------------------------------------


def test_a_mail_says_what_is_wrong_what_to_do_and_where_and_one_that_it_is_over(
    cluster: Cluster, channel: Channel, settings: Any
) -> None:
    settings.PANEL_URL = "https://panel.example"
    watchman, begin = Watchman(), time.time()
    rounds(watchman, cluster, begin, 10, is_down=True)
    assert send() == 1
    (told,) = mail.outbox
    assert told.to == ["oncall@example.net"]
    assert "registry" in told.subject
    for words in (
        AWAY.message,
        "Unreachable is not dead",
        f"https://panel.example{reverse('operations:promote', args=['registry'])}",
    ):
        assert words in told.body
    rounds(watchman, cluster, begin + 10, 20, is_down=False)
    assert send() == 1
    assert "OVER" in mail.outbox[1].body
    assert send() == 0


def test_who_was_not_told_that_it_began_is_not_told_that_it_is_over(cluster: Cluster, channel: Channel) -> None:
    watchman, begin = Watchman(), time.time()
    rounds(watchman, cluster, begin, 10, is_down=True)
    rounds(watchman, cluster, begin + 10, 20, is_down=False)
    assert send() == 0
    assert mail.outbox == []


def test_a_mail_server_that_is_away_is_tried_again_later_and_nothing_is_lost(
    cluster: Cluster, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds(Watchman(), cluster, time.time(), 10, is_down=True)
    with monkeypatch.context() as patched:
        patched.setattr("django.core.mail.EmailMessage.send", refused)
        assert send() == 0
    message = Message.objects.get()
    assert (message.status, message.tries) == ("waiting", 1)
    assert message.due_at > timezone.now()
    assert "refused" in Sending.objects.get().error
    assert send() == 1
    assert len(mail.outbox) == 1


def refused(*_args: Any, **_more: Any) -> None:
    raise ConnectionRefusedError("connection refused")


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [({}, True), ({"is_active": False}, False), ({"least_severity": "critical"}, True), ({"is_for_all": False}, False)],
)
def test_only_whom_it_concerns_is_told(changes: dict[str, Any], is_told: bool, cluster: Cluster, channel: Channel) -> None:
    Channel.objects.update(**changes)
    rounds(Watchman(), cluster, time.time(), 10, is_down=True)
    assert Notice.objects.exists() is is_told


def test_a_channel_of_one_cluster_hears_of_that_one(cluster: Cluster, channel: Channel) -> None:
    channel.is_for_all = False
    channel.save()
    channel.clusters.add(cluster)
    rounds(Watchman(), cluster, time.time(), 10, is_down=True)
    assert Notice.objects.count() == 1


# -- pages ------------------------------------------------------------


def signed_in(role: str, cluster: Cluster | None) -> Client:
    user = User.objects.create_user(f"{role}-{cluster}", password="a long enough word")
    if role != "nobody":
        Grant.objects.create(user=user, cluster=cluster, role=role)
    client = Client()
    client.force_login(user)
    return client


def test_the_page_shows_what_is_open_and_somebody_takes_it_on(cluster: Cluster) -> None:
    rounds(Watchman(), cluster, time.time(), 10, is_down=True)
    alert, client = Alert.objects.get(), signed_in("operator", cluster)
    page = client.get(reverse("monitor:alerts")).content.decode()
    assert AWAY.message in page
    assert reverse("operations:promote", args=["registry"]) in page
    client.post(reverse("monitor:acknowledge", args=[alert.pk]), {"comment": "I drive there"})
    page = client.get(reverse("monitor:alerts")).content.decode()
    assert "I drive there" in page
    assert "operator-registry" in page


def test_who_may_only_look_takes_nothing_on_and_who_may_not_see_the_cluster_sees_nothing(cluster: Cluster) -> None:
    rounds(Watchman(), cluster, time.time(), 10, is_down=True)
    alert = Alert.objects.get()
    viewer, stranger = signed_in("viewer", cluster), signed_in("operator", Cluster.objects.create(name="other"))
    assert viewer.post(reverse("monitor:acknowledge", args=[alert.pk])).status_code == 403
    assert stranger.post(reverse("monitor:acknowledge", args=[alert.pk])).status_code == 404
    assert AWAY.message not in stranger.get(reverse("monitor:alerts")).content.decode()
    assert stranger.get(reverse("monitor:open_alerts", args=["registry"])).status_code == 404
    assert AWAY.message in viewer.get(reverse("monitor:open_alerts", args=["registry"])).content.decode()
    assert Alert.objects.get().acknowledged_at is None


def test_a_maintenance_is_begun_and_ended_by_an_operator_of_that_cluster(cluster: Cluster) -> None:
    asked = {"cluster": cluster.pk, "minutes": 30, "reason": "new disks"}
    signed_in("viewer", cluster).post(reverse("monitor:maintenance_begin"), asked)
    assert not Maintenance.objects.exists()
    operator = signed_in("operator", cluster)
    operator.post(reverse("monitor:maintenance_begin"), asked)
    window = Maintenance.objects.get()
    assert "new disks" in operator.get(reverse("monitor:alerts")).content.decode()
    operator.post(reverse("monitor:maintenance_end", args=[window.pk]))
    window.refresh_from_db()
    assert window.ends_at <= timezone.now()


def test_what_a_host_calls_its_things_adds_no_header_and_no_line_to_a_mail(cluster, channel):
    about, now = "slot\r\nBcc: eve@example.net\r\n\r\nHello", timezone.now()
    values = {"slot": about, "node": "pg1\nOVER: all is well", "status": "lost\x1b[2J"}
    alert = Alert.objects.create(
        cluster=cluster, rule="slot_loses_wal", about=about, severity="critical", values=values, since=now, fired_at=now
    )
    notices.tell("fired", alert)
    send()
    (told,) = mail.outbox
    assert told.recipients() == ["oncall@example.net"]
    assert "Bcc" not in told.message()
    assert told.subject.count("\n") == 0
    assert not [line for line in told.body.splitlines() if line.startswith(("OVER", "Hello", "Bcc"))]
    assert "\x1b" not in told.body
