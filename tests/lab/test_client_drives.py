"""The main job and a switchover by the command-line client alone: its own process, the panel's API over HTTP, real hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from host_reach import needs_own_machines
from panel_real import RealPanel, add_cluster, real_panel, wait_for
from redis_server import RedisServer

from lab.lab import REPOSITORY

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]
TOKEN = """
from accounts.models import User
from clusters import tokens
admin = User.objects.get(username="admin")
print(tokens.token_create(admin, admin, "the client", "operator")[1])
"""
Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPanel]:
    with real_panel(tmp_path_factory.mktemp("panel")) as panel:
        yield panel


@pytest.fixture(scope="module")
def where(panel: RealPanel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file as people keep it; the environment says no more than where it is."""
    token = panel.manage("shell", "--no-imports", "-c", TOKEN, capture=True).split()[-1]
    file: Path = tmp_path_factory.mktemp("home") / "client.toml"
    file.write_text(f'url = "{panel.url}"\ntoken = "{token}"\n')
    file.chmod(0o600)
    return {"PATH": os.environ["PATH"], "PGPANEL_CONFIG": str(file)}


@pytest.fixture
def client(where: dict[str, str]) -> Client:
    def ask(*words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002
        return subprocess.run(
            [str(REPOSITORY / "bin" / "pgpanel"), *words], cwd="/", env=where, text=True, check=False, timeout=240,
            capture_output=True, input=input or "",
        )  # fmt: skip

    return ask


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_setup_and_a_switchover_and_what_is_asked_meanwhile(
    panel: RealPanel, client: Client, where: dict[str, str], new_lab: Any
) -> None:
    lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    add_cluster(panel, lab, "shop", {"pg1": pg1, "pg2": pg2})
    assert [one["name"] for one in told(client("clusters", "--json"))] == ["shop"]

    archive = "true" if lab.backend == "namespaces" else "false"
    settings = ("primary=pg1", "standbys=pg2", f"archive={archive}")
    done = client("run", "setup", "shop", *(word for each in settings for word in ("--set", each)), input="y\n")
    assert done.returncode == 0, done.stdout + done.stderr
    job = told(client("jobs", "--json"))[0]
    lines = panel.lines(job["id"])
    shown = [line for line in lines if line["text"].split("\n")[0] and line["text"].split("\n")[0] in done.stdout]
    assert len(shown) == len([line for line in lines if line["text"].split("\n")[0]]), "the whole log was followed"
    assert f"job {job['id']} succeeded" in done.stdout
    assert pg1.sql("SELECT state FROM pg_stat_replication") == [["streaming"]]
    wait_for(lambda: client("primary", "shop").stdout.strip() == f"{pg1.ip}:{pg1.pg_port}", "the panel sees the primary")

    plan = told(client("plan", "switchover", "shop", "--set", "candidate=pg2", "--json"))
    wrong = client("start", str(plan["id"]), "--hash", "0" * 64)
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (3, False)
    started = told(client("start", str(plan["id"]), "--hash", plan["hash"], "--no-follow", "--json"))
    assert started["status"] in ("queued", "running", "succeeded")
    followed = client("follow", str(plan["id"]), "--json")
    job = told(followed)
    assert (job["status"], job["ending"]) == ("succeeded", "done")
    assert pg2.sql("SELECT pg_is_in_recovery()") == [["f"]]
    wait_for(lambda: client("primary", "shop").stdout.strip() == f"{pg2.ip}:{pg2.pg_port}", "the panel sees the other one")
    roles = {one["name"]: one["role"] for one in told(client("nodes", "shop", "--json"))}
    assert roles == {"pg1": "standby", "pg2": "primary"}

    again = client("run", "switchover", "shop", "--set", "candidate=pg2", "--yes")
    assert again.returncode == 3, "it is the primary already"
    token = Path(where["PGPANEL_CONFIG"]).read_text().split('token = "')[1].split('"')[0]
    said = "".join([done.stdout, done.stderr, followed.stdout, *panel.logs().values()])
    assert token not in said


def test_following_outlives_a_restart_of_the_web_process_and_ctrl_c_leaves_the_job(
    panel: RealPanel, client: Client, where: dict[str, str], new_lab: Any
) -> None:
    lab = new_lab()
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    add_cluster(panel, lab, "long", {"pg1": pg1, "pg2": pg2})
    archive = "true" if lab.backend == "namespaces" else "false"
    words = [word for each in ("primary=pg1", "standbys=pg2", f"archive={archive}") for word in ("--set", each)]
    plan = told(client("plan", "setup", "long", *words, "--json"))
    told(client("start", str(plan["id"]), "--hash", plan["hash"], "--no-follow", "--json"))
    pgpanel = [str(REPOSITORY / "bin" / "pgpanel"), "follow", str(plan["id"])]
    follower = subprocess.Popen(pgpanel, cwd="/", env=where, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    left = subprocess.Popen(pgpanel, cwd="/", env=where, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert left.stdout is not None
    left.stdout.readline()
    left.send_signal(signal.SIGINT)
    assert "goes on by itself" in left.communicate(timeout=30)[0]
    os.killpg(panel.group_of("uvicorn"), signal.SIGKILL)
    said = follower.communicate(timeout=240)[0]
    assert follower.returncode == 0, said
    texts = [line["text"].split("\n")[0] for line in panel.lines(plan["id"])]
    assert [text for text in texts if text and text not in said] == []
    assert panel.job(plan["id"])["status"] == "succeeded"


def test_a_lost_primary_is_promoted_away_from_by_evidence_and_a_typed_name(panel: RealPanel, client: Client, new_lab: Any) -> None:
    lab = new_lab()
    needs_own_machines(lab)
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    add_cluster(panel, lab, "night", {"pg1": pg1, "pg2": pg2})
    words = [word for each in ("primary=pg1", "standbys=pg2", "start_guard=false") for word in ("--set", each)]
    done = client("run", "setup", "night", *words, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: client("primary", "night").returncode == 0, "the panel sees the primary")
    alive = client("promote", "night", input="pg1\n")
    assert (alive.returncode, "Nothing may be promoted" in alive.stderr) == (3, True), alive.stdout + alive.stderr

    pg1.sql("CREATE TABLE last_words AS SELECT 1 AS said")
    pg1.run(["kill", "-9", pg1.run(["head", "-n", "1", f"{pg1.data_directory}/postmaster.pid"]).stdout.strip()])
    evidence = told(client("evidence", "night", "--json"))
    assert (evidence["primary"], evidence["verdict"]) == ("pg1", "stopped_proven")
    shown = client("promote", "night", input="pg3\n")
    assert (shown.returncode, "nothing was changed" in shown.stderr) == (6, True), shown.stdout + shown.stderr
    assert pg2.sql("SELECT pg_is_in_recovery()") == [["t"]]
    promoted = client("promote", "night", input="pg2\n")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert "stopped proven" in promoted.stdout
    assert pg2.sql("SELECT said FROM last_words") == [["1"]]
    assert pg2.sql("SELECT pg_is_in_recovery()") == [["f"]]
