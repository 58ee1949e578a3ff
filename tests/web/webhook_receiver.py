"""A receiver of webhooks that is really there: it verifies as Standard Webhooks says, and can be as rude as strangers are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Written anew here, so that the panel's own code does not judge itself."""
        text = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        key = base64.b64decode(secret.split("_", 1)[1])
        mine = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
        fresh = abs(time.time() - int(self.headers["webhook-timestamp"])) < 300
        return fresh and any(hmac.compare_digest(f"v1,{mine}", one) for one in self.headers["webhook-signature"].split())


@dataclass
class Receiver:
    """manner: "takes", a status as text ("503"), "redirects", "hangs", "drips", "floods", "garbles", "breaks off"."""

    manner: str = "takes"
    answer: bytes = b"thanks"
    retry_after: str = ""
    received: list[Received] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Receiver:
        receiver = self

        class Listening(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.received.append(Received({name.lower(): value for name, value in self.headers.items()}, body))
                with suppress(OSError):
                    receiver.behave(self)

            def log_message(self, *_words: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Listening)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self.leaving.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=of-the-receiver"

    def behave(self, asked: BaseHTTPRequestHandler) -> None:
        if self.manner == "hangs":
            self.leaving.wait(60)
            return
        if self.manner == "garbles":
            asked.wfile.write(b"\x00\xff not http at all\r\n\r\n")
            return
        if self.manner == "drips":
            for _count in range(600):
                asked.wfile.write(b"H" if _count == 0 else b"T")
                if self.leaving.wait(0.05):
                    return
            return
        status = 302 if self.manner == "redirects" else int(self.manner) if self.manner.isdecimal() else 200
        asked.send_response(status)
        if self.manner == "redirects":
            asked.send_header("Location", "http://127.0.0.1:1/inside")
        if self.retry_after:
            asked.send_header("Retry-After", self.retry_after)
        if self.manner in ("floods", "breaks off"):
            asked.send_header("Content-Length", str(1 << 40))
        asked.end_headers()
        if self.manner == "floods":
            while not self.leaving.is_set():
                asked.wfile.write(b"x" * 65536)
        elif self.manner != "breaks off":
            asked.wfile.write(self.answer)
