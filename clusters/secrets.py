"""Secrets at rest, as this room and those above take them: sealed by the panel's keys (`pgpanel.keyring`), opened as `Secret`."""

from __future__ import annotations

from pgpanel import keyring
from pgpanel.keyring import EncryptionKeyLost, opens, seal
from remote.command import Secret

__all__ = ["EncryptionKeyLost", "open_sealed", "opens", "seal"]


def open_sealed(sealed: str, name: str) -> Secret:
    """The secret of a stored token, under the name by which it is shown; `EncryptionKeyLost` if no key opens it."""
    return Secret(name, keyring.unseal(sealed, name))
