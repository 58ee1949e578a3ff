"""What the tests of channels share: a cluster with alerts, channels of each kind towards a receiver on this machine."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from clusters import secrets
from clusters.models import Cluster, Credential
from monitor import alerts, dispatch
from monitor.breaches import Change
from monitor.models import Alert, Channel, Message, Notice
from monitor.rules import Breach

TOPIC, TOKEN = "pgpanel-4711-Kaffeetasse", "tk_Kaffeetasse4712abcdef"


def allow_own_machine(settings: Any) -> None:
    settings.WEBHOOK_NETWORKS, settings.WEBHOOK_PLAIN_HTTP = ["127.0.0.0/8"], True
    settings.WEBHOOK_PORTS = range(1, 65536)


def channel_of(kind: str, settings: dict[str, Any], kept: dict[str, str], **more: Any) -> Channel:
    secret = Credential.objects.create(
        kind="channel", label="channel on call", purpose="channel", sealed=secrets.seal(json.dumps(kept))
    )
    return Channel.objects.create(kind=kind, name="on call", settings=settings, secret=secret, **more)


def ntfy(receiver: Any, **more: Any) -> Channel:
    return channel_of("ntfy", {"server": f"http://127.0.0.1:{receiver.port}"}, {"topic": TOPIC, "token": TOKEN}, **more)


def fire(cluster: Cluster, rule: str = "primary_down", about: str = "pg1", **values: Any) -> Alert:
    _change("fires", cluster, rule, about, {"why": "timeout", **values})
    return Alert.objects.get(cluster=cluster, rule=rule, about=about, over_at=None)


def clear(alert: Alert) -> None:
    _change("clears", alert.cluster, alert.rule, alert.about, {})


def _change(what: Any, cluster: Cluster, rule: str, about: str, values: dict[str, Any]) -> None:
    now = timezone.now()
    alerts.keep(cluster.pk, Change(what, rule, about, Breach(about, values), now.timestamp() - 6), now)


def pass_by(seconds: float) -> None:
    """So much time: what waits is due so much earlier, claims end so much earlier."""
    earlier = timedelta(seconds=seconds)
    for rows in (Notice.objects.all(), Message.objects.all()):
        for row in rows:
            type(row).objects.filter(pk=row.pk).update(due_at=row.due_at - earlier)
    for channel in Channel.objects.exclude(busy_until=None):
        Channel.objects.filter(pk=channel.pk).update(busy_until=channel.busy_until - earlier)


def send() -> int:
    pass_by(4)
    return dispatch.send_due()
