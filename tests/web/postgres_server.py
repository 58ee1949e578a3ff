"""A real PostgreSQL of a test's own, as the panel's database: in a directory, on a free port, gone with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from redis_server import free_port

OWNER = "postgres"
"""The server does not run as root."""


def programs() -> Path | None:
    """The directory of the newest installed ones."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgresServer:
    def __init__(self) -> None:
        bin_directory = programs()
        assert bin_directory
        self.bin = bin_directory
        self.port = free_port()
        # not under pytest's own directories, which are for their owner only
        self._data = Path(tempfile.mkdtemp(prefix="pgpanel-postgres-"))

    @staticmethod
    def is_installed() -> bool:
        return programs() is not None and (os.geteuid() != 0 or shutil.which("runuser") is not None)

    def url(self, database: str = "postgres") -> str:
        return f"postgres://{OWNER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> PostgresServer:
        if os.geteuid() == 0:
            shutil.chown(self._data, OWNER)
        self._run(
            "initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={OWNER}", "-D", str(self._data)
        )
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self._data / "log"), "-o", options)
        return self

    def create(self, database: str) -> str:
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", OWNER, database)
        return self.url(database)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self._data))
        shutil.rmtree(self._data)

    def _run(self, program: str, *arguments: str) -> None:
        become = ["runuser", "-u", OWNER, "--"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*become, str(self.bin / program), *arguments], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/"
        )
        assert done.returncode == 0, done.stderr.decode()
