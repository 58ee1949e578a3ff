#!/usr/bin/env python3
"""Set up everything that a make target needs, with nothing but Python ≥ 3.11: idempotent, instant when it is all there.

    python3 bootstrap.py run     the panel: .venv with the locked packages, the pages' assets
    python3 bootstrap.py demo    … and what the lab's hosts need (sshd, PostgreSQL, …), and Redis
    python3 bootstrap.py test    … and the tools of the tests, and Chromium

Machine packages come by apt as root or through `sudo -n`; where that is impossible, one line says what is missing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PROGRAMS = {
    "run": {"redis-server": "redis-server"},
    "demo": {"redis-server": "redis-server"},
    "test": {"redis-server": "redis-server", "chromium": "chromium"},
}
WHERE_POSSIBLE = {"test": {"haproxy": "haproxy"}}
"""What tests do without, and say so when they skip."""


def main(target: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (said in plain words before anything newer is met)
        raise SystemExit(f"pgpanel needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.11 …")
    step("virtual environment", make_virtual_environment)
    step("Python packages", lambda: install_locked("requirements-dev.lock" if target == "test" else "requirements.lock"))
    step("assets of the pages", lambda: call([PYTHON, "-m", "pgpanel.assets"]))
    step("machine packages", lambda: install_machine_packages(target))


def step(title: str, action: object) -> None:
    """Run one part and say how long it took, if it took any time worth saying."""
    began = time.monotonic()
    action()  # type: ignore[operator]
    seconds = time.monotonic() - began
    if seconds >= 1:
        print(f"  {title}: {seconds:.0f} s", flush=True)


def make_virtual_environment() -> None:
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0:
        return
    if importlib.util.find_spec("ensurepip") is None:
        # Debian keeps ensurepip in a package of its own
        install_by_apt([f"python3.{sys.version_info.minor}-venv"])
    call([sys.executable, "-m", "venv", "--clear", str(VENV)])


def install_locked(lock_name: str) -> None:
    """Exactly the versions and hashes of the lock file; the development lock contains the other one."""
    stamp = VENV / "installed.lock"
    wanted = {
        name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in ("requirements.lock", "requirements-dev.lock")
    }
    installed = stamp.read_text().split() if stamp.exists() else []
    if wanted[lock_name] in installed or wanted["requirements-dev.lock"] in installed:
        return
    call([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", ROOT / lock_name])
    stamp.write_text(lock_digest(lock_name))


def lock_digest(lock_name: str) -> str:
    return hashlib.sha256((ROOT / lock_name).read_bytes()).hexdigest()


def install_machine_packages(target: str) -> None:
    if target != "run":
        call_quietly([PYTHON, "-m", "lab", "install"])
    missing = [package for program, package in PROGRAMS[target].items() if not shutil.which(program, path=search_path())]
    if missing and not (target == "run" and os.environ.get("REDIS_URL")):
        install_by_apt(missing)
    for program, package in WHERE_POSSIBLE.get(target, {}).items():
        if not shutil.which(program, path=search_path()):
            try:
                install_by_apt([package])
            except SystemExit:
                print(f"  {package} cannot be installed here: its tests are skipped")


def install_by_apt(packages: list[str]) -> None:
    """apt as root or by sudo; no daemon of these packages is started here (policy-rc.d, only while apt runs)."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (
        prefix and subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0
    ):
        raise SystemExit(f"Missing on this machine: {' '.join(packages)}. As root: apt-get install {' '.join(packages)}")
    script = """
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then trap "rm -f $policy" EXIT; printf '#!/bin/sh\\nexit 101\\n' > $policy; chmod 755 $policy; fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q -o DPkg::Lock::Timeout=300 update
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
    """
    call_quietly([*prefix, "sh", "-eu", "-c", script, "apt", *packages])


def search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def call_quietly(argv: list[object]) -> None:
    """apt says a lot: it goes to var/set-up.log, and is shown only if something fails."""
    log = ROOT / "var" / "set-up.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run([str(word) for word in argv], cwd=ROOT, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{log.read_text(errors='replace')[-3000:]}\nset-up stopped; all of it is in {log.relative_to(ROOT)}")


def call(argv: list[object]) -> None:
    done = subprocess.run([str(word) for word in argv], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"set-up stopped: `{' '.join(str(word) for word in argv)}` exited with {done.returncode}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:
        raise SystemExit(__doc__)
    main(sys.argv[1])
