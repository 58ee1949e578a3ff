"""Deliveries that are due, one subscription by one worker: post, keep the attempt, decide when to try again or to give up.

A subscription is claimed for a while by compare-and-set; a worker that dies leaves the claim to run out, and what it had sent is
sent again: at least once, told apart by the `webhook-id`. After an attempt in vain the others wait for the next sweep: a receiver
that is down costs one attempt every few seconds, not one worker.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from clusters.secrets import EncryptionKeyLost
from pgpanel.outgoing import addresses, posting
from pgpanel.outgoing.posting import Answer
from webhooks import services
from webhooks.models import Attempt, Delivery, Subscription
from webhooks.signing import signed_headers

logger = logging.getLogger(__name__)

CLAIM = timedelta(seconds=90)
"""Longer than a name server, a connection and an answer can take together."""
MOST_AT_ONCE = 50
FIRST_WAIT_SECONDS, WAIT_GROWS, LONGEST_WAIT_SECONDS = 5, 4, 6 * 3600
MOST_TRIES = 11
"""5 s, 20 s, 80 s, … 6 h: given up a good day after the first try."""
JITTER = 0.2
DISABLED_AFTER = timedelta(days=3)
USER_AGENT = "pgpanel-webhooks/1"
GONE = 410


def with_something_due() -> list[int]:
    now = timezone.now()
    due = Delivery.objects.filter(status=Delivery.Status.WAITING, due_at__lte=now, subscription__is_active=True)
    free = due.filter(Q(subscription__busy_until=None) | Q(subscription__busy_until__lt=now))
    return list(free.order_by().values_list("subscription_id", flat=True).distinct())


def deliver_due(subscription_id: int) -> int:
    """How many were taken. Nothing to do while another worker delivers to the same receiver."""
    claimed = _claim(subscription_id, None)
    taken = 0
    while claimed is not None:
        delivery = _next(subscription_id)
        if delivery is None or taken >= MOST_AT_ONCE or not _try(delivery):
            break
        taken += 1
        claimed = _claim(subscription_id, claimed)
    if claimed is not None:
        Subscription.objects.filter(pk=subscription_id, busy_until=claimed).update(busy_until=None)
    return taken


def _claim(subscription_id: int, held: datetime | None) -> datetime | None:
    """The claim's end, by which it is recognised; None if another worker has it. held: one's own claim, to be renewed."""
    now = timezone.now()
    until = now + CLAIM
    mine = Q(busy_until=held) if held else Q(busy_until=None) | Q(busy_until__lt=now)
    return until if Subscription.objects.filter(mine, pk=subscription_id, is_active=True).update(busy_until=until) else None


def _next(subscription_id: int) -> Delivery | None:
    due = Delivery.objects.filter(subscription_id=subscription_id, status=Delivery.Status.WAITING, due_at__lte=timezone.now())
    return _whole(due).order_by("due_at", "pk").first()


def _whole(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    return deliveries.select_related("event", "subscription__secret", "subscription__previous_secret")


def _try(delivery: Delivery) -> bool:
    """One attempt, kept. True if it was taken."""
    began = timezone.now()
    answer = _answer(delivery, int(began.timestamp()))
    Attempt.objects.create(
        delivery=delivery, at=began, seconds=answer.seconds, status_code=answer.status, error=answer.error[:300], answer=answer.text
    )
    subscription = Subscription.objects.filter(pk=delivery.subscription_id)
    row = Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.WAITING)
    if answer.is_taken:
        row.update(status=Delivery.Status.DELIVERED, tries=F("tries") + 1)
        subscription.update(failing_since=None)
        return True
    subscription.filter(failing_since=None).update(failing_since=began)
    tries = delivery.tries + 1
    status = Delivery.Status.FAILED if tries >= MOST_TRIES else Delivery.Status.WAITING
    row.update(status=status, tries=tries, due_at=timezone.now() + wait_after(tries, answer.retry_after_seconds))
    logger.info("webhook to %s not taken (try %s): %s", delivery.subscription, tries, answer.status or answer.error)
    _give_up_on(delivery.subscription, answer, began)
    return False


def _answer(delivery: Delivery, timestamp: int) -> Answer:
    body = delivery.event.body.encode()
    try:
        place = addresses.destination(delivery.subscription.url)
        keys = services.secrets_of(delivery.subscription)
    except (addresses.AddressRefused, EncryptionKeyLost) as error:
        return Answer(None, error=str(error))
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Accept": "*/*"}
    answer = posting.post(place, body, headers | dict(signed_headers(keys, delivery.event.message_id, timestamp, body)))
    if answer.status is not None and 300 <= answer.status < 400:
        return Answer(answer.status, answer.text, "a redirect, which is not followed: enter the address itself", answer.seconds)
    return answer


def wait_after(tries: int, asked_seconds: int | None = None) -> timedelta:
    """With jitter, so that receivers that come back are not met by all at once; longer if they ask for it, at most the longest."""
    grown = min(FIRST_WAIT_SECONDS * WAIT_GROWS ** (tries - 1), LONGEST_WAIT_SECONDS)
    seconds = grown * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (spreads load, hides nothing)
    return timedelta(seconds=max(seconds, min(asked_seconds or 0, LONGEST_WAIT_SECONDS)))


def _give_up_on(subscription: Subscription, answer: Answer, now: datetime) -> None:
    since = Subscription.objects.values_list("failing_since", flat=True).get(pk=subscription.pk)
    if answer.status == GONE:
        services.disable(subscription, "the receiver answered 410 Gone")
    elif since is not None and now - since >= DISABLED_AFTER:
        services.disable(subscription, f"nothing was taken for {DISABLED_AFTER.days} days")
