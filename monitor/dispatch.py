"""Messages that are due, one channel by one worker: send, keep the attempt, decide when to try again or to give up.

At least once: the row of an attempt is written before it is made, and a worker that dies leaves its claim on the channel to run
out; then the message is sent again, under the same id, by which a mailbox and ntfy tell it from a second one.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.utils import timezone

from clusters import secrets
from clusters.secrets import EncryptionKeyLost
from monitor.channels import CHANNELS, NotSent
from monitor.letters import letter_of
from monitor.models import Channel, Message, Notice, Sending
from monitor.notices import compose, forget_what_nobody_was_told

logger = logging.getLogger(__name__)

CLAIM = timedelta(seconds=120)
"""Longer than a name server, a connection and an answer take together."""
MOST_AT_ONCE = 20
FIRST_WAIT_SECONDS, WAIT_GROWS, LONGEST_WAIT_SECONDS, MOST_TRIES = 10, 3, 3 * 3600, 10
"""10 s, 30 s, … 3 h: given up after some nine hours."""
KEPT = timedelta(days=30)
Status = Message.Status


def with_something_due() -> list[int]:
    now = timezone.now()
    notices = Notice.objects.filter(status=Notice.Status.WAITING, message=None, due_at__lte=now).values("channel")
    messages = Message.objects.filter(status=Status.WAITING, due_at__lte=now).order_by().values("channel")
    free = Channel.objects.filter(Q(busy_until=None) | Q(busy_until__lt=now), is_active=True)
    return list(free.filter(Q(pk__in=notices) | Q(pk__in=messages)).values_list("pk", flat=True))


def send_due() -> int:
    return sum(send_to(channel_id) for channel_id in with_something_due())


def send_to(channel_id: int) -> int:
    """How many were taken. Nothing to do while another worker sends there. After one in vain the others wait for the next sweep."""
    claimed = _claim(channel_id, None)
    if claimed is None:
        return 0
    taken = 0
    compose(Channel.objects.get(pk=channel_id))
    while claimed is not None and taken < MOST_AT_ONCE:
        message = _next(channel_id)
        if message is None or not _try(message):
            break
        taken += 1
        claimed = _claim(channel_id, claimed)
    if claimed is not None:
        Channel.objects.filter(pk=channel_id, busy_until=claimed).update(busy_until=None)
    return taken


def _claim(channel_id: int, held: datetime | None) -> datetime | None:
    """The claim's end, by which it is recognised; None if another worker has it. held: one's own claim, to be renewed."""
    now = timezone.now()
    until = now + CLAIM
    mine = Q(busy_until=held) if held else Q(busy_until=None) | Q(busy_until__lt=now)
    return until if Channel.objects.filter(mine, pk=channel_id, is_active=True).update(busy_until=until) else None


def _next(channel_id: int) -> Message | None:
    """The first that is due and still worth telling."""
    due = Message.objects.filter(channel_id=channel_id, status=Status.WAITING, due_at__lte=timezone.now(), is_test=False)
    for message in due.select_related("channel__secret").order_by("due_at", "pk"):
        ends = Notice.objects.filter(alert__notices__message=message, channel=channel_id, what="over", status=Notice.Status.WAITING)
        forget_what_nobody_was_told(ends)
        if message.notices.filter(status=Notice.Status.WAITING).exists():
            return message
        Message.objects.filter(pk=message.pk, status=Status.WAITING).update(status=Status.DROPPED)
    return None


def _try(message: Message) -> bool:
    """One attempt. True if it was taken."""
    notices = list(message.notices.filter(status=Notice.Status.WAITING).select_related("alert__cluster"))
    sending = attempt(message, notices)
    row = Message.objects.filter(pk=message.pk, status=Status.WAITING)
    if sending.is_taken:
        now = timezone.now()
        mine = Notice.objects.filter(pk__in=[notice.pk for notice in notices])
        mine.filter(sent_at=None).update(sent_at=now)
        mine.update(status=Notice.Status.SENT)
        row.update(status=Status.SENT, tries=F("tries") + 1)
        return True
    logger.warning("alerts to %s are not sent: %s", message.channel, sending.error)
    tries = message.tries + 1
    if tries >= MOST_TRIES:
        row.update(status=Status.GIVEN_UP, tries=tries)
        message.notices.filter(status=Notice.Status.WAITING).update(status=Notice.Status.GIVEN_UP)
    else:
        row.update(tries=tries, due_at=timezone.now() + wait_after(tries))
    return False


def attempt(message: Message, notices: list[Notice]) -> Sending:
    """Say it now; what came of it is kept with what was said."""
    letter = letter_of(message, notices)
    Message.objects.filter(pk=message.pk).update(title=letter.title[:200], text=letter.text)
    sending = Sending.objects.create(message=message, at=timezone.now())
    began = time.monotonic()
    try:
        CHANNELS[message.channel.kind].send(message.channel.settings, secrets_of(message.channel), letter)
    except (NotSent, EncryptionKeyLost) as error:
        sending.is_taken, sending.error = False, str(error)[:300]
    else:
        sending.is_taken = True
    sending.seconds = time.monotonic() - began
    sending.save()
    return sending


def wait_after(tries: int) -> timedelta:
    return timedelta(seconds=min(FIRST_WAIT_SECONDS * WAIT_GROWS ** (tries - 1), LONGEST_WAIT_SECONDS))


def secrets_of(channel: Channel) -> dict[str, str]:
    """What its kind keeps sealed, by name; `EncryptionKeyLost` where the panel's keys do not open it."""
    if channel.secret is None:
        return {}
    opened: dict[str, str] = json.loads(secrets.open_sealed(channel.secret.sealed, channel.secret.label).value)
    return opened


def forget_old() -> int:
    """Messages of long ago. What waits, stays."""
    return Message.objects.filter(made_at__lt=timezone.now() - KEPT).exclude(status=Status.WAITING).delete()[0]
