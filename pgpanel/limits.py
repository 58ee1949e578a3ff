"""What one request may cost before anybody has been asked who sends it.

Django's ASGI handler takes a whole body onto the disk first and asks afterwards; so it is bounded here, in bytes and in time.
Headers are bounded by the server (`pgpanel.processes.WEB`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

MOST_BODY_BYTES = 1 << 20
"""A settings page, a pasted key, a plan's parameters: all that is ever sent is some kB."""
BODY_SECONDS = 30.0


class Body:
    """A request's body on its way in. refused: the status that ends it, once it is too long or too slow."""

    def __init__(self, receive: Receive) -> None:
        self.refused: HTTPStatus | None = None
        self._receive = receive
        self._left_bytes = MOST_BODY_BYTES
        self._is_whole = False
        self._ends_at = asyncio.get_running_loop().time() + BODY_SECONDS

    async def receive(self) -> Message:
        if self._is_whole:  # from here on only the end of the connection is waited for
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends_at):
                message = await self._receive()
        except TimeoutError:
            return self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        self._left_bytes -= len(message.get("body", b""))
        if self._left_bytes < 0:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._is_whole = not message.get("more_body", False)
        return message

    def _refuse(self, status: HTTPStatus) -> Message:
        self.refused = status
        return {"type": "http.disconnect"}


def bounded(application: Application) -> Application:
    """The application, behind these limits."""

    async def handle(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        if _announced(scope) > MOST_BODY_BYTES:
            await _answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = Body(receive)
        await application(scope, body.receive, send)
        if body.refused:
            await _answer(send, body.refused)

    return handle


def _announced(scope: Any) -> int:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() and len(length) < 20 else MOST_BODY_BYTES + 1


async def _answer(send: Send, status: HTTPStatus) -> None:
    text = f"{status.phrase}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": text})
