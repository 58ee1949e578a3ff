"""`python -m proof`: runs the cells that have no result of this commit yet, then writes docs/proof.md and docs/proof.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from proof import cells, page

HOME = Path(__file__).parent.parent
RESULTS = HOME / "var" / "proof"
TEST = "tests/lab/test_every_kind.py"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make proof", description=__doc__)
    parser.add_argument("cells", nargs="*", default=cells.ALL, help="such as 15-debian-root; all of them by default")
    parser.add_argument("--side-by-side", type=int, default=2, help="cells at a time")
    parser.add_argument("--again", action="store_true", help="also those that have a result of this commit")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    commit = cells.commit_now()
    there = {} if given.again else cells.results_in(RESULTS, commit)
    wanted = [cell for cell in given.cells if cell not in there]
    print(f"{len(there)} cells have a result of {commit}, {len(wanted)} to run")
    for cell in wanted:
        (RESULTS / f"{cell}.json").unlink(missing_ok=True)
    if wanted:
        _run(wanted, given.side_by_side, commit)
    found = cells.results_in(RESULTS, commit)
    _write([found[cell] for cell in cells.ALL if cell in found], given.side_by_side)
    missing = [cell for cell in given.cells if cell not in found or not found[cell].is_passed]
    print(f"docs/proof.md: {len(found)} rows; not passed: {', '.join(missing) or 'none'}")
    return 1 if missing else 0


def _run(wanted: list[str], side_by_side: int, commit: str) -> None:
    environment = os.environ | {
        "PGPANEL_PROOF_CELLS": " ".join(wanted), "PGPANEL_PROOF_RESULTS": str(RESULTS), "PGPANEL_PROOF_COMMIT": commit,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(side_by_side), TEST]
    subprocess.run(command, cwd=HOME, env=environment, check=False)  # its results say what failed


def _write(results: list[cells.Result], side_by_side: int) -> None:
    kinds = list(dict.fromkeys(kind for one in results for kind in one.kinds))
    when, machine = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    (HOME / "docs" / "proof.md").write_text(page.page(results, kinds, machine, when, side_by_side))
    (HOME / "docs" / "proof.json").write_text(json.dumps(page.as_json(results, machine, when), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
