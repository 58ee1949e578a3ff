"""Celery's doors, on the queue `notify`: a receiver that hangs holds up nobody who waits for a plan. The rows say what is due."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

from pgpanel.celery import AWAY_AT_ONCE

logger = logging.getLogger(__name__)

MESSAGE_SECONDS = 20
"""A message that nobody took in that time is void: the sweep says it again, so they never pile up."""


@shared_task(name="webhooks.tasks.deliver")
def deliver(subscription_id: int) -> None:
    from webhooks import delivering  # noqa: PLC0415 — services import this module

    delivering.deliver_due(subscription_id)


@shared_task(name="webhooks.tasks.sweep")
def sweep() -> None:
    """Every few seconds: whoever has something due, whatever became of the message that said so."""
    from webhooks import delivering  # noqa: PLC0415

    for subscription_id in delivering.with_something_due():
        deliver.apply_async((subscription_id,), expires=MESSAGE_SECONDS)


@shared_task(name="webhooks.tasks.forget_old")
def forget_old() -> None:
    from webhooks import services  # noqa: PLC0415

    services.forget_old()


def wake(subscription_id: int) -> None:
    """After the commit, and only to be quick: without Redis the sweep finds the rows."""
    transaction.on_commit(lambda: _send(subscription_id))


def _send(subscription_id: int) -> None:
    try:
        with deliver.app.connection_for_write(transport_options=AWAY_AT_ONCE) as connection:
            options: dict[str, Any] = {"connection": connection, "retry": False, "expires": MESSAGE_SECONDS}
            deliver.apply_async((subscription_id,), **options)
    except (OperationalError, OSError) as error:
        logger.info("webhooks wait for the sweep: %s", error)
