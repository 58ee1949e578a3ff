"""What a log may keep: secrets out, control characters visible, length bounded. Pure."""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
import urllib.parse
from collections.abc import Iterable
from typing import Protocol

from remote.visible import visible

LONGEST_LINE = 4096
SHORTEST_SECRET = 4
"""A shorter one is not looked for: hiding every "a" of a log would hide the log."""

PATTERNS = (
    (re.compile(r"SCRAM-SHA-256\$[^\s'\"]+"), "<scram verifier>"),
    (re.compile(r"\bmd5[0-9a-f]{32}\b"), "<md5 verifier>"),
    (
        re.compile(r"(?i)\b(\w*(?:password|passwd|passphrase|secret|token))(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s'\",;&]+)"),
        r"\1\2<hidden>",
    ),
    (re.compile(r"(?i)\b(password\s+)('(?:[^']|'')*')"), r"\1<hidden>"),
    # from the beginning of its word, or an endless word would be searched anew from each of its letters
    (re.compile(r"(\b\w+://[^\s/:@]+:)[^\s/@]+(@)"), r"\1<hidden>\2"),
)  # fmt: skip
BEGIN_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
END_KEY = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")


class Named(Protocol):
    """A secret: `value`, and as text the name by which it may be shown (`remote.command.Secret`)."""

    @property
    def value(self) -> str: ...


class Redactor:
    """Line by line; a private key that spans lines is hidden until its end, per `stream` (one node's one voice)."""

    def __init__(self, secrets: Iterable[Named] = ()) -> None:
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._in_key: set[str] = set()
        self._lock = threading.Lock()
        self.add(secrets)

    def add(self, secrets: Iterable[Named]) -> None:
        with self._lock:
            for secret in secrets:
                for face in faces(secret.value):
                    self._names.setdefault(face, str(secret))
            longest_first = sorted(self._names, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def line(self, text: str, stream: str = "") -> str | None:
        """The line as it may be kept; None for the inside of a private key."""
        if stream in self._in_key:
            if END_KEY.search(text):
                self._in_key.discard(stream)
            return None
        if BEGIN_KEY.search(text):
            if not END_KEY.search(text):
                self._in_key.add(stream)
            return visible(BEGIN_KEY.split(text)[0]) + "<private key>"
        return bounded(visible(self.text(text)))

    def text(self, text: str) -> str:
        """Known secrets and what looks like one, replaced by names; newlines stay."""
        if self._pattern:
            text = self._pattern.sub(lambda found: self._names[found.group()], text)
        for pattern, replacement in PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def faces(value: str) -> set[str]:
    """The forms in which a secret's value could turn up in an output: whole, by its lines, quoted, encoded."""
    plain = {value, value.strip(), *(line.strip() for line in value.splitlines() if len(line.strip()) >= 16)}
    plain = {face for face in plain if len(face) >= SHORTEST_SECRET}
    found = set(plain)
    for face in plain:
        raw = face.encode()
        found |= {shlex.quote(face), face.replace("'", "''"), json.dumps(face)[1:-1], urllib.parse.quote(face, safe="")}
        found |= {raw.hex(), repr(face)[1:-1], face.replace("'", r"\'"), face.replace("\\", "\\\\")}
        found |= _base64_faces(raw)
    return found


def _base64_faces(raw: bytes) -> set[str]:
    """The secret's base64 by itself, and the part of it that does not depend on what stands before and after it."""
    found = {base64.b64encode(raw).decode(), base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode()}
    if len(raw) >= 12:
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
            found.add(encoded[4 if shift else 0 : -4])
    return found


def bounded(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} … ({len(text) - LONGEST_LINE} more characters cut)"
