"""The fallback: hosts made of plain processes, and what they openly cannot do."""

from __future__ import annotations

import pytest

from lab import Host, Lab, NotPossibleHere

pytestmark = pytest.mark.lab


@pytest.fixture
def host(new_lab: object) -> Host:
    lab: Lab = new_lab(backend="processes")  # type: ignore[operator]
    return lab.up("h1")


def test_a_host_of_processes_runs_postgres_and_boots_again_after_a_kill(host: Host) -> None:
    assert host.ip.startswith("127.0.")
    host.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    assert any("postgres" in argv for _, argv in host.processes())
    host.kill()
    assert not host.is_up()
    host.start()
    host.wait_postgres()
    assert host.sql("SELECT n FROM kept") == [["7"]]


def test_what_is_started_by_ssh_and_detached_dies_with_the_host(host: Host) -> None:
    host.run("setsid -f sleep 4711 >/dev/null 2>&1 </dev/null")
    assert any(argv == "sleep 4711" for _, argv in host.processes())
    host.kill()
    assert host.processes() == []
    host.start()
    assert not any(argv == "sleep 4711" for _, argv in host.processes())


def test_a_paused_host_of_processes_goes_on_where_it_stood(host: Host) -> None:
    host.pause()
    with pytest.raises(Exception, match="sshd does not answer"):
        host.wait_ssh(timeout_seconds=0.7)
    host.resume()
    assert host.sql("SELECT 1") == [["1"]]


def test_the_writer_works_on_hosts_of_processes(host: Host) -> None:
    writer = host.lab.writer([host])
    writer.start()
    assert writer.stop().lost == 0


def test_what_processes_cannot_do_is_refused_in_plain_words(host: Host) -> None:
    for fault in (host.cut, host.heal, host.unsplit, host.fill_disk, host.free_disk):
        with pytest.raises(NotPossibleHere, match="with the processes backend"):
            fault()
    with pytest.raises(NotPossibleHere, match="splitting"):
        host.split(host)
    with pytest.raises(NotPossibleHere, match="debian layout"):
        host.lab.up("h2", layout="debian")
    with pytest.raises(NotPossibleHere, match="disk_mb"):
        host.lab.up("h3", disk_mb=100)
