"""The promotion itself, as a section with one part: the line to the candidate and its SQL session are open before the word is said.

So nothing but the promotion stands between the decision and the first write. The part is the same script as in a switchover's gap.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from jobs.blocks.gap import NEW, new_part
from jobs.blocks.scene import Scene
from jobs.recipe import Cues, Ended, Ending, Part, Section
from remote.errors import ConnectionLost, HostError, Silent

ANSWER_SECONDS, PROMOTE_SECONDS = 10.0, 70.0
LOOK = "Look at both nodes: exactly one may take writes. Resume when that is so; the job goes on from what is true."


def promotion_section(scene: Scene, before: int) -> Section:
    """before: the timeline that the candidate is on as a standby."""
    part = Part(NEW, scene.primary.name, new_part(scene.version, scene.primary))
    return Section((part,), lambda cues: Promotion(scene.primary.name, before, cues).conduct())


@dataclass
class Promotion:
    node: str
    before: int
    cues: Cues
    sent_at: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)

    def conduct(self) -> Ending:
        try:
            state = self._state()
            if state[0] == "primary":  # an earlier worker's word was heard
                return self._done(int(state[2]), "")
            if state[0] != "standby":
                raise Ended("", f"{self.node} does not answer: {' '.join(state)}", f"Start {self.node}, then resume.")
            self._ask("reach" if state[2] == "0" else f"await 0/1 {state[2]} 2", "past")
            self.cues.check()
            self.cues.note("told to promote")
            self.sent_at = time.monotonic()
            self.cues.say(NEW, "promote")
            return self._judged(self.cues.hear(NEW, PROMOTE_SECONDS))
        except (ConnectionLost, Silent) as lost:
            return self._found_again(lost)

    def _state(self) -> list[str]:
        return self._ask("state", "state").split(" ")[1:]

    def _ask(self, line: str, expected: str) -> str:
        self.cues.say(NEW, line)
        answer = self.cues.hear(NEW, ANSWER_SECONDS)
        if answer.split(" ")[0] != expected:
            raise Ended("", f"{self.node} was asked “{line}” and said: {answer}", f"Look at {self.node}, then resume.")
        return answer

    def _judged(self, answer: str) -> Ending:
        word, *rest = answer.split(" ")
        if word == "promoted" and int(rest[0]) > self.before:
            return self._done(int(rest[0]), rest[2])
        if word in ("expired", "failed"):
            why = "This worker slept too long, and its word was not taken any more" if word == "expired" else " ".join(rest)
            raise Ended("", f"{self.node} was not promoted. {why}.", "Resume: it is asked and told anew.", self.report)
        raise Ended("unknown", f"{self.node} was told to promote and said: {answer}", LOOK, self.report)

    def _done(self, timeline: int, switch: str) -> Ending:
        if timeline <= self.before:
            raise Ended(
                "unknown", f"{self.node} takes writes, but still on timeline {timeline}: it was not promoted.", LOOK, self.report
            )
        self.report |= {"timeline_after": timeline, "promoted_at": time.time()}
        if switch:
            self.report |= {"switch_lsn": switch, "promotion_ms": round((time.monotonic() - self.sent_at) * 1000, 1)}
        self.cues.note(f"is the primary, on timeline {timeline}")
        return Ending("done", self.report)

    def _found_again(self, lost: HostError) -> Ending:
        """The word may have been heard: nothing is taken back, and the node itself is asked."""
        try:
            self.cues.reopen(NEW)
            state = self._state()
        except HostError as error:
            word = "unknown" if self.sent_at else ""
            raise Ended(word, f"The line to {self.node} was lost. {error.message}", LOOK if word else "", self.report) from lost
        if state[0] == "primary" and int(state[2]) > self.before:
            return self._done(int(state[2]), "")
        if not self.sent_at:
            raise Ended("", f"The line to {self.node} was lost before it was told.", "Resume.", self.report) from lost
        raise Ended(
            "unknown", f"The line was lost after the word; {self.node} says: {' '.join(state)}", LOOK, self.report
        ) from lost
