"""What depends on the panel's database, on a real PostgreSQL: the same tests as on SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not PostgresServer.is_installed(), reason="not possible here: PostgreSQL is not installed")


@pytest.fixture
def server():
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.mark.parametrize("file", ["test_audit_trail.py", "test_audit_verify.py", "test_audit_pages.py"])
def test_the_audit_trail_holds_there_too(server, file):
    environment = os.environ | {"DATABASE_URL": server.url()}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestWarning", f"tests/web/{file}"],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
