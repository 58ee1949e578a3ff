"""Who is to hear of an alert, as rows; and what of that goes out together as one message. Sending is `monitor.dispatch`'s."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from monitor.letters import letter_of
from monitor.models import Alert, Channel, Message, Notice
from monitor.quiet import quiet_until, windows_of

GROUPED_SECONDS = 3
"""What fires on a cluster within so long goes out as one message."""
MOST_MESSAGES = 3
"""More clusters at once (a network is cut) are one message, not a storm."""
GRAVITY = ("warning", "critical")
Status = Notice.Status


def tell(what: Literal["fired", "over"], alert: Alert) -> None:
    """Rows for every channel that is to hear of it; that it is over, for those who are to hear that it began."""
    if what == "over":
        heard = Notice.objects.filter(alert=alert, what="fired").exclude(status=Status.GIVEN_UP, sent_at=None)
        channels = Channel.objects.filter(pk__in=heard.values("channel"), is_active=True)
    else:
        channels = Channel.objects.filter(is_active=True, least_severity__in=GRAVITY[: GRAVITY.index(alert.severity) + 1])
        channels = channels.filter(Q(is_for_all=True) | Q(clusters=alert.cluster_id)).distinct()
    due = timezone.now() + timedelta(seconds=GROUPED_SECONDS)
    Notice.objects.bulk_create(
        [Notice(alert=alert, channel=channel, what=what, due_at=due) for channel in channels], ignore_conflicts=True
    )


@transaction.atomic
def compose(channel: Channel) -> list[Message]:
    """Messages of what is due now; by whoever has claimed the channel. What falls into quiet hours waits for their end."""
    now = timezone.now()
    waiting = Notice.objects.filter(channel=channel, status=Status.WAITING, message=None, due_at__lte=now)
    due = list(waiting.select_related("alert__cluster").order_by("pk"))
    forget_what_nobody_was_told(notice for notice in due if notice.what == "over")
    due = [notice for notice in due if notice.status == Status.WAITING and not _is_held(notice, channel, now)]
    still = set(waiting.values_list("pk", flat=True))
    return [_message(channel, group) for group in _grouped(notice for notice in due if notice.pk in still)]


def forget_what_nobody_was_told(over: Iterable[Notice]) -> None:
    """An alert that came and went before anybody heard of it: neither its beginning nor its end is told any more."""
    for notice in over:
        fired = Notice.objects.filter(alert=notice.alert_id, channel=notice.channel_id, what="fired")
        if fired.filter(Q(sent_at__isnull=False) | Q(message__sendings__is_taken=None, message__sendings__isnull=False)).exists():
            fired.filter(status=Status.WAITING).update(status=Status.GIVEN_UP)
            continue
        fired.filter(status=Status.WAITING).update(status=Status.GIVEN_UP)
        notice.status = Status.GIVEN_UP
        notice.save(update_fields=["status"])


def _is_held(notice: Notice, channel: Channel, now: datetime) -> bool:
    if channel.critical_breaks_through and notice.alert.severity == "critical":
        return False
    until = quiet_until(windows_of(channel.quiet_hours), ZoneInfo(channel.time_zone), now)
    if until is not None:
        Notice.objects.filter(pk=notice.pk).update(due_at=until)
    return until is not None


def _grouped(notices: Iterable[Notice]) -> list[list[Notice]]:
    groups: dict[int, list[Notice]] = defaultdict(list)
    for notice in notices:
        groups[notice.alert.cluster_id].append(notice)
    if len(groups) > MOST_MESSAGES:
        return [[notice for group in groups.values() for notice in group]]
    return list(groups.values())


def _message(channel: Channel, notices: list[Notice]) -> Message:
    clusters = {notice.alert.cluster_id for notice in notices}
    message = Message(channel=channel, cluster_id=clusters.pop() if len(clusters) == 1 else None, due_at=timezone.now())
    message.title = letter_of(message, notices).title[:200]
    message.save()
    Notice.objects.filter(pk__in=[notice.pk for notice in notices]).update(message=message)
    return message


def look_again(channel: Channel) -> None:
    """After a change of its quiet hours: what was held is judged anew; of one that is switched off nothing waits."""
    waiting = Notice.objects.filter(channel=channel, status=Status.WAITING)
    if channel.is_active:
        waiting.filter(message=None).update(due_at=timezone.now())
    else:
        waiting.update(status=Status.GIVEN_UP)
        channel.messages.filter(status=Message.Status.WAITING).update(status=Message.Status.DROPPED)
