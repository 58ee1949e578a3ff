"""The audit trail's two tables: entries that are only ever added, each bound to the one before by its hash, and the chain's head.

`accounts.audit` writes them, `accounts.audit_chain` verifies them. The database refuses changes too (`accounts.guards`).
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

GENESIS = "0" * 64
"""Stands for the hash before the first entry."""
Plain = str | int | bool | None


class AppendOnly(Exception):
    """Somebody's code wanted to change or delete what was recorded."""

    def __init__(self) -> None:
        super().__init__("The audit trail is append-only: entries are neither changed nor deleted.")


class EntryQuerySet(models.QuerySet["AuditEntry"]):
    def update(self, **_fields: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly

    def bulk_create(self, *_args: Any, **_options: Any) -> NoReturn:
        raise AppendOnly

    def bulk_update(self, *_args: Any, **_options: Any) -> NoReturn:
        raise AppendOnly


class AuditEntry(models.Model):
    """One thing that somebody did or tried. Names instead of keys: what is deleted later keeps its entries.

    hash: sha256 of every other field (`canonical`), `previous` among them, which is the hash of the entry before.
    """

    class Door(models.TextChoices):
        PAGE = "page", _("page")
        API = "api", _("API")
        COMMAND = "command", _("command")
        PANEL = "panel", _("panel")

    number = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    who = models.CharField(max_length=150, blank=True)
    door = models.CharField(max_length=8, choices=Door.choices)
    address = models.CharField(max_length=64, blank=True)
    token = models.CharField(max_length=100, blank=True)
    action = models.CharField(max_length=60, db_index=True)
    target = models.CharField(max_length=300, blank=True)
    cluster = models.CharField(max_length=39, blank=True, db_index=True)
    plan_hash = models.CharField(max_length=64, blank=True)
    result = models.CharField(max_length=300, blank=True)
    detail: models.JSONField[dict[str, Plain]] = models.JSONField(default=dict)
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"{self.number} {self.action} {self.target}"

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **{**options, "force_insert": True})

    def delete(self, *_args: Any, **_options: Any) -> NoReturn:
        raise AppendOnly

    def told(self) -> dict[str, Any]:
        """All fields, as exports carry them."""
        fields = {field.attname: getattr(self, field.attname) for field in self._meta.concrete_fields}
        return fields | {"at": self.at.astimezone(UTC).isoformat(timespec="microseconds")}


class AuditHead(models.Model):
    """Where the chain ends (one row, locked by whoever appends), and what the last verification found.

    finding: empty where the trail was whole.
    """

    number = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default=GENESIS)
    verified_at = models.DateTimeField(null=True)
    verified_count = models.PositiveBigIntegerField(default=0)
    finding = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.number} {self.hash}"


def digest(told: dict[str, Any]) -> str:
    """The hash of an entry, of its fields as `told`: canonical JSON (keys sorted, no spaces, ASCII) without the hash itself."""
    fields = {name: value for name, value in told.items() if name != "hash"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
