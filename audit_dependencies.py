"""Known vulnerabilities in the locked packages, asked once a day: part of `make check`.

pip-audit and npm ask services on the network. Where these cannot be reached that is said in one line, and nothing fails; what they
know of a locked package does. The answer stands in var/dependency-audit.json until the locks change, or the day is over.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
KEPT = ROOT / "var" / "dependency-audit.json"
LOCKS = ("requirements.lock", "requirements-dev.lock", "package-lock.json")
DAY_SECONDS = 24 * 3600
KNOCK_SECONDS, ASK_SECONDS = 3, 90
SERVICES = {"pip-audit": "https://pypi.org/pypi/pip/json", "npm audit": "https://registry.npmjs.org/-/ping"}

Found = list[str] | None
"""What is wrong, a line each; None: it could not be asked."""


def python_packages() -> Found:
    options = ["--require-hashes", "--disable-pip", "-f", "json", "--progress-spinner", "off"]
    answer = asked([sys.executable, "-m", "pip_audit", "-r", "requirements-dev.lock", *options])
    if "dependencies" not in answer:
        return None
    return [f"{one['name']} {one['version']}: {bug['id']} (mended in {', '.join(bug['fix_versions']) or 'no version yet'})"
            for one in answer["dependencies"] for bug in one.get("vulns", ())]  # fmt: skip


def page_assets() -> Found:
    answer = asked(["npm", "audit", "--json", "--package-lock-only"])
    if "vulnerabilities" not in answer:
        return None
    return [f"{name}: {one['severity']}, {one['range']}" for name, one in answer["vulnerabilities"].items()]


def asked(words: list[str]) -> dict[str, Any]:
    """The JSON that it prints, {} where it prints none."""
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=ASK_SECONDS)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
    return found if isinstance(found, dict) else {}


ASKING: dict[str, Callable[[], Found]] = {"pip-audit": python_packages, "npm audit": page_assets}


def is_reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=KNOCK_SECONDS):  # noqa: S310 (one of ours)
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False


def digest() -> str:
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in LOCKS)).hexdigest()


def known() -> dict[str, list[str]]:
    """Today's answers for these very locks."""
    try:
        kept = json.loads(KEPT.read_text())
    except (OSError, ValueError):
        return {}
    is_fresh = kept.get("locks") == digest() and 0 <= time.time() - kept.get("at", 0) < DAY_SECONDS
    return dict(kept["found"]) if is_fresh else {}


def main() -> int:
    found = known()
    for name, ask in ASKING.items():
        if name not in found:
            answer = ask() if is_reachable(SERVICES[name]) else None
            if answer is None:
                print(f"{name}: its service cannot be reached from here, so nobody was asked")
                continue
            found[name] = answer
    KEPT.parent.mkdir(exist_ok=True)
    if found != known():
        KEPT.write_text(json.dumps({"locks": digest(), "at": time.time(), "found": found}))
    for name, lines in found.items():
        for line in lines:
            print(f"{name}: {line}")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
