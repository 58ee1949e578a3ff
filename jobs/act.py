"""Running the actions of one step on its host: commands, files, and detached commands: started once, followed by anyone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from django.utils import timezone

from jobs import by_panel
from jobs.claim import Claim
from jobs.log import JobLog, Lines, told
from jobs.models import JobStep
from jobs.sight import Hosts
from pgpanel import live
from remote.command import Action, Command, Detached, PanelAction, WriteFile
from remote.errors import ConnectionLost, HostError, HostUnreachable, LockHeld
from remote.host import DetachedState, Host
from remote.progress import READERS, Pace

T = TypeVar("T")

RECONNECT_SECONDS = 900
"""How long a job waits for a host that it lost while a detached command runs on there."""
RETRY_SECONDS = 2.0
LOCK_WAIT_SECONDS = 90
FOLLOW_SECONDS = 1.0
"""How long one look at a detached command waits on the host for something new; a cancel is heard in between."""
PROGRESS_SECONDS = 0.5
PROGRESS_LINE_SECONDS = 5.0
LAST_WORDS = 5


class CancelAsked(Exception):
    """Somebody asked to cancel; raised between two commands or while one is followed."""


class HandOver(Exception):
    """This worker was told to stop; the next one follows on."""


class Failed(Exception):
    """Expected: the job ends as failed. mend: what a person does about it."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


class Actor:
    """Acts for one claim. `job` is the job's name on hosts."""

    def __init__(self, claim: Claim, job: str, hosts: Hosts, log: JobLog, is_stopping: Callable[[], bool]) -> None:
        self.claim, self.job, self.hosts, self.log, self._is_stopping = claim, job, hosts, log, is_stopping

    def check(self) -> None:
        """Before anything is sent to a host: still mine, still wanted, not told to stop."""
        self.claim.require()
        if self.claim.is_cancel_requested.is_set():
            raise CancelAsked
        if self._is_stopping():
            raise HandOver

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.2))

    def run(self, step: JobStep, actions: Sequence[Action]) -> str:
        """Run them in order; the standard output of the last command. Those before a detached one that was begun are done."""
        names = self._names(step.key, actions)
        output = ""
        for index in range(self._begin_at(step, names), len(actions)):
            self.check()
            action, name = actions[index], names[index]
            self.log.redactor.add(action.secrets)
            if isinstance(action, Detached):
                self._detached(step, action, name)
            elif isinstance(action, PanelAction):
                output = self._by_panel(step, action)
            else:
                output = self._at_once(step, action)
        return output

    def _names(self, key: str, actions: Sequence[Action]) -> list[str]:
        """The names on the host of the detached ones: job-418/standby.copy#pg2, a second one with .2 ("" for the others)."""
        names, count = [], 0
        for action in actions:
            count += isinstance(action, Detached)
            suffix = f".{count}" if count > 1 else ""
            names.append(f"{self.job}/{key}{suffix}" if isinstance(action, Detached) else "")
        return names

    def _begin_at(self, step: JobStep, names: list[str]) -> int:
        """What stands before a detached command in a step must not run again beside it or after it."""
        begun = [index for index, name in enumerate(names) if name in step.detached and not self._is_past(step, name)]
        return max(begun, default=0)

    def _is_past(self, step: JobStep, name: str) -> bool:
        """Its end was seen in an earlier attempt: this attempt begins anew."""
        known = step.detached.get(name, {})
        return "exit_code" in known and known.get("attempt") != step.attempt

    def _by_panel(self, step: JobStep, action: PanelAction) -> str:
        self.say("command", action.shown, step)
        try:
            return by_panel.act(action, self.claim.job_id, self.job, lambda line: self.say("output", line, step))
        except by_panel.NotDone as error:
            raise Failed(str(error), error.mend) from error

    def _at_once(self, step: JobStep, action: Command | WriteFile) -> str:
        self.say("command", told(action.shown), step)
        return self.when_free(step.node, lambda host: self._sent(host, action, step))

    def _sent(self, host: Host, action: Command | WriteFile, step: JobStep) -> str:
        if isinstance(action, WriteFile):
            host.write(action)
            return ""
        return host.run(action, on_output=lambda voice, line: self.say(voice, line, step)).stdout

    def diagnose(self, step: JobStep, commands: Sequence[Command]) -> None:
        """What the host itself says about a failure; a host that says nothing more has said enough."""
        for command in commands:
            try:
                self._at_once(step, replace(command, mutates=False))
            except HostError as error:
                self.say("error", error.message, step)

    def when_free(self, node: str, use: Callable[[Host], T]) -> T:
        """A command of the worker before us may still run on the host: wait for its end, never run beside it."""
        until = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                return use(self.hosts[node])
            except LockHeld:
                if time.monotonic() > until:
                    raise
                self.pause(0.5)

    # -- detached --------------------------------------------------------------------------------------------------------------

    def _detached(self, step: JobStep, detached: Detached, name: str) -> None:
        user = detached.command.user
        known: dict[str, Any] = step.detached.get(name, {})
        if "exit_code" in known and not self._is_past(step, name):
            self._judge(detached, int(known["exit_code"]), [])
            return
        if self._is_past(step, name):
            self.patiently(step, lambda host: host.forget_detached(name, user))
            known = {}
        if not known:
            self.say("command", told(detached.shown), step)
            self.claim.note_detached(step.key, name, afresh=True, user=user, attempt=step.attempt, offset=0)
        else:
            self.say("note", "following the command that was started on the host before", step)
        # one that runs, has ended or died under this name is left alone: started once, whatever becomes of it
        if self.patiently(step, lambda host: host.detached_state(name, user)).status == "absent":
            self.patiently(step, lambda host: host.start_detached(name, detached))
        words: list[str] = []
        state = self._follow(step, detached, name, int(known.get("offset", 0)), words)
        exit_code = -1 if state.exit_code is None else state.exit_code
        self.log.flush()
        self.claim.note_detached(step.key, name, exit_code=exit_code, attempt=step.attempt)
        self._judge(detached, exit_code, words)

    def _follow(self, step: JobStep, detached: Detached, name: str, offset: int, words: list[str]) -> DetachedState:
        """Until it has ended. Its lines go to the log, or to the progress bar; `words`: the last ones, for an error."""
        lines, teller = Lines(offset), Progress(self, step, detached)
        while True:
            self.check()
            chunk, state = self._heard(step, name, detached.command.user, offset)
            offset += len(chunk)
            has_ended = state.status != "running" and offset >= state.log_bytes
            for text, read_to in lines.take(chunk) + (lines.rest() if has_ended else []):
                words[:] = [*words, text][-LAST_WORDS:]
                if not teller.took(text):
                    self.say("output", text, step)
                self.log.read_to(step.key, name, read_to)
            if has_ended:
                teller.tell()
                return state

    def _heard(self, step: JobStep, name: str, user: str, offset: int) -> tuple[bytes, DetachedState]:
        return self.patiently(step, lambda host: host.follow(name, user, offset, FOLLOW_SECONDS))

    @staticmethod
    def _judge(detached: Detached, exit_code: int, words: list[str]) -> None:
        if exit_code == -1:
            raise Failed(
                "The command was ended from outside: its process is gone and left no exit code (a reboot, a kill, no memory)."
            )
        if exit_code not in detached.command.accepts:
            said = "\n".join(words)
            raise Failed(f"The command ended with exit code {exit_code}." + (f" It said last:\n{said}" if said else ""))

    def patiently(self, step: JobStep, use: Callable[[Host], T]) -> T:
        """Use a host on which something of ours runs by itself: a lost connection is waited for, not failed on."""
        until, said = time.monotonic() + RECONNECT_SECONDS, False
        while True:
            try:
                return use(self.hosts[step.node])
            except (HostUnreachable, ConnectionLost) as error:
                if time.monotonic() > until:
                    raise
                if not said:
                    self.say("note", f"connection lost ({error.message}); what runs on the host goes on; trying again", step)
                    said = True
                self.hosts.drop(step.node)
                self.pause(RETRY_SECONDS)

    def end_detached(self, step: JobStep) -> list[str]:
        """End what the step left running on its host; the names of those whose end could not be proven."""
        unproven = []
        for name, known in step.detached.items():
            if "exit_code" in known:
                continue
            try:
                is_proven = self.hosts[step.node].end_detached(name, known.get("user", ""))
            except HostError as error:
                self.say("error", error.message, step)
                is_proven = False
            if is_proven:
                self.say("note", f"{name}: ended; no process of it is left on {step.node}", step)
                self.claim.note_detached(step.key, name, exit_code=-1, attempt=step.attempt)
            else:
                unproven.append(name)
        return unproven

    def say(self, voice: str, text: str, step: JobStep) -> None:
        self.log.write(voice, text, step.node, step.key)


class Progress:
    """Output lines that only tell how far it is: kept on the step and published twice a second, in the log every few seconds."""

    def __init__(self, actor: Actor, step: JobStep, detached: Detached) -> None:
        self._actor, self._step, self._detached = actor, step, detached
        self._read = READERS.get(detached.progress)
        self._began_at = time.monotonic()
        self._told_at = self._logged_at = 0.0
        self._now: dict[str, Any] = {}
        self._pace = Pace()

    def took(self, text: str) -> bool:
        """True for a progress line that the log need not keep."""
        found = self._read(text) if self._read else None
        if found is None:
            return False
        now = time.monotonic()
        self._now = self._measured(now, found.done_bytes, found.total_bytes or self._detached.total_bytes)
        if now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            self.tell()
        if now - self._logged_at < PROGRESS_LINE_SECONDS:
            return True
        self._logged_at = now
        return False

    def tell(self) -> None:
        if self._now:
            self._actor.claim.update_step(self._step.key, progress=self._now)
            live.publish(f"job:{self._actor.claim.job_id}", "progress", {"key": self._step.key, **self._now})

    def _measured(self, now: float, done: int, total: int) -> dict[str, Any]:
        rate, eta = self._pace.seen(now, done), self._pace.eta_seconds(total)
        return {
            "done_bytes": done,
            "total_bytes": total,
            "bytes_per_second": round(rate),
            "eta_seconds": None if eta is None else round(eta),
            "at": timezone.now().isoformat(),
        }
