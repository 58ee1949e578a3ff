"""Eyes on a run of the panel: command lines on the machine and its hosts, words said to Redis, events of a live stream."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import redis
from panel_person import Person

from pgpanel.redaction import faces


class Watch:
    """Something looked at again and again, in a thread, between `with` and its end."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._thread.join(20)

    def _run(self) -> None:
        raise NotImplementedError


class CommandLines(Watch):
    """What `ps` would have shown at any moment, on the panel's machine and, as namespaces nest, on all its hosts."""

    EVERY_SECONDS = 0.04
    YOUNG, OLD_EVERY = 12, 25

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[bytes] = set()

    def _run(self) -> None:
        known: dict[str, int] = {}
        while not self.is_over.wait(self.EVERY_SECONDS):
            now: dict[str, int] = {}
            for path in Path("/proc").glob("[0-9]*"):
                now[path.name] = looks = known.get(path.name, 0) + 1
                if looks <= self.YOUNG or looks % self.OLD_EVERY == 0:
                    with contextlib.suppress(OSError):
                        self.seen.add((path / "cmdline").read_bytes())
            known = now


class RedisTalk(Watch):
    """Everything that is said to a Redis (MONITOR), whenever it is there."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port, self.said = port, b""

    def _run(self) -> None:
        while not self.is_over.wait(0.1):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as connection:
                connection.settimeout(0.5)
                connection.sendall(b"MONITOR\r\n")
                self._listen(connection)

    def _listen(self, connection: socket.socket) -> None:
        while not self.is_over.is_set():
            try:
                heard = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not heard:
                return
            self.said += heard

    def kept(self) -> bytes:
        """What lies in it now."""
        with redis.Redis(port=self._port) as client:
            return b"\n".join(key + b" " + (client.dump(key) or b"") for key in client.scan_iter())


class Stream(Watch):
    """A browser's live stream of one job, opened again whenever it breaks off, as an EventSource does."""

    def __init__(self, person: Person, topic: str) -> None:
        super().__init__()
        self._person, self._topic = person, topic
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _run(self) -> None:
        while not self.is_over.is_set():
            try:
                for event in self._person.live(self._topic, seconds=5):
                    self.events.append(event)
                    if self.is_over.is_set():
                        return
            except OSError:
                time.sleep(0.2)

    def seqs(self) -> set[int]:
        return {data["seq"] for name, data in list(self.events) if name == "line"}


class Secrets:
    """Known secret values by name, looked for in every form in which they could turn up."""

    def __init__(self, values: dict[str, str]) -> None:
        self._faces = {face.encode(): name for name, value in values.items() for face in faces(value) if len(face) >= 12}

    def found_in(self, text: str | bytes) -> list[str]:
        """The names of the secrets that stand in it."""
        data = text if isinstance(text, bytes) else text.encode()
        return sorted({name for face, name in self._faces.items() if face in data})

    def patterns(self) -> str:
        """For `grep -F -f`."""
        return "".join(f"{face.decode()}\n" for face in self._faces if b"\n" not in face)

    def leaks(self, places: dict[str, str | bytes]) -> dict[str, list[str]]:
        return {place: found for place, text in places.items() if (found := self.found_in(text))}
