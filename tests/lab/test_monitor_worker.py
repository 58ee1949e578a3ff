"""The collector inside real Celery workers: it begins at once, stops at once, and another takes over from a killed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.db import connections
from django.utils import timezone
from monitor_streaming import streaming
from redis_server import RedisServer
from test_monitor_states import register, until

from clusters.models import Cluster
from lab import Host, Lab
from monitor.models import Lease, Sample

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.lab,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[Host]:
    return streaming(lab, ["pg1", "pg2"])


@pytest.fixture
def key(settings) -> str:
    made = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [made]
    return made


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def start(tmp_path: Path, key: str, redis: RedisServer) -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def worker(name: str, pool: str = "threads", *more: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{connections['default'].settings_dict['NAME']}", "REDIS_URL": redis.url,
            "PGPANEL_VAR": str(tmp_path), "PGPANEL_ENCRYPTION_KEYS": key, "DJANGO_SETTINGS_MODULE": "pgpanel.settings",
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "pgpanel",
            "worker",
            "-Q",
            "observe",
            "-P",
            pool,
            "-c",
            "2",
            "-n",
            f"{name}@%h",
        ]
        with (tmp_path / f"{name}.log").open("wb") as log:
            processes.append(subprocess.Popen(
                [*command, "--without-mingle", "--without-gossip", *more], cwd=ROOT, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            ))  # fmt: skip
        return processes[-1]

    yield worker
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.fixture
def cluster(lab: Lab, hosts: list[Host], key: str) -> Cluster:
    return register(lab, hosts)


def is_sampled() -> bool:
    """Within the last two seconds, by time and not by count."""
    newest = Sample.objects.order_by("-pk").values_list("at", flat=True).first()
    return newest is not None and (timezone.now() - newest).total_seconds() < 2.5


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_watches_at_once_and_stops_at_once_giving_its_clusters_back(cluster: Cluster, start: Start, pool: str) -> None:
    worker = start("one", pool)
    until(lambda: Sample.objects.filter(state="idle").exists(), 25)
    worker.terminate()
    began = time.monotonic()
    worker.wait(20)
    assert time.monotonic() - began < 8
    assert list(Lease.objects.values_list("holder", "until")) == [("", None)]


def test_another_worker_takes_over_from_one_that_was_killed(cluster: Cluster, start: Start, tmp_path: Path) -> None:
    one = start("one")
    until(is_sampled, 25)
    start("two", "threads", "-B", "-s", str(tmp_path / "beat"))
    time.sleep(3)
    os.killpg(one.pid, signal.SIGKILL)
    one.wait(10)
    first = Lease.objects.get().holder
    until(lambda: Lease.objects.get().holder not in ("", first), 25)
    until(is_sampled, 10)


def test_sampling_goes_on_while_redis_is_gone(cluster: Cluster, start: Start, redis: RedisServer) -> None:
    start("one")
    until(is_sampled, 25)
    redis.kill()
    time.sleep(4)
    assert is_sampled()
