"""`collectstatic` as the image runs it (production settings): every asset that a page names is there under its hashed name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgpanel import assets

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"""\{%\s*static\s+['"]([^'"]+)['"]""")
SWAGGER = ("ninja/swagger-ui-bundle.js", "ninja/swagger-ui.css", "ninja/swagger-ui-init.js")


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Path:
    """The production settings, but for where the files go."""
    if not assets.STAMP.is_file():
        pytest.skip("not possible here: the pages' assets are not installed (python -m pgpanel.assets)")
    directory = tmp_path_factory.mktemp("collected")
    (directory / "settings_here.py").write_text(f"from pgpanel.settings import *\nSTATIC_ROOT = {str(directory / 'static')!r}\n")
    environment = os.environ | {
        "PGPANEL_PRODUCTION": "1", "SECRET_KEY": "build-only", "PGPANEL_VAR": str(directory), "PYTHONPATH": str(directory),
        "DATABASE_URL": f"sqlite:///{directory}/build.sqlite3", "DJANGO_SETTINGS_MODULE": "settings_here",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "--skip-checks"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return directory / "static"


def manifest(collected: Path) -> dict[str, str]:
    return json.loads((collected / "staticfiles.json").read_text())["paths"]


def test_every_asset_that_a_page_names_is_collected_by_its_content(collected):
    named = {name for page in (ROOT / "templates").rglob("*.html") for name in NAMED.findall(page.read_text())}
    assert named >= {*SWAGGER[:2], "vendor/tabler/tabler.min.css"}
    paths = manifest(collected)
    assert named - set(paths) == set()
    for name in (*named, *SWAGGER):
        stem, _dot, ending = name.rpartition(".")
        assert re.fullmatch(rf"{re.escape(stem)}\.[0-9a-f]{{12}}\.{ending}", paths[name])
        assert (collected / paths[name]).is_file()


def test_a_module_that_another_imports_is_asked_for_where_it_lies(collected):
    """Scripts import each other by paths; a browser finds each of them."""
    own = [path for path in (ROOT / "static").rglob("*.js") if "vendor" not in path.parts]
    assert own
    for path in own:
        for imported in re.findall(r"""from\s+["'](\.[^"']+)["']""", path.read_text()):
            wanted = os.path.normpath(collected / path.parent.relative_to(ROOT / "static") / imported)
            assert Path(wanted).is_file(), f"{path.name} imports {imported}"
