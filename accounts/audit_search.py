"""Looking through the audit trail: filters, pages by cursor, exports. Which entries somebody may read is `clusters.rights`'s."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from accounts.trail import AuditEntry

PAGE = 100
CHUNK = 2000
COLUMNS = tuple(field.attname for field in AuditEntry._meta.concrete_fields)
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula, and whoever tries to log in chooses the user name."""


@dataclass(frozen=True)
class Search:
    """Empty: whatever. action: a whole one, or its noun ("job"). text: anywhere in an entry. until: exclusive."""

    who: str = ""
    action: str = ""
    cluster: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def of(self, entries: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        if self.who:
            entries = entries.filter(who__iexact=self.who)
        if self.action:
            entries = entries.filter(Q(action=self.action) | Q(action__startswith=f"{self.action}."))
        if self.cluster:
            entries = entries.filter(cluster=self.cluster)
        if self.since:
            entries = entries.filter(at__gte=self.since)
        if self.until:
            entries = entries.filter(at__lt=self.until)
        return entries.annotate(details=Cast("detail", TextField())).filter(self._says()) if self.text else entries

    def _says(self) -> Q:
        fields = ("who", "address", "token", "action", "target", "cluster", "result", "plan_hash", "details")
        return Q(*((f"{field}__icontains", self.text) for field in fields), _connector=Q.OR)


def page_of(entries: QuerySet[AuditEntry], before: int | None = None, size: int = PAGE) -> tuple[list[AuditEntry], int | None]:
    """The newest entries older than number `before`, and the cursor of the next page (None: there is none)."""
    found = list((entries.filter(number__lt=before) if before else entries)[: size + 1])
    return found[:size], found[size - 1].number if len(found) > size else None


def jsonl(entries: QuerySet[AuditEntry]) -> Iterator[str]:
    """Exact, in the order of the chain: `manage.py audit verify --file` can verify it where no entry is left out."""
    for entry in _in_order(entries):
        yield json.dumps(entry.told(), ensure_ascii=False) + "\n"


def csv_rows(entries: QuerySet[AuditEntry]) -> Iterator[str]:
    """For spreadsheets: what would be taken for a formula has an apostrophe before it."""
    yield _row(COLUMNS)
    for entry in _in_order(entries):
        told = entry.told()
        told["detail"] = json.dumps(told["detail"], ensure_ascii=False, sort_keys=True) if told["detail"] else ""
        yield _row(_cell(str(told[name])) for name in COLUMNS)


FORMATS: dict[str, tuple[str, Callable[[QuerySet[AuditEntry]], Iterator[str]]]] = {
    "jsonl": ("application/x-ndjson", jsonl),
    "csv": ("text/csv; charset=utf-8", csv_rows),
}


def _in_order(entries: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    return entries.order_by("number").iterator(chunk_size=CHUNK)


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _row(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
