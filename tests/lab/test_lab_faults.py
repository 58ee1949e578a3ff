"""Every fault that a host can have, and that it ends."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from lab import Host, Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def pair(lab: Lab) -> list[Host]:
    first, second = lab.up_all(["h1", "h2"])
    return [first, second]


def reaches(host: Host, other: Host) -> bool:
    connect = f"timeout 1 bash -c '</dev/tcp/{other.ip}/{other.ssh_port}'"
    return host.run(connect, check=False).returncode == 0


def panel_reaches(host: Host) -> bool:
    try:
        host.wait_ssh(timeout_seconds=0.7)
    except Exception:
        return False
    return True


def test_a_killed_host_keeps_its_disk_and_boots_again(pair: list[Host]) -> None:
    host = pair[0]
    host.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    note = f"{Path(host.data_directory).parent}/note"
    host.run(["tee", note], input="kept\n")
    host.kill()
    assert not host.is_up()
    assert not panel_reaches(host)
    host.start()
    host.wait_postgres()
    assert host.sql("SELECT n FROM kept") == [["7"]]
    assert host.run(["cat", note]).stdout == "kept\n"


def test_a_killed_host_says_goodbye_to_nobody(pair: list[Host]) -> None:
    """After a power cut the other end of a connection hears nothing: no FIN, no RST."""
    host, other = pair
    if host.lab.backend != "namespaces":
        pytest.skip("not possible here: the kernel closes the connections of killed processes")
    hold = f"exec 3<>/dev/tcp/{host.ip}/22; read -r -u 3 banner; read -r -t 2 -u 3 more; echo $?"
    host_dies = f"bash -c '{hold}' & sleep 0.5; echo connected; wait"
    with subprocess.Popen(other.command(host_dies), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "connected\n"
        host.kill()
        answer = watching.stdout.read()
    assert int(answer) > 128, "a timeout of read, not an end of file"
    host.start()
    host.wait_postgres()


def test_postgres_marked_manual_stays_down_after_a_boot(lab: Lab) -> None:
    host = lab.up("manual", autostart=False)
    host.kill()
    host.start()
    time.sleep(1)
    assert not host.is_postgres_running()
    host.pg_start()
    assert host.sql("SELECT 1") == [["1"]]


def test_a_paused_host_is_silent_and_goes_on_where_it_stood(pair: list[Host]) -> None:
    host = pair[0]
    before = host.processes()
    host.pause()
    assert not panel_reaches(host)
    host.resume()
    assert panel_reaches(host)
    assert {pid for pid, argv in before if "checkpointer" in argv} <= {pid for pid, _ in host.processes()}


def test_a_paused_host_can_be_killed(pair: list[Host]) -> None:
    host = pair[0]
    host.pause()
    host.kill()
    assert not host.is_up()
    host.start()
    host.wait_postgres()


def test_a_cut_host_is_reached_by_nobody_until_it_is_healed(pair: list[Host]) -> None:
    host, other = pair
    host.cut()
    assert not panel_reaches(host)
    assert not reaches(other, host)
    assert host.is_postgres_running()
    host.heal()
    assert panel_reaches(host)
    assert reaches(other, host)


def test_a_cut_outlasts_a_boot(pair: list[Host]) -> None:
    host, other = pair
    host.cut()
    host.kill()
    host.start()
    assert not reaches(other, host)
    host.heal()
    host.wait_ssh()
    host.wait_postgres()


def test_two_hosts_split_from_each_other_still_reach_the_panel(pair: list[Host]) -> None:
    host, other = pair
    host.split(other)
    assert not reaches(host, other)
    assert not reaches(other, host)
    assert panel_reaches(host)
    assert panel_reaches(other)
    host.unsplit()
    assert reaches(host, other)


def test_ending_one_split_leaves_the_others(lab: Lab, pair: list[Host]) -> None:
    host, other = pair
    third = lab.up("third", create=False)
    host.split(other)
    other.split(third)
    host.unsplit()
    assert reaches(host, other)
    assert not reaches(third, other)
    third.unsplit()
    third.down()


def test_a_slowed_link_is_as_slow_as_asked(pair: list[Host]) -> None:
    host, other = pair
    host.rate(None)
    host.run("head -c 12500000 /dev/zero > /tmp/100mbit")
    copy = f"rsync -e 'ssh -o StrictHostKeyChecking=no -i /tmp/key' /tmp/100mbit root@{other.ip}:/tmp/"
    host.run("umask 077; cat > /tmp/key", input=host.lab.key_path.read_text())

    def seconds() -> float:
        other.run(["rm", "-f", "/tmp/100mbit"])
        began = time.monotonic()
        host.run(copy)
        return time.monotonic() - began

    free = seconds()
    host.rate("50mbit")
    slow = seconds()
    host.rate(None)
    assert slow > 1.6, "100 Mbit at 50 Mbit/s, less what the bucket lets through at once"
    assert slow > free


def test_a_full_disk_refuses_writes_until_it_is_freed(lab: Lab) -> None:
    host = lab.up("small", create=False, disk_mb=100)
    host.fill_disk()
    assert host.run("echo more > /root/more", check=False).returncode != 0
    host.free_disk()
    host.run("echo more > /root/more")


def test_a_disk_can_be_filled_but_for_some_bytes(lab: Lab) -> None:
    host = lab.up("nearly", create=False, disk_mb=100)
    host.fill_disk(leave_bytes=20_000_000)
    left = int(host.run("stat -f -c '%a * %S' / | xargs expr").stdout)
    assert abs(left - 20_000_000) < 2_000_000


def test_a_remade_host_is_reached_at_once_under_its_old_address(lab: Lab, pair: list[Host]) -> None:
    other = pair[1]
    host = lab.up("again", create=False)
    ip = host.ip
    assert reaches(other, host)
    host.down()
    began = time.monotonic()
    host = lab.up("again", create=False)
    assert host.ip == ip
    assert reaches(other, host)
    assert time.monotonic() - began < 10, "a stale ARP entry takes 30 s to go"
