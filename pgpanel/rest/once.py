"""`Idempotency-Key`: a repeated POST is answered as the first was, and never does anything a second time.

Key, effects and answer are one transaction: a second call with the same key waits at the unique constraint until the first has
ended, and then finds its answer, or, where the first was refused or its process died, does the thing itself. So a refusal is not
remembered: it did nothing. Kept per user for a day. (No library: those that there are stand on a cache beside the database, which
cannot be one transaction with it, or on another framework.)
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import cast

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.audit import Refused
from accounts.models import RememberedAnswer, User
from pgpanel.rest.problems import Fault, Problem

logger = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
HEADERS = ("Location", "ETag")
ONCE_ONLY = ("secret", "link")
"""Fields that are shown once; in a repeated answer they are null."""


def once(request: HttpRequest, act: Callable[[], HttpResponse]) -> HttpResponse:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return act()
    if len(key) > 255 or not key.isprintable():
        raise Problem(
            422, "not-valid", "Idempotency-Key: at most 255 printable characters", [Fault("Too long.", "Idempotency-Key")]
        )
    RememberedAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    answer: HttpResponse | None = None
    refused: Refused | None = None
    row = RememberedAnswer(user=cast(User, request.user), key=key, fingerprint=_fingerprint(request))
    try:
        with transaction.atomic():
            before = _claimed(row)
            if before is None:
                try:
                    answer = act()
                except Refused as refusal:  # it did nothing, but the audit trail keeps that it was tried
                    refused = refusal
                    row.delete()
                else:
                    _keep(row, answer)
    except Exception:
        # what is told after the commit (a broker that is away) does not undo it: the sweep tells again
        if answer is None or not RememberedAnswer.objects.filter(pk=row.pk).exists():
            raise
        logger.warning("done, but not all who should know of it could be told", exc_info=True)
    if refused is not None:
        raise refused
    if before is not None:
        return _again(before, row.fingerprint)
    assert answer is not None
    return answer


def _claimed(row: RememberedAnswer) -> RememberedAnswer | None:
    """None: the key is ours now; else who had it before. On PostgreSQL this waits for a transaction that holds it."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return RememberedAnswer.objects.get(user_id=row.user_id, key=row.key)
    return None


def _keep(row: RememberedAnswer, answer: HttpResponse) -> None:
    row.status, row.body = answer.status_code, _without_secrets(answer.content)
    row.headers = {name: answer[name] for name in HEADERS if name in answer}
    row.save()


def _again(before: RememberedAnswer, fingerprint: str) -> HttpResponse:
    if before.fingerprint != fingerprint:
        raise Problem(422, "key-reused", "This Idempotency-Key was used for another call.", [
            Fault("Used for another call within a day.", "Idempotency-Key", mend="A new key for every new call."),
        ])  # fmt: skip
    headers = {**before.headers, "Idempotent-Replayed": "true"}
    return HttpResponse(before.body, status=before.status, content_type="application/json; charset=utf-8", headers=headers)


def _fingerprint(request: HttpRequest) -> str:
    return hashlib.sha256(b"\0".join([(request.method or "").encode(), request.get_full_path().encode(), request.body])).hexdigest()


def _without_secrets(content: bytes) -> str:
    body = json.loads(content) if content else None
    if isinstance(body, dict) and any(name in body for name in ONCE_ONLY):
        return json.dumps(body | {name: None for name in ONCE_ONLY if name in body})
    return content.decode()
