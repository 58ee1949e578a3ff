"""SSH keys as values: a host's key with its fingerprint, and new key pairs for logging in."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remote.command import Secret


@dataclass(frozen=True)
class HostKey:
    """line: "ssh-ed25519 AAAA…", as in known_hosts without the name. fingerprint: "SHA256:…", as ssh-keygen -l prints it."""

    line: str
    fingerprint: str

    @property
    def kind(self) -> str:
        return self.line.split()[0]

    @property
    def blob(self) -> bytes:
        return base64.b64decode(self.line.split()[1])

    @classmethod
    def of_blob(cls, kind: str, blob: bytes) -> HostKey:
        digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        return cls(f"{kind} {base64.b64encode(blob).decode()}", f"SHA256:{digest}")

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """From "ssh-ed25519 AAAA… comment"; ValueError when it is no public key."""
        words = line.split()
        if len(words) < 2:
            raise ValueError(f"not a public key: {line[:40]!r}")
        try:
            blob = base64.b64decode(words[1], validate=True)
        except binascii.Error as error:
            raise ValueError(f"not a public key: {line[:40]!r}") from error
        # the blob begins with its own kind, length first: a line whose two halves disagree is no key
        if blob[4 : 4 + int.from_bytes(blob[:4], "big")] != words[0].encode():
            raise ValueError(f"not a public key: {line[:40]!r}")
        return cls.of_blob(words[0], blob)


def generate_key(comment: str) -> tuple[Secret, str]:
    """A new ed25519 key pair: the private key in OpenSSH form, and the line for authorized_keys."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return Secret(f"private key {comment}", private), f"{public} {comment}"
