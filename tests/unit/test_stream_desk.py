"""Streams ask the database together: each gets its own answer, a fault is the asker's alone, and who has left is not waited for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pgpanel import streams
from pgpanel.streams import ASKED_AT_ONCE, CLERKS, Desk


def test_what_comes_while_all_are_busy_is_asked_together_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(streams.connections, "close_all", lambda: closed.append(1))
    gate = threading.Event()

    async def ask() -> list[int]:
        desk = Desk()
        busy = [asyncio.create_task(desk.ask(gate.wait)) for _clerk in range(CLERKS)]
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(desk.ask(lambda number=number: number)) for number in range(ASKED_AT_ONCE)]
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*busy)
        return list(await asyncio.gather(*rest))

    assert asyncio.run(ask()) == list(range(ASKED_AT_ONCE))
    assert 0 < len(closed) <= 2 * CLERKS


def test_a_question_that_fails_fails_for_who_asked_and_for_nobody_else() -> None:
    def fails() -> int:
        raise ValueError("no such thing")

    async def ask() -> list[object]:
        desk = Desk()
        return list(await asyncio.gather(desk.ask(fails), desk.ask(lambda: 7), return_exceptions=True))

    error, answer = asyncio.run(ask())
    assert isinstance(error, ValueError)
    assert answer == 7


def test_a_stream_that_ended_meanwhile_is_not_answered_and_the_others_are() -> None:
    gate = threading.Event()

    async def ask() -> int:
        desk = Desk()
        gone = asyncio.create_task(desk.ask(gate.wait))
        await asyncio.sleep(0.05)
        gone.cancel()
        gate.set()
        return await desk.ask(lambda: 7)

    assert asyncio.run(ask()) == 7
