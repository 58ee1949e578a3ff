"""The audit trail: who did what, from where, with which plan, and what came of it.

Services call `record` in the transaction that does the thing, so that neither stands without the other. Appends are serialised by a
lock on the chain's head until that transaction ends: record last.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from accounts import acting
from accounts.trail import AuditEntry, AuditHead, Plain, digest
from pgpanel.redaction import Redactor

HEAD = 1
LONGEST_DETAIL = 1000
LONGEST = {field.name: field.max_length for field in AuditEntry._meta.concrete_fields}


class Refused(Exception):
    """Nothing was done. That it was tried is recorded, and that record is kept whatever transaction stands around the try."""


def record(
    action: str,
    target: str = "",
    *,
    cluster: str = "",
    plan_hash: str = "",
    result: str = "",
    detail: Mapping[str, Plain] | None = None,
) -> AuditEntry:
    """Append an entry. action: "noun.verb". Texts go through the log's redaction too, and are cut where they are long."""
    actor = acting.now()
    entry = AuditEntry(
        who=_text(actor.who, "who"), door=actor.door, address=_text(actor.address, "address"), token=_text(actor.token, "token"),
        action=_text(action, "action"), target=_text(target, "target"), cluster=_text(cluster, "cluster"), plan_hash=plan_hash,
        result=_text(result, "result"), detail={name: _plain(value) for name, value in (detail or {}).items()},
    )  # fmt: skip
    with transaction.atomic():
        head = head_locked()
        entry.number, entry.previous, entry.at = head.number + 1, head.hash, timezone.now()
        entry.hash = digest(entry.told())
        entry.save()
        AuditHead.objects.filter(pk=HEAD).update(number=entry.number, hash=entry.hash)
    return entry


def head_locked() -> AuditHead:
    """The chain's head, nobody else's until this transaction ends. SQLite has one writer at a time anyway."""
    head, is_new = AuditHead.objects.select_for_update().get_or_create(pk=HEAD)
    if is_new and (last := AuditEntry.objects.first()):
        head.number, head.hash = last.number, last.hash
        head.save(update_fields=["number", "hash"])
    return head


def _plain(value: Plain) -> Plain:
    return _told(value)[:LONGEST_DETAIL] if isinstance(value, str) else value


def _text(text: str, field: str) -> str:
    return _told(text)[: LONGEST[field]]


def _told(text: str) -> str:
    """On one line, without what looks like a secret, without what a database cannot store."""
    redactor = Redactor()
    lines = [redactor.line(line) for line in str(text).splitlines()]
    return " ␊ ".join(line for line in lines if line is not None).encode("utf-8", "replace").decode()
