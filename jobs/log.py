"""A job's log: chunks → lines → redaction → stored rows, and from there to the live stream.

Lines are stored first, in small batches by a thread of its own, and published afterwards, best effort: the log is complete even if
Redis dies. How far a detached command's output was read is stored in the same transaction as its lines, so that the next worker
neither repeats nor misses one.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs.claim import Claim
from jobs.models import Job, LogLine
from pgpanel import live
from pgpanel.redaction import Redactor
from remote.command import Secret

GATHER_SECONDS = 0.05
BATCH_LINES = 400
QUEUE_LINES = 10_000
LINES_TOLD = 8
MOST_LINES, LAST_LINES = 10_000, 1_000
"""Of one step's output so many are kept as they come, and of what follows the last ones."""
FLOODING = ("output", "error")
"""What a host prints. (Commands and notes are the panel's own words.)"""
LONGEST_UNENDED = 64 * 1024
SENTENCE = re.compile(r"(?:^|^.*\bsh -c ')# (.+)$", re.MULTILINE)
GIVEN = re.compile(r"^(?:set -- |' pgpanel )(.+)$", re.MULTILINE)
LINE_END = re.compile(rb"\r\n|\n|\r")


Voiced = tuple[str, str]
"""Step and voice."""


@dataclass(frozen=True)
class Line:
    at: datetime
    node: str
    step: str
    voice: str
    text: str


@dataclass(frozen=True)
class ReadTo:
    """The output of detached command `name` of `step` is in the log up to byte `offset`."""

    step: str
    name: str
    offset: int


class Flood:
    """The end of an output that is too long to be kept whole."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=LAST_LINES)
        self.left_out = 0
        self.mark: ReadTo | None = None

    def hold(self, line: Line) -> None:
        self.left_out += len(self.lines) == LAST_LINES
        self.lines.append(line)


class JobLog:
    """Thread-safe. What goes wrong while storing (a lost claim, a broken database) is raised by the next `write` or `flush`."""

    def __init__(self, claim: Claim, secrets: Iterable[Secret] = ()) -> None:
        self.redactor = Redactor(secrets)
        self._claim = claim
        self._queue: queue.Queue[Line | ReadTo | threading.Event | None] = queue.Queue(QUEUE_LINES)
        self._failure: Exception | None = None
        self._counts: dict[Voiced, int] = {}
        self._floods: dict[Voiced, Flood] = {}
        self._thread = threading.Thread(target=self._keep, name=f"log of job {claim.job_id}", daemon=True)
        self._thread.start()

    def write(self, voice: str, text: str, node: str = "", step: str = "", *, at: datetime | None = None) -> None:
        """A line of output; or a command, an error, a note, which are kept as one even where they have several lines.

        at: when it was said, where that was before now.
        """
        self._raise()
        # what a host printed is one line: no character of its own choice makes two of it
        lines = [text] if voice == "output" else text.split("\n")
        kept = [self.redactor.line(raw, stream=f"{node}/{voice}") for raw in lines]
        whole = "\n".join(line for line in kept if line is not None)
        if whole or not text:
            line = Line(at or timezone.now(), node, step, voice, whole)
            if voice not in FLOODING or not self._is_flooded(line):
                self._put(line)

    def read_to(self, step: str, name: str, offset: int) -> None:
        """Not while its lines are held back: whoever takes over reads those again."""
        mark = ReadTo(step, name, offset)
        if (step, "output") in self._floods:
            self._floods[step, "output"].mark = mark
        else:
            self._put(mark)

    def _is_flooded(self, line: Line) -> bool:
        """Whether the line is held back: past `MOST_LINES` of its step and voice, only the last ones are kept."""
        key = line.step, line.voice
        if key not in self._counts:
            lines = LogLine.objects.filter(job_id=self._claim.job_id, step=line.step, voice=line.voice)
            self._counts[key] = lines.count()
        self._counts[key] += 1
        if self._counts[key] <= MOST_LINES:
            return False
        if key not in self._floods:
            self._floods[key] = Flood()
            said = _("more than %(most)d lines: of those that follow only the last %(last)d are kept")
            self._put(replace(line, voice="note", text=said % {"most": MOST_LINES, "last": LAST_LINES}))
        self._floods[key].hold(line)
        return True

    def _let_go(self) -> None:
        """What was held back goes into the log, and how much did not."""
        for key in list(self._floods):
            flood = self._floods.pop(key)
            if flood.left_out:
                said = _("… %(count)d lines left out, the last %(last)d follow")
                text = said % {"count": flood.left_out, "last": len(flood.lines)}
                self._put(replace(flood.lines[0], voice="note", text=text))
            for line in flood.lines:
                self._put(line)
            if flood.mark:
                self._put(flood.mark)

    def flush(self, timeout_seconds: float = 60) -> None:
        """Returns when everything written so far is stored."""
        self._raise()
        self._let_go()
        stored = threading.Event()
        self._put(stored)
        deadline = time.monotonic() + timeout_seconds
        while not stored.wait(0.5):
            self._raise()
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise DatabaseError("the job's log cannot be stored")
        self._raise()

    def close(self) -> None:
        with suppress(Exception):
            self._let_go()
        with suppress(queue.Full):
            self._queue.put(None, timeout=60 if self._thread.is_alive() else 0.01)
        self._thread.join(timeout=60)

    def _put(self, item: Line | ReadTo | threading.Event) -> None:
        """Waits while the database is slower than the output: a flood must not fill the worker's memory."""
        while True:
            self._raise()
            try:
                self._queue.put(item, timeout=0.5)
                return
            except queue.Full:
                if not self._thread.is_alive():
                    raise DatabaseError("the job's log cannot be stored") from None

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    # -- in the thread -------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        try:
            while (first := self._queue.get()) is not None:
                batch, is_last = self._gather(first)
                self._store_and_tell(batch)
                if is_last:
                    return
        except Exception as error:
            self._failure = error
        finally:
            connection.close()

    def _gather(self, first: Line | ReadTo | threading.Event) -> tuple[list[Line | ReadTo | threading.Event], bool]:
        """What arrives within a moment, as one batch; at once when somebody waits for it (a flush)."""
        batch = [first]
        until = time.monotonic() + GATHER_SECONDS
        while len(batch) < BATCH_LINES and not isinstance(batch[-1], threading.Event):
            try:
                item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False

    def _store_and_tell(self, batch: list[Line | ReadTo | threading.Event]) -> None:
        lines = [item for item in batch if isinstance(item, Line)]
        marks = [item for item in batch if isinstance(item, ReadTo)]
        rows = store(self._claim, lines, marks) if lines or marks else []
        for item in batch:
            if isinstance(item, threading.Event):
                item.set()
        if rows:
            live.publish_all(f"job:{self._claim.job_id}", [live.Event("line", line_data(row), row.seq) for row in rows])


@transaction.atomic
def store(claim: Claim, lines: list[Line], marks: list[ReadTo]) -> list[LogLine]:
    """Number and keep the lines; `Superseded` (and nothing kept) when the job has another worker now."""
    claim.update(last_seq=F("last_seq") + len(lines))
    last = Job.objects.values_list("last_seq", flat=True).get(pk=claim.job_id)
    rows = [
        LogLine(job_id=claim.job_id, seq=last - len(lines) + count, at=line.at, node=line.node, step=line.step, voice=line.voice,
                text=line.text)
        for count, line in enumerate(lines, start=1)
    ]  # fmt: skip
    LogLine.objects.bulk_create(rows)
    for mark in {(mark.step, mark.name): mark for mark in marks}.values():
        claim.note_detached(mark.step, mark.name, offset=mark.offset)
    return rows


def told(shown: str) -> str:
    """A command as the log tells it: a long script by its first sentence and what it is given (plan and runbook have it whole)."""
    lines = shown.splitlines()
    if len(lines) <= LINES_TOLD:
        return shown
    sentence, given = SENTENCE.search(shown), GIVEN.search(shown)
    said = [f"# {sentence.group(1)}" if sentence else lines[0], f"set -- {given.group(1)}" if given else ""]
    return "\n".join([*filter(None, said), _("… %(count)d lines in all") % {"count": len(lines)}])


def line_data(line: LogLine) -> dict[str, Any]:
    return {
        "seq": line.seq,
        "at": line.at.isoformat(),
        "node": line.node,
        "step": line.step,
        "voice": line.voice,
        "text": line.text,
    }


class Lines:
    """Bytes in chunks → whole lines with the offset after each. A carriage return ends a line too: progress is printed so.

    A line that does not end is passed on in pieces: what is kept of it here is bounded.
    """

    def __init__(self, offset: int = 0) -> None:
        self._rest = b""
        self._offset = offset

    def take(self, chunk: bytes) -> list[tuple[str, int]]:
        data = self._rest + chunk
        found, start = [], 0
        for end in LINE_END.finditer(data):
            if end.end() == len(data) and data.endswith(b"\r"):
                break  # its \n may be on the way
            found.append((data[start : end.start()].decode("utf-8", "replace"), self._offset + end.end()))
            start = end.end()
        while len(data) - start > LONGEST_UNENDED:
            piece = data[start : start + LONGEST_UNENDED]
            start += LONGEST_UNENDED
            found.append((piece.decode("utf-8", "replace"), self._offset + start))
        self._rest = data[start:]
        self._offset += start
        return [(text, offset) for text, offset in found if text]

    def rest(self) -> list[tuple[str, int]]:
        """The last line, when nothing ends it."""
        text = self._rest.decode("utf-8", "replace").rstrip("\r")
        self._offset += len(self._rest)
        self._rest = b""
        return [(text, self._offset)] if text else []
