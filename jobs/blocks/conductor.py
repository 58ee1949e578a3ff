"""The conductor of a write gap: says words to both hosts' scripts, and decides. Pure: no Django, no SSH, nothing but `Cues`."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from jobs.recipe import Cues, Ended, Ending
from remote import lsn
from remote.errors import ConnectionLost, EpochRefused, HostError, Silent

OLD, NEW = "old", "new"
WORD_SECONDS, GRACE_SECONDS = 10.0, 3.0
STATE_SECONDS = 20.0
PING_SECONDS = 2.0
CHECKPOINT_SECONDS = 1800.0
SALVAGE_SECONDS = 120.0
FILLED_SECONDS = 60.0
"""A slow link may take so long for the rest of a WAL file: nobody waits for it yet."""
SHORT_SECONDS = 2.0
"""What has not arrived by then does not come by itself, where the candidate's receiver has lost its primary."""
PAGE_BYTES = 8192
MOST_RELAYED_BYTES = 4 << 20
"""So much goes through the panel, page by page; more goes from host to host, by the archive command."""
PROMOTE_SECONDS = 75.0
START_AFTER_SECONDS = 0.05
"""The first writes on the new primary come before the old one's start, where both share processors or a disk."""
MOST_RESUMPTIONS = 3
LOOK_SECONDS, MOST_LOOKS = 0.5, 20
ROLLBACK_SECONDS = 1000.0
"""A server that does not end its stop is waited for: it cannot be called back from it."""


@dataclass(frozen=True)
class Gap:
    """old, new: the nodes' names. catch_up_seconds: what the candidate may take for what is missing, before and after the stop.

    can_salvage: the old one archives by pgpanel's own command, which can give the candidate whole files that never arrived.
    """

    old: str
    new: str
    catch_up_seconds: float = 10.0
    stop_seconds: float = 40.0
    can_salvage: bool = False


@dataclass(frozen=True)
class OldState:
    """role: primary, standby, busy (starting or stopping), stopped, rested (a stopped standby), crashed. fence: staged, fenced,
    unfenced, bare. lsn, timeline: of its last checkpoint, which after a clean stop is the end of all."""

    role: str
    fence: str
    lsn: str
    timeline: int


@dataclass(frozen=True)
class NewState:
    """role: standby, primary, silent (its server does not answer), down (nothing of it runs, and its next start is a standby's)."""

    role: str
    replayed: str
    timeline: int
    said: str = ""


_WAL_PART = re.compile(r"wal [0-9A-F]{24} \d{1,10} [1-9]\d{0,9} [A-Za-z0-9+/]{4,}={0,2}")


@dataclass(frozen=True)
class WalPart:
    """line: the file's name, the offset and the size of the file in bytes, the content in Base64."""

    line: str

    @property
    def offset(self) -> int:
        return int(self.line.split(" ")[1])

    @property
    def file_bytes(self) -> int:
        return int(self.line.split(" ")[2])

    @property
    def content_bytes(self) -> int:
        content = self.line.rpartition(" ")[2]
        return len(content) * 3 // 4 - content.count("=")


@dataclass
class Conductor:
    """has_stopped: the old primary was told to stop, now or earlier. may_promote: a promotion was asked for, now or earlier."""

    gap: Gap
    cues: Cues
    has_stopped: bool = False
    is_fenced: bool = False
    may_promote: bool = False
    timeline: int = 0
    stop_said_at: float = 0.0
    looks: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    def conduct(self) -> Ending:
        for _ in range(MOST_RESUMPTIONS):
            try:
                return self._go_on()
            except (ConnectionLost, Silent) as lost:
                self._find_again(lost)
        raise self._unknown("The line to the hosts was lost again and again.")

    # -- where are we? ---------------------------------------------------------------------------------------------------------

    def _go_on(self) -> Ending:
        old, new = self._states()
        self.timeline = self.timeline or old.timeline
        match old.fence, old.role, new.role:
            case "unfenced", _, "standby" | "silent" | "down":
                raise self._settled(old)
            case "fenced", _, "primary" if new.timeline > old.timeline or old.role == "standby":
                return self._done(new.timeline)
            case "fenced", "stopped" | "standby" | "rested", "standby":
                self.has_stopped = self.is_fenced = self.may_promote = True
                return self._finish(old.lsn, old.timeline)
            case "fenced", "stopped", "down":
                self.has_stopped, self.may_promote = True, False
                raise self._rolled_back(f"The server of {self.gap.new} is down: {new.said or 'it does not run'}.")
            case "fenced", "stopped", "silent" if self.looks < MOST_LOOKS:
                return self._look_again()
            case "staged", "primary", "standby":
                return self._whole_way()
            case "staged", "stopped", "standby":
                self.has_stopped = True
                return self._finish(old.lsn, old.timeline)
            case "staged", "crashed" | "stopped", _ if new.role != "primary":
                self.has_stopped = True
                raise self._rolled_back(f"{self.gap.old} was found stopped{' after a crash' if old.role == 'crashed' else ''}.")
        if new.role == "primary" and old.role in ("primary", "busy"):
            raise self._two(old, new)
        raise self._not_so(old, new)

    def _states(self) -> tuple[OldState, NewState]:
        self.cues.say(OLD, "state")
        self.cues.say(NEW, "state")
        role, fence, at, timeline = self._hear_state(OLD)[:4]
        old = OldState(role, fence, at, _number(timeline))
        words = self._hear_state(NEW)
        return old, NewState(words[0], words[1], _number(words[2]), " ".join(words[3:]))

    def _hear_state(self, part: str) -> list[str]:
        """What was asked before a line was lost may still be answered first."""
        while (words := self._hear(part, STATE_SECONDS).split(" "))[0] != "state":
            pass
        return words[1:]

    def _look_again(self) -> Ending:
        """A server that does not answer now is starting, ending or promoting: what it is then decides."""
        self.looks += 1
        time.sleep(LOOK_SECONDS)
        return self._go_on()

    def _not_so(self, old: OldState, new: NewState) -> Ended:
        what = f"{self.gap.old} is “{old.role}”, its fence “{old.fence}”; {self.gap.new} is “{new.role}”"
        # a worker that slept and woke may have taken back what it had laid ready: nothing has happened then
        is_untouched = old.role == "primary" and old.fence in ("staged", "bare") and new.role == "standby"
        word = "" if is_untouched and not self.has_stopped else "unknown"
        return Ended(
            word, f"The two servers are not as this step needs them: {what}. {new.said}".rstrip(),
            "Look at both servers; when the old primary runs as the primary and the candidate follows it, resume.", self.report,
        )  # fmt: skip

    def _two(self, old: OldState, new: NewState) -> Ended:
        return Ended(
            "unknown",
            f"Both run as primaries: {self.gap.old} on timeline {old.timeline}, {self.gap.new} on timeline {new.timeline}.",
            f"Stop the one that the applications do not use, at once, and rebuild it: probably {self.gap.old}.", self.report,
        )  # fmt: skip

    # -- the whole way ---------------------------------------------------------------------------------------------------------

    def _whole_way(self) -> Ending:
        try:
            self._warm_up()
        except BaseException:
            self._undo()
            raise
        return self._stop()

    def _warm_up(self) -> None:
        """All that can be done before the stop; nobody notices it."""
        at, timeline = self._old_checkpoint()
        self._require_following(at, self.gap.catch_up_seconds)
        self._new_checkpoint(timeline)
        self._ask_slowly(OLD, NEW, "fill")
        at, self.timeline = self._old_checkpoint()  # what was written meanwhile: so that the stop's own has little to do
        self.cues.check()
        self._require_following(at, max(self.gap.catch_up_seconds, FILLED_SECONDS))

    def _stop(self) -> Ending:
        self.has_stopped, self.stop_said_at = True, time.monotonic()
        self.cues.note("told to stop", OLD)
        answer = self._ask_slowly(OLD, NEW, f"stop {self.gap.stop_seconds:.0f}", self.gap.stop_seconds + WORD_SECONDS)
        word, *rest = answer.split(" ")
        if word == "refused":
            self.has_stopped = False
            self._undo()
            raise Ended("", f"{self.gap.old} was not stopped: {' '.join(rest)}.", "Resume: the step before is done again.")
        if word != "stopped":
            how = {"stuck": f"did not stop within {self.gap.stop_seconds:g} s", "unclean": "did not stop cleanly"}.get(word, answer)
            raise self._rolled_back(f"{self.gap.old} {how}.")
        self.cues.note(f"stopped; its last checkpoint is at {rest[0]}", OLD)
        return self._finish(rest[0], _number(rest[1]))

    def _old_checkpoint(self) -> tuple[str, int]:
        words = self._ask_slowly(OLD, NEW, "checkpoint").split(" ")
        if words[0] != "checkpoint":
            raise Ended("", f"{self.gap.old} made no checkpoint: {' '.join(words[1:])}", "Its server's log says why; then resume.")
        return words[1], _number(words[2])

    def _new_checkpoint(self, timeline: int) -> None:
        words = self._ask_slowly(NEW, OLD, "checkpoint").split(" ")
        if words[0] != "checkpoint" or _number(words[1]) != timeline:
            said = " ".join(words[1:])
            raise Ended(
                "", f"{self.gap.new} is not on timeline {timeline} of {self.gap.old}: {words[0]} {said}",
                f"Nothing was stopped. Look into the server's log of {self.gap.new}, then resume.",
            )  # fmt: skip

    def _require_following(self, at: str, seconds: float) -> None:
        """Before anything is stopped: the candidate keeps up."""
        answer = self._ask_slowly(NEW, OLD, f"reach {at} {seconds:.0f}", seconds + WORD_SECONDS)
        if not answer.startswith("past "):
            raise Ended(
                "", f"{self.gap.new} does not keep up with {self.gap.old}: within {seconds:g} s it did not"
                f" replay the checkpoint at {at} ({answer}). Nothing was stopped.",
                f"Does its WAL receiver run, and is its replay paused? On {self.gap.new}, look at pg_stat_wal_receiver",
            )  # fmt: skip

    def _ask_slowly(self, part: str, other: str, word: str, within_seconds: float = CHECKPOINT_SECONDS) -> str:
        """What may take its time, while the other part hears that somebody is still there."""
        self.cues.say(part, word)
        until = time.monotonic() + within_seconds
        while True:
            try:
                return self.cues.hear(part, min(PING_SECONDS, max(0.1, until - time.monotonic())))
            except Silent:
                if time.monotonic() > until:
                    raise
                with suppress(*((ConnectionLost, Silent) if self.has_stopped else ())):
                    self.cues.say(other, "still")
                    self._hear(other, GRACE_SECONDS)
                if not self.has_stopped:
                    self.cues.check()

    def _undo(self) -> None:
        """Nothing was stopped: the old primary is as it was before the job."""
        with suppress(HostError):
            self.cues.say(OLD, "settle")
            self._hear(OLD)

    # -- stopped: fence, proof, promotion --------------------------------------------------------------------------------------

    def _finish(self, at: str, timeline: int) -> Ending:
        """The old primary is stopped, its last record starts at `at`. Fence and proof at once, then the promotion."""
        self.report |= {"timeline_before": timeline, "shutdown_checkpoint": at}
        self.cues.say(OLD, "fence")
        seconds = min(SHORT_SECONDS, self.gap.catch_up_seconds)
        self.cues.say(NEW, f"await {at} {timeline} {seconds:.0f}")
        fence = self._hear(OLD)
        if fence == "lost":
            raise self._rolled_back(f"{self.gap.old} had started again by itself: nobody had spoken to it in time.")
        self.is_fenced = True
        if fence != "fenced":
            raise self._rolled_back(f"{self.gap.old} had been started by somebody else before it was fenced ({fence}).")
        words = self._hear_new(seconds + GRACE_SECONDS).split(" ")
        if words[0] == "behind":
            self._salvage(at, timeline, max((lsn.parse_or_zero(each) for each in words[1:]), default=0))
            self.cues.say(NEW, f"await {at} {timeline} {self.gap.catch_up_seconds:.0f}")
            words = self._hear_new(self.gap.catch_up_seconds + GRACE_SECONDS).split(" ")
        if words[0] != "past":
            # in recovery and short of it: a promotion is asked for only after "past", and a running server never goes back
            self.may_promote = False
            raise self._rolled_back(
                f"{self.gap.new} did not replay the last of the WAL, which ends beyond {at} on timeline {timeline}, within"
                f" {self.gap.catch_up_seconds:g} s: {' '.join(words)}."
            )
        self.may_promote = True
        self.cues.say(NEW, "promote")
        self.cues.note(f"has replayed up to {words[1]}; told to promote", NEW)
        return self._promoted(self._hear_new(PROMOTE_SECONDS))

    def _salvage(self, at: str, timeline: int, has: int) -> None:
        """What the candidate, which has the WAL up to `has`, never received is brought to it, or the await behind this says what is
        missing. The last file never goes to the archive: after a rollback the old primary writes on in it."""
        end = lsn.parse(at)
        if has > end:
            return
        self.cues.note("not all has arrived: what is missing is handed in", OLD)
        if end - has > MOST_RELAYED_BYTES:
            if not self.gap.can_salvage or self._ask_slowly(OLD, NEW, "salvage", SALVAGE_SECONDS) != "salvaged":
                return
            last = self._read(end, timeline)
            has = end - end % last.file_bytes if last else end
        while has <= end + PAGE_BYTES and (part := self._read(has, timeline)):
            if self._ask_slowly(NEW, OLD, f"take {part.line}", WORD_SECONDS) != "taken":
                return
            has = has - has % part.file_bytes + part.offset + part.content_bytes

    def _read(self, position: int, timeline: int) -> WalPart | None:
        """None: the old primary does not have it. What it says goes to another host, so it is looked at."""
        answer = self._ask_slowly(OLD, NEW, f"read {lsn.shown(position)} {timeline}", WORD_SECONDS)
        return WalPart(answer[4:]) if _WAL_PART.fullmatch(answer) else None

    def _hear_new(self, within_seconds: float) -> str:
        """The old primary's part, fenced, stays as long as somebody speaks to it: it may be needed for a rollback."""
        until = time.monotonic() + within_seconds
        while True:
            try:
                return self.cues.hear(NEW, min(PING_SECONDS, max(0.1, until - time.monotonic())))
            except Silent:
                if time.monotonic() > until:
                    raise
                with suppress(ConnectionLost, Silent):
                    self.cues.say(OLD, "still")
                    self._hear(OLD, GRACE_SECONDS)

    def _promoted(self, answer: str) -> Ending:
        word, *rest = answer.split(" ")
        if word == "promoted" and _number(rest[0]) > self.timeline:
            self.report |= {"switch_lsn": rest[2]}
            if _number(rest[1]) != self.timeline:
                raise self._unknown(
                    f"{self.gap.new} writes timeline {rest[0]}, which left timeline {rest[1]}, not {self.timeline}."
                )
            return self._done(_number(rest[0]))
        if word == "expired":
            self.may_promote = False
            raise self._rolled_back(f"This worker slept too long: {self.gap.new} did not take its word for a promotion any more.")
        if self.looks < MOST_LOOKS:
            return self._look_again()
        raise self._unknown(f"{self.gap.new} was told to promote and said: {answer}.")

    def _done(self, timeline: int) -> Ending:
        if self.stop_said_at:
            self.report["gap_ms"] = round((time.monotonic() - self.stop_said_at) * 1000, 1)
        self.report |= {"timeline_before": self.timeline, "timeline_after": timeline}
        self.cues.note(f"is the primary, on timeline {timeline}", NEW)
        self._start_standby()
        self._leave()
        return Ending("done", self.report)

    def _start_standby(self) -> None:
        """As the standby that its fence makes of it: now that the new one writes, it costs nobody anything."""
        time.sleep(START_AFTER_SECONDS)
        try:
            self.cues.say(OLD, "start")
            self._hear(OLD)
        except (ConnectionLost, Silent):
            pass  # the step behind this one starts what does not run

    # -- back, or lost ---------------------------------------------------------------------------------------------------------

    def _rolled_back(self, why: str) -> Ended:
        """Only while no promotion can happen any more. The old primary runs again as it did, or it is said that it does not."""
        if self.may_promote:
            return self._unknown(why)
        try:
            answer = self._start_old()
        except EpochRefused:
            raise
        except HostError as lost:
            return self._old_lost(why, lost)
        if answer != "primary":
            return Ended(
                "unknown", f"{why} It was to run again as the primary, but: {answer}.",
                f"Its server's log says why. Nothing was promoted: start {self.gap.old} again.", self.report,
            )  # fmt: skip
        return self._settled(OldState("primary", "unfenced", "-", self.timeline), why)

    def _start_old(self) -> str:
        try:
            self.cues.say(OLD, "rollback")
            return self._hear(OLD, ROLLBACK_SECONDS)
        except (ConnectionLost, Silent):
            self.cues.reopen(OLD)  # it may have left, or started the server by itself
            self.cues.say(OLD, "state")
            self._hear(OLD)
            self.cues.say(OLD, "rollback")
            return self._hear(OLD, ROLLBACK_SECONDS)

    def _settled(self, old: OldState, why: str = "") -> Ended:
        """The rollback has happened; it is said once."""
        if old.role != "primary":
            return self._rolled_back(f"{self.gap.old} was to start again by itself and does not run as the primary ({old.role}).")
        with suppress(HostError):  # it runs; what is left behind is said again by the next worker
            self.cues.say(OLD, "settle")
            self._hear(OLD, 60)
        self._leave()
        if self.stop_said_at:
            self.report["gap_ms"] = round((time.monotonic() - self.stop_said_at) * 1000, 1)
        self.cues.note("is the primary again, as before", OLD)
        why = why or f"Nobody had spoken to {self.gap.old} in time after its stop, so it started again by itself."
        return Ended(
            "rolled_back", f"{why} {self.gap.old} is the primary as before, nothing was promoted, nothing is lost.",
            "When its reason is gone, resume: the switchover is tried again.", self.report,
        )  # fmt: skip

    def _find_again(self, lost: HostError) -> None:
        """After a lost line: speak with that part anew, or end with what is certain."""
        part = OLD if lost.host == self.gap.old else NEW
        if not self.has_stopped:
            raise lost
        try:
            self.cues.reopen(part)
        except EpochRefused:
            raise
        except HostError as error:
            if self.may_promote:
                raise self._unknown(f"{self.gap.new} was told to promote; then {error.message}.") from error
            if part == OLD:
                raise self._old_lost(lost.message, error) from error
            raise self._rolled_back(f"{self.gap.new} was lost before it was promoted: {error.message}.") from error

    def _old_lost(self, why: str, error: HostError) -> Ended:
        how = "It is fenced: any start is a standby's." if self.is_fenced else (
            "If its host lives, it starts again as the primary by itself within seconds; if not, it stays down."
        )  # fmt: skip
        return Ended(
            "unknown", f"{why} {self.gap.old} was told to stop, and then its host was lost: {error.message}. {how}",
            f"Nothing was promoted. Bring {self.gap.old} back and resume; if it stays away, promote {self.gap.new}.", self.report,
        )  # fmt: skip

    def _unknown(self, why: str) -> Ended:
        return Ended(
            "unknown", f"{why} Whether it was promoted is not known, so nothing was rolled back.",
            f"Is {self.gap.new} still in recovery (pg_is_in_recovery)? Resume: it asks both hosts and goes on from there.",
            self.report,
        )  # fmt: skip

    def _dismiss(self, part: str) -> None:
        with suppress(HostError):
            self.cues.say(part, "leave")
            while self._hear(part, GRACE_SECONDS) != "left":
                pass

    def _leave(self) -> None:
        for part in (OLD, NEW):
            self._dismiss(part)

    def _hear(self, part: str, within_seconds: float = WORD_SECONDS) -> str:
        return self.cues.hear(part, within_seconds)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
