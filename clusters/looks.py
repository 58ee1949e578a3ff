"""Looking at hosts, several at once: the host key first (a person accepts it), then the facts. Never inside a web request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from clusters import services
from clusters.credentials import secret_of
from clusters.models import Credential, HostAddress, Node
from remote.command import script
from remote.errors import HostError
from remote.facts import Facts, FactsRequest, Unreachable
from remote.host import Access, Host, HostKey, offered_host_key, unreachable

AT_ONCE = 8

KEY_INSTALLED = script(
    'umask 077; mkdir -p ~/.ssh && touch ~/.ssh/authorized_keys && { grep -qxF "$1" ~/.ssh/authorized_keys || echo "$1" >> ~/.ssh/authorized_keys; }'
    '; if command -v restorecon >/dev/null 2>&1; then restorecon -R ~/.ssh || true; fi',
    "PUBLIC LINE",
)


@dataclass(frozen=True)
class Target:
    """One host to look at. `install`: the panel's key that is to be put there first, by the password that `access` holds."""

    name: str
    access: Access
    request: FactsRequest = FactsRequest()
    install: Credential | None = None


@dataclass(frozen=True)
class Look:
    """What a look brought. `offered` is a host key that nobody has accepted yet (the jump host's if `is_jump`): no login was made."""

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
