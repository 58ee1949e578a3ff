"""A command that is spoken with: its input stays open, one line is said, one line is heard, back and forth within milliseconds.

It goes through the same envelope as every other command: it becomes its user, takes the host's lock, proves its epoch, and holds
the lock until it ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType

from remote.command import Command
from remote.conversation import Conversation
from remote.errors import ConnectionLost, HostError, OutputTooLong, Silent, last_line
from remote.exchange import TooLong
from remote.ssh import Talk, Voice

ENDED_SECONDS = 0.3


class Dialogue:
    """Made by `Host.open`. Not for several threads at once."""

    def __init__(self, name: str, command: Command, talk: Talk) -> None:
        self.name, self.command = name, command
        self._talk = talk
        self._lines: deque[str] = deque()
        self._complaints: deque[str] = deque(maxlen=20)
        self._held: Conversation | None = None

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def has_ended(self) -> bool:
        return self._talk.has_ended

    @property
    def is_lost(self) -> bool:
        return self._talk.is_lost

    def begin(self, converse: Callable[[Callable[[str, str], None]], Conversation]) -> Conversation:
        """Through login, sudo and lock, until the command itself speaks or it is clear that it never will."""
        held = self._held = converse(self._take)
        held.begin(self._talk)
        while held.begun_at is None and not held.is_password_wrong and not self._talk.has_ended:
            with self._bounded():
                for voice, data in self._talk.moment(held.begins_by):
                    held.take(self._talk, voice, data)
            if time.monotonic() > held.begins_by:  # also of one that never stops printing something else
                break
        return held

    def say(self, line: str) -> None:
        """Sent at once. `ConnectionLost` when nobody is there to hear it."""
        if "\n" in line:
            raise ValueError("one line at a time")
        if self._talk.has_ended:
            raise self._over()
        self._talk.say(line.encode() + b"\n")
        self._talk.send()

    def hear(self, within_seconds: float = 10.0) -> str:
        """The next line that it prints. `Silent` when there is none in time, `ConnectionLost` when there will be none."""
        until = time.monotonic() + within_seconds
        while not self._lines:
            heard = self._talk.moment(until)
            self._keep(heard)
            if self._lines:
                break
            if not heard and self._talk.has_ended:
                raise self._over()
            if time.monotonic() >= until:
                raise Silent(
                    f"{self.name}: the command that is spoken with did not answer within {within_seconds:g} s", self.name,
                    "Is the host overloaded or frozen?",
                )  # fmt: skip
        return self._lines.popleft()

    def close(self) -> None:
        """Ends its input; what it does about that is its own affair."""
        self._talk.say(b"", is_last=True)
        self._talk.send()
        with suppress(OutputTooLong):
            self._keep(self._talk.moment(time.monotonic() + ENDED_SECONDS))
        self._talk.close()

    def _keep(self, heard: Sequence[tuple[Voice, bytes]]) -> None:
        assert self._held is not None
        with self._bounded():
            for voice, data in heard:
                self._held.exchange.take(voice, data)

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        try:
            yield
        except TooLong:
            self._talk.close()
            raise OutputTooLong(
                f"{self.name}: the command that is spoken with printed more than anybody reads", self.name
            ) from None

    def _take(self, voice: str, line: str) -> None:
        (self._lines if voice == "output" else self._complaints).append(line)

    def _over(self) -> HostError:
        said = last_line("\n".join(self._complaints))
        if self._talk.is_lost:
            how = "the connection broke"
        else:
            how = f"it ended with {self._talk.exit_code}" + (f": {said}" if said else "")
        return ConnectionLost(
            f"{self.name}: the command that is spoken with no longer listens: {how}", self.name, "Look at the host"
        )
