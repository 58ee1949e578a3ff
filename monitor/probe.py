"""One look at a node over a connection that is kept open, as the monitoring role. (The other way: `monitor/ssh_look.py`.)

`Line` is a libpq connection in asynchronous mode, so that one thread looks at hundreds of nodes, and one that does not answer
delays nobody. It does not raise: a look that fails is an `Unseen`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, connection

from monitor import sql
from monitor.sight import Sight, Unseen
from remote import versions
from remote.command import Secret
from remote.visible import brief_line

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 2.5
"""How long a connect or a statement may take."""
THOROUGH_SECONDS = 10.0
MOST_MESSAGE = 500
REQUIRED = "!password"
"""A server that asks for the password itself gets none: a stolen one could log in to the others with it."""
DATABASE = "postgres"
APPLICATION = "pgpanel monitor"

Wants = Literal["read", "write", "nothing"]


@dataclass(frozen=True)
class Server:
    """Where PostgreSQL of a node listens, and as whom the monitor looks. role "" = there is no monitoring role."""

    address: str
    port: int
    role: str = ""
    password: Secret | None = None


class Line:
    """One kept-open connection, driven by its owner's event loop: `look()`, then `on_ready()` whenever its socket is ready.

    hostaddr: the address of `server.address`, which may be a name (libpq would wait for its lookup).
    After each call `wants` says what to wait for; `answer` is there once the look has ended. Broken once, it stays broken:
    its owner makes a new one.
    """

    def __init__(self, server: Server, hostaddr: str) -> None:
        self.server = server
        self.hostaddr = hostaddr
        self.wants: Wants = "nothing"
        self.answer: Sight | Unseen | None = None
        self.is_broken = False
        self.is_looking = False
        self.asked_at = 0.0
        self._connection: connection | None = None
        self._version: versions.Version | None = None
        self._sent_at = 0.0
        self._thorough_at = 0.0
        self._is_prepared = False
        self._is_asked = False

    def fileno(self) -> int:
        return self._connection.fileno() if self._connection else -1

    @property
    def is_open(self) -> bool:
        return self._version is not None and not self.is_broken

    def look(self) -> None:
        """Begin a look; connects first if need be."""
        self.answer, self.is_looking, self._is_asked = None, True, False
        self.asked_at = time.monotonic()
        with self._failing_alone():
            if self._connection is None:
                self._connect()
            if self._version is not None:
                self._ask()
            self._poll()

    def on_ready(self) -> None:
        """The socket is ready: go on."""
        with self._failing_alone():
            self._poll()

    @contextmanager
    def _failing_alone(self) -> Iterator[None]:
        """Whatever a server answers, and whatever psycopg2 makes of it: the others are looked at all the same."""
        try:
            yield
        except (psycopg2.Error, ValueError) as error:
            self._fail(cause_of(str(error)), str(error))
        except Exception as error:
            logger.warning("%s:%s answers what nobody asked", self.server.address, self.server.port, exc_info=True)
            self._fail("other", f"its answer cannot be read: {type(error).__name__}")

    def give_up(self) -> None:
        """Its time is over."""
        what = "answer" if self.is_open else "connection"
        self._fail("timeout", f"no {what} from {self.server.address}:{self.server.port} within {ANSWER_SECONDS:g} s")

    def close(self) -> None:
        self.wants, self.is_broken, self.is_looking = "nothing", True, False
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> None:
        password = self.server.password.value if self.server.password else ""
        self._connection = psycopg2.connect(
            host=self.server.address, hostaddr=self.hostaddr, port=self.server.port,
            user=self.server.role, password=password, dbname=DATABASE,
            application_name=APPLICATION, gssencmode="disable", async_=True, keepalives_idle=5, keepalives_interval=2,
            require_auth=REQUIRED,
            options=f"-c statement_timeout={int(ANSWER_SECONDS * 1000)} -c default_transaction_read_only=on",
        )  # fmt: skip

    def _poll(self) -> None:
        assert self._connection is not None
        state = self._connection.poll()
        if state == POLL_READ:
            self.wants = "read"
        elif state == POLL_WRITE:
            self.wants = "write"
        elif state == POLL_OK:
            self._settled()

    def _settled(self) -> None:
        """Connected, or answered."""
        assert self._connection is not None
        if self._version is None:
            self._version = versions.of(versions.major_of(str(self._connection.server_version)))
            self._cursor = self._connection.cursor()
        if not self.is_looking:
            self.wants = "read"  # a server that goes away says so
        elif not self._is_asked:
            self._ask()
            self._poll()
        else:
            rows = self._cursor.fetchall()
            self.answer = sql.sight_of(rows, self._version, self._sent_at, time.time(), "tcp")
            self.is_looking, self.wants = False, "read"

    def _ask(self) -> None:
        """The statement is prepared once: planning it costs the server more than answering it."""
        assert self._version is not None
        now = time.time()
        if now - self._thorough_at >= THOROUGH_SECONDS:
            self._thorough_at = now
            text = sql.statement(self._version, is_thorough=True)
        elif self._is_prepared:
            text = "EXECUTE pgpanel_look"
        else:
            self._is_prepared = True
            text = f"PREPARE pgpanel_look AS {sql.statement(self._version)}; EXECUTE pgpanel_look"
        self._sent_at, self._is_asked = now, True
        self._cursor.execute(text)

    def _fail(self, cause: str, message: str) -> None:
        self.close()
        self.answer = Unseen(time.time(), cause, brief_line(message, MOST_MESSAGE))


_CAUSES = (
    ("no pg_hba.conf entry", "no-role"),
    ("authentication failed", "no-role"),
    ("does not exist", "no-role"),
    ("not permitted to log in", "no-role"),
    ("no password supplied", "no-role"),
    ("permission denied", "no-role"),
    ("starting up", "starting"),
    ("not yet accepting connections", "starting"),
    ("hot standby mode is disabled", "no-hot-standby"),
    ("shutting down", "stopped"),
    ("refused", "refused"),
    ("timed out", "timeout"),
    ("no such file", "stopped"),
    ("is not running", "stopped"),
    ("statement timeout", "timeout"),
)


def cause_of(message: str) -> str:
    """libpq tells causes apart by words only; ours speak English (C locale of the panel), a server's may not: then "other"."""
    lower = message.lower()
    return next((cause for words, cause in _CAUSES if words in lower), "other")
