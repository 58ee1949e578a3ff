"""The cgroup in which a host's processes can be frozen all at once (cgroup v1 or v2, whichever the machine mounts)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, NotPossibleHere

V1 = Path("/sys/fs/cgroup/freezer")
V2_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@dataclass(frozen=True)
class Freezer:
    name: str

    @property
    def directory(self) -> Path | None:
        """None where no freezer is mounted: hosts run there all the same, they just cannot be paused."""
        if V1.is_dir():
            return V1 / self.name
        mounted = next((root for root in V2_MOUNTS if (root / "cgroup.procs").exists()), None)
        return None if mounted is None else mounted / self.name

    def make(self) -> None:
        if self.directory is not None:
            self.directory.mkdir(exist_ok=True)

    @classmethod
    def all_named(cls, prefix: str) -> list[Freezer]:
        """The ones that exist, whoever made them."""
        parents = [parent for parent in (V1, *V2_MOUNTS) if parent.is_dir()]
        return [cls(path.name) for parent in parents for path in parent.glob(f"{prefix}*")]

    def pids(self) -> list[int]:
        procs = None if self.directory is None else self.directory / "cgroup.procs"
        return [int(pid) for pid in procs.read_text().split()] if procs is not None and procs.exists() else []

    def joining(self) -> list[str]:
        """A prefix for a command: it runs, and all its children run, as part of the host."""
        if self.directory is None:
            return []
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self.directory)]

    def is_frozen(self) -> bool:
        state = self._read("freezer.state", "cgroup.freeze")
        return state in ("FROZEN", "FREEZING", "1")

    def freeze(self) -> None:
        if self.directory is None:
            raise NotPossibleHere("pausing a host needs the cgroup freezer, which this machine does not mount")
        self._write("FROZEN", "1")
        deadline = time.monotonic() + 5
        while not self._has_stopped():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not freeze within 5 s")
            time.sleep(0.005)

    def thaw(self) -> None:
        if self.directory is not None and self.directory.exists():
            self._write("THAWED", "0")

    def remove(self) -> None:
        """The processes are gone already; the kernel may need a moment to see it."""
        deadline = time.monotonic() + 5
        while self.directory is not None and self.directory.exists():
            try:
                self.directory.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def _has_stopped(self) -> bool:
        return self._read("freezer.state", "cgroup.events").endswith(("FROZEN", "frozen 1"))

    def _read(self, v1_file: str, v2_file: str) -> str:
        if self.directory is None:
            return ""
        file = self.directory / (v1_file if self.directory.parent == V1 else v2_file)
        return file.read_text().strip() if file.exists() else ""

    def _write(self, v1_value: str, v2_value: str) -> None:
        assert self.directory is not None
        if self.directory.parent == V1:
            (self.directory / "freezer.state").write_text(v1_value)
        else:
            (self.directory / "cgroup.freeze").write_text(v2_value)
