"""A critical section, run by the engine: its parts are opened before it, nothing is written during it, everything after it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs.act import Actor
from jobs.cues import LiveCues
from jobs.models import JobStep
from jobs.recipe import Ended, Part, Section
from jobs.telling import keep
from remote.dialogue import Dialogue
from remote.errors import HostUnreachable, LockHeld

REOPEN_SECONDS, FREE_SECONDS, RETRY_SECONDS = 6.0, 45.0, 0.2
"""After a lost line: how long a host that does not answer is asked, and how long one whose part still acts is waited for."""


def run(actor: Actor, row: JobStep, section: Section) -> None:
    cues = LiveCues(section, lambda part, is_afresh: _opened(actor, part, is_afresh), actor.check)
    report: Mapping[str, Any] = {}
    try:
        cues.open_all()
        report = section.conduct(cues).report
    except Ended as ended:
        report = ended.report
        raise
    finally:
        cues.close()
        for line in cues.spoken:
            actor.log.write(line.voice, line.told, line.node, row.key, at=line.at)
        keep(actor.claim, report, cues.timeline)


def _opened(actor: Actor, part: Part, is_afresh: bool) -> Dialogue:
    if is_afresh:
        return _found_again(actor, part)
    return actor.when_free(part.node, lambda host: host.open(part.command))


def _found_again(actor: Actor, part: Part) -> Dialogue:
    """In the middle of it nobody asks whether the job is still wanted: it must end one way or the other."""
    began_at = time.monotonic()
    while True:
        actor.hosts.drop(part.node)
        try:
            return actor.hosts[part.node].open(part.command)
        except LockHeld:
            if time.monotonic() - began_at > FREE_SECONDS:
                raise
        except HostUnreachable:
            if time.monotonic() - began_at > REOPEN_SECONDS:
                raise
        time.sleep(RETRY_SECONDS)
