"""One POST to a checked address: no name is asked again, no redirect followed, no time but so much, no answer but its beginning."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from pgpanel.outgoing.addresses import Destination

CONNECT_SECONDS = 5.0
WHOLE_SECONDS = 15.0
KEPT_BYTES = 1024


@dataclass(frozen=True)
class Answer:
    """status: None where none came; then `error` says why. text: the first `KEPT_BYTES` of the body."""

    status: int | None
    text: str = ""
    error: str = ""
    seconds: float = 0.0
    retry_after_seconds: int | None = None

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Deadline:
    """Ends a conversation from outside when its time is over: a timeout per packet never stops a server that drips."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._twin: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def watch(self, connected: socket.socket) -> None:
        # TLS takes the socket over; a second descriptor still ends the same connection
        self._twin = socket.socket(fileno=os.dup(connected.fileno()))

    def _end(self) -> None:
        self.is_over = True
        if self._twin is not None:
            with suppress(OSError):
                self._twin.shutdown(socket.SHUT_RDWR)

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._twin is not None:
            self._twin.close()


def post(
    destination: Destination, body: bytes, headers: Mapping[str, str], *, connect_seconds: float = CONNECT_SECONDS,
    whole_seconds: float = WHOLE_SECONDS,
) -> Answer:  # fmt: skip
    """Never raises for what the other side does: that is an `Answer` too."""
    began = time.monotonic()
    with Deadline(whole_seconds) as deadline:
        try:
            with _connected(destination, deadline, connect_seconds) as connection:
                status, text, retry_after = _spoken(connection, destination, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = f"no answer within {whole_seconds:g} s"
            return Answer(None, error=late if deadline.is_over else _said(error), seconds=time.monotonic() - began)
    return Answer(status, text, seconds=time.monotonic() - began, retry_after_seconds=retry_after)


def _connected(destination: Destination, deadline: Deadline, connect_seconds: float) -> socket.socket:
    plain = socket.create_connection((destination.address, destination.port), timeout=connect_seconds)
    try:
        deadline.watch(plain)
        if not destination.is_tls:
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=destination.host)
    except BaseException:
        plain.close()
        raise


def _spoken(
    connected: socket.socket, destination: Destination, body: bytes, headers: Mapping[str, str]
) -> tuple[int, str, int | None]:
    connected.settimeout(WHOLE_SECONDS)
    connection = http.client.HTTPConnection(destination.host, destination.port)
    connection.sock, connection.auto_open = connected, 0  # it must never connect by name
    connection.request("POST", destination.target, body, {"Host": destination.named, **headers, "Connection": "close"})
    answer = connection.getresponse()
    return answer.status, _shown(_beginning(answer)), _seconds(answer.headers.get("Retry-After", ""))


def _beginning(answer: http.client.HTTPResponse) -> bytes:
    """What came of the body, up to `KEPT_BYTES`; one that breaks off has still answered."""
    with suppress(OSError, http.client.HTTPException):
        return answer.read(KEPT_BYTES)
    return b""


def _shown(text: bytes) -> str:
    """A stranger's bytes as text that a database and a page can keep."""
    decoded = text.decode("utf-8", "replace")
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in decoded)


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, http.client.HTTPException):
        return f"not an HTTP answer: {type(error).__name__}"
    return (str(error) or type(error).__name__)[:300]
