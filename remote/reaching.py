"""Knocking at PostgreSQL's port without a role: its postmaster answers an SSLRequest with one byte, whoever asks.

A kernel accepts connections for a server that hangs; only a word from the server itself says that it lives.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True)
class Knock:
    """is_open: the port accepts. has_spoken: PostgreSQL itself answered. is_refused: the host answers, nobody listens."""

    is_open: bool
    has_spoken: bool
    is_refused: bool
    detail: str

    @property
    def word(self) -> str:
        """As `remote.facts.Unreachable.postgres` has it."""
        if self.has_spoken:
            return "speaks"
        return "open" if self.is_open else "refused" if self.is_refused else "silent"


def postgres_answers(address: str, port: int, timeout_seconds: float = 4.0) -> Knock:
    """Blocks for at most twice that."""
    try:
        with socket.create_connection((address, port), timeout_seconds) as connection:
            return _spoken(connection, timeout_seconds)
    except ConnectionRefusedError:
        return Knock(is_open=False, has_spoken=False, is_refused=True, detail="connection refused")
    except OSError as error:
        return Knock(is_open=False, has_spoken=False, is_refused=False, detail=(error.strerror or str(error)).lower())


def _spoken(connection: socket.socket, timeout_seconds: float) -> Knock:
    connection.settimeout(timeout_seconds)
    try:
        connection.sendall(_SSL_REQUEST)
        answer = connection.recv(1)
    except OSError as error:
        return Knock(is_open=True, has_spoken=False, is_refused=False, detail=f"open, but says nothing: {error}")
    if answer in (b"S", b"N", b"E"):
        return Knock(is_open=True, has_spoken=True, is_refused=False, detail="PostgreSQL answers")
    said = "open, but the connection is closed at once" if not answer else "something else than PostgreSQL answers"
    return Knock(is_open=True, has_spoken=False, is_refused=False, detail=said)
