"""Why a command never began, in plain words: the lock, the account, or the login itself."""

from __future__ import annotations

from remote.access import Access, Lock
from remote.command import Command
from remote.envelope import LOCK_WAIT_SECONDS
from remote.errors import AuthenticationRefused, CannotBecome, EpochRefused, HostError, LockHeld, brief, last_line
from remote.exchange import Exchange


def not_begun(name: str, access: Access, command: Command, exchange: Exchange) -> HostError:
    login, said = access.user, last_line(exchange.said_before)
    if not exchange.is_login_known:
        return AuthenticationRefused(
            f"{name} ({access.place}) lets {login} log in, but the login runs no commands" + (f": {said}" if said else ""), name,
            f"Give the account a shell (usermod -s /bin/sh {login}), and no forced command in sshd's configuration or its key",
        )  # fmt: skip
    if command.user in ("", login):
        return HostError(f"{name}: {brief(command.shown)} could not be begun: {said or 'without a word'}", name)
    return cannot_become(name, access, command.user, said, exchange.prompts)


def cannot_become(name: str, access: Access, user: str, said: str, prompts: int) -> CannotBecome:
    login = access.user
    sudoers = f"As root on {name}: echo '{login} ALL=({user}) NOPASSWD: ALL' > /etc/sudoers.d/pgpanel"
    message, mend = f"{login} cannot become {user} by sudo: {said}", sudoers
    if login == "root":
        message, mend = f"root cannot become {user}: {said}", f"Is there such an account? getent passwd {user}"
    elif prompts > 1:
        message, mend = f"sudo refuses the password of {login}", f"Check it, or allow sudo without one. {sudoers}"
    elif "password" in said and access.password is None:
        message = f"sudo asks for the password of {login}, and the panel has none"
        mend = f"Give it, or allow sudo without one. {sudoers}"
    return CannotBecome(f"{name}: {message}", name, mend, user)


def too_slow(name: str, access: Access, command: Command, seconds: float) -> CannotBecome:
    return CannotBecome(
        f"{name}: becoming {command.user or access.user} took longer than {seconds:.0f} s", name,
        "Try it by hand: an account directory or a PAM module on the host may be stuck", command.user,
    )  # fmt: skip


def stopped(name: str, lock: Lock, state_owner: str, why: str, seen: int) -> HostError:
    """The envelope's own refusals; the words are its (`remote/envelope.py`)."""
    if why == "epoch":
        return EpochRefused(name, lock.key, lock.epoch, seen)
    if why == "lock":
        return LockHeld(
            f"another changing command of this cluster has been running on {name} for over {LOCK_WAIT_SECONDS} s", name,
            f"Wait for it, or see on {name} who holds it: fuser -v ~{state_owner}/.pgpanel/locks/*",
        )  # fmt: skip
    if why == "flock":
        return HostError(f"{name} has no flock program", name, "Install it (package util-linux)")
    return HostError(
        f"{name}: the panel's own directory ~{state_owner}/.pgpanel cannot be written", name,
        f"Is the disk full, or the home of {state_owner} not its own? ls -ld ~{state_owner}",
    )  # fmt: skip
