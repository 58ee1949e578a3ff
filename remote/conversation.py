"""One command, there and back: its envelope sent, sudo's question answered, its output heard until it has ended."""

from __future__ import annotations

import secrets
import time

from remote.access import Access, Lock
from remote.command import Command, Secret, text_value
from remote.envelope import LOCK_WAIT_SECONDS, envelope
from remote.exchange import OUTPUT_LIMIT_BYTES, Exchange, OnOutput
from remote.ssh import Talk, Voice

START_SECONDS = 20.0
"""How long becoming the command's user may take; waiting for the lock comes on top."""


class Conversation:
    """begun_at: when the command itself began (monotonic clock); None while the login, sudo or the lock is waited for.

    keeps_open: its input does not end with what the command brings: more is to be said (`remote/dialogue.py`).
    """

    def __init__(
        self,
        command: Command,
        access: Access,
        lock: Lock | None,
        state_owner: str,
        on_output: OnOutput | None,
        *,
        keeps_open: bool = False,
    ) -> None:
        token = f"pgpanel-{secrets.token_hex(8)}"
        by_sudo = access.user != "root" and command.user not in ("", access.user)
        self.command = command
        self.exchange = Exchange(token, on_output, OUTPUT_LIMIT_BYTES)
        self.begun_at: float | None = None
        self._keeps_open = keeps_open
        self._password: Secret | None = access.password if by_sudo else None
        self._answered = 0
        self._opening = envelope(
            command, token, login=access.user, has_password=self._password is not None, lock=lock, state_owner=state_owner
        )
        self._start_seconds = START_SECONDS + (LOCK_WAIT_SECONDS if lock and command.mutates else 0)
        self._started_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the command began; before that, since it was sent."""
        return time.monotonic() - (self.begun_at or self._started_at)

    @property
    def is_password_wrong(self) -> bool:
        return self.exchange.prompts > 1

    def hold(self, talk: Talk) -> None:
        """To the end. TimedOut, TooLong, and whatever the listener raises, leave a command that may still run."""
        self.begin(talk)
        for voice, data in talk.hear(self._deadline):
            self.take(talk, voice, data)
            if self.is_password_wrong:
                return  # a second try would only count towards a lock-out
        self.exchange.end()

    def begin(self, talk: Talk) -> None:
        self._started_at = time.monotonic()
        talk.say(self._opening)
        if self._password is None:
            talk.say(self._input, is_last=not self._keeps_open)

    def take(self, talk: Talk, voice: Voice, data: bytes) -> None:
        self.exchange.take(voice, data)
        if self.begun_at is None:
            self._not_yet_begun(talk)

    @property
    def begins_by(self) -> float:
        """Until when it must have begun, on the monotonic clock."""
        return self._started_at + self._start_seconds

    def _not_yet_begun(self, talk: Talk) -> None:
        """Where sudo may ask, the input waits until the command has begun: nothing of it is to be taken for a password."""
        if self.exchange.has_begun:
            self.begun_at = time.monotonic()
            if self._password is not None:
                talk.say(self._input, is_last=not self._keeps_open)
        elif self._password is not None and self.exchange.prompts == 1 and not self._answered:
            self._answered = 1
            talk.say(self._password.value.encode() + b"\n")

    @property
    def _input(self) -> bytes:
        return text_value(self.command.stdin).encode() if self.command.stdin is not None else b""

    def _deadline(self) -> float:
        if self.begun_at is None:
            return self.begins_by
        return self.begun_at + self.command.timeout_seconds
