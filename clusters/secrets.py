"""Secrets at rest: MultiFernet, newest key first. The first key encrypts, all of them decrypt.

Keys come from `PGPANEL_ENCRYPTION_KEYS`. On one machine (no `PGPANEL_PRODUCTION`) a key file is made when the first secret is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from remote.command import Secret


class EncryptionKeyLost(Exception):
    """The secrets in the database cannot be read with the keys at hand."""


def keys() -> list[str]:
    """The keys in force, newest first: the environment's, else the key file's. Empty when there is none yet."""
    if settings.ENCRYPTION_KEYS:
        return list(settings.ENCRYPTION_KEYS)
    try:
        return key_file().read_text().split()
    except FileNotFoundError:
        return []


def key_file() -> Path:
    return Path(settings.ENCRYPTION_KEY_FILE)


def seal(secret: str) -> str:
    """The token to store."""
    return _ring(keys() or _first_keys()).encrypt(secret.encode()).decode()


def open_sealed(sealed: str, name: str) -> Secret:
    """The secret of a stored token, under the name by which it is shown; `EncryptionKeyLost` if no key opens it."""
    found = keys()
    if not found:
        raise EncryptionKeyLost(_lost(f"there is no key in PGPANEL_ENCRYPTION_KEYS and no {key_file()}"))
    try:
        return Secret(name, _ring(found).decrypt(sealed.encode()).decode())
    except InvalidToken:
        raise EncryptionKeyLost(_lost(f"none of the {len(found)} known keys opens “{name}”")) from None


def is_sealed_with_newest(sealed: str) -> bool:
    try:
        Fernet(keys()[0]).decrypt(sealed.encode())
    except (InvalidToken, IndexError):
        return False
    return True


def resealed(sealed: str) -> str:
    """The same secret under the newest key."""
    return seal(open_sealed(sealed, "secret").value)


def add_key_to_file() -> None:
    """A new key in front of the key file's: from now on it encrypts; the older ones still decrypt."""
    _write_key_file([Fernet.generate_key().decode(), *keys()], replace=True)


def drop_old_keys_of_file() -> None:
    _write_key_file(keys()[:1], replace=True)


def _ring(found: list[str]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in found])
    except ValueError:
        raise EncryptionKeyLost(
            "A key in PGPANEL_ENCRYPTION_KEYS (or the key file) is not a Fernet key: 32 bytes in url-safe base64."
        ) from None


def _first_keys() -> list[str]:
    """A first key of our own, only on one machine and only while nothing is sealed yet: a lost key must not be papered over."""
    from clusters.models import Credential  # noqa: PLC0415 — the models import nothing from here, but apps must be loaded

    if settings.PRODUCTION:
        raise EncryptionKeyLost("PGPANEL_ENCRYPTION_KEYS is empty. Make one with `python manage.py rotate_encryption --print-key`.")
    if Credential.objects.exists():
        raise EncryptionKeyLost(_lost(f"{key_file()} is gone"))
    _write_key_file([Fernet.generate_key().decode()], replace=False)
    return keys()


def _write_key_file(lines: list[str], *, replace: bool) -> None:
    """Whole or not at all, mode 0600; without `replace` a file that another process has just made stands."""
    target = key_file()
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if replace:
            os.replace(temporary, target)
        else:
            os.link(temporary, target)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)


def _lost(cause: str) -> str:
    return (
        f"The stored secrets cannot be read: {cause}. Put the old key back (after the new one, separated by a comma), "
        "or, if it is lost for good, enter each node's access again; nothing on the hosts is affected."
    )
