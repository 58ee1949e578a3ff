"""What the host's answer consists of: rows of fields, and the numbers in them. Shared by the two halves of the parser."""

from __future__ import annotations

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


def number(text: str, default: int = 0) -> int:
    found = re.match(r"\s*(-?\d+)", text)
    return int(found[1]) if found else default


def decimal(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
