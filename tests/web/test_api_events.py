"""A job's events by the API: from a line on, with a token that may be revoked meanwhile."""
# ruff: noqa: F401, F811 — fixtures of another file

from __future__ import annotations

import pytest
from api_world import Api, token_of, user
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from test_live import Listener, job, redis_server, store

from accounts.models import ApiToken, User
from accounts.tokens import token_revoke
from clusters.models import Grant
from jobs.models import Job
from pgpanel import streams

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def token(job) -> str:
    return token_of(user("ana", "viewer", job.cluster), "viewer")


async def hear(job: Job, token: str, path: str = "", **headers: str) -> Listener:
    response = await AsyncClient().get(
        f"/api/v1/jobs/{job.pk}/events{path}", headers={"Authorization": f"Bearer {token}", **headers}
    )
    assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
    return Listener(response)


async def test_lines_come_from_the_last_one_that_was_heard(redis_server, job, token):
    for _line in range(3):
        await sync_to_async(store)(job)
    whole, resumed, asked = (
        await hear(job, token),
        await hear(job, token, **{"Last-Event-ID": "2"}),
        await hear(job, token, "?after=1"),
    )
    await sync_to_async(store)(job)
    for listener, seqs in ((whole, [1, 2, 3, 4]), (resumed, [3, 4]), (asked, [2, 3, 4])):
        await listener.until(lambda listener=listener, seqs=seqs: listener.seqs == seqs)
        await listener.close()


@pytest.mark.parametrize("withdraw", [
    lambda: token_revoke(ApiToken.objects.get()),
    lambda: Grant.objects.all().delete(),
    lambda: User.objects.update(is_active=False),
    lambda: ApiToken.objects.update(networks=["192.0.2.0/24"]),
], ids=["token revoked", "role taken", "person shut out", "network closed"])  # fmt: skip
async def test_a_stream_ends_when_its_right_does(redis_server, job, token, monkeypatch, withdraw):
    monkeypatch.setattr(streams, "RIGHTS_SECONDS", 0.1)
    listener = await hear(job, token)
    await sync_to_async(store)(job)
    await listener.until(lambda: listener.seqs == [1])
    await sync_to_async(withdraw)()
    await listener.until(lambda: not listener.is_open)
    assert listener.events[-1][0] == "gone"


async def test_a_cursor_that_is_none_is_refused(redis_server, job, token):
    api = Api(token)
    for path, headers in (("?after=-1", {}), ("?after=x", {}), ("", {"Last_Event_ID": "x"}), ("", {"Last_Event_ID": "9" * 30})):
        answer = await sync_to_async(api.get)(f"/jobs/{job.pk}/events{path}", **headers)
        assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
