"""A section's parts, opened and spoken with. What is said and heard stays in memory, with its times, until the section is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from jobs.recipe import Part, Section
from remote.dialogue import Dialogue
from remote.errors import HostError

OpenPart = Callable[[Part, bool], Dialogue]
"""Opens a part; True: over a new connection, because the line was lost."""
OPENED_WITHIN_SECONDS, MOST_OPENINGS = 10.0, 3
MOST_KEPT = 1000
"""Characters of a line: what is longer carries somebody's data, of which nothing is kept."""


@dataclass(frozen=True)
class Spoken:
    """voice: "command" (said), "output" (heard), "error", "note". since_seconds: since the section began, by a monotonic clock."""

    at: datetime
    since_seconds: float
    node: str
    voice: str
    text: str

    @property
    def told(self) -> str:
        mark = {"command": "→ ", "output": "← "}.get(self.voice, "")
        return f"{self.since_seconds * 1000:9.1f} ms  {mark}{self.text}"


class LiveCues:
    """`jobs.recipe.Cues` over open dialogues."""

    def __init__(self, section: Section, open_part: OpenPart, check: Callable[[], None] = lambda: None) -> None:
        self._parts: Mapping[str, Part] = {part.name: part for part in section.parts}
        self._open_part, self._check = open_part, check
        self._open: dict[str, Dialogue] = {}
        self._began_at = time.monotonic()
        self.spoken: list[Spoken] = []

    def open_all(self) -> None:
        """All parts, or none. One that had to be waited for may have tired the others: then all of them again."""
        for _ in range(MOST_OPENINGS):
            began_at = time.monotonic()
            try:
                for name, part in self._parts.items():
                    self._open[name] = self._open_part(part, False)
            except BaseException:
                self.close()
                raise
            if time.monotonic() - began_at < OPENED_WITHIN_SECONDS:
                return
            self.close()
        raise TimeoutError("the hosts of this step cannot be spoken with at the same time")

    def close(self) -> None:
        for dialogue in self._open.values():
            dialogue.close()
        self._open.clear()

    def say(self, part: str, line: str) -> None:
        self._keep(part, "command", line)
        self._dialogue(part).say(line)

    def hear(self, part: str, within_seconds: float = 10.0) -> str:
        try:
            line = self._dialogue(part).hear(within_seconds)
        except HostError as error:
            self._keep(part, "error", error.message)
            raise
        self._keep(part, "output", line)
        return line

    def reopen(self, part: str) -> None:
        self._keep(part, "note", "the line was lost: asked anew")
        if dialogue := self._open.pop(part, None):
            dialogue.close()
        self._open[part] = self._open_part(self._parts[part], True)

    def check(self) -> None:
        self._check()

    def note(self, text: str, part: str = "") -> None:
        self._keep(part, "note", text)

    @property
    def timeline(self) -> list[dict[str, str]]:
        """The notes, for `Job.report`."""
        return [{"at": one.at.isoformat(), "what": one.text, "node": one.node} for one in self.spoken if one.voice == "note"]

    def _dialogue(self, part: str) -> Dialogue:
        if part not in self._open:
            self.reopen(part)
        return self._open[part]

    def _keep(self, part: str, voice: str, text: str) -> None:
        node = self._parts[part].node if part else ""
        if len(text) > MOST_KEPT:
            text = f"{text.rpartition(' ')[0][:MOST_KEPT]} … ({len(text)} characters)"
        self.spoken.append(Spoken(datetime.now(UTC), time.monotonic() - self._began_at, node, voice, text))
