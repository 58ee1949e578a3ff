"""PostgreSQL of every age: which builds the lab can have."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import MissingOnMachine

DEBIAN_HOME = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Build:
    major: int
    prefix: Path
    is_of_the_release: bool = False

    def parts(self) -> list[str]:
        return [part for part in ("bin", "lib", "share") if (self.prefix / part).is_dir()]


def find(postgres: str) -> Build:
    """The build of a major version ("15"), or the one under a prefix (an absolute path)."""
    if postgres.startswith("/"):
        return Build(_major_of(Path(postgres)), Path(postgres))
    major = int(postgres)
    if (DEBIAN_HOME / postgres / "bin" / "postgres").exists():
        return Build(major, DEBIAN_HOME / postgres, is_of_the_release=True)
    raise MissingOnMachine(f"no PostgreSQL {major} here")


def _major_of(prefix: Path) -> int:
    said = subprocess.run([prefix / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)(\.\d+)*", said)
    if found is None:
        raise MissingOnMachine(f"{prefix}/bin/postgres says no version: {said.strip()}")
    return int(found.group(1))
