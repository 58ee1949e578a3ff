"""A host, reached: run commands there, write and read files, look at facts, follow what runs detached.

One `Host` keeps an SSH connection open and uses several channels of it. Below it: `conversation.py` holds one command's talk,
`envelope.py` is what is sent, `exchange.py` reads what comes back, `ssh.py` speaks SSH (and only it); `ending.py`, `files.py` and
`detached.py` are scripts for the host; `refusals.py` has the words.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType

from remote import config, ending, files, look, parse, refusals
from remote import detached as jobs
from remote.access import Access, Lock
from remote.command import Command, Detached, WriteFile
from remote.conversation import Conversation
from remote.detached import DetachedState
from remote.dialogue import Dialogue
from remote.envelope import BOOTSTRAP
from remote.errors import (
    AuthenticationRefused,
    CannotBecome,
    CommandFailed,
    CommandTimeout,
    ConnectionLost,
    EpochRefused,
    HostError,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LockHeld,
    OutputTooLong,
    brief,
    last_line,
    unreachable,
)
from remote.exchange import OUTPUT_LIMIT_BYTES, OnOutput, TooLong
from remote.facts import Answered, Facts, FactsRequest, Unreachable
from remote.hostkeys import HostKey, generate_key
from remote.result import Result
from remote.ssh import ChannelRefused, Session, Talk, TimedOut

__all__ = [
    "Access", "AuthenticationRefused", "CannotBecome", "CommandFailed", "CommandTimeout", "ConnectionLost", "DetachedState",
    "EpochRefused", "Host", "HostError", "HostKey", "HostKeyChanged", "HostKeyUnknown", "HostUnreachable", "Lock", "LockHeld",
    "OutputTooLong", "Result", "generate_key", "offered_host_key", "unreachable",
]  # fmt: skip

END_GRACE_SECONDS = 3.0
SESSIONS_LIMIT = 4
FACTS_LIMIT = 4 << 20
"""A look at a host with hundreds of tablespaces, libraries and files has some hundred kB."""
ODD_MEND = "See who else works on that host, and whether it is still the one that it was"


@dataclass(frozen=True)
class Answer:
    """A command's output as bytes."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def result(self) -> Result:
        return Result(self.exit_code, self.stdout.decode("utf-8", "replace"), self.stderr.decode("utf-8", "replace"), self.seconds)


class Host:
    """name: what messages call it. lock: taken by every changing command (`remote.access.Lock`).

    state_owner: the account that owns the databases. The lock lies in its home: there its own commands and root's meet.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        connect_timeout_seconds: float = 8.0,
        lock: Lock | None = None,
        state_owner: str = "postgres",
    ) -> None:
        self.access = access
        self.name = name
        self.lock = lock
        self.state_owner = state_owner
        self._connect_timeout_seconds = connect_timeout_seconds
        self._sessions: list[Session] = []
        self._looks_as: str | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        with self._opening:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def connect(self) -> None:
        """Log in now rather than at the first command."""
        with self._opening:
            if not any(session.is_open for session in self._sessions):
                self._sessions.append(Session(self.access, self.name, self._connect_timeout_seconds))

    # --- commands --------------------------------------------------------------------------------------------------

    def run(self, command: Command, on_output: OnOutput | None = None, check: bool = True) -> Result:
        """Run it to its end. `on_output` hears each line at once; an exit code that it does not accept is an error, if `check`."""
        result = self._answer(command, on_output).result
        if check and result.exit_code not in command.accepts:
            raise CommandFailed(self.name, command, result)
        return result

    def open(self, command: Command) -> Dialogue:
        """Start it and leave its input open, to speak with it. It holds the host's lock, if it changes anything, until it ends."""
        spoken = replace(command, stdin="" if command.stdin is None else command.stdin)
        dialogue = Dialogue(self.name, command, self._talk())
        try:
            held = dialogue.begin(
                lambda take: Conversation(spoken, self.access, self.lock, self.state_owner, take, keeps_open=True)
            )
            if held.exchange.stopped and self.lock:
                raise refusals.stopped(self.name, self.lock, self.state_owner, *held.exchange.stopped)
            if held.begun_at is None:
                raise self._not_opened(dialogue, held)
        except BaseException:
            dialogue.close()
            raise
        return dialogue

    def _not_opened(self, dialogue: Dialogue, held: Conversation) -> HostError:
        if dialogue.is_lost:
            return self._lost(held.command)
        if held.is_password_wrong or dialogue.has_ended:
            return refusals.not_begun(self.name, self.access, held.command, held.exchange)
        return refusals.too_slow(self.name, self.access, held.command, held.seconds)

    def write(self, action: WriteFile) -> bool:
        """Put the file there; False when it already was exactly so. See `remote/files.py`."""
        user, _, group = action.owner.partition(":")
        result = self.run(files.write(action, user, group), check=False)
        if result.exit_code == files.NEEDS_ROOT and user != "root":
            try:
                result = self.run(files.write(action, "root", group), check=False)
            except CannotBecome as error:
                raise self._not_written(action, f"{last_line(result.stderr)} by {user}; {error.message}", error.mend) from error
        if result.exit_code != 0:
            raise self._not_written(action, last_line(result.stderr) or f"exit code {result.exit_code}")
        return result.stdout.strip() != files.SAME

    def _not_written(self, action: WriteFile, said: str, mend: str = "The file is as it was before") -> HostError:
        return HostError(f"{self.name}: {action.path} could not be written: {said}", self.name, mend)

    def read(self, path: str, user: str = "", limit_bytes: int = 1 << 20) -> bytes:
        answer = self._answer(files.read(path, user, limit_bytes))
        if answer.exit_code != 0:
            raise CommandFailed(self.name, files.read(path, user, limit_bytes), answer.result)
        if len(answer.stdout) > limit_bytes:
            raise OutputTooLong(f"{self.name}: {path} is longer than {limit_bytes} bytes", self.name)
        return answer.stdout

    def facts(self, request: FactsRequest = FactsRequest()) -> Facts | Unreachable:  # noqa: B008 - a frozen value
        """One read-only look; a host that cannot be reached is a value. What the script itself gets wrong is still an error."""
        command = look.facts_command(request)
        try:
            self.connect()  # so that the round trip below is the script's and not the login's
            command = command.as_user(self._looker(request.owner or "postgres"))
            sent_at = time.time()
            result = self.run(command)
            if len(result.stdout) > FACTS_LIMIT:
                raise OutputTooLong(
                    f"{self.name}: the answer to a look is longer than {FACTS_LIMIT >> 20} MiB", self.name, ODD_MEND
                )
        except CommandFailed:
            raise
        except HostError as error:
            return unreachable(error)
        facts = parse.parse(result.stdout, (sent_at, time.time()))
        return replace(facts, answers={name: self._asked(question) for name, question in request.questions})

    def _asked(self, question: Command) -> Answered:
        try:
            result = self.run(replace(question, mutates=False), check=False)
        except HostError as error:
            return Answered(-1, error.message)
        return Answered(result.exit_code, config.without_passwords(result.stdout + result.stderr))

    def _looker(self, owner: str) -> str:
        """Whom the look runs as. The script becomes whom it can by itself, but it has no password for a sudo that asks for one."""
        if self._looks_as is None:
            asks = self.access.password is not None and self.access.user not in ("root", owner)
            self._looks_as = next((user for user in ("root", owner) if asks and self._can_become(user)), "")
        return self._looks_as

    def _can_become(self, user: str) -> bool:
        try:
            self.run(Command(("true",), user=user, mutates=False))
        except CannotBecome:
            return False
        return True

    # --- what outlives us ------------------------------------------------------------------------------------------

    def start_detached(self, name: str, detached: Detached) -> None:
        """Start it under that name, once: when it runs or has ended, nothing happens. One that died is started anew."""
        self._detached(jobs.start(name, detached.command))

    def detached_state(self, name: str, user: str) -> DetachedState:
        return self._told(jobs.state(name, user))[0]

    def follow(self, name: str, user: str, offset: int = 0, wait_seconds: float = 1.0) -> tuple[bytes, DetachedState]:
        """Log bytes from `offset` (at most `jobs.CHUNK_BYTES`) and the state; waits on the host while there is nothing new.

        The log is whole once the state is no longer "running" and the offset has reached `log_bytes`.
        """
        state, log = self._told(jobs.follow(name, user, offset, wait_seconds))
        if state.status != "running" and state.log_bytes > offset and not log:
            raise self._oddly("it names a log that it does not have")
        return log, state

    def _told(self, command: Command) -> tuple[DetachedState, bytes]:
        try:
            return jobs.parse_state(self._detached(command).stdout)
        except jobs.NotTold:
            raise self._oddly("it does not say how far its command is") from None

    def _oddly(self, how: str) -> HostError:
        return HostError(f"{self.name} answers as none of pgpanel's scripts does: {how}", self.name, ODD_MEND)

    def end_detached(self, name: str, user: str, grace_seconds: float = 10) -> bool:
        """TERM, then KILL everything that it started. True = proven that none of it is left."""
        return self._answer(jobs.end(name, user, grace_seconds)).exit_code == 0

    def forget_detached(self, name: str, user: str) -> None:
        """Remove its directory from the host; refused while it runs."""
        self._detached(jobs.forget(name, user))

    def _detached(self, command: Command) -> Answer:
        answer = self._answer(command)
        if answer.exit_code != 0:
            raise CommandFailed(self.name, command, answer.result)
        return answer

    # --- one command, there and back -------------------------------------------------------------------------------

    def _answer(self, command: Command, on_output: OnOutput | None = None) -> Answer:
        """Run it to its end, whatever its exit code; every other end is an error."""
        held = Conversation(command, self.access, self.lock, self.state_owner, on_output)
        talk = self._talk()
        try:
            held.hold(talk)
        except TimedOut:
            talk.close()
            raise self._timed_out(held) from None
        except TooLong:
            talk.close()
            self._end(held)
            message = f"{self.name}: {brief(command.shown)} printed more than {OUTPUT_LIMIT_BYTES >> 20} MiB and was ended"
            raise OutputTooLong(message, self.name) from None
        except Exception:  # whoever listens has had enough
            self._end(held)
            raise
        finally:
            talk.close()
        if held.exchange.stopped and self.lock:
            raise refusals.stopped(self.name, self.lock, self.state_owner, *held.exchange.stopped)
        if talk.is_lost:
            raise self._lost(command)
        if held.begun_at is None or talk.exit_code is None:
            raise refusals.not_begun(self.name, self.access, command, held.exchange)
        return _answer_of(held, talk.exit_code)

    def _talk(self) -> Talk:
        """A channel on a connection that has room for it, else on a new one: nothing was sent yet, so trying again is safe."""
        with self._opening:
            for session in list(self._sessions):
                try:
                    return session.talk(BOOTSTRAP)
                except ChannelRefused as refused:
                    if refused.is_gone or len(self._sessions) >= SESSIONS_LIMIT:
                        session.close()
                        self._sessions.remove(session)
            session = Session(self.access, self.name, self._connect_timeout_seconds)
            self._sessions.append(session)
            try:
                return session.talk(BOOTSTRAP)
            except ChannelRefused as refused:
                raise HostUnreachable(
                    f"{self.name} ({self.access.place}) lets {self.access.user} log in, but opens no session: {refused}", self.name,
                    "Check MaxSessions in sshd's configuration, and whether the host is out of memory or processes",
                ) from refused  # fmt: skip

    def _end(self, held: Conversation) -> str:
        """End the command's sessions on the host. "" = proven that none is left, else why it is not."""
        exchange = held.exchange
        if not exchange.sessions:
            return "it has no session of its own there"
        user = held.command.user if exchange.has_begun else ""
        try:
            answer = self._answer(ending.end_sessions(exchange.sessions, user, END_GRACE_SECONDS))
        except HostError as error:
            return error.message
        return "" if answer.exit_code == 0 else f"process {answer.stdout.decode(errors='replace').strip()} does not end"

    def _timed_out(self, held: Conversation) -> HostError:
        so_far = _answer_of(held, -1).result
        why_unproven = self._end(held)
        if held.begun_at is None:
            return refusals.too_slow(self.name, self.access, held.command, so_far.seconds)
        return CommandTimeout(self.name, held.command, not why_unproven, why_unproven, so_far)

    def _lost(self, command: Command) -> HostError:
        return ConnectionLost(
            f"the connection to {self.name} ({self.access.place}) broke while {brief(command.shown)} ran; "
            "whether it was done is unknown",
            self.name, "Look at the host before it is repeated",
        )  # fmt: skip


def _answer_of(held: Conversation, exit_code: int) -> Answer:
    return Answer(exit_code, bytes(held.exchange.output.ours), bytes(held.exchange.error.ours), held.seconds)


def offered_host_key(access: Access, timeout_seconds: float = 8.0) -> HostKey:
    """The key that the host shows, without logging in there. A jump host in between has to be accepted before."""
    try:
        session = Session(replace(access, host_key=""), access.host, timeout_seconds)
    except HostKeyUnknown as unknown:
        if unknown.host == access.host:
            return unknown.offered
        raise
    session.close()
    raise AssertionError("a host without a pinned key was logged in to")
