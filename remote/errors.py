"""What can go wrong between the panel and a host, in words that name the host and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from remote.facts import Unreachable
from remote.visible import visible

if TYPE_CHECKING:
    from remote.command import Command
    from remote.hostkeys import HostKey
    from remote.result import Result

Cause = Literal["timeout", "refused", "no-route", "authentication", "host-key", "dns", "other"]


class HostError(Exception):
    """message: what happened, naming the host. mend: what to do about it, with a line to paste where there is one."""

    cause: Cause = "other"

    def __init__(self, message: str, host: str, mend: str = "") -> None:
        super().__init__(f"{message}. {mend}" if mend else message)
        self.message = message
        self.host = host
        self.mend = mend


class HostUnreachable(HostError):
    """No SSH session could be had; nothing was changed."""

    def __init__(self, message: str, host: str, mend: str = "", cause: Cause = "other") -> None:
        super().__init__(message, host, mend)
        self.cause = cause


class ConnectionLost(HostError):
    """The connection broke after a command was sent: whether it ran to its end is unknown."""

    cause: Cause = "timeout"


class Silent(HostError):
    """A command that is spoken with (`Host.open`) did not answer in time; whether it heard is not known."""

    cause: Cause = "timeout"


OTHER_HOST_KEY = "shows another host key than the accepted one"
"""By these words a page knows what to link to: the error travels through logs and outcomes as text."""


class HostKeyUnknown(HostError):
    """First contact: a person has to compare the fingerprint and accept the key."""

    cause: Cause = "host-key"

    def __init__(self, host: str, place: str, offered: HostKey) -> None:
        super().__init__(
            f"{host} ({place}) shows a host key that nobody has accepted yet: {offered.fingerprint}",
            host,
            "Compare it with what the host itself prints (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and accept it",
        )
        self.offered = offered


class HostKeyChanged(HostError):
    """The host is not the one that was accepted, or it was reinstalled. Raised before any authentication."""

    cause: Cause = "host-key"

    def __init__(self, host: str, place: str, pinned: HostKey, offered: HostKey) -> None:
        super().__init__(
            f"{host} ({place}) {OTHER_HOST_KEY}: accepted {pinned.fingerprint}, "
            f"shown {offered.fingerprint}. Somebody may be listening in between; nothing was sent",
            host,
            "If the host was reinstalled, compare the fingerprint on its console and accept the new key",
        )
        self.pinned = pinned
        self.offered = offered


class AuthenticationRefused(HostError):
    cause: Cause = "authentication"


class CannotBecome(HostError):
    """The login works, but the account that the command needs cannot be reached from it."""

    cause: Cause = "authentication"

    def __init__(self, message: str, host: str, mend: str, user: str) -> None:
        super().__init__(message, host, mend)
        self.user = user


class CommandFailed(HostError):
    """The command ended with an exit code that it does not accept."""

    def __init__(self, host: str, command: Command, result: Result) -> None:
        said = last_line(result.stderr) or last_line(result.stdout)
        super().__init__(f"{host}: {brief(command.shown)} ended with {result.exit_code}" + (f": {said}" if said else ""), host)
        self.command = command
        self.result = result


class CommandTimeout(HostError):
    """is_ended: proven that no process of the command is left on the host."""

    cause: Cause = "timeout"

    def __init__(self, host: str, command: Command, is_ended: bool, why_unproven: str = "", result: Result | None = None) -> None:
        proof = "it was ended on the host" if is_ended else f"whether it still runs there is not known ({why_unproven})"
        super().__init__(
            f"{host}: {brief(command.shown)} took longer than {command.timeout_seconds:g} s; {proof}",
            host,
            "" if is_ended else f"Look on {host} for processes that it left before trying again",
        )
        self.command = command
        self.is_ended = is_ended
        self.result = result


class OutputTooLong(HostError):
    """More was printed, or read, than the panel is willing to hold in memory."""


class EpochRefused(HostError):
    """A later claim of the job has been on this host: whoever gets this is a worker that was taken for dead, and must stop."""

    def __init__(self, host: str, key: str, epoch: int, seen: int) -> None:
        super().__init__(
            f"{host} refuses changes of claim {epoch}: claim {seen} has been here since. This worker was taken for dead", host
        )
        self.key, self.epoch, self.seen = key, epoch, seen


class LockHeld(HostError):
    """Another changing command of the same cluster still runs on the host."""


def unreachable(error: HostError) -> Unreachable:
    """The error as a value, for those to whom a host that does not answer is a fact like others."""
    return Unreachable(error.cause, error.message, error.mend)


def brief(text: str, limit: int = 120) -> str:
    """The first line of a command as shown, cut to what fits into a sentence."""
    lines = text.strip().splitlines() or [""]
    is_cut = len(lines) > 1 or len(lines[0]) > limit
    return f"`{visible(lines[0][:limit].rstrip())}{' …' if is_cut else ''}`"


def last_line(text: str, limit: int = 400) -> str:
    """What a host said last, as it may stand in a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return visible(lines[-1][:limit]) if lines else ""
