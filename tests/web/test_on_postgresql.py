"""What depends on the panel's database, on a real PostgreSQL: the same tests as on SQLite."""

from __future__ import annotations

import gzip
import json
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


@pytest.mark.parametrize(
    "file",
    ["test_audit_trail.py", "test_audit_verify.py", "test_audit_pages.py", "test_panel_backup.py", "test_at_once.py",
     "test_api_jobs.py", "test_second_person.py"],
)  # fmt: skip
def test_trail_backup_and_jobs_hold_there_too(server, file):
    environment = os.environ | {"DATABASE_URL": server.url()}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestWarning", f"tests/web/{file}"],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]


class Panel:
    """The panel's commands over a database of their own."""

    def __init__(self, url: str, var: Path) -> None:
        key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        self._environment = os.environ | {"DATABASE_URL": url, "PGPANEL_VAR": str(var), "PGPANEL_ENCRYPTION_KEYS": key}
        self("migrate", "-v0")

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=self._environment, check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout


def rows_of(file: Path) -> dict[str, list[dict]]:
    """Without what a restore itself changes: the claims' epoch, and the entry that it appends."""
    found: dict[str, list[dict]] = {}
    with gzip.open(file, "rt") as lines:
        for row in map(json.loads, list(lines)[1:-1]):
            row["fields"].pop("epoch", None)
            found.setdefault(row["model"], []).append(row)
    found["accounts.auditentry"] = [row for row in found["accounts.auditentry"] if not row["fields"]["action"].startswith("panel.")]
    return {model: rows for model, rows in found.items() if model != "accounts.audithead"}


MAKE = """
from clusters import credentials, services
cluster = services.cluster_create("registry", "␛ ü <b>'")
key = credentials.key_make("login", cluster)
services.node_create(cluster, key, "pg1", "10.0.0.1", postgres_major="15")
services.role_password(cluster, "replication")
"""


def test_a_panel_moves_from_sqlite_to_postgresql_and_back(server, tmp_path):
    first, second, third = (tmp_path / name for name in ("first.gz", "second.gz", "third.gz"))
    there = Panel(f"sqlite:///{tmp_path}/a.sqlite3", tmp_path)
    there("first_administrator")
    there("shell", "-v0", "-c", MAKE)
    there("panel", "backup", str(first))
    moved = Panel(server.create("moved"), tmp_path)
    assert "The audit trail is whole" in moved("panel", "restore", str(first))
    assert "every one opens" in moved("keys", "check")
    moved("audit", "verify")
    moved("shell", "-v0", "-c", "from clusters import services; services.cluster_create('whois').delete()")  # its numbers go on
    moved("panel", "backup", str(second))
    back = Panel(f"sqlite:///{tmp_path}/b.sqlite3", tmp_path)
    back("panel", "restore", str(second))
    assert "whole" in back("audit", "verify")
    back("panel", "backup", str(third))
    assert rows_of(first)["clusters.node"] == rows_of(third)["clusters.node"]
    assert rows_of(second) == rows_of(third)
