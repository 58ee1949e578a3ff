"""The API of webhooks, for administrators over all clusters: what the pages do, by the same services."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import Role, require
from pgpanel.outgoing.addresses import AddressRefused
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.problems import Fault, Problem
from pgpanel.rest.rules import Name, Number, Scope, needs, over_all, signed_in
from webhooks import services
from webhooks.catalog import OFFERED, example
from webhooks.models import Attempt, Delivery, Subscription

router = Router(tags=["Webhooks"])
ROUTERS = (router,)
ROOT = "/api/v1/webhooks"
Uuid = Annotated[UUID, Field(examples=["0b0c6c0e-6c7e-4f0a-8c57-6a0f5d2a9a77"])]
PRINTED = r"^[^\x00-\x1f\x7f]+$"
EventName = Literal[
    "job.planned", "job.refused", "job.started", "job.finished", "job.ended", "cluster.changed", "alert.fired",
    "alert.acknowledged", "alert.resolved", "cluster.added", "cluster.removed",
    "node.added", "node.removed", "node.quarantined", "node.released", "node.writable_unexpectedly", "webhook.disabled",
]  # fmt: skip


def _subscription(user: User, role: Role, path: Mapping[str, Any]) -> Subscription:
    require(user, role, None)
    found = Subscription.objects.select_related("secret", "previous_secret").filter(uuid=path["webhook"]).first()
    if found is None:
        raise Http404(_("No such webhook."))
    return found


def _delivery(user: User, role: Role, path: Mapping[str, Any]) -> Delivery:
    deliveries = _subscription(user, role, path).deliveries.select_related("event__cluster", "subscription")
    found = deliveries.filter(pk=path["delivery"]).first()
    if found is None:
        raise Http404(_("No such delivery."))
    return found


of_webhook = Scope("all", _subscription, {"webhook": Uuid})
of_delivery = Scope("all", _delivery, {"webhook": Uuid, "delivery": Number})


class EventOut(Schema):
    name: EventName
    when: str
    example: dict[str, Any] = Field(description="A body as it is sent; docs/webhooks.schema.json describes all.")


class WebhookIn(Schema):
    name: str = Field(min_length=1, max_length=80, pattern=PRINTED, examples=["ticket desk"])
    url: str = Field(max_length=500, examples=["https://hooks.example.net/pgpanel"])
    events: list[EventName] = Field([], description="Empty: all, also those of later releases.")
    clusters: list[Name] | None = Field(None, description="Null: all, also those that are added later.")


class WebhookPatch(Schema):
    """What is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=80, pattern=PRINTED)
    url: str | None = Field(None, max_length=500)
    events: list[EventName] | None = None
    clusters: list[Name] | None = Field(None, description="Only these; see `is_for_all`.")
    is_for_all: bool | None = Field(None, description="true: all clusters, in place of the named ones.")
    is_active: bool | None = None


class WebhookOut(Schema):
    id: UUID
    name: str
    url: str
    events: list[str]
    clusters: list[Name] | None
    is_active: bool
    failing_since: datetime | None = Field(description="Nothing was taken since.")
    disabled_at: datetime | None
    disabled_because: str = Field(description="Why the panel gave up; empty: a person switched it off, or it is active.")
    created_at: datetime

    @staticmethod
    def of(one: Subscription) -> WebhookOut:
        return WebhookOut(**_shown(one))


class NewWebhookOut(WebhookOut):
    secret: str | None = Field(description="whsec_…, this once; null in the answer to a repeated call.")


class AttemptOut(Schema):
    at: datetime
    seconds: float
    status_code: int | None = Field(description="Null: no answer came; `error` says why.")
    error: str
    answer: str = Field(description="Its first kilobyte.")

    @staticmethod
    def of(one: Attempt) -> AttemptOut:
        return AttemptOut(**{name: getattr(one, name) for name in AttemptOut.model_fields})


class DeliveryOut(Schema):
    id: Number
    event: str = Field(examples=["cluster.changed"])
    event_id: str = Field(description="The `webhook-id`.")
    cluster: Name | None
    at: datetime
    status: Literal["waiting", "delivered", "failed", "dropped"]
    tries: int
    due_at: datetime
    body: dict[str, Any]
    attempts: list[AttemptOut]

    @staticmethod
    def of(one: Delivery) -> DeliveryOut:
        event = one.event
        cluster = event.cluster.name if event.cluster else None
        return DeliveryOut(
            id=one.pk, event=event.type, event_id=event.message_id, cluster=cluster, at=event.at, status=cast(Any, one.status),
            tries=one.tries, due_at=one.due_at, body=json.loads(event.body),
            attempts=[AttemptOut.of(each) for each in one.attempts.all()],
        )  # fmt: skip


class SinceIn(Schema):
    since: datetime = Field(description="At most 30 days ago.", examples=["2026-11-22T00:00:00Z"])


class CountOut(Schema):
    events: int


def _shown(one: Subscription) -> dict[str, Any]:
    same = ("name", "url", "events", "is_active", "failing_since", "disabled_at", "disabled_because", "created_at")
    names = None if one.is_for_all else sorted(cluster.name for cluster in one.clusters.all())
    return {"id": one.uuid, "clusters": names, **{name: getattr(one, name) for name in same}}


# -- subscriptions ----------------------------------------------------------------------------------------------------------------


@router.get("/webhook-events", response=Page[EventOut], summary="What webhooks can tell")
@needs(None, signed_in)
def webhook_event_list() -> object:
    shown = [EventOut(name=cast(Any, each.name), when=str(each.when), example=example(each)) for each in OFFERED]
    return {"items": shown, "next": None}


@router.get("/webhooks", response=Page[WebhookOut], summary="Who is told of what")
@needs("administrator", over_all)
def webhook_list(after: After = "", limit: Limit = 100) -> object:
    return paged(Subscription.objects.prefetch_related("clusters"), after, limit, WebhookOut.of)


@router.post("/webhooks", response={201: NewWebhookOut}, summary="Tell somebody")
@needs("administrator", over_all)
def webhook_make(request: HttpRequest, body: WebhookIn) -> HttpResponse:
    """The secret stands in this answer and nowhere else."""
    try:
        made, secret = services.subscribe(
            cast(User, request.user), body.name, body.url, body.events, None if body.clusters is None else _clusters(body.clusters)
        )
    except AddressRefused as error:
        raise _refused(error) from None
    return answered(201, NewWebhookOut(**_shown(made), secret=secret), location=f"{ROOT}/{made.uuid}")


@router.get("/webhooks/{webhook}", response=WebhookOut, summary="One of them")
@needs("administrator", of_webhook)
def webhook_read(found: Subscription) -> WebhookOut:
    return WebhookOut.of(found)


@router.patch("/webhooks/{webhook}", response=WebhookOut, summary="Change it, switch it off or on again")
@needs("administrator", of_webhook)
def webhook_change(found: Subscription, body: WebhookPatch) -> WebhookOut:
    named = found.clusters.all() if body.clusters is None else _clusters(body.clusters)
    is_for_all = (found.is_for_all and body.clusters is None) if body.is_for_all is None else body.is_for_all
    if is_for_all and body.clusters is not None:
        said = "All clusters, or the named ones: not both."
        raise Problem(422, "not-valid", said, [Fault(said, "clusters")])
    try:
        services.change(
            found, name=body.name or found.name, url=body.url or found.url,
            events=found.events if body.events is None else body.events, clusters=None if is_for_all else list(named),
            is_active=found.is_active if body.is_active is None else body.is_active,
        )  # fmt: skip
    except AddressRefused as error:
        raise _refused(error) from None
    return WebhookOut.of(found)


@router.delete("/webhooks/{webhook}", response={204: None}, summary="Tell it nothing any more; its history goes with it")
@needs("administrator", of_webhook)
def webhook_remove(found: Subscription) -> HttpResponse:
    services.unsubscribe(found)
    return answered(204, None)


@router.post("/webhooks/{webhook}/secret", response={201: NewWebhookOut}, summary="Another secret; for a day both sign")
@needs("administrator", of_webhook)
def webhook_rotate(found: Subscription) -> HttpResponse:
    secret = services.secret_rotate(found)
    return answered(201, NewWebhookOut(**_shown(found), secret=secret))


# -- deliveries -------------------------------------------------------------------------------------------------------------------


@router.post("/webhooks/{webhook}/test", response={202: DeliveryOut}, summary="Send a test")
@needs("administrator", of_webhook)
def webhook_test(request: HttpRequest, found: Subscription) -> HttpResponse:
    if not found.is_active:
        said = _("It is not active: switch it on first.")
        raise Problem(409, "not-active", said, [Fault(said)])
    delivery = services.test(found, cast(User, request.user))
    return answered(202, DeliveryOut.of(delivery), location=f"{ROOT}/{found.uuid}/deliveries")


@router.get("/webhooks/{webhook}/deliveries", response=Page[DeliveryOut], summary="What was sent and answered, newest first")
@needs("administrator", of_webhook)
def webhook_delivery_list(found: Subscription, after: After = "", limit: Limit = 100) -> object:
    deliveries = found.deliveries.select_related("event__cluster").prefetch_related("attempts")
    return paged(deliveries, after, limit, DeliveryOut.of, newest_first=True)


@router.post("/webhooks/{webhook}/deliveries/{delivery}/replay", response={202: DeliveryOut}, summary="Send one again")
@needs("administrator", of_delivery)
def webhook_delivery_replay(found: Delivery) -> HttpResponse:
    services.replay(found)
    found.refresh_from_db()
    return answered(202, DeliveryOut.of(found), location=f"{ROOT}/{found.subscription.uuid}/deliveries")


@router.post("/webhooks/{webhook}/replay", response={202: CountOut}, summary="Send again all since a time")
@needs("administrator", of_webhook)
def webhook_replay(found: Subscription, body: SinceIn) -> HttpResponse:
    """Of what it hears now, also what was told before it subscribed."""
    since = body.since if timezone.is_aware(body.since) else timezone.make_aware(body.since)
    try:
        count = services.replay_since(found, since)
    except services.TooLongAgo as error:
        raise Problem(422, "not-valid", str(error), [Fault(str(error), "since")]) from None
    return answered(202, CountOut(events=count), location=f"{ROOT}/{found.uuid}/deliveries")


# -- how --------------------------------------------------------------------------------------------------------------------------


def _clusters(names: list[Name]) -> list[Cluster]:
    found = list(Cluster.objects.filter(name__in=names))
    missing = sorted(set(names) - {cluster.name for cluster in found})
    if missing or not found:
        said = f"No such cluster: {', '.join(missing)}" if missing else "Name at least one."
        raise Problem(422, "not-valid", said, [Fault(said, "clusters")])
    return found


def _refused(error: AddressRefused) -> Problem:
    return Problem(422, "not-valid", str(error), [Fault(str(error), "url")])
