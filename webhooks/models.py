"""Whom we tell: subscriptions, what happened, and each delivery with its attempts. Rows first; messages only say "look"."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster, Credential


class Subscription(models.Model):
    """Somebody who wants to hear of events at a URL.

    active → disabled (by a person, or by the panel: `disabled_because`) → active (by a person)
    `busy_until`: one worker at a time delivers to it; claimed by compare-and-set, free again when past.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=80)
    url = models.CharField("URL", max_length=500)
    events: models.JSONField[list[str]] = models.JSONField(_("events"), default=list, blank=True, help_text="empty: all")
    # a word of its own: a subscription whose only cluster is removed must not hear of all the others then
    is_for_all = models.BooleanField(_("all clusters"), default=True)
    clusters = models.ManyToManyField(Cluster, blank=True, related_name="+", verbose_name=_("clusters"))
    secret = models.OneToOneField(Credential, on_delete=models.PROTECT, related_name="+")
    previous_secret = models.OneToOneField(Credential, null=True, on_delete=models.SET_NULL, related_name="+")
    previous_until = models.DateTimeField(null=True, help_text="until then both secrets sign")
    is_active = models.BooleanField(_("active"), default=True)
    failing_since = models.DateTimeField(null=True, help_text="nothing was taken since")
    disabled_at = models.DateTimeField(null=True)
    disabled_because = models.CharField(max_length=200, blank=True, help_text="empty: a person did it")
    busy_until = models.DateTimeField(null=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class Event(models.Model):
    """Something that happened, with the body that every receiver gets, byte by byte the same. `key` makes it happen once."""

    key = models.CharField(max_length=120, unique=True)
    type = models.CharField(max_length=40)
    at = models.DateTimeField(db_index=True)
    cluster = models.ForeignKey(Cluster, null=True, on_delete=models.SET_NULL, related_name="+")
    body = models.TextField()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}"

    @property
    def message_id(self) -> str:
        """The `webhook-id`: the same in every attempt and replay, so that a receiver can tell what it has already."""
        return f"evt_{uuid.uuid5(uuid.NAMESPACE_OID, self.key).hex}"


class Delivery(models.Model):
    """An event for a subscription.

    waiting (tried when `due_at` comes) → delivered | failed (given up) | dropped (the subscription was disabled)
    delivered, failed, dropped → waiting (replayed by a person)
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("given up")
        DROPPED = "dropped", _("dropped")

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    due_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0, help_text="since it was made or replayed")

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["subscription", "event"], name="event_once_per_subscription")]
        indexes = [models.Index(fields=["due_at"], condition=models.Q(status="waiting"), name="deliveries_due")]

    def __str__(self) -> str:
        return f"{self.event} to {self.subscription}: {self.status}"


class Attempt(models.Model):
    """One POST: what was answered, or why nothing was."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField()
    seconds = models.FloatField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)
    answer = models.TextField(blank=True, help_text="its first 1 kB")

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.status_code or self.error}"


class Shape(models.Model):
    """A cluster's roles as they were last told: primary, timeline, who follows whom. `digest` is compared and set."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    told: models.JSONField[dict[str, object]] = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.digest[:12]}"
