"""The live stream over a real Redis that is killed and comes back: each line once, in order, whatever happens."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from cryptography.fernet import Fernet
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone
from job_world import make_cluster
from redis_server import RedisServer

from accounts.models import User
from accounts.services import person_let_in
from accounts.sessions import sessions_end
from clusters.models import Grant
from jobs.log import line_data
from jobs.models import Job, LogLine
from pgpanel import live, streams
from pgpanel.live import Event
from pgpanel.streams import Viewer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]


@pytest.fixture
def redis_server(tmp_path, settings, monkeypatch):
    server = RedisServer(tmp_path).start()
    settings.REDIS_URL = server.url
    monkeypatch.setattr(live, "_publisher", live.Publisher(server.url))
    yield server
    live._publisher._redis.close()
    server.kill()


@pytest.fixture
def job(settings) -> Job:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    return Job.objects.create(cluster=make_cluster(), kind="small", title="Small job", status="running")


@pytest.fixture
def ana(job) -> User:
    ana = User.objects.create_user("ana")
    Grant.objects.create(user=ana, cluster=job.cluster, role="viewer")
    return ana


def store(job: Job, *, publish: bool = True) -> LogLine:
    """A line as `jobs.log` keeps it: stored, then published if it can be."""
    job.last_seq += 1
    line = LogLine.objects.create(job=job, seq=job.last_seq, at=timezone.now(), node="pg1", text=f"line {job.last_seq}")
    if publish:
        live.publish(f"job:{job.pk}", "line", line_data(line), line.seq)
    return line


class Listener:
    """A browser's EventSource."""

    def __init__(self, response) -> None:
        self.response = response
        self.events: list[tuple[str, dict]] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for block in self.response.streaming_content:
            for event in block.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
                if "event" in fields:
                    self.events.append((fields["event"], json.loads(fields["data"])))

    @property
    def seqs(self) -> list[int]:
        return [data["seq"] for name, data in self.events if name == "line"]

    async def until(self, true, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)

    @property
    def is_open(self) -> bool:
        return not self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.response.streaming_content.aclose()


async def listen(user: User, job: Job, after: int = 0, client: AsyncClient | None = None) -> Listener:
    if client is None:
        client = AsyncClient()
        await client.aforce_login(user)
    response = await client.get("/live/", {"topic": f"job:{job.pk}", "after": after})
    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream"
    return Listener(response)


async def test_a_line_comes_to_the_browser_at_once_and_in_order(redis_server, job, ana):
    listener = await listen(ana, job)
    await listener.until(lambda: listener.events)
    begun = asyncio.get_running_loop().time()
    for _ in range(20):
        await sync_to_async(store)(job)
    await listener.until(lambda: len(listener.seqs) == 20)
    assert asyncio.get_running_loop().time() - begun < streams.RECONCILE_SECONDS
    assert listener.seqs == list(range(1, 21))
    await listener.close()


async def test_a_stream_goes_on_after_the_cursor_and_tells_the_present_state(redis_server, job, ana):
    for _ in range(5):
        await sync_to_async(store)(job)
    listener = await listen(ana, job, after=3)
    await listener.until(lambda: ("status", {"status": "running"}) in listener.events)
    assert listener.seqs == [4, 5]
    await listener.close()


async def test_a_long_log_is_caught_up_with_at_once(redis_server, job, ana):
    lines = [LogLine(job=job, seq=seq, at=timezone.now(), text="line") for seq in range(1, 5001)]
    await LogLine.objects.abulk_create(lines)
    begun = asyncio.get_running_loop().time()
    listener = await listen(ana, job)
    await listener.until(lambda: len(listener.seqs) == 5000)
    assert asyncio.get_running_loop().time() - begun < streams.RECONCILE_SECONDS
    await listener.close()


async def test_no_line_is_lost_or_doubled_when_redis_is_killed_midway(redis_server, job, ana):
    listener = await listen(ana, job)
    for number in range(60):
        if number == 20:
            redis_server.kill()
        if number == 40:
            redis_server.start()
        await sync_to_async(store)(job)
        await asyncio.sleep(0.05)
    await listener.until(lambda: len(listener.seqs) >= 60)
    await asyncio.sleep(streams.RECONCILE_SECONDS + 0.5)
    assert listener.seqs == list(range(1, 61))
    await listener.close()


async def test_a_line_that_was_stored_but_never_published_comes_all_the_same(redis_server, job, ana):
    listener = await listen(ana, job)
    await listener.until(lambda: streams.hub().is_connected)
    await sync_to_async(store)(job, publish=False)
    await listener.until(lambda: listener.seqs == [1])
    await listener.close()


async def test_two_viewers_share_one_subscription(redis_server, job, ana):
    first, second = await listen(ana, job), await listen(ana, job)
    await first.until(lambda: streams.hub().is_connected)
    assert redis_subscriptions(redis_server) == 1
    await sync_to_async(store)(job)
    await first.until(lambda: first.seqs == [1] and second.seqs == [1])
    await first.close()
    await second.close()
    await first.until(lambda: redis_subscriptions(redis_server) == 0)


def redis_subscriptions(server: RedisServer) -> int:
    import redis

    with redis.Redis.from_url(server.url) as client:
        return client.pubsub_numsub(live.CHANNEL)[0][1]


async def test_a_job_of_a_cluster_that_is_not_yours_is_not_heard(redis_server, job):
    client = AsyncClient()
    await client.aforce_login(await User.objects.acreate(username="stranger"))
    assert (await client.get("/live/", {"topic": f"job:{job.pk}"})).status_code == 404
    assert (await client.get("/live/", {"topic": "job:999999"})).status_code == 404


async def test_nonsense_is_refused(redis_server, job, ana):
    client = AsyncClient()
    await client.aforce_login(ana)
    for query in ({}, {"topic": "passwords:1"}, {"topic": f"job:{job.pk}", "after": "9" * 30}, {"topic": "job"}):
        assert (await client.get("/live/", query)).status_code == 400, query


async def test_a_stream_ends_when_the_right_is_withdrawn(redis_server, job, ana, monkeypatch):
    monkeypatch.setattr(streams, "RIGHTS_SECONDS", 0.1)
    listener = await listen(ana, job)
    await Grant.objects.filter(user=ana).adelete()
    await listener.until(lambda: not listener.is_open)
    assert listener.events[-1] == ("gone", {})
    await listener.close()


async def test_a_stream_ends_with_the_session(redis_server, job, ana, monkeypatch):
    monkeypatch.setattr(streams, "RIGHTS_SECONDS", 0.1)
    client = AsyncClient()
    await client.aforce_login(ana)
    listener = await listen(ana, job, client=client)
    await client.alogout()
    await listener.until(lambda: not listener.is_open)
    assert listener.events[-1] == ("gone", {})
    await listener.close()


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize("end", ["idle", "sign-out", "shut-out"])
async def test_a_stream_ends_however_the_session_does(job, ana, monkeypatch, settings, end):
    assert streams.RIGHTS_SECONDS <= 5
    monkeypatch.setattr(streams, "RIGHTS_SECONDS", 0.1)
    client = AsyncClient()
    await client.aforce_login(ana)
    await client.get("/account/")
    listener = await listen(ana, job, client=client)
    await listener.until(lambda: listener.events)
    if end == "idle":
        settings.SESSION_IDLE_SECONDS = -1
    elif end == "sign-out":
        await sync_to_async(sessions_end)(ana)
    else:
        await sync_to_async(person_let_in)(ana, is_active=False)
    await listener.until(lambda: not listener.is_open)
    assert listener.events[-1] == ("gone", {})
    await listener.close()


async def test_a_browser_that_is_too_slow_catches_up_from_the_database(job):
    viewer = Viewer([f"job:{job.pk}"], 0)
    lines = [await sync_to_async(store)(job, publish=False) for _ in range(streams.QUEUE_EVENTS + 10)]
    for line in lines:
        viewer.offer(f"job:{job.pk}", Event("line", line_data(line), line.seq))
    found = viewer.take()
    assert viewer.has_gap
    found += await viewer.replay()
    assert [event.id for event in found if event.id] == [line.seq for line in lines]


def test_publishing_never_waits_for_a_redis_that_is_away(tmp_path):
    publisher = live.Publisher("redis://127.0.0.1:1/0")
    begun = timezone.now()
    assert not any(publisher.publish(["{}"]) for _ in range(1000))
    assert timezone.now() - begun < timedelta(seconds=1)
    publisher._redis.close()


def test_the_stream_has_its_address():
    assert reverse("live") == "/live/"
