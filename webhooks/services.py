"""The only way in, for pages, API and whoever tells: subscribe, change, rotate, test, replay, and `tell`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import User
from clusters import secrets
from clusters.models import Cluster, Credential
from pgpanel.outgoing.addresses import check_url
from webhooks import tasks
from webhooks.catalog import EVENTS, UNASKED, VERSION
from webhooks.models import Delivery, Event, Subscription
from webhooks.signing import secret_make

BOTH_SIGN = timedelta(hours=24)
"""So long the old secret signs beside the new one."""
KEPT = timedelta(days=30)
"""Of events, deliveries and attempts: what can be replayed."""
Status = Delivery.Status


# -- subscriptions -------------------------------------------------------------------------------------------------------------


@transaction.atomic
def subscribe(
    by: User | None, name: str, url: str, events: Iterable[str] = (), clusters: Iterable[Cluster] | None = None
) -> tuple[Subscription, str]:
    """The subscription and its secret, which is never shown again. clusters: None = all. `AddressRefused` for the URL."""
    check_url(url)
    secret = secret_make()
    made = Subscription.objects.create(
        name=name, url=url, events=_known(events), is_for_all=clusters is None, created_by=by, secret=_kept(name, secret)
    )
    made.clusters.set(clusters or [])
    audit.record("webhook.create", name, detail=_told(made))
    return made, secret


@transaction.atomic
def change(
    subscription: Subscription, *, name: str, url: str, events: Iterable[str], clusters: Iterable[Cluster] | None, is_active: bool
) -> None:
    """Made active again it starts anew: nothing is held against it."""
    check_url(url)
    was_active = subscription.is_active
    subscription.name, subscription.url, subscription.events = name, url, _known(events)
    subscription.is_for_all, subscription.is_active = clusters is None, is_active
    if is_active and not was_active:
        subscription.failing_since = subscription.disabled_at = None
        subscription.disabled_because = ""
    if was_active and not is_active:
        subscription.disabled_at = timezone.now()
    subscription.save()
    subscription.clusters.set(clusters or [])
    if not is_active:
        _drop_waiting(subscription)
    audit.record("webhook.change", name, detail=_told(subscription))


@transaction.atomic
def secret_rotate(subscription: Subscription) -> str:
    """Another secret, shown once; for a day both sign, so that the receiver can change over without missing one."""
    secret = secret_make()
    older = subscription.previous_secret
    subscription.previous_secret, subscription.previous_until = subscription.secret, timezone.now() + BOTH_SIGN
    subscription.secret = _kept(subscription.name, secret)
    subscription.save(update_fields=["secret", "previous_secret", "previous_until"])
    if older is not None:
        older.delete()
    audit.record("webhook.rotate", subscription.name)
    return secret


@transaction.atomic
def unsubscribe(subscription: Subscription) -> None:
    """It and its history are gone, and its secret."""
    keys = [key for key in (subscription.secret, subscription.previous_secret) if key is not None]
    subscription.delete()
    for key in keys:
        key.delete()
    audit.record("webhook.remove", subscription.name)


@transaction.atomic
def disable(subscription: Subscription, because: str) -> None:
    """The panel gives up on it: what waits is dropped, the others are told, and its page says so."""
    now = timezone.now()
    disabled = Subscription.objects.filter(pk=subscription.pk, is_active=True).update(
        is_active=False, disabled_at=now, disabled_because=because[:200]
    )
    if not disabled:
        return
    _drop_waiting(subscription)
    audit.record("webhook.disable", subscription.name, result=because[:200])
    tell("webhook.disabled", {"subscription": _named(subscription), "reason": because})


def secrets_of(subscription: Subscription) -> list[str]:
    """All that sign now, the newest first; `EncryptionKeyLost` where the panel's keys do not open them."""
    keys = [subscription.secret]
    if subscription.previous_secret and subscription.previous_until and subscription.previous_until > timezone.now():
        keys.append(subscription.previous_secret)
    return [secrets.open_sealed(key.sealed, key.label).value for key in keys]


# -- telling -------------------------------------------------------------------------------------------------------------------


@transaction.atomic
def tell(kind: str, data: Mapping[str, Any], *, cluster: Cluster | None = None, key: str = "") -> Event | None:
    """Store an event and its deliveries; None if the one of this `key` was told before. Sent after the commit, by a worker."""
    event = _event(kind, data, cluster, key)
    if event is None:
        return None
    heard_by = [each for each in _listeners(cluster) if not each.events or kind in each.events]
    _deliver(event, heard_by)
    return event


def test(subscription: Subscription, by: User | None) -> Delivery:
    """A test event for this one only."""
    event = _event("webhook.test", {"subscription": _named(subscription), "by": str(by or "")}, None, "")
    assert event is not None, "a key of its own"
    return _deliver(event, [subscription])[0]


@transaction.atomic
def replay(delivery: Delivery) -> None:
    """Once more from the beginning, with the same id and body."""
    Delivery.objects.filter(pk=delivery.pk).update(status=Status.WAITING, due_at=timezone.now(), tries=0)
    audit.record("webhook.replay", delivery.subscription.name, detail={"event": delivery.event.message_id})
    tasks.wake(delivery.subscription_id)


class TooLongAgo(ValueError):
    """Events of that time are forgotten."""


@transaction.atomic
def replay_since(subscription: Subscription, since: datetime) -> int:
    """All that it would have heard of since then, also what was told before it subscribed. How many. `TooLongAgo`."""
    if since < timezone.now() - KEPT:
        raise TooLongAgo(_("Events are kept for 30 days."))
    events = Event.objects.filter(at__gte=since).exclude(type__in=UNASKED)
    if subscription.events:
        events = events.filter(type__in=subscription.events)
    if not subscription.is_for_all:
        events = events.filter(cluster__in=subscription.clusters.all())
    found = list(events.order_by("pk"))
    now = timezone.now()
    subscription.deliveries.filter(event__in=found).update(status=Status.WAITING, due_at=now, tries=0)
    missing = set(subscription.deliveries.values_list("event_id", flat=True))
    Delivery.objects.bulk_create(
        Delivery(subscription=subscription, event=event, due_at=now) for event in found if event.pk not in missing
    )
    audit.record("webhook.replay", subscription.name, detail={"since": since.isoformat(), "events": len(found)})
    tasks.wake(subscription.pk)
    return len(found)


def forget_old() -> int:
    return Event.objects.filter(at__lt=timezone.now() - KEPT).delete()[0]


# -- how -----------------------------------------------------------------------------------------------------------------------


def _event(kind: str, data: Mapping[str, Any], cluster: Cluster | None, key: str) -> Event | None:
    event = Event(type=kind, at=timezone.now(), cluster=cluster, key=key or f"{kind}:{uuid.uuid4()}")
    assert kind in EVENTS, f"{kind} stands in the catalog"
    envelope = {"type": kind, "version": VERSION, "id": event.message_id, "timestamp": event.at.isoformat(), "data": data}
    event.body = json.dumps(envelope, ensure_ascii=False)
    if Event.objects.filter(key=event.key).exists():
        return None
    Event.objects.bulk_create([event], ignore_conflicts=True)
    return Event.objects.filter(key=event.key, body=event.body).first()


def _listeners(cluster: Cluster | None) -> QuerySet[Subscription]:
    active = Subscription.objects.filter(is_active=True)
    return active.filter(Q(is_for_all=True) | Q(clusters=cluster)).distinct() if cluster else active.filter(is_for_all=True)


def _deliver(event: Event, subscriptions: Iterable[Subscription]) -> list[Delivery]:
    now = timezone.now()
    made = Delivery.objects.bulk_create(Delivery(subscription=each, event=event, due_at=now) for each in subscriptions)
    for delivery in made:
        tasks.wake(delivery.subscription_id)
    return made


def _drop_waiting(subscription: Subscription) -> None:
    subscription.deliveries.filter(status=Status.WAITING).update(status=Status.DROPPED)


def _kept(name: str, secret: str) -> Credential:
    return Credential.objects.create(
        kind=Credential.Kind.WEBHOOK, label=f"webhook {name}"[:80],
        purpose="webhook", sealed=secrets.seal(secret),
    )  # fmt: skip


def _known(events: Iterable[str]) -> list[str]:
    wanted = set(events)
    return [name for name in EVENTS if name in wanted and name not in UNASKED]


def _named(subscription: Subscription) -> dict[str, str]:
    return {"name": subscription.name, "uuid": str(subscription.uuid)}


def _told(subscription: Subscription) -> dict[str, str | int | bool | None]:
    """For the audit trail: the host only, since the rest of a URL may be a secret of the receiver."""
    host = check_url(subscription.url).hostname
    events = ",".join(subscription.events) or "all"
    return {"uuid": str(subscription.uuid), "host": host, "events": events, "active": subscription.is_active}
