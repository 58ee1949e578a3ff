"""The panel itself as a file: what it has, who may, what was done, the audit trail. From SQLite to PostgreSQL and back.

gzip over lines of JSON: a head (format, version, migrations), each row as Django's own `jsonl` serializer writes it, an end that
counts them. Rows are read in one snapshot and never gathered in memory. The encryption keys are not in it; secrets are, sealed.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TextIO

from django.apps import apps
from django.core import serializers
from django.core.management.color import no_style
from django.core.serializers.base import DeserializationError, DeserializedObject
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.dispatch import Signal
from django.utils import timezone

from accounts import guards

FORMAT, VERSION = "pgpanel-backup", 1
BATCH = 500
LEFT_OUT = {
    "contenttypes.ContentType": "made by migrate", "auth.Permission": "made by migrate", "auth.Group": "unused",
    "sessions.Session": "nobody stays signed in", "usersessions.UserSession": "nobody stays signed in",
    "account.EmailConfirmation": "expires", "accounts.CacheEntry": "a cache", "accounts.RememberedAnswer": "a cache",
    "monitor.Sample": "measurements", "monitor.Rollup": "measurements", "monitor.Lease": "who watches now",
    "monitor.Watcher": "how the collectors are",
    "monitor.RunningJob": "what runs now", "monitor.Notice": "messages that wait: not sent twice",
    "monitor.Message": "of notices", "monitor.Sending": "of messages",
    "webhooks.Delivery": "calls that wait: not made twice", "webhooks.Attempt": "of deliveries",
}  # fmt: skip
"""Models whose rows a backup does not hold, and why. Every other one is in it, also those that come with the next version."""

restored = Signal()
"""Sent inside the restore's transaction, when all rows are there: each room settles what was under way elsewhere."""


class Unfit(Exception):
    """The file is no backup, or not one for this panel; or the panel is not empty. The message says what to do."""


def kept_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if not model._meta.proxy and model._meta.label not in LEFT_OUT]


def is_empty() -> bool:
    return not any(QuerySet(model).exists() for model in kept_models())


class Exact(DjangoJSONEncoder):
    """With microseconds, which Django's own cuts off: the audit trail's hashes cover them."""

    def default(self, value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


class QuerySet(models.QuerySet[Any]):
    """Every row, whatever a model's own manager leaves out or refuses."""


# -- backup --------------------------------------------------------------------------------------------------------------------


def backup(path: Path) -> dict[str, int]:
    """Rows by model. Whole or not at all, mode 0600; `Unfit` where the file is there already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.open(raw, "wt", encoding="utf-8") as out, _snapshot():
                counts = _write(out)
            raw.flush()
            os.fsync(raw.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise Unfit(f"{path} is there already: take another name.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def _write(out: TextIO) -> dict[str, int]:
    head = {"format": FORMAT, "version": VERSION, "made_at": timezone.now().isoformat(), "migrations": _migrations()}
    out.write(json.dumps(head) + "\n")
    counts = {}
    for model in kept_models():
        counter = Counter(QuerySet(model).order_by("pk").iterator(chunk_size=BATCH))
        serializers.get_serializer("jsonl")().serialize(counter, stream=out, cls=Exact)
        counts[model._meta.label] = counter.count
    out.write(json.dumps({"end": FORMAT, "rows": sum(counts.values())}) + "\n")
    return counts


class Counter:
    def __init__(self, rows: Iterator[models.Model]) -> None:
        self.count = 0
        self._rows = rows

    def __iter__(self) -> Iterator[models.Model]:
        for row in self._rows:
            self.count += 1
            yield row


@contextmanager
def _snapshot() -> Iterator[None]:
    """All tables as they are at one moment, without holding up whoever writes."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:  # not `atomic`, which takes the only writer's place here (transaction_mode)
            cursor.execute("BEGIN")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
        return
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _migrations() -> list[str]:
    """Of the rooms whose rows are kept: a backup fits the panel that it was made by, to the column."""
    labels = {model._meta.app_label for model in kept_models()}
    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations() if app in labels)


# -- restore -------------------------------------------------------------------------------------------------------------------


@transaction.atomic
def restore(path: Path, *, replace: bool = False) -> dict[str, int]:
    """Rows by model. All or nothing. replace: what is there is deleted first, the audit trail too."""
    if not replace and not is_empty():
        raise Unfit("This panel is not empty. Restore into a new, migrated database, or say --replace to delete what is here.")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            _fits(next(file, ""))
            _empty()
            counts = _load(file)
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError, DeserializationError) as error:
        raise Unfit(f"{path} is damaged or no backup: {error}") from None
    connection.check_constraints()
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), kept_models()):
            cursor.execute(statement)
    restored.send(sender=None)
    return counts


def _fits(line: str) -> None:
    try:
        head = json.loads(line)
    except ValueError:
        head = {}
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise Unfit("This is no backup of a panel.")
    if head["version"] != VERSION:
        raise Unfit(f"The backup has format {head['version']}, this panel reads {VERSION}.")
    theirs, ours = set(head["migrations"]), set(_migrations())
    if theirs - ours:
        raise Unfit(f"The backup was made by a newer panel (it has {min(theirs - ours)}). Upgrade this one first.")
    if ours - theirs:
        raise Unfit(
            f"The backup was made by an older panel (it has not {min(ours - theirs)}). Restore it with that version, then upgrade."
        )


def _empty() -> None:
    """Every table but those that `migrate` has filled."""
    filled = {label for label, why in LEFT_OUT.items() if why == "made by migrate"}
    with guards.lifted(connection), connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            if not model._meta.proxy and model._meta.label not in filled:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")  # noqa: S608 (a table of ours)


def _load(file: TextIO) -> dict[str, int]:
    counts: dict[str, int] = {}
    end: dict[str, Any] = {}
    rows = serializers.deserialize("jsonl", _rows_of(file, end))
    for model, group in groupby(rows, key=lambda row: type(row.object)):
        if model._meta.label in LEFT_OUT:
            raise Unfit(f"A backup does not hold {model._meta.label}.")
        while batch := list(islice(group, BATCH)):
            _insert(model, batch)
            counts[model._meta.label] = counts.get(model._meta.label, 0) + len(batch)
    if end.get("rows") != sum(counts.values()):
        raise Unfit("The backup is cut off: it ends before its end.")
    return counts


def _rows_of(file: TextIO, end: dict[str, Any]) -> Iterator[str]:
    for line in file:
        if line.startswith('{"end"'):
            end |= json.loads(line)
            return
        yield line


def _insert(model: type[models.Model], batch: list[DeserializedObject]) -> None:
    """Without `save` and its signals: nobody is to hear that a cluster was added. What Django dates anew gets its own date back."""
    own = [field.attname for field in model._meta.concrete_fields
           if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)]  # fmt: skip
    times = [{name: getattr(row.object, name) for name in own} for row in batch]
    QuerySet(model).bulk_create([row.object for row in batch])
    for row, kept in zip(batch, times, strict=True):
        if kept:
            QuerySet(model).filter(pk=row.object.pk).update(**kept)
        for name, related in (row.m2m_data or {}).items():
            getattr(row.object, name).set(related)
