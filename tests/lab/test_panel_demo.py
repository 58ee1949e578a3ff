"""`make demo` from outside: it proves itself and leaves nothing behind, also when it is interrupted midway."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from panel_real import descendants, wait_for
from redis_server import RedisServer

from lab.lab import REPOSITORY, labs_directory

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command, with a lab and a panel of its own beside a demo that somebody may have open."""
    monkeypatch.setenv("PGPANEL_LAB_DIRECTORY", str(tmp_path / "labs"))
    return [sys.executable, "-u", "-m", "lab.demo", "--rows", "500", "--name", f"proof-{os.getpid()}"]


def leftovers(pids: set[int], labs: Path) -> list[str]:
    """Processes that the demo started and that live on, and whatever of its lab is still on the machine."""
    alive = [f"process {pid}: {line}" for pid in pids if (line := command_line(pid))]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(labs) in line]
    return alive + mounts + [str(path) for path in labs.glob("*")] + bridges(labs)


@pytest.fixture(autouse=True)
def no_panel_left() -> Iterator[None]:
    yield
    shutil.rmtree(REPOSITORY / "var" / f"proof-{os.getpid()}", ignore_errors=True)


def bridges(labs: Path) -> list[str]:
    """Network namespaces of labs that stand in this directory."""
    runtime = Path("/run/pgpanel-lab")
    taken = [path for path in runtime.glob("[0-9]*") if path.is_file() and str(labs) in path.read_text()]
    return [f"number {path.name} is still taken" for path in taken]


def command_line(pid: int) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        return "" if state == "Z" else Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_the_demo_proves_itself_and_leaves_nothing_behind(demo: list[str]) -> None:
    pids: set[int] = set()
    text = ""
    with subprocess.Popen(
        [*demo, "--exit"], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            text += line
            pids |= set(descendants(process.pid))
        assert process.wait(60) == 0, text
    for words in ("— succeeded", "a row written on h1 is read on h2: yes", "h2 is in recovery: yes", "h1 streams to: pg2"):
        assert words in text
    assert len(pids) > 8
    assert leftovers(pids, labs_directory()) == []


def test_ctrl_c_in_the_middle_of_the_demo_leaves_nothing_behind(demo: list[str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(demo, cwd=REPOSITORY, stdout=file, stderr=file, start_new_session=True)
    wait_for(lambda: "the hosts added to the panel" in output.read_text(), "the demo is in the middle", 90, output.read_text)
    time.sleep(2)
    pids = set(descendants(process.pid))
    assert len(pids) > 8
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that hang on it
    assert process.wait(60) == 130, output.read_text()
    assert "Traceback" not in output.read_text()
    assert leftovers(pids, labs_directory()) == []
