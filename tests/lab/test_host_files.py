"""Files on real hosts: written whole or not at all, with the right owner and mode, and only when they differ."""

from __future__ import annotations

import threading
import uuid

import pytest
from host_reach import access_to, command_lines, needs_own_machines, reads, wait_until

from lab import Host as LabHost
from lab import Lab
from remote.command import Secret, WriteFile
from remote.host import CannotBecome, CommandFailed, EpochRefused, Host, HostError, Lock, OutputTooLong

pytestmark = pytest.mark.lab
CONFIG = "/etc/postgresql/15/main"


@pytest.fixture(scope="module")
def pg1(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    host = lab.up("pg1", create=False, disk_mb=256)
    host.run(["install", "-d", "-o", "postgres", "-g", "postgres", CONFIG, "/srv/of postgres"])
    return host


@pytest.fixture(scope="module")
def root(lab: Lab, pg1: LabHost):
    with Host(access_to(lab, pg1), "pg1") as host:
        yield host


def looks(host: LabHost, path: str) -> str:
    return host.run(["stat", "-c", "%U:%G %a", path]).stdout.strip()


@pytest.mark.parametrize("login", ["root", "postgres", "ops"])
def test_a_file_is_written_with_its_owner_and_mode_and_only_when_it_differs(lab: Lab, pg1: LabHost, login: str) -> None:
    path = f"/srv/of postgres/it's {login} — $HOME"
    with Host(access_to(lab, pg1, login), "pg1") as host:
        assert host.write(WriteFile(path, "one\né", "postgres:postgres", "0640"))
        assert host.read(path, user="postgres") == "one\né".encode()
        assert looks(pg1, path) == "postgres:postgres 640"
        before = pg1.run(["stat", "-c", "%i %Y %Z", path]).stdout
        assert not host.write(WriteFile(path, "one\né", "postgres:postgres", "0640"))
        assert pg1.run(["stat", "-c", "%i %Y %Z", path]).stdout == before
        assert host.write(WriteFile(path, "one\né", "postgres", "0600"))
        assert looks(pg1, path) == "postgres:postgres 600"
        assert host.write(WriteFile(path, "", "postgres", "0600"))
        assert host.read(path, user="postgres") == b""
    assert pg1.run(["ls", "-A", "/srv/of postgres"]).stdout.count(".pgpanel") == 0


def test_where_the_owner_may_not_write_root_does(lab: Lab, pg1: LabHost) -> None:
    for login in ("root", "ops"):
        with Host(access_to(lab, pg1, login), "pg1") as host:
            assert host.write(WriteFile(f"/etc/{login}.conf", login, "postgres:postgres", "0600"))
        assert looks(pg1, f"/etc/{login}.conf") == "postgres:postgres 600"
    with (
        Host(access_to(lab, pg1, "postgres"), "pg1") as host,
        pytest.raises(HostError, match="/etc cannot be written by postgres") as refused,
    ):
        host.write(WriteFile("/etc/other.conf", "x", "postgres", "0600"))
    assert "postgres ALL=(root) NOPASSWD: ALL" in refused.value.mend
    assert isinstance(refused.value.__cause__, CannotBecome)


def test_a_symbolic_link_stays_and_what_it_points_to_is_replaced(pg1: LabHost, root: Host) -> None:
    pg1.run(["ln", "-sfn", "/srv/of postgres/real.conf", f"{CONFIG}/linked.conf"], user="postgres")
    assert root.write(WriteFile(f"{CONFIG}/linked.conf", "x", "postgres", "0600"))
    assert pg1.run(["readlink", f"{CONFIG}/linked.conf"]).stdout.strip() == "/srv/of postgres/real.conf"
    assert looks(pg1, "/srv/of postgres/real.conf") == "postgres:postgres 600"


@pytest.mark.parametrize("path", ["/no such/place/file", CONFIG])
def test_a_path_that_can_be_no_file_is_refused(root: Host, path: str) -> None:
    with pytest.raises(HostError, match="could not be written"):
        root.write(WriteFile(path, "x", "postgres", "0600"))


def test_on_a_full_disk_the_old_file_stays_as_it_was(pg1: LabHost, root: Host) -> None:
    path = f"{CONFIG}/postgresql.conf"
    root.write(WriteFile(path, "old", "postgres", "0600"))
    pg1.fill_disk(leave_bytes=200_000)
    try:
        with pytest.raises(HostError, match=r"could not be written.*no room"):
            root.write(WriteFile(path, "x" * 3_000_000, "postgres", "0600"))
    finally:
        pg1.free_disk()
    assert root.read(path) == b"old"
    assert ".pgpanel" not in pg1.run(["ls", "-A", CONFIG]).stdout


def test_a_connection_that_breaks_while_it_is_sent_leaves_the_old_file(lab: Lab, pg1: LabHost) -> None:
    path = f"{CONFIG}/pg_hba.conf"
    with Host(access_to(lab, pg1), "pg1") as host:
        host.write(WriteFile(path, "old", "postgres", "0600"))
        pg1.rate("4mbit")
        breaking = threading.Timer(1, host.close)
        breaking.start()
        try:
            with pytest.raises(HostError):
                host.write(WriteFile(path, "x" * 8_000_000, "postgres", "0600"))
        finally:
            breaking.join()
            pg1.rate(None)
        assert host.read(path) == b"old"
        wait_until(lambda: ".pgpanel" not in host.run(reads('ls -A "$1"', CONFIG)).stdout)


def test_the_content_of_a_file_is_private_from_birth_and_in_no_process_list(pg1: LabHost, root: Host) -> None:
    secret = Secret("password", "hunter2-in-a-file")
    is_over = threading.Event()
    seen: list[str] = []

    def look() -> None:
        while not is_over.is_set():
            seen.append(command_lines(pg1) + pg1.run("find /srv -perm /077 -type f -exec cat {} +", check=False).stdout)

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(20):
        root.write(WriteFile("/srv/of postgres/passfile", (f"{number} " * 1000, secret), "postgres", "0600"))
    is_over.set()
    watcher.join()
    assert len(seen) > 1
    assert not any(secret.value in text for text in seen)


def test_a_file_is_a_change_and_proves_its_claim(lab: Lab, pg1: LabHost) -> None:
    key = str(uuid.uuid4())
    with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 5)) as host:
        host.write(WriteFile("/srv/of postgres/claimed", "5", "postgres"))
    with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 4)) as stale, pytest.raises(EpochRefused):
        stale.write(WriteFile("/srv/of postgres/claimed", "4", "postgres"))
    assert pg1.run(["cat", "/srv/of postgres/claimed"]).stdout == "5"


def test_what_is_read_is_bounded_and_may_be_any_bytes(pg1: LabHost, root: Host) -> None:
    pg1.run("head -c 1000 /dev/urandom >/srv/random; truncate -s 5G /srv/huge")
    expected = pg1.run("od -An -v -tx1 /srv/random | tr -d ' \\n'").stdout
    assert root.read("/srv/random").hex() == expected
    assert len(root.read("/srv/random", limit_bytes=1000)) == 1000
    with pytest.raises(OutputTooLong, match="longer than 1000000 bytes"):
        root.read("/srv/huge", limit_bytes=1_000_000)
    with pytest.raises(CommandFailed, match=r"No such file|cannot open"):
        root.read("/srv/none")
    pg1.run(["chmod", "600", "/srv/random"])
    with pytest.raises(CommandFailed, match="ermission denied"):
        root.read("/srv/random", user="postgres")
