"""Host names to addresses without waiting: libpq looks a name up while everything else stands still, so it is given an address."""

from __future__ import annotations

import ipaddress
import socket
import time
from concurrent.futures import Executor
from contextlib import suppress

KEPT_SECONDS = 60.0
FAILED_SECONDS = 10.0


class Names:
    """Looked up in the pool's threads, remembered for a minute; a newer answer replaces the old one when it comes."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._found: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._due_at: dict[str, float] = {}

    def address_of(self, name: str) -> str | None:
        """None: not known (yet); `failure_of` says whether it was tried."""
        with suppress(ValueError):
            return str(ipaddress.ip_address(name))
        now = time.monotonic()
        if now >= self._due_at.get(name, 0.0):
            self._due_at[name] = now + KEPT_SECONDS
            self._pool.submit(self._look_up, name)
        return self._found.get(name)

    def failure_of(self, name: str) -> str:
        return self._failed.get(name, "")

    def _look_up(self, name: str) -> None:
        try:
            self._found[name] = str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
            self._failed.pop(name, None)
        except OSError as error:
            self._failed[name] = f"{name}: {error.strerror or error}"
            self._due_at[name] = time.monotonic() + FAILED_SECONDS
