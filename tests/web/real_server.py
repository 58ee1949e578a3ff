"""The panel behind a real uvicorn, with the flags that it runs by, in a thread: what only a server does is seen there."""

from __future__ import annotations

import contextlib
import gc
import shlex
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from uvicorn.main import main as uvicorn_command

from pgpanel.processes import WEB


def _options() -> dict[str, object]:
    """The words of `WEB` as uvicorn's own command line reads them."""
    context = uvicorn_command.make_context("uvicorn", ["pgpanel.asgi:application", *shlex.split(WEB)])
    names = ("access_log", "server_header", "proxy_headers", "ws", "http", "h11_max_incomplete_event_size", "limit_concurrency")
    return {name: context.params[name] for name in names}


@contextlib.contextmanager
def real_server() -> Iterator[tuple[str, int]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            "pgpanel.asgi:application", log_config=None, timeout_graceful_shutdown=1, lifespan="off", **_options()
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            gc.collect()  # Django leaves the (empty) body of a request whose client goes to the garbage collector


def said(place: tuple[str, int], request: bytes, more: bytes = b"", seconds: float = 20) -> bytes:
    """Everything that the server answers to these bytes, until it closes or has sent a whole answer."""
    with socket.create_connection(place, seconds) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
            for start in range(0, len(more), 1 << 16):
                connection.sendall(more[start : start + (1 << 16)])
        answer = b""
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
                head, end, body = answer.partition(b"\r\n\r\n")
                length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
                if end and length is not None and len(body) >= int(length):
                    break
        return answer
