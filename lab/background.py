"""Programs of the lab that run beside it (a trickle of writes, a writer): started apart, recorded, ended with the lab."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from lab.process_identity import ProcessIdentity, parse_identity, start_apart

REPOSITORY = Path(__file__).resolve().parent.parent


def start(directory: Path, name: str, module: str, arguments: list[str], pgpass: Path) -> ProcessIdentity:
    """Run `python -m module arguments`; its output goes to NAME.log. Ends an earlier one of that name."""
    directory.mkdir(exist_ok=True)
    end(directory, name)
    search = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PGPASSFILE": str(pgpass), "PYTHONPATH": search, "PYTHONUNBUFFERED": "1"}
    log = directory / f"{name}.log"
    log.unlink(missing_ok=True)
    identity = start_apart([sys.executable, "-m", module, *arguments], log, environment)
    (directory / f"{name}.pid").write_text(str(identity))
    return identity


def end(directory: Path, name: str, how: signal.Signals = signal.SIGTERM, within_seconds: float = 10) -> None:
    """Signal it and wait; instant when it has ended already."""
    identity = parse_identity(directory / f"{name}.pid")
    if identity is not None:
        identity.end(how, within_seconds)
        (directory / f"{name}.pid").unlink()


def end_all(directory: Path) -> None:
    """At once: nobody wants a last report any more."""
    for recorded in directory.glob("*.pid"):
        end(directory, recorded.stem, signal.SIGKILL)
