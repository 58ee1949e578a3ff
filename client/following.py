"""A job's log as it grows: server-sent events, taken up again behind the last line whenever the line breaks; to the very end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from client.panel import Panel
from client.refusals import Refused, Unreachable

ACTIVE = ("queued", "running")
LONGEST_WAIT_SECONDS = 10.0
GIVE_UP_SECONDS = 600.0
"""So long the panel may be away: the job goes on without it being watched."""


def lines(panel: Panel, job_id: int, after: int = 0) -> Iterator[dict[str, Any]]:
    """Each line once, in order, until the job has ended; `Unreachable` if the panel stays away."""
    away_since: float | None = None
    wait = 1.0
    while True:
        try:
            for name, data, event_id in panel.events(f"/jobs/{job_id}/events", after):
                away_since, wait = None, 1.0
                if name == "line" and event_id is not None and event_id > after:
                    after = event_id
                    yield json.loads(data)
                elif name == "gone":
                    raise Refused({"detail": "You may not see this job any more, or your token was revoked."})
                elif name == "status" and json.loads(data)["status"] not in ACTIVE:
                    break
            if panel.get(f"/jobs/{job_id}")["status"] not in ACTIVE:
                yield from _rest(panel, job_id, after)
                return
        except Unreachable:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > GIVE_UP_SECONDS:
                raise
        time.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


def _rest(panel: Panel, job_id: int, after: int) -> Iterator[dict[str, Any]]:
    """What was written last, after the stream had said that it is over."""
    while True:
        page = panel.get(f"/jobs/{job_id}/log", after=after, limit=500)
        yield from page["items"]
        if page["is_complete"] or not page["items"]:
            return
        after = int(page["next"])
