"""Celery's doors to the collector, on the queue `observe` (a pool of threads, so that connections do not multiply with processes).

`ensure_collector` comes from beat every few seconds and from a worker that starts; it enqueues `collect` while a cluster goes
unwatched. `collect` runs until its worker stops: it is acknowledged at once, so that the broker never hands it out twice; if its
worker dies, the leases expire and the next `ensure_collector` starts another.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.db import DatabaseError

from monitor import dispatch, leases, log_tail, panel_alerts
from monitor.collector import Collector
from monitor.ledger import Ledger

logger = logging.getLogger(__name__)

ENQUEUED_SECONDS = 5
"""A message that nobody took in that time is void: they never pile up."""

MESSAGE_SECONDS = 20
"""The same of a channel's: the sweep says it again."""

# Made before a prefork worker forks, so that its children hear of the shutdown that only the parent is told of.
_stopping = multiprocessing.Event()
_running = threading.Lock()


@shared_task(name="monitor.tasks.ensure_collector", acks_late=False, expires=ENQUEUED_SECONDS)
def ensure_collector() -> None:
    try:
        if leases.unwatched():
            collect.apply_async(expires=ENQUEUED_SECONDS)
    except DatabaseError as error:
        logger.warning("cannot see whether every cluster is watched: %s", error)


@shared_task(name="monitor.tasks.collect", acks_late=False, expires=ENQUEUED_SECONDS)
def collect() -> None:
    """Watch what nobody watches, until the worker stops. One a process: a second one has nothing to do here."""
    if not _running.acquire(blocking=False):
        return
    try:
        run(Ledger())
    finally:
        _running.release()


@shared_task(name="monitor.tasks.watch_panel", expires=ENQUEUED_SECONDS)
def watch_panel() -> None:
    panel_alerts.watch()


@shared_task(name="monitor.tasks.read_log", ignore_result=True)
def read_log(node_id: int) -> None:
    log_tail.read(node_id)


@shared_task(name="monitor.tasks.send_notices", expires=ENQUEUED_SECONDS)
def send_notices() -> None:
    """The sweep: a task for each channel with something due, so that one that hangs holds up no other."""
    for channel_id in dispatch.with_something_due():
        send_to_channel.apply_async((channel_id,), expires=MESSAGE_SECONDS)


@shared_task(name="monitor.tasks.send_to_channel")
def send_to_channel(channel_id: int) -> None:
    dispatch.send_to(channel_id)


@shared_task(name="monitor.tasks.forget_old_messages")
def forget_old_messages() -> None:
    dispatch.forget_old()


def run(ledger: Ledger, is_stopping: Callable[[], bool] = _stopping.is_set) -> None:
    """Until `is_stopping`; at once if there is nothing to watch."""
    if not ledger.claim():
        return
    logger.info("%s watches", ledger.holder)
    ledger.start()
    try:
        Collector(ledger, is_stopping).run()
    finally:
        ledger.stop()


@worker_ready.connect
def _start_at_once(sender: Any = None, **_more: Any) -> None:
    """A worker that takes from `observe` looks at once instead of waiting for beat."""
    queues = getattr(getattr(sender, "app", None), "amqp", None)
    if queues is not None and "observe" in queues.queues.consume_from:
        ensure_collector.apply_async(expires=ENQUEUED_SECONDS)


@worker_shutting_down.connect
def _stop(**_more: Any) -> None:
    _stopping.set()
