"""docker-compose.yml, checked by docker-compose itself where it is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"SECRET_KEY": "k", "PGPANEL_ENCRYPTION_KEYS": "e", "ALLOWED_HOSTS": "panel.example.net", "DATABASE_PASSWORD": "p"}

needs_compose = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")


def config(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    return subprocess.run(["docker-compose", *options, "config"], cwd=ROOT, env=own, capture_output=True, text=True, check=False)


@needs_compose
def test_the_panel_is_web_workers_beat_redis_and_postgres():
    done = config(**SECRETS)
    assert done.returncode == 0, done.stderr
    workers = ("worker-jobs", "worker-emergency", "worker-plans", "worker-notify", "worker-observe")
    for service in ("web", *workers, "beat", "redis", "postgres"):
        assert f"  {service}:\n" in done.stdout


@needs_compose
def test_three_hosts_come_with_the_profile_lab_only():
    done = config("--profile", "lab", **SECRETS)
    assert all(f"  {host}:\n" in done.stdout for host in ("h1", "h2", "h3")), done.stderr
    assert done.stdout.count("profiles:\n    - lab\n") == 3


@needs_compose
@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_secret_is_named_and_refused(name):
    done = config(**{key: value for key, value in SECRETS.items() if key != name})
    assert done.returncode != 0
    assert name in done.stdout + done.stderr


def test_every_setting_that_is_explained_reaches_the_containers():
    explained = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    text = (ROOT / "docker-compose.yml").read_text()
    of_one_machine = {"DEBUG", "PGPANEL_VAR"}
    assert {name for name in explained - of_one_machine if f"    {name}:" not in text} == set()
