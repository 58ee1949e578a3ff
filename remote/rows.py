"""What the host's answer consists of: rows of fields, and the numbers in them. Shared by the two halves of the parser."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Row = Sequence[str]


@dataclass
class Warnings:
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


MOST = 2**63 - 1
"""What a database's column holds. A host that names a greater number is not believed."""
_NUMBER = re.compile(r"\s*(-?\d{1,19})(?!\d)", re.ASCII)


def number(text: str, default: int = 0) -> int:
    found = _NUMBER.match(text)
    return int(found[1]) if found and abs(int(found[1])) <= MOST else default


def decimal(text: str) -> float | None:
    """None too for what is no finite number: JSON has no word for it."""
    try:
        found = float(text[:40])
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def system_identifier(text: str) -> str:
    """A number of at most 64 bits as text, "" for anything else: it is handed to scripts on every host of the cluster."""
    return text if re.fullmatch(r"\d{1,20}", text, re.ASCII) else ""
