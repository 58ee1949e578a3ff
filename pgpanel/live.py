"""Live events: rooms publish to Redis, one subscription a process fans out to the browsers' server-sent event streams.

Rooms register topics (`register`); this module imports none of them. An event with an `id` (a log line) is stored before it is
published, so a stream can always fill a gap from the database (`Topic.replay`): nothing is lost when Redis is away, and nothing is
doubled, because a stream sends each id once, in order. An event without an id is a state: `replay` gives the present one.
The streams themselves: `pgpanel/streams.py`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

CHANNEL = "pgpanel:live"
PUBLISH_TIMEOUT_SECONDS = 0.2
BREAKER_SECONDS = 1.0
"""How long nothing is published after Redis did not take something: a log must not wait for it."""


@dataclass(frozen=True)
class Event:
    """name: the SSE event; data: JSON; id: its cursor (None: a state, sent when it differs from the last one)."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    id: int | None = None


@dataclass(frozen=True)
class Topic:
    """may(user, id): may that person hear it? replay(id, cursor): stored events after the cursor, then the present states."""

    may: Callable[[Any, str], bool]
    replay: Callable[[str, int], list[Event]]


TOPICS: dict[str, Topic] = {}


def register(prefix: str, may: Callable[[Any, str], bool], replay: Callable[[str, int], list[Event]]) -> None:
    """Called by a room's AppConfig.ready(): topics `<prefix>:<id>`."""
    TOPICS[prefix] = Topic(may, replay)


class Publisher:
    """Best effort, never slow: after a failure Redis is left alone for `BREAKER_SECONDS`."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=PUBLISH_TIMEOUT_SECONDS,
            socket_timeout=PUBLISH_TIMEOUT_SECONDS,
            retry=None,
        )
        self._silent_until = 0.0

    def publish(self, messages: list[str]) -> bool:
        if time.monotonic() < self._silent_until:
            return False
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for message in messages:
                pipeline.publish(CHANNEL, message)
            pipeline.execute()
        except (redis.RedisError, OSError) as error:
            self._silent_until = time.monotonic() + BREAKER_SECONDS
            logger.info("live events are not published: %s", error)
            return False
        return True


_publisher: Publisher | None = None
_publisher_lock = threading.Lock()


def publish(topic: str, event: str, data: dict[str, Any], id: int | None = None) -> bool:  # noqa: A002
    """True if Redis took it. Store first: a stream finds what was not published in the database."""
    return publish_all(topic, [Event(event, data, id)])


def publish_all(topic: str, events: list[Event]) -> bool:
    global _publisher  # noqa: PLW0603 (one connection pool a process)
    with _publisher_lock:
        if _publisher is None:
            _publisher = Publisher(settings.REDIS_URL)
    return _publisher.publish([json.dumps({"topic": topic, "event": e.name, "data": e.data, "id": e.id}) for e in events])
