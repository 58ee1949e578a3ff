"""Every kind of job × PostgreSQL version × layout × login, on real hosts. One of them by itself; all by `make proof`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from every_kind import Night, kinds_without_a_scene
from stage import Stage

from clusters.models import Node
from lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]
CELLS = os.environ.get("PGPANEL_PROOF_CELLS", "14-custom-ops").split()
"""`<version>-<layout>-<login>`; logins: root, ops (a user with sudo), postgres."""
RESULTS = os.environ.get("PGPANEL_PROOF_RESULTS", "")
"""A directory: what each cell came to, as JSON."""


@pytest.fixture(autouse=True)
def _encryption(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.mark.parametrize("cell", CELLS)
def test_every_kind_of_job(new_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    version, layout, login = cell.rsplit("-", 2)
    lab = new_lab()
    wishes: dict[str, Any] = {"postgres": version, "layout": layout}
    hosts = {name: lab.up(name, create=name == "pg1", **wishes) for name in ("pg1", "pg2", "pg3")}
    night = Night(Stage(lab, hosts, monkeypatch))
    Node.objects.update(ssh_user=login)
    began, scene, error = time.monotonic(), "", ""
    try:
        for scene in night.whole():
            print(f"{time.monotonic() - began:6.1f} s  {scene}")
        assert not kinds_without_a_scene(night)
        scene = ""
    except BaseException as failed:
        error = f"{type(failed).__name__}: {failed}"
        raise
    finally:
        if RESULTS:
            found = {
                "commit": os.environ.get("PGPANEL_PROOF_COMMIT", ""), "seconds": round(time.monotonic() - began, 1),
                "kinds": {one.kind: one.seconds for one in night.passed}, "failed_in": scene, "error": error[:2000],
            }  # fmt: skip
            Path(RESULTS, f"{cell.replace('/', '_')}.json").write_text(json.dumps(found, indent=1) + "\n")
