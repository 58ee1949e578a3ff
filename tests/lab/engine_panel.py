"""Real Celery workers of the panel, as processes to kill, on the test's database and a Redis of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from django.db import connections
from redis_server import RedisServer

from jobs.models import Job

ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """One worker with its children, in a process group of its own."""

    def __init__(self, name: str, queues: str, log: Path, environment: dict[str, str], *more: str) -> None:
        self._log = log.open("wb")
        command = [sys.executable, "-m", "celery", "-A", "engine_app", "worker", "-Q", queues, "-n", f"{name}@%h", "-l", "info",
                   "--without-mingle", "--without-gossip", *more]  # fmt: skip
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.log_path = log

    def signal(self, number: signal.Signals) -> None:
        """To the worker and its children at once."""
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """SIGTERM to the worker, as a supervisor does; it must end by itself."""
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.wait(10)
        self._log.close()


class Panel:
    """The workers of one test."""

    def __init__(self, directory: Path, encryption_key: str) -> None:
        self.directory = directory
        self.redis = RedisServer(directory).start()
        self.workers: list[Worker] = []
        paths = [str(ROOT), str(ROOT / "tests/lab"), str(ROOT / "tests/web")]
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "DJANGO_SETTINGS_MODULE": "pgpanel.settings",
            "DATABASE_URL": f"sqlite:///{connections['default'].settings_dict['NAME']}",
            "REDIS_URL": self.redis.url,
            "PGPANEL_VAR": str(directory),
            "PGPANEL_ENCRYPTION_KEYS": encryption_key,
            "PGPANEL_HEARTBEAT_SECONDS": "0.3",
            "PGPANEL_LOST_AFTER_SECONDS": "2",
        }

    def worker(self, name: str) -> Worker:
        """For jobs, urgent ones too: one at a time, forked."""
        return self._start(
            Worker(name, "jobs,emergency", self.directory / f"{name}.log", self._environment, "-P", "prefork", "-c", "1")
        )

    def sweeper(self) -> Worker:
        """Beat and the queue that it feeds."""
        schedule = str(self.directory / "beat")
        log = self.directory / "sweeper.log"
        return self._start(
            Worker("sweeper", "observe,plans", log, self._environment, "-P", "threads", "-c", "2", "-B", "-s", schedule)
        )

    def _start(self, worker: Worker) -> Worker:
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.redis.kill()


def wait_for(true: Callable[[], object], seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.05)


def wait_for_end(job: Job, seconds: float = 60) -> Job:
    def ended() -> bool:
        job.refresh_from_db()
        return not job.is_active

    wait_for(ended, seconds)
    return job
