"""docs/examples/PanelClient.java compiles with nothing but the JDK, and drives a job on a live server."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from api_world import token_of, user
from cryptography.fernet import Fernet
from django.core.asgi import get_asgi_application
from job_world import make_cluster, make_hosts, run
from small_kind import KIND, PASSWORD

from jobs import planning, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("javac"), reason="not possible here: there is no javac"),
]
SOURCE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "PanelClient.java"


@pytest.fixture
def cluster(settings, monkeypatch, tmp_path):
    """Its worker is this process: a job is planned and run when it is told of."""
    settings.HEARTBEAT_SECONDS = 0.1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    made, hosts = make_cluster(), make_hosts(tmp_path)
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda job_id: planning.make_plan(Job.objects.get(pk=job_id)))
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: run(Job.objects.get(pk=job_id)))
    return made


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("java")
    done = subprocess.run(
        ["javac", "--release", "11", "-Xlint:all", "-Werror", "-d", str(directory), str(SOURCE)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def url(transactional_db) -> Iterator[str]:
    """The panel as it is run: events come as they happen only by ASGI."""
    server = uvicorn.Server(uvicorn.Config(get_asgi_application(), port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(timeout=20)


def java(compiled: Path, url: str, token: str, params: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["java", "-cp", str(compiled), "PanelClient", url, "registry", "small", params],
        env={"PGPANEL_TOKEN": token, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_plans_starts_and_follows_a_job(cluster, compiled, url, tmp_path):
    token = token_of(user("ana", "operator", cluster))
    done = java(compiled, url, token, f'{{"nodes": ["pg1"], "directory": "{tmp_path}"}}')
    assert done.returncode == 0, done.stderr
    job = Job.objects.get()
    assert done.stdout.splitlines()[-1] == f"job {job.pk} succeeded"
    assert done.stdout.count('"seq"') == job.last_seq
    assert PASSWORD.value not in done.stdout


def test_a_refused_plan_starts_nothing(cluster, compiled, url, tmp_path):
    token = token_of(user("ana", "operator", cluster))
    done = java(compiled, url, token, f'{{"nodes": ["pg1"], "directory": "{tmp_path}", "refuse": true}}')
    assert (done.returncode, Job.objects.get().status) == (2, "refused")
    assert "smile" in done.stderr
