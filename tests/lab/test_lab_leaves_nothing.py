"""A lab that is down, or whose process crashed, leaves nothing on the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab, LabError, subnets
from lab.lab import REPOSITORY
from lab.process_identity import ProcessIdentity

pytestmark = pytest.mark.lab

ORPHAN = """
import sys
from pathlib import Path
from lab import Lab
lab = Lab(sys.argv[1], directory=Path(sys.argv[2]))
host = lab.up("h1")
lab.trickle(host)
print(lab.number, flush=True)
sys.stdin.read()
"""


def traces(number: int, directory: Path) -> list[str]:
    """Whatever on this machine still speaks of a lab."""
    found = [f"process {path.parent.name}" for path in Path("/proc").glob("[0-9]*/cmdline") if _speaks_of(path, str(directory))]
    for file in ("/proc/mounts", "/proc/net/dev"):
        names = {f"pglab{number}", str(directory)}
        found += [f"{file}: {line}" for line in Path(file).read_text().splitlines() if names & set(line.replace(":", " ").split())]
    found += [str(path) for path in Path("/run/netns").glob(f"pglab{number}")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/pglab{number}-*")]
    found += [str(path) for path in Path("/sys/block").glob("loop*/loop/backing_file") if _speaks_of(path, str(directory))]
    found += [str(directory)] if directory.exists() else []
    return found


def _speaks_of(file: Path, what: str) -> bool:
    try:
        return what.encode() in file.read_bytes()
    except OSError:
        return False


def is_running(pid: int) -> bool:
    """Not so for a dead process that the machine's init has yet to reap."""
    try:
        ProcessIdentity.of(pid)
    except LabError:
        return False
    return True


def hosts_pids(lab: Lab) -> list[int]:
    """Every process of the lab's hosts as the machine counts them: those in its mount namespaces."""
    inits = [int((host.directory / "pid").read_text().split()[0]) for host in lab.hosts.values()]
    namespaces = {os.readlink(f"/proc/{pid}/ns/mnt") for pid in inits}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "ns/mnt") in namespaces:
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_nothing_is_left_of_a_lab_that_is_down(new_lab: object) -> None:
    lab: Lab = new_lab()  # type: ignore[operator]
    if lab.backend != "namespaces":
        pytest.skip("not possible here: no namespaces to look at")
    host, small = lab.up("h1"), lab.up("small", create=False, disk_mb=64)
    lab.registry(host, rows=50)
    lab.trickle(host)
    lab.writer([host]).start()
    host.split(small)
    host.rate("100mbit")
    small.pause()
    pids = hosts_pids(lab)
    assert len(pids) > 5
    lab.down()
    assert traces(lab.number, lab.directory) == []
    assert not [pid for pid in pids if is_running(pid)]
    assert lab.number not in subnets.taken()


def test_the_lab_of_a_crashed_process_is_taken_away_by_the_next_lab(new_lab: object, tmp_path: Path) -> None:
    directory = tmp_path / "orphan"
    crashed = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, "orphan", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert crashed.stdin is not None
    assert crashed.stdout is not None
    number = int(crashed.stdout.readline())
    crashed.send_signal(signal.SIGKILL)
    crashed.wait()
    crashed.stdin.close()
    crashed.stdout.close()
    assert Lab.attach("orphan", directory)["h1"].is_up()
    fresh: Lab = new_lab()  # type: ignore[operator]
    assert [trace for trace in traces(number, directory) if str(directory) in trace] == []
    assert fresh.number == number or traces(number, directory) == []


def test_hosts_whose_directory_was_deleted_are_taken_away_too(new_lab: object) -> None:
    lab: Lab = new_lab()  # type: ignore[operator]
    if lab.backend != "namespaces":
        pytest.skip("not possible here: a plain process without its directory cannot be told from others")
    lab.up("h1")
    pids = hosts_pids(lab)
    shutil.rmtree(lab.directory)
    new_lab()  # type: ignore[operator]
    assert not [pid for pid in pids if is_running(pid)]


def test_a_lab_of_before_the_last_boot_does_not_touch_the_one_that_has_its_number_now(new_lab: object) -> None:
    lab: Lab = new_lab()  # type: ignore[operator]
    if lab.backend != "namespaces":
        pytest.skip("not possible here: no switch to take away")
    before = lab.directory.with_name(f"{lab.name}-before")
    shutil.copytree(lab.directory, before)
    Lab.attach(lab.name, before).down()
    assert not before.exists()
    assert Path("/run/netns", f"pglab{lab.number}").exists()
    assert subnets.taken()[lab.number] == lab.directory
