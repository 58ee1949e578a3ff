"""The keys that seal what must not stand readable in the database: MultiFernet, newest first. The first encrypts, all decrypt.

They come from `PGPANEL_ENCRYPTION_KEYS`. On one machine (no `PGPANEL_PRODUCTION`) a key file is made when the first secret is kept.
Rooms register where they keep sealed values (`register`), so that `manage.py keys` reaches every one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

TOKEN = "gAAAA"  # noqa: S105 — how every Fernet token begins: its version byte


Swap = Callable[[str], bool]


class EncryptionKeyLost(Exception):
    """The secrets in the database cannot be read with the keys at hand."""


@dataclass(frozen=True)
class Kept:
    """One sealed value. name: what a person calls it. mend: what to do when no key opens it.

    swap: puts another token in its place if it still is the same, False if somebody else was faster.
    """

    name: str
    sealed: str
    mend: str
    swap: Swap


_stores: dict[str, Callable[[], Iterator[Kept]]] = {}


def register(name: str, store: Callable[[], Iterator[Kept]]) -> None:
    """Called by a room's AppConfig.ready()."""
    _stores[name] = store


def everything() -> Iterator[Kept]:
    for store in _stores.values():
        yield from store()


# -- sealing and opening -------------------------------------------------------------------------------------------------------


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


def unseal(sealed: str, name: str) -> str:
    """The secret in clear, for whoever uses it now; `EncryptionKeyLost`, which says `name`, if no key opens it."""
    found = keys()
    if not found:
        raise EncryptionKeyLost(lost(f"there is no key in PGPANEL_ENCRYPTION_KEYS and no {key_file()}"))
    try:
        return _ring(found).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise EncryptionKeyLost(lost(f"none of the {len(found)} known keys opens “{name}”")) from None


def opens(sealed: str) -> bool:
    """Whether a key at hand opens it."""
    try:
        unseal(sealed, "")
    except EncryptionKeyLost:
        return False
    return True


def is_sealed(text: str) -> bool:
    return text.startswith(TOKEN)


def is_sealed_with_newest(sealed: str) -> bool:
    try:
        Fernet(keys()[0]).decrypt(sealed.encode())
    except (InvalidToken, IndexError):
        return False
    return True


# -- keys that come and go -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotated:
    """sealed: with the newest key now, by this run. had: before already. lost: those that no key opens, left as they are."""

    sealed: int
    had: int
    lost: tuple[Kept, ...]


def rotate() -> Rotated:
    """Everything under the newest key. It may be stopped and started again at any time, and the panel runs on meanwhile.

    A value that somebody replaces in the same moment is left to them: it has the newest key anyway.
    """
    sealed, had, gone = 0, 0, []
    for kept in everything():
        if is_sealed_with_newest(kept.sealed):
            had += 1
        elif not is_sealed(kept.sealed) or opens(kept.sealed):
            clear = unseal(kept.sealed, kept.name) if is_sealed(kept.sealed) else kept.sealed
            sealed += kept.swap(seal(clear))
        else:
            gone.append(kept)
    return Rotated(sealed, had, tuple(gone))


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
    if settings.PRODUCTION:
        raise EncryptionKeyLost("PGPANEL_ENCRYPTION_KEYS is empty. Make one with `python manage.py keys make`.")
    if any(is_sealed(kept.sealed) for kept in everything()):
        raise EncryptionKeyLost(lost(f"{key_file()} is gone"))
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


def lost(cause: str) -> str:
    return (
        f"The stored secrets cannot be read: {cause}. Put the old key back (after the new one, separated by a comma), "
        "or, if it is lost for good, enter each node's access again; nothing on the hosts is affected."
    )
