"""Which number each lab of this machine has: two labs side by side never share an address.

A number N gives 10.99.N.0/24 to a lab made of namespaces and 127.0.N.0/24 to one made of plain processes. Each taken
number is a file in a directory that does not survive a boot of the machine, changed only under a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError


def runtime_directory() -> Path:
    """Short and gone after a boot: for what must not be taken for true then, and for UNIX sockets (107 bytes)."""
    home = Path("/run/pgpanel-lab") if os.geteuid() == 0 else Path(f"/tmp/pgpanel-lab-{os.geteuid()}")
    home.mkdir(mode=0o755, exist_ok=True)
    if home.stat().st_uid != os.geteuid():
        raise LabError(f"{home} belongs to someone else")
    return home


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """Labs are made one at a time; what comes after (booting hosts, say) runs side by side."""
    with (runtime_directory() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def taken() -> dict[int, Path]:
    """number → state directory of the lab that has it"""
    return {int(p.name): Path(p.read_text()) for p in runtime_directory().iterdir() if p.name.isdigit() and p.is_file()}


def take(directory: Path) -> int:
    """The lowest free number, recorded for the lab whose state is in `directory`. Under the machine's lock."""
    used = set(taken()) | _routed_by_the_machine()
    number = next((n for n in range(1, 255) if n not in used), None)
    if number is None:
        raise LabError("all 254 numbers for labs are taken on this machine: `python -m lab down --all`")
    (runtime_directory() / str(number)).write_text(str(directory))
    return number


def give_back(number: int) -> None:
    (runtime_directory() / str(number)).unlink(missing_ok=True)


def _routed_by_the_machine() -> set[int]:
    """Numbers whose 10.99.N.0/24 the machine reaches already, by something that is no lab of ours."""
    routes = Path("/proc/net/fib_trie").read_text()
    return {int(third) for third in re.findall(r"\b10\.99\.(\d+)\.", routes)}
