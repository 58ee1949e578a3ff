"""What workers do for `accounts`: verify the audit trail (queue `observe`)."""

from __future__ import annotations

import logging

from celery import shared_task
from kombu.exceptions import OperationalError

from accounts import audit_chain

log = logging.getLogger(__name__)


@shared_task(name="accounts.tasks.verify_audit", ignore_result=True)
def verify_audit() -> None:
    verdict = audit_chain.verify_and_keep()
    if not verdict.is_whole:
        log.error("ALARM: the audit trail is broken at entry %s: %s", verdict.number, verdict.why)


def start_verifying() -> bool:
    """Now, by a worker; False where none can be told."""
    try:
        verify_audit.delay()
    except OperationalError:
        log.exception("the queue cannot be reached")
        return False
    return True
