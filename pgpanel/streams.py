"""GET /live/?topic=job:418&topic=cluster:3&after=<cursor>: the browser's side of `pgpanel.live`, as server-sent events.

One Redis subscription a process (`Hub`), a bounded queue per viewer. A stream subscribes first, then replays, then listens; it asks
the database again every few seconds, and every second while Redis is away, so that an event that was never published comes too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import connections
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase, HttpResponseNotFound, StreamingHttpResponse

from accounts.sessions import is_over
from pgpanel.live import CHANNEL, TOPICS, Event
from pgpanel.rest.login import asked_afresh

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

KEEP_ALIVE_SECONDS = 15.0
RIGHTS_SECONDS = 3.0
"""How soon a stream ends after its session or its right has."""
RECONCILE_SECONDS = 3.0
POLL_SECONDS = 1.0
"""How often the database is asked while Redis is away."""
RECONNECT_SECONDS = 0.5
QUEUE_EVENTS = 500
MANY_EVENTS = 1000
CLERKS, ASKED_AT_ONCE = 2, 50
MOST_TOPICS, MOST_TOPIC = 20, 40
MOST_STREAMS_EACH = 40
"""Open at once for one person, in one process: each holds a connection."""


Question = tuple[Callable[[], Any], asyncio.Future[Any]]


class Desk:
    """Questions of all streams to the database. What comes while the clerks are busy is asked together, over one connection.

    The connection is closed after: an open stream must not hold one of the database's connections, and five hundred of them must
    not open hundreds in a second.
    """

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()
        self._clerks: set[asyncio.Task[None]] = set()

    async def ask(self, question: Callable[[], T]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if len(self._clerks) < CLERKS:
            clerk = asyncio.create_task(self._work())
            self._clerks.add(clerk)
            clerk.add_done_callback(self._clerks.discard)
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            questions = [self._waiting.popleft() for _each in range(min(len(self._waiting), ASKED_AT_ONCE))]
            answers = await sync_to_async(_answers, thread_sensitive=False)([question for question, _answer in questions])
            for (_question, future), (answer, error) in zip(questions, answers, strict=True):
                if future.done():  # its stream has ended meanwhile
                    continue
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(answer)


def _answers(questions: list[Callable[[], Any]]) -> list[tuple[Any, Exception | None]]:
    """In a thread. One that fails does not keep the others from their answers."""
    found: list[tuple[Any, Exception | None]] = []
    try:
        for question in questions:
            try:
                found.append((question(), None))
            except Exception as error:
                found.append((None, error))
    finally:
        connections.close_all()
    return found


class Hub:
    """One subscription for all viewers of one event loop; lives as long as somebody watches."""

    def __init__(self) -> None:
        self.is_connected = False
        self.desk = Desk()
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())

    def count(self, person: int) -> int:
        """How many streams of this person are open here."""
        return sum(viewer.person == person for viewer in self._viewers)

    async def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers and self._task:
            task, self._task = self._task, None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _listen(self) -> None:
        while True:
            try:
                await self._subscribed()
            except (redis.asyncio.RedisError, OSError) as error:
                logger.info("live events come from the database: %s", error)
            finally:
                self.is_connected = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _subscribed(self) -> None:
        async with redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=1, health_check_interval=5
        ) as client, client.pubsub() as channel:  # fmt: skip
            await channel.subscribe(CHANNEL)
            self.is_connected = True
            self._wake()
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=5)
                if message is None:
                    await channel.ping()
                elif message["type"] == "message":
                    self._hand_out(message["data"])

    def _hand_out(self, data: bytes) -> None:
        try:
            message = json.loads(data)
        except ValueError:
            logger.warning("something else than live events is published on %s", CHANNEL)
            return
        for viewer in self._viewers:
            if message["topic"] in viewer.topics:
                viewer.offer(message["topic"], Event(message["event"], message["data"], message["id"]))

    def _wake(self) -> None:
        """What was published while nobody listened stands in the database: all look there."""
        for viewer in self._viewers:
            viewer.has_gap = True
            viewer.arrived.set()


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    loop = asyncio.get_running_loop()
    for closed in [known for known in _hubs if known.is_closed()]:
        del _hubs[closed]
    return _hubs.setdefault(loop, Hub())


async def in_database(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    return await hub().desk.ask(partial(function, *arguments, **named))


class Viewer:
    """One open stream: what it watches, how far it is, what has arrived."""

    def __init__(self, topics: list[str], after: int, person: int = 0) -> None:
        self.topics = topics
        self.person = person
        self.cursors = dict.fromkeys(topics, after)
        self.states: dict[tuple[str, str], dict[str, Any]] = {}
        self._told_at: dict[str, float] = {}
        self.has_gap = True
        self.arrived = asyncio.Event()
        self._queue: asyncio.Queue[tuple[str, Event]] = asyncio.Queue(QUEUE_EVENTS)

    def offer(self, topic: str, event: Event) -> None:
        try:
            self._queue.put_nowait((topic, event))
        except asyncio.QueueFull:
            self.has_gap = True  # a slow browser: it catches up from the database
        self.arrived.set()

    def is_waiting(self) -> bool:
        return not self._queue.empty()

    def take(self) -> list[Event]:
        """What arrived and can be sent as it is; an id that does not follow the last one means: look in the database."""
        found: list[Event] = []
        while not self._queue.empty():
            topic, event = self._queue.get_nowait()
            if event.id is None:
                if event.data:  # an empty one says only: look
                    self.states[topic, event.name] = event.data
                    self._told_at[topic] = time.monotonic()
                found.append(event)
            elif event.id == self.cursors[topic] + 1:
                self.cursors[topic] = event.id
                found.append(event)
            elif event.id > self.cursors[topic]:
                self.has_gap = True
        return found

    async def replay(self, *, is_connected: bool = False) -> list[Event]:
        """What the database has after the cursors, and the states that are other than those last sent.

        With Redis, not of a topic whose present state has just been told, unless something is missing: the database's is older.
        """
        is_told, self.has_gap = is_connected and not self.has_gap, False
        found: list[Event] = []
        for topic in self.topics:
            if is_told and time.monotonic() - self._told_at.get(topic, -RECONCILE_SECONDS) < RECONCILE_SECONDS:
                continue
            prefix, _, key = topic.partition(":")
            for event in await in_database(TOPICS[prefix].replay, key, self.cursors[topic]):
                if event.id is None and self.states.get((topic, event.name)) != event.data:
                    self.states[topic, event.name] = event.data
                    found.append(event)
                elif event.id is not None and event.id > self.cursors[topic]:
                    self.cursors[topic] = event.id
                    found.append(event)
        self.has_gap = self.has_gap or len(found) >= MANY_EVENTS  # a topic gives so many at once: there may be more
        return found


async def stream(request: HttpRequest) -> HttpResponseBase:
    topics = request.GET.getlist("topic")
    after, seen = _number(request.GET.get("after") or "0"), _number(request.headers.get("Last-Event-ID") or "0")
    known = [topic for topic in topics if ":" in topic and topic.partition(":")[0] in TOPICS and len(topic) < MOST_TOPIC]
    if not topics or known != topics or len(topics) > MOST_TOPICS or after < 0:
        return HttpResponseBadRequest("?topic=<kind>:<id>&after=<number>", content_type="text/plain")
    if not await sync_to_async(_may)(request, topics):  # what one may not see does not exist
        return HttpResponseNotFound("there is nothing to hear", content_type="text/plain")
    await sync_to_async(connections.close_all)()  # what the request opened; the stream may stay open for hours
    return stream_of(request, topics, max(after, seen))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else -1


def stream_of(request: HttpRequest, topics: list[str], after: int) -> StreamingHttpResponse:
    """For whoever may hear these topics: that has been asked."""
    response = StreamingHttpResponse(
        _events(request, Viewer(topics, after, request.user.pk or 0)), content_type="text/event-stream"
    )
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # a proxy in front must not hold lines back
    return response


async def _events(request: HttpRequest, viewer: Viewer) -> AsyncIterator[bytes]:
    source = hub()
    if source.count(viewer.person) >= MOST_STREAMS_EACH:
        yield _encoded(Event("gone"))
        return
    source.join(viewer)
    rights_at = sent_at = asked_at = time.monotonic()
    try:
        yield b": live\n\n"
        while True:
            if time.monotonic() - rights_at >= RIGHTS_SECONDS:
                rights_at = time.monotonic()
                if not await in_database(_still_may, request, viewer.topics):
                    yield _encoded(Event("gone"))
                    return
            found = viewer.take()
            patience = RECONCILE_SECONDS if source.is_connected else POLL_SECONDS
            if viewer.has_gap or time.monotonic() - asked_at >= patience:
                asked_at = time.monotonic()
                found += await viewer.replay(is_connected=source.is_connected)
            if found:
                sent_at = time.monotonic()
                yield b"".join(_encoded(event) for event in found)
            if time.monotonic() - sent_at >= KEEP_ALIVE_SECONDS:
                sent_at = time.monotonic()
                yield b": still here\n\n"
            viewer.arrived.clear()
            if not viewer.has_gap and not viewer.is_waiting():
                await _arrival(viewer, min(patience, RIGHTS_SECONDS))
    finally:
        await source.leave(viewer)


async def _arrival(viewer: Viewer, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(viewer.arrived.wait(), seconds)


def _encoded(event: Event) -> bytes:
    cursor = "" if event.id is None else f"id: {event.id}\n"
    return f"{cursor}event: {event.name}\ndata: {json.dumps(event.data)}\n\n".encode()


def _may(request: HttpRequest, topics: list[str]) -> bool:
    return _may_all(request.user, topics)


def _may_all(user: Any, topics: list[str]) -> bool:
    return all(TOPICS[topic.partition(":")[0]].may(user, topic.partition(":")[2]) for topic in topics)


def _still_may(request: HttpRequest, topics: list[str]) -> bool:
    """Asked afresh: the session may have been ended, the token revoked and the grant withdrawn since the stream began."""
    if hasattr(request, "api_token"):
        user = asked_afresh(request)
        return user is not None and _may_all(user, topics)
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(request.session.session_key)
    request.user = get_user(request)
    return request.user.is_authenticated and not is_over(request.session) and _may(request, topics)
