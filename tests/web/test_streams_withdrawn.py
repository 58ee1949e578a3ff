"""An open stream ends within seconds when the right behind it is taken away; by a real connection to a real uvicorn."""

from __future__ import annotations

import contextlib
import http.client
import threading

import pytest
from django.test import Client
from job_world import make_cluster
from real_server import real_server

from accounts import tokens
from accounts.models import User
from clusters.models import Grant
from jobs.models import Job
from pgpanel import streams

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def job(settings) -> Job:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    return Job.objects.create(cluster=make_cluster(), kind="small", title="Small job", status="running")


@pytest.fixture
def ana(job) -> User:
    ana = User.objects.create_user("ana")
    Grant.objects.create(user=ana, cluster=job.cluster, role="viewer")
    return ana


class Stream:
    """Reads in a thread until the server ends it."""

    def __init__(self, place: tuple[str, int], path: str, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(*place, timeout=60)
        self._connection.request("GET", path, headers={"Host": "localhost", **headers})
        self.answer = self._connection.getresponse()
        self.text = b""
        self.has_begun, self.has_ended = threading.Event(), threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := self.answer.readline():
                self.text += line
                if b"event: status" in line:
                    self.has_begun.set()
        self.answer.close()
        self._connection.close()
        self.has_ended.set()


def session_of(user: User) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    return {"Cookie": f"sessionid={client.session.session_key}"}


def take_the_grant(user: User, cookies: dict[str, str]) -> None:
    Grant.objects.filter(user=user).delete()


def shut_out(user: User, cookies: dict[str, str]) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def end_the_session(user: User, cookies: dict[str, str]) -> None:
    from django.contrib.sessions.models import Session

    Session.objects.filter(session_key=cookies["Cookie"].partition("=")[2]).delete()


def change_the_password(user: User, cookies: dict[str, str]) -> None:
    user.set_password("another long password")
    user.save()


@pytest.mark.parametrize("withdraw", [take_the_grant, shut_out, end_the_session, change_the_password], ids=lambda one: one.__name__)
def test_a_stream_of_a_session_ends(job, ana, withdraw):
    with real_server() as place:
        cookies = session_of(ana)
        stream = Stream(place, f"/live/?topic=job:{job.pk}", cookies)
        assert stream.answer.status == 200
        assert stream.has_begun.wait(20)
        assert not stream.has_ended.is_set()
        withdraw(ana, cookies)
        assert stream.has_ended.wait(10 * streams.RIGHTS_SECONDS)
        assert b"event: gone" in stream.text


def test_a_stream_of_a_token_ends_when_it_is_revoked(job, ana):
    token, secret = tokens.token_make(ana, "by a test", "viewer", by=ana)
    with real_server() as place:
        stream = Stream(place, f"/api/v1/jobs/{job.pk}/events", {"Authorization": f"Bearer {secret}"})
        assert stream.answer.status == 200
        assert stream.has_begun.wait(20)
        tokens.token_revoke(token)
        assert stream.has_ended.wait(10 * streams.RIGHTS_SECONDS)
        assert b"event: gone" in stream.text


def test_one_person_cannot_take_every_connection(job, ana, monkeypatch):
    monkeypatch.setattr(streams, "MOST_STREAMS_EACH", 2)
    with real_server() as place:
        opened = [Stream(place, f"/live/?topic=job:{job.pk}", session_of(ana)) for _ in range(2)]
        assert all(stream.has_begun.wait(20) for stream in opened)
        third = Stream(place, f"/live/?topic=job:{job.pk}", session_of(ana))
        assert third.has_ended.wait(20)
        assert not any(stream.has_ended.is_set() for stream in opened)
    assert all(stream.has_ended.wait(20) for stream in opened)
