"""Password verifiers: what a server stores, so that the clear password never reaches it, its log or a command line."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from remote.command import Secret
from remote.versions import Version

ITERATIONS = 4096
SALT_BYTES = 16


def scram_verifier(password: Secret, salt: bytes | None = None, iterations: int = ITERATIONS) -> Secret:
    """SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, RFC 5803's values in PostgreSQL's form.

    ASCII passwords only (ValueError): others would need SASLprep.
    """
    if not password.value.isascii():
        raise ValueError("a password with other than ASCII characters would need SASLprep: choose one of letters, digits and signs")
    salt = salt or secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.value.encode(), salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server_key = _hmac(salted, b"Server Key")
    return Secret(password.name, f"SCRAM-SHA-256${iterations}:{_encoded(salt)}${_encoded(stored_key)}:{_encoded(server_key)}")


def md5_verifier(user: str, password: Secret) -> Secret:
    """`md5` + MD5(password + user), the only kind before 10."""
    digest = hashlib.md5((password.value + user).encode(), usedforsecurity=False).hexdigest()
    return Secret(password.name, f"md5{digest}")


def verifier(user: str, password: Secret, version: Version, *, salt: bytes | None = None) -> Secret:
    """The best kind that the version has."""
    return scram_verifier(password, salt) if version.has_scram else md5_verifier(user, password)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
