"""The cells of the table, and their results: one JSON file a cell, kept until the code is another."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSIONS = ("11", "13", "14", "15", "16", "17", "18")
LAYOUTS = ("debian", "cocca", "custom")
BY_ROOT = tuple(f"{version}-{layout}-root" for version in VERSIONS for layout in LAYOUTS)
BY_OTHERS = ("13-custom-ops", "15-debian-ops", "17-cocca-ops", "15-debian-postgres", "17-custom-postgres")
"""Logins: root; ops, a user with sudo; postgres, the account itself, which may not become root."""
ALL = (*BY_ROOT, *BY_OTHERS)


@dataclass(frozen=True)
class Result:
    """kinds: seconds by kind, in the order in which they ran. failed_in: the scene, "" = all went well."""

    cell: str
    commit: str
    seconds: float
    kinds: dict[str, float]
    failed_in: str
    error: str

    @property
    def is_passed(self) -> bool:
        return not self.failed_in

    @property
    def words(self) -> Sequence[str]:
        """Version, layout, login."""
        return self.cell.rsplit("-", 2)


def commit_now() -> str:
    """Of the tree that is run; "+" behind it when something is not committed."""
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    return head + ("+" if status.strip() else "")


def results_in(directory: Path, commit: str) -> dict[str, Result]:
    """Those of this commit; what another left there does not count."""
    found = {}
    for path in sorted(directory.glob("*.json")):
        data: dict[str, Any] = json.loads(path.read_text())
        if data.get("commit") == commit:
            found[path.stem] = Result(cell=path.stem, **data)
    return found
