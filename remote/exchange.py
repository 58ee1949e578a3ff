"""Reading what comes back for an envelope: our command's own output apart from all that was printed before it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

OUTPUT_LIMIT_BYTES = 16 << 20
NOISE_LIMIT_BYTES = 64 << 10
LINE_LIMIT_BYTES = 64 << 10

OnOutput = Callable[[str, str], None]
"""Called with the voice ("output" or "error") and one line, as soon as the line is complete."""


class TooLong(Exception):
    """One voice has said more than its limit."""


@dataclass
class Voiced:
    """One voice of a command. `mark` is what the envelope prints right before the command begins."""

    mark: re.Pattern[bytes]
    limit_bytes: int
    noise: bytearray = field(default_factory=bytearray)
    ours: bytearray = field(default_factory=bytearray)
    begun: re.Match[bytes] | None = None

    def take(self, data: bytes) -> bytes:
        """What of `data` is our command's output."""
        if self.begun:
            fresh = data
        else:
            self.noise += data
            self.begun = self.mark.search(bytes(self.noise))
            if not self.begun:
                del self.noise[:-NOISE_LIMIT_BYTES]
                return b""
            fresh = bytes(self.noise[self.begun.end() :])
            del self.noise[self.begun.start() :]
        self.ours += fresh
        if len(self.ours) > self.limit_bytes:
            raise TooLong
        return fresh


@dataclass
class Lines:
    """Bytes → lines for a listener; an endless line is passed on in pieces."""

    voice: str
    listener: OnOutput
    rest: bytes = b""

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        while len(self.rest) > LINE_LIMIT_BYTES:
            self._pass_on(self.rest[:LINE_LIMIT_BYTES])
            self.rest = self.rest[LINE_LIMIT_BYTES:]

    def end(self) -> None:
        if self.rest:
            self._pass_on(self.rest)

    def _pass_on(self, line: bytes) -> None:
        self.listener(self.voice, line.decode("utf-8", "replace"))


class Exchange:
    """The two voices of one command, and the envelope's own words."""

    def __init__(self, token: str, on_output: OnOutput | None, limit_bytes: int) -> None:
        word = re.escape(token.encode())
        self.output = Voiced(re.compile(b"\n" + word + b"\n"), limit_bytes)
        self.error = Voiced(re.compile(b"\n" + word + rb" begin (\d{1,10}) (\d{1,10})\n"), limit_bytes)
        self._outer = re.compile(b"\n" + word + rb" outer (\d{1,10}) (\d{1,10})\n")
        self._stopped = re.compile(b"\n" + word + rb" stop (\w{1,20}) ?(\d{0,18})\n")
        self._prompt = word + rb"\?"
        self._lines = {voice: Lines(voice, on_output) for voice in ("output", "error")} if on_output else {}
        self._early = b""

    def take(self, voice: str, data: bytes) -> None:
        fresh = (self.output if voice == "output" else self.error).take(data)
        if not self._lines:
            return
        if not self.has_begun:  # a listener may end the command: not before it is known what there is to end
            self._early += fresh
            return
        self._lines["output"].take(self._early)
        self._early = b""
        self._lines[voice].take(fresh)

    def end(self) -> None:
        for lines in self._lines.values():
            lines.end()

    @property
    def has_begun(self) -> bool:
        return self.error.begun is not None

    @property
    def prompts(self) -> int:
        """How often sudo has asked for the password."""
        return len(re.findall(self._prompt, bytes(self.error.noise)))

    @property
    def is_login_known(self) -> bool:
        """Whether the login shell let our script run at all."""
        return self._outer.search(bytes(self.error.noise)) is not None

    @property
    def stopped(self) -> tuple[str, int] | None:
        """Why the envelope itself refused to run the command: "epoch" with the one that it saw, "lock", "flock", "state"."""
        found = self._stopped.search(bytes(self.error.noise))
        return (found[1].decode(), int(found[2] or 0)) if found else None

    @property
    def sessions(self) -> frozenset[int]:
        """What to end when the command has to be ended: never a session that is not ours alone (the SSH daemon's, say)."""
        outer = self._outer.search(bytes(self.error.noise))
        login_session, login_pid = (int(outer[1]), int(outer[2])) if outer else (0, 0)
        found = {login_session} | ({int(self.error.begun[2])} if self.error.begun else set())
        return frozenset(found - {0} if login_session == login_pid else found - {0, login_session})

    @property
    def said_before(self) -> str:
        """What sudo, su or the login printed instead of our command, without the envelope's own words."""
        own = re.compile(self._outer.pattern + b"|" + self._stopped.pattern + b"|" + self._prompt)
        return own.sub(b"", bytes(self.error.noise)).decode("utf-8", "replace").strip()
