"""Looking at hosts, several at once: the host key first (a person accepts it), then the facts. Never inside a web request."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from remote.access import Access
from remote.command import Command, Secret, script
from remote.errors import HostError, unreachable
from remote.facts import Facts, FactsRequest, Unreachable
from remote.host import Host, offered_host_key
from remote.hostkeys import HostKey

AT_ONCE = 8
EVERYTHING = FactsRequest()


@dataclass(frozen=True)
class Target:
    """One host to look at.

    install, install_line: the panel's key (private part, public line) that is to be put there first, with the password in `access`.
    """

    name: str
    access: Access
    request: FactsRequest = EVERYTHING
    install: Secret | None = None
    install_line: str = ""


@dataclass(frozen=True)
class Look:
    """What a look brought. `offered`: a host key that nobody has accepted yet (the jump host's if `is_jump`); no login was made."""

    facts: Facts | Unreachable | None = None
    offered: HostKey | None = None
    is_jump: bool = False
    has_installed_key: bool = False


def look_at_all(targets: Sequence[Target]) -> list[Look]:
    """In the targets' order; an unreachable host is a value."""
    if not targets:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(targets))) as pool:
        return list(pool.map(look_at, targets))


def look_at(target: Target) -> Look:
    access = target.access
    has_installed_key = False
    try:
        if access.jump and not access.jump.host_key:
            return Look(offered=offered_host_key(access.jump), is_jump=True)
        if not access.host_key:
            return Look(offered=offered_host_key(access))
        if target.install:
            access, has_installed_key = _with_key_installed(target, target.install), True
        with Host(access, target.name) as host:
            return Look(facts=host.facts(target.request), has_installed_key=has_installed_key)
    except HostError as error:
        return Look(facts=unreachable(error), has_installed_key=has_installed_key)


def _with_key_installed(target: Target, key: Secret) -> Access:
    """Put the public line there by the password, on the jump host too, and go on with the key alone: it has to work by itself."""
    access = target.access
    if access.jump:
        with Host(access.jump, f"{target.name} (jump host)") as host:
            host.run(install_command(target.install_line))
    with Host(access, target.name) as host:
        host.run(install_command(target.install_line))
    jump = replace(access.jump, private_key=key, password=None) if access.jump else None
    return replace(access, private_key=key, password=None, jump=jump)


def install_command(public_line: str) -> Command:
    return script(
        "umask 077; mkdir -p ~/.ssh && touch ~/.ssh/authorized_keys || exit 1\n"
        'grep -qxF "$1" ~/.ssh/authorized_keys || printf "%s\\n" "$1" >> ~/.ssh/authorized_keys || exit 1\n'
        "if command -v restorecon >/dev/null 2>&1; then restorecon -R ~/.ssh || true; fi",
        public_line,
    )


def line_to_paste(public_line: str) -> str:
    """For a person on the host, logged in as the login account. A public line holds no quote."""
    return f"mkdir -p -m 700 ~/.ssh && echo '{public_line}' >> ~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys"
