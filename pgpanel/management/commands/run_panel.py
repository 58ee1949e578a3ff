"""`manage.py run_panel`: the whole panel on one machine, until Ctrl-C. Database and Redis may be elsewhere (`.env.example`)."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from pgpanel.processes import processes, supervisor_configuration


class Command(BaseCommand):
    help = "Migrates the panel's database, makes the first administrator, and runs web, workers, beat and Redis until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (behind a TLS proxy if not loopback)")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--redis-port", type=int, help="start a Redis of its own there even if REDIS_URL is given")

    def handle(self, *, bind: str, port: int, redis_port: int | None, **_options: Any) -> None:
        call_command("check", deploy=False)
        call_command("migrate", verbosity=0)
        call_command("check", databases=["default"], tags=["database"])
        call_command("first_administrator")
        var: Path = settings.VAR_DIR
        (var / "log").mkdir(exist_ok=True)
        if redis_port is None and "REDIS_URL" not in os.environ:
            redis_port = free_port()
        if redis_port is not None:
            os.environ["REDIS_URL"] = f"redis://127.0.0.1:{redis_port}/0"
        configuration = var / "supervisord.conf"
        configuration.write_text(supervisor_configuration(processes(bind, port, var, redis_port), var))
        os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
        self.stdout.write(f"pgpanel runs at http://{bind}:{port}/ — logs in {var / 'log'}, Ctrl-C ends it")
        sys.stdout.flush()
        supervisord = Path(sys.executable).parent / "supervisord"
        os.execv(supervisord, [str(supervisord), "-c", str(configuration)])  # noqa: S606 (no shell is wanted)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
