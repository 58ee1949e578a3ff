"""Messages about alerts, as rows: whom to tell, what is due, tried again until it is sent (`monitor.tasks.send_notices`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from django.db.models import F, Q
from django.utils import timezone

from monitor.channels import CHANNELS, NotSent
from monitor.models import Alert, Channel, Notice

logger = logging.getLogger(__name__)

GROUPED_SECONDS = 3
"""What fires within so long goes out as one message."""
FIRST_WAIT_SECONDS, WAIT_GROWS, MOST_TRIES = 10, 3, 8
"""10 s, 30 s, … about nine hours in all."""
CLAIM_SECONDS = 120
GRAVITY = ("warning", "critical")


def tell(what: Literal["fired", "over"], alert: Alert) -> None:
    """Rows for every channel that is to hear of it; that it is over, for those who were told that it began."""
    if what == "over":
        Notice.objects.filter(alert=alert, what="fired", status=Notice.Status.WAITING).update(status=Notice.Status.GIVEN_UP)
        told = Notice.objects.filter(alert=alert, what="fired", status=Notice.Status.SENT).values("channel")
        channels = Channel.objects.filter(pk__in=told, is_active=True)
    else:
        channels = Channel.objects.filter(is_active=True, least_severity__in=GRAVITY[: GRAVITY.index(alert.severity) + 1])
        channels = channels.filter(Q(is_for_all=True) | Q(clusters=alert.cluster_id)).distinct()
    due = timezone.now() + timedelta(seconds=GROUPED_SECONDS)
    Notice.objects.bulk_create(
        [Notice(alert=alert, channel=channel, what=what, due_at=due) for channel in channels], ignore_conflicts=True
    )


def send_due() -> int:
    """Everything that is due, one message per channel. A worker that dies has claimed for a while only: then it is sent again."""
    return sum(_send(channel, notices) for channel, notices in _claimed())


def _claimed() -> Iterator[tuple[Channel, list[Notice]]]:
    due = Notice.objects.filter(status=Notice.Status.WAITING, due_at__lte=timezone.now())
    for channel in Channel.objects.filter(pk__in=due.values("channel")):
        mine = []
        for notice in due.filter(channel=channel).select_related("alert__cluster").order_by("pk"):
            claim = Notice.objects.filter(pk=notice.pk, status=Notice.Status.WAITING, due_at=notice.due_at)
            if claim.update(due_at=timezone.now() + timedelta(seconds=CLAIM_SECONDS)):
                mine.append(notice)
        if mine:
            yield channel, mine


def _send(channel: Channel, notices: list[Notice]) -> int:
    rows = Notice.objects.filter(pk__in=[notice.pk for notice in notices])
    try:
        CHANNELS[channel.kind].send(channel, notices)
    except NotSent as error:
        logger.warning("alerts to %s are not sent: %s", channel, error)
        rows.update(tries=F("tries") + 1, error=str(error)[:300])
        rows.filter(tries__gte=MOST_TRIES).update(status=Notice.Status.GIVEN_UP)
        for notice in notices:
            wait = FIRST_WAIT_SECONDS * WAIT_GROWS ** min(notice.tries, MOST_TRIES)
            rows.filter(pk=notice.pk).update(due_at=timezone.now() + timedelta(seconds=wait))
        return 0
    rows.update(status=Notice.Status.SENT, sent_at=timezone.now(), tries=F("tries") + 1, error="")
    return len(notices)
