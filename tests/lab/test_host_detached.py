"""Long commands on real hosts: started once, followed by anyone, ended with proof, whatever happens to whoever started them."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
import uuid

import pytest
from host_reach import POSTGRES_STATE, access_to, command_lines, kill, needs_own_machines, wait_until

from lab import Host as LabHost
from lab import Lab
from remote.command import Command, Detached, Secret, script
from remote.host import CommandFailed, DetachedState, EpochRefused, Host, Lock

pytestmark = pytest.mark.lab
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def pg1(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    return lab.up("pg1", create=False)


@pytest.fixture(scope="module")
def root(lab: Lab, pg1: LabHost):
    with Host(access_to(lab, pg1), "pg1") as host:
        yield host


@pytest.fixture
def name() -> str:
    return f"job-{next(_numbers)}/standby.copy#pg2"


def long(body: str, *arguments: str, user: str = "postgres", **options: object) -> Detached:
    return Detached(script(body, *arguments, user=user, **options))


def followed(host: Host, name: str, user: str = "postgres", offset: int = 0) -> tuple[bytes, DetachedState]:
    log = b""
    while True:
        chunk, state = host.follow(name, user, offset + len(log), wait_seconds=2)
        log += chunk
        if state.status != "running" and offset + len(log) >= state.log_bytes:
            return log, state


@pytest.mark.parametrize("login", ["root", "ops", "postgres"])
def test_a_long_command_outlives_its_starter_and_another_follows_it_to_the_end(
    lab: Lab, pg1: LabHost, login: str, name: str
) -> None:
    body = 'for i in $(seq 40); do echo "line $i $1"; [ $((i % 10)) != 0 ] || echo "error $i" >&2; sleep 0.05; done; exit 3'
    with Host(access_to(lab, pg1, login), "pg1") as starter:
        starter.start_detached(name, long(body, "it's"))
        first, _state = starter.follow(name, "postgres")
    expected = "".join(f"line {i} it's\n" + (f"error {i}\n" if i % 10 == 0 else "") for i in range(1, 41)).encode()
    with Host(access_to(lab, pg1), "pg1") as other:
        rest, state = followed(other, name, offset=len(first))
        assert first + rest == expected
        assert state == DetachedState("ended", 3, len(expected))
        assert followed(other, name) == (expected, state)


def test_the_starter_may_be_killed_without_a_word(lab: Lab, pg1: LabHost, name: str) -> None:
    with Host(access_to(lab, pg1), "pg1") as starter:
        starter.start_detached(name, long("sleep 1; echo end"))
        kill(pg1, "sshd: root@notty", "KILL")
    with Host(access_to(lab, pg1), "pg1") as other:
        assert followed(other, name) == (b"end\n", DetachedState("ended", 0, 4))


def test_two_starters_at_once_start_it_once(lab: Lab, pg1: LabHost, name: str) -> None:
    hosts = [Host(access_to(lab, pg1, login), "pg1") for login in ("root", "root", "postgres", "ops")]
    for host in hosts:
        host.connect()
    threads = [threading.Thread(target=host.start_detached, args=(name, long("echo begun; sleep 1"))) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert followed(hosts[0], name)[0] == b"begun\n"
    hosts[0].start_detached(name, long("echo once more"))
    assert followed(hosts[1], name) == (b"begun\n", DetachedState("ended", 0, 6))
    for host in hosts:
        host.close()


def test_what_was_never_started_is_absent_and_what_has_ended_can_be_forgotten(pg1: LabHost, root: Host, name: str) -> None:
    assert root.detached_state(name, "postgres") == DetachedState("absent")
    assert root.follow(name, "postgres", wait_seconds=0.1) == (b"", DetachedState("absent"))
    root.start_detached(name, long("sleep 30"))
    with pytest.raises(CommandFailed, match="it still runs"):
        root.forget_detached(name, "postgres")
    assert root.end_detached(name, "postgres", 1)
    root.forget_detached(name, "postgres")
    assert root.detached_state(name, "postgres") == DetachedState("absent")
    assert root.end_detached(name, "postgres")
    root.forget_detached(name, "postgres")
    assert name.split("/", maxsplit=1)[0] not in pg1.run(["ls", f"{POSTGRES_STATE}/jobs"]).stdout


def test_ending_it_ends_everything_it_started_even_what_ignores_being_asked(pg1: LabHost, root: Host, name: str) -> None:
    root.start_detached(
        name, long("trap '' TERM; sleep 7001 & (trap '' TERM HUP; sleep 7002; sleep 7003) & sleep 7004; sleep 7005")
    )
    wait_until(lambda: "sleep 7004" in command_lines(pg1))
    assert root.end_detached(name, "postgres", grace_seconds=0.5)
    assert "sleep 70" not in command_lines(pg1)
    assert root.detached_state(name, "postgres").status == "died"


def test_what_is_left_of_a_command_that_has_ended_is_ended_too(pg1: LabHost, root: Host, name: str) -> None:
    root.start_detached(name, long("sleep 7101 & echo end"))
    wait_until(lambda: root.detached_state(name, "postgres").status == "ended")
    assert "sleep 7101" in command_lines(pg1)
    assert root.end_detached(name, "postgres", grace_seconds=1)
    assert "sleep 7101" not in command_lines(pg1)
    assert root.detached_state(name, "postgres").exit_code == 0


def test_one_that_is_asked_to_end_may_clean_up(pg1: LabHost, root: Host, name: str) -> None:
    root.start_detached(name, long("trap 'echo tidy; exit 9' TERM; echo ready; while :; do sleep 0.1; done"))
    wait_until(lambda: root.follow(name, "postgres")[0])
    assert root.end_detached(name, "postgres", grace_seconds=5)
    assert root.follow(name, "postgres")[0].endswith(b"tidy\n")


def test_a_command_whose_processes_are_gone_without_an_exit_code_died_and_may_be_started_anew(
    pg1: LabHost, root: Host, name: str
) -> None:
    root.start_detached(name, long("echo first; sleep 8001"))
    wait_until(lambda: "sleep 8001" in command_lines(pg1))
    pid = pg1.run(["cat", f"{POSTGRES_STATE}/jobs/{name}/pid"]).stdout.split()[0]
    pg1.run(["kill", "-9", pid])
    assert root.detached_state(name, "postgres").status == "running", "what it started still runs"
    kill(pg1, "8001", "KILL")
    wait_until(lambda: root.detached_state(name, "postgres").status == "died")
    root.start_detached(name, long("echo second"))
    assert followed(root, name) == (b"second\n", DetachedState("ended", 0, 7))


def test_after_a_power_cut_nobody_elses_pid_is_taken_for_it(lab: Lab, name: str) -> None:
    pg2 = lab.up("pg2", create=False)
    with Host(access_to(lab, pg2), "pg2") as host:
        host.start_detached(name, long("sleep 9001", user="root"))
        state = f"/root/.pgpanel/jobs/{name}"
        pg2.kill()
        pg2.start()
        assert host.detached_state(name, "root").status == "died"
        # the same pid again, of another process
        pid = host.run(script("exec setsid sleep 30 >/dev/null 2>&1 </dev/null & echo $!")).stdout.strip()
        start, boot = pg2.run(["cat", f"{state}/pid"]).stdout.split()[1:]
        pg2.run(f"cat >'{state}/pid'", input=f"{pid} {start} {boot}\n")
        assert host.detached_state(name, "root").status == "died"
        assert host.end_detached(name, "root")
        assert "sleep 30" in command_lines(pg2), "a stranger was ended"
        now = pg2.run(f"awk '{{print $22}}' /proc/{pid}/stat").stdout.strip()
        pg2.run(f"cat >'{state}/pid'", input=f"{pid} {now} 00000000-0000-0000-0000-000000000000\n")
        assert host.detached_state(name, "root").status == "died"
    pg2.down()


def test_a_secret_reaches_it_by_its_input_and_stays_nowhere(pg1: LabHost, root: Host, name: str) -> None:
    secret = Secret("role password", "hunter2-detached")
    body = 'IFS= read -r first; sleep 1; printf "%s|" "${#first}"; cat | wc -c'
    root.start_detached(name, long(body, stdin=(secret, "\n\nrest é\n\n")))
    places = ["/var", "/tmp", "/run", "/root", "/home", "/dev/shm"]
    assert pg1.run(["grep", "-rlsF", secret.value, *places], check=False).stdout == ""
    assert secret.value not in command_lines(pg1)
    assert followed(root, name)[0] == f"{len(secret.value)}|{len('é'.encode()) + 8}\n".encode()
    assert pg1.run(["grep", "-rlsF", secret.value, *places], check=False).stdout == ""
    modes = pg1.run(f"cd '{POSTGRES_STATE}/jobs/{name}'; stat -c '%a %n' . *").stdout.splitlines()
    assert modes == ["700 .", "600 exit", "600 log", "600 pid", "600 script"]


def test_more_input_than_a_pipe_holds_arrives_whole(root: Host, name: str) -> None:
    root.start_detached(name, long("sleep 0.5; wc -c", stdin="x" * 300_000))
    assert followed(root, name)[0].strip() == b"300000"


def test_a_line_is_heard_within_a_tenth_of_a_second(root: Host, name: str) -> None:
    root.start_detached(name, long("for i in $(seq 12); do date +%s.%N; sleep 0.23; done"))
    delays: list[float] = []
    offset = 0
    while True:
        chunk, state = root.follow(name, "postgres", offset, wait_seconds=5)
        heard_at = time.time()
        offset += len(chunk)
        delays += [heard_at - float(line) for line in chunk.split()]
        if state.status != "running":
            break
    assert len(delays) == 12
    assert statistics.median(delays) < 0.1


def test_waiting_for_a_silent_command_costs_one_round_trip(root: Host, name: str) -> None:
    root.start_detached(name, long("sleep 20"))
    started = time.monotonic()
    assert root.follow(name, "postgres", wait_seconds=1)[1].status == "running"
    assert 0.9 < time.monotonic() - started < 2.5
    root.end_detached(name, "postgres", 0)


def test_a_long_log_is_followed_in_pieces(root: Host, name: str) -> None:
    root.start_detached(name, long("seq 1000000"))
    chunk, _state = root.follow(name, "postgres")
    assert 0 < len(chunk) <= 1 << 20
    log, state = followed(root, name)
    assert log == "".join(f"{number}\n" for number in range(1, 1000001)).encode()
    assert state.exit_code == 0


def test_an_overtaken_claim_neither_starts_nor_ends_nor_forgets_but_may_look(lab: Lab, pg1: LabHost, name: str) -> None:
    key = str(uuid.uuid4())
    with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 2)) as host:
        host.start_detached(name, long("sleep 30"))
        with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 1)) as stale:
            for change in (
                lambda: stale.start_detached("job-0/other", long("true")),
                lambda: stale.end_detached(name, "postgres"),
                lambda: stale.forget_detached(name, "postgres"),
            ):
                with pytest.raises(EpochRefused):
                    change()
            assert stale.detached_state(name, "postgres").status == "running"
        # what runs detached does not keep the lock: other changes go on beside it
        started = time.monotonic()
        host.run(script("true", user="postgres"))
        assert time.monotonic() - started < 2
        assert host.end_detached(name, "postgres", 0)


@pytest.mark.parametrize("bad", ["job", "../x/y", "a/../../b", "a/b c", "/a/b", "a/-b", "a/b\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(root: Host, bad: str) -> None:
    with pytest.raises(ValueError, match="not the name of a detached command"):
        root.start_detached(bad, Detached(Command(("true",))))
