"""Installing the pages' assets: pinned, from nowhere in particular, instant when nothing changed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from pgpanel import assets


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which `npm ci` has just run."""
    monkeypatch.setattr(assets, "BASE", tmp_path)
    monkeypatch.setattr(assets, "VENDOR", tmp_path / "static" / "vendor")
    monkeypatch.setattr(assets, "STAMP", tmp_path / "static" / "vendor" / ".installed")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "package-lock.json").write_text("{}")
    (tmp_path / "static").mkdir()
    for name in (*assets.SERVED, *assets.FOR_TESTS):
        path = tmp_path / "node_modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n/*# sourceMappingURL={path.name}.map */")
    return tmp_path


def test_the_lock_names_versions_and_hashes_and_no_registry() -> None:
    lock = json.loads((assets.BASE / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert all("resolved" not in one and one["integrity"].startswith("sha512-") for one in packages.values())
    wanted = json.loads((assets.BASE / "package.json").read_text())
    assert all(
        re.fullmatch(r"\d+\.\d+\.\d+", version) for key in ("dependencies", "devDependencies") for version in wanted[key].values()
    )


def test_what_is_served_names_no_source_map_and_what_is_not_served_is_not_copied(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "npm_ci", lambda with_dev: None)
    (place / "static" / "vendor" / "of-yesterday").mkdir(parents=True)
    assert assets.install() is True
    found = sorted(path.relative_to(assets.VENDOR).as_posix() for path in assets.VENDOR.rglob("*") if path.is_file())
    assert found == sorted([".installed", *assets.SERVED.values()])
    assert all("sourceMappingURL" not in (assets.VENDOR / name).read_text() for name in assets.SERVED.values())


def test_nothing_is_done_until_the_lock_changes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[bool] = []
    monkeypatch.setattr(assets, "npm_ci", runs.append)
    assert [assets.install(), assets.install(), assets.install(with_dev=False)] == [True, False, False]
    (place / "package-lock.json").write_text('{"changed": true}')
    assert assets.install() is True
    assert runs == [True, True]


def test_a_package_that_lacks_a_file_is_said_by_its_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "npm_ci", lambda with_dev: None)
    (place / "node_modules" / "uplot/dist/uPlot.esm.js").unlink()
    with pytest.raises(assets.AssetsImpossible, match=r"uplot/dist/uPlot\.esm\.js is missing"):
        assets.install()


def test_without_npm_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert assets.main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1
