"""Commands on real hosts: words, output, time-outs, locks and claims."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc
import uuid

import pytest
from host_reach import POSTGRES_STATE, access_to, command_lines, kill, lab_password, needs_own_machines, reads, wait_until
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lab import Host as LabHost
from lab import Lab
from remote.command import Command, Secret, script
from remote.host import CommandFailed, CommandTimeout, ConnectionLost, EpochRefused, Host, HostError, Lock, LockHeld, OutputTooLong

pytestmark = pytest.mark.lab
HOSTILE = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.text("'\"\\$`!*?[]{}()<>|&;#~%=^ \t\n\r-é€😀\x1b\x7f\x81\x88", max_size=20),
    st.sampled_from(["", "-n", "--", "$(id)", "`id`", "'", "\\", "\n", "~", "*", "${HOME}", "\\0101", "\\c", "%s"]),
)


@pytest.fixture(scope="module")
def pg1(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    return lab.up("pg1", create=False, password_login=True)


@pytest.fixture(scope="module")
def root(lab: Lab, pg1: LabHost):
    with Host(access_to(lab, pg1), "pg1") as host:
        yield host


@pytest.mark.parametrize(("login", "user"), [("root", ""), ("root", "postgres"), ("ops", "postgres"), ("postgres", "")])
def test_every_word_of_a_command_reaches_the_program_on_the_host_unchanged(lab: Lab, pg1: LabHost, login: str, user: str) -> None:
    with Host(access_to(lab, pg1, login), "pg1") as host:

        @given(st.lists(HOSTILE, min_size=1, max_size=5), HOSTILE)
        @example(["$(touch /tmp/x)", "`id`", "a\nb", "-rf", "*", "é'\"\\"], "no newline")
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        def every_word(words: list[str], text: str) -> None:
            command = reads('for word; do printf "%s\\0" "$word"; done; cat', *words, user=user, stdin=text)
            assert host.run(command).stdout.split("\0") == [*words, text]

        every_word()


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", "/usr/bin/fish", "/bin/tcsh", "/bin/zsh"])
def test_whatever_shell_the_login_has_the_command_is_run_by_sh(lab: Lab, pg1: LabHost, shell: str) -> None:
    if pg1.run(["test", "-x", shell], check=False).returncode != 0:
        pytest.skip(f"{shell} is not installed on this machine")
    pg1.run(["usermod", "-s", shell, "ops"])
    try:
        with Host(access_to(lab, pg1, "ops"), "pg1") as host:
            for user in ("", "postgres"):
                assert host.run(reads('printf "%s|" "$@"; cat', "a'b!", "\\\n$x", user=user, stdin="!x")).stdout == "a'b!|\\\n$x|!x"
    finally:
        pg1.run(["usermod", "-s", "/bin/bash", "ops"])


def test_output_of_both_voices_exit_code_and_lines_as_they_come(root: Host) -> None:
    lines: list[tuple[str, str, float]] = []
    command = reads("echo one; sleep 0.5; echo two >&2; printf three; exit 4")
    result = root.run(command, on_output=lambda voice, line: lines.append((voice, line, time.monotonic())), check=False)
    assert (result.exit_code, result.stdout, result.stderr) == (4, "one\nthree", "two\n")
    assert [(voice, line) for voice, line, _at in sorted(lines, key=lambda line: line[2])] == [
        ("output", "one"), ("error", "two"), ("output", "three"),
    ]  # fmt: skip
    assert 0.4 < lines[1][2] - lines[0][2] < 1.5


def test_a_failure_names_host_command_and_what_was_said(root: Host) -> None:
    with pytest.raises(CommandFailed) as failed:
        root.run(Command(("ls", "/no such place"), mutates=False))
    assert failed.value.message.startswith("pg1: `ls '/no such place'` ended with 2: ls: cannot access")
    assert root.run(Command(("ls", "/no such place"), mutates=False, accepts=(0, 2))).exit_code == 2


def test_escape_codes_and_bytes_that_are_no_text_are_data(root: Host) -> None:
    assert root.run(reads(r"printf '\033[2J\377\000é'")).stdout == "\x1b[2J\ufffd\0é"


def test_a_command_ended_by_a_signal_has_the_exit_code_of_the_shell(root: Host) -> None:
    assert root.run(reads("kill -9 $$"), check=False).exit_code == 137


def test_much_input_and_much_output_pass_each_other(root: Host) -> None:
    text = "0123456789abcdef" * 500_000
    assert root.run(Command(("cat",), stdin=text, mutates=False)).stdout == text


def test_input_that_nobody_reads_harms_nothing(root: Host) -> None:
    assert root.run(Command(("true",), stdin="x" * 5_000_000, mutates=False)).exit_code == 0


def test_a_hundred_megabytes_of_output_are_refused_in_bounded_memory_and_ended(pg1: LabHost, root: Host) -> None:
    tracemalloc.start()
    with pytest.raises(OutputTooLong, match="more than 16 MiB"):
        root.run(reads("head -c 100000000 /dev/zero; sleep 54321"))
    _now, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 100_000_000
    assert "54321" not in command_lines(pg1)


def test_an_endless_line_is_heard_in_pieces(root: Host) -> None:
    heard: list[int] = []
    with pytest.raises(OutputTooLong):
        root.run(reads("cat /dev/zero"), on_output=lambda _voice, line: heard.append(len(line)))
    assert max(heard) <= 1 << 16


# --- ending what does not end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "user"), [("root", ""), ("root", "postgres"), ("ops", "postgres"), ("ops", "root"), ("postgres", "")]
)
def test_after_its_time_a_command_is_ended_on_the_host_with_all_it_started(
    lab: Lab, pg1: LabHost, login: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.host.END_GRACE_SECONDS", 0.5)
    stubborn = "trap '' TERM INT HUP; sleep 12345 & (trap '' TERM; sleep 12346) & echo begun; sleep 12347; sleep 12348"
    with Host(access_to(lab, pg1, login, password=lab_password(lab)), "pg1") as host:
        with pytest.raises(CommandTimeout) as late:
            host.run(reads(stubborn, user=user, timeout_seconds=0.7))
        assert late.value.is_ended
        assert late.value.result
        assert late.value.result.stdout == "begun\n"
        assert "sleep 1234" not in command_lines(pg1)
        assert host.run(reads("echo again")).stdout == "again\n"


def test_a_listener_that_has_had_enough_ends_the_command(pg1: LabHost, root: Host) -> None:
    def enough(_voice: str, _line: str) -> None:
        raise KeyError("cancelled")

    with pytest.raises(KeyError):
        root.run(reads("echo one; sleep 23456"), on_output=enough)
    assert "23456" not in command_lines(pg1)


def test_a_daemon_that_a_command_starts_neither_holds_it_up_nor_is_ended_with_it(pg1: LabHost, root: Host) -> None:
    started = time.monotonic()
    assert root.run(Command(("sh", "-c", "setsid sleep 34567 & echo started"))).stdout == "started\n"
    assert time.monotonic() - started < 3
    with pytest.raises(CommandTimeout):
        root.run(reads("setsid sleep 34568 & sleep 34569", timeout_seconds=0.5))
    lines = command_lines(pg1)
    assert ("34567" in lines, "34568" in lines, "34569" in lines) == (True, True, False)
    kill(pg1, "sleep 3456")


def test_a_daemon_that_goes_on_printing_does_not_hold_up_the_command_that_started_it(
    pg1: LabHost, root: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.ssh.CHATTER_SECONDS", 1)
    started = time.monotonic()
    command = Command(("sh", "-c", "setsid sh -c 'for i in $(seq 100); do echo $i; sleep 0.1; done' & sleep 0.1; exit 5"))
    result = root.run(command, check=False)
    assert result.exit_code == 5
    assert result.stdout.startswith("1\n2\n")
    assert time.monotonic() - started < 5


def test_when_the_host_is_cut_off_after_the_time_it_is_said_that_the_end_is_unproven(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1", connect_timeout_seconds=1) as host:
        cutting = threading.Timer(0.5, pg1.cut)
        cutting.start()
        try:
            with pytest.raises(CommandTimeout) as late:
                host.run(reads("sleep 4", timeout_seconds=1))
        finally:
            cutting.join()
            pg1.heal()
    assert not late.value.is_ended
    assert "is not known" in late.value.message
    assert late.value.mend


def test_a_connection_that_breaks_leaves_the_outcome_unknown_and_says_so(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1") as host:
        breaking = threading.Timer(0.5, lambda: kill(pg1, "sshd: root@notty", "KILL"))
        breaking.start()
        with pytest.raises(ConnectionLost, match="whether it was done is unknown"):
            host.run(reads("sleep 3"))
        breaking.join()
        assert host.run(reads("echo again")).stdout == "again\n"


def test_a_cut_network_is_noticed_long_before_a_long_command_would_time_out(
    lab: Lab, pg1: LabHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.ssh.SILENCE_SECONDS", 3)
    monkeypatch.setattr("remote.ssh.KEEPALIVE_SECONDS", 1)
    with Host(access_to(lab, pg1), "pg1", connect_timeout_seconds=2) as host:
        cutting = threading.Timer(0.5, pg1.cut)
        cutting.start()
        started = time.monotonic()
        try:
            with pytest.raises(ConnectionLost):
                host.run(reads("sleep 45", timeout_seconds=3600))
        finally:
            cutting.join()
            pg1.heal()
    assert time.monotonic() - started < 12


# --- locks and claims --------------------------------------------------------------------------------------------------


def test_a_claim_that_was_overtaken_changes_nothing_any_more(lab: Lab, pg1: LabHost) -> None:
    """Whoever logs in and whoever the command runs as: root, the owner, and sudo meet at the same lock."""
    key = str(uuid.uuid4())
    touch = script("echo done")
    hosts = {login: Host(access_to(lab, pg1, login), "pg1") for login in ("root", "postgres", "ops")}
    whoever = [("root", "postgres"), ("postgres", ""), ("ops", "postgres"), ("root", ""), ("ops", "root"), ("root", "root")]
    for epoch, (login, user) in enumerate(whoever, start=1):
        hosts[login].lock = Lock(key, epoch)
        assert hosts[login].run(touch.as_user(user)).stdout == "done\n"
        for stale_login, stale_user in whoever:
            stale = hosts[stale_login]
            stale.lock = Lock(key, epoch - 1)
            with pytest.raises(EpochRefused) as refused:
                stale.run(touch.as_user(stale_user))
            assert refused.value.seen == epoch
            assert stale.run(reads("echo look")).stdout == "look\n"
    for host in hosts.values():
        host.close()
    modes = pg1.run(f"stat -c '%U %a' {POSTGRES_STATE} {POSTGRES_STATE}/locks {POSTGRES_STATE}/locks/{key}*").stdout
    assert modes.splitlines() == ["postgres 700", "postgres 700", "postgres 600", "postgres 600"]


def test_changing_commands_of_one_cluster_run_one_after_the_other_on_a_host(lab: Lab, pg1: LabHost) -> None:
    key = str(uuid.uuid4())
    body = 'echo "begin $(date +%s%N)"; sleep 0.4; echo "end $(date +%s%N)"'
    spans: list[tuple[int, int]] = []

    def work(login: str, user: str) -> None:
        with Host(access_to(lab, pg1, login), "pg1", lock=Lock(key, 1)) as host:
            words = host.run(script(body, user=user)).stdout.split()
            spans.append((int(words[1]), int(words[3])))

    threads = [threading.Thread(target=work, args=who) for who in (("root", "postgres"), ("root", ""), ("ops", "postgres"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans.sort()
    assert len(spans) == 3
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_a_daemon_started_by_a_changing_command_does_not_keep_the_lock(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1", lock=Lock(str(uuid.uuid4()), 1)) as host:
        host.run(script("setsid sleep 45678 >/dev/null 2>&1 </dev/null & :", user="postgres"))
        started = time.monotonic()
        host.run(script("true", user="postgres"))
        assert time.monotonic() - started < 2
    kill(pg1, "sleep 45678")


def test_a_command_whose_panel_went_away_still_holds_the_lock_until_it_ends(lab: Lab, pg1: LabHost) -> None:
    """So the next worker never runs beside what a dead one has left."""
    lock = Lock(str(uuid.uuid4()), 1)
    dead = Host(access_to(lab, pg1), "pg1", lock=lock)

    def abandoned() -> None:
        with pytest.raises(HostError):
            dead.run(script("sleep 2; echo end >/tmp/abandoned", user="postgres"))

    thread = threading.Thread(target=abandoned)
    thread.start()
    wait_until(lambda: any(line == "sleep 2" for _pid, line in pg1.processes()))
    dead.close()
    thread.join()
    with Host(access_to(lab, pg1), "pg1", lock=Lock(lock.key, 2)) as host:
        assert host.run(script("cat /tmp/abandoned", user="postgres")).stdout == "end\n"


def test_a_lock_that_is_not_let_go_is_said_after_a_while(lab: Lab, pg1: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote.envelope.LOCK_WAIT_SECONDS", 1)
    lock = Lock(str(uuid.uuid4()), 1)
    with Host(access_to(lab, pg1), "pg1", lock=lock) as holder, Host(access_to(lab, pg1), "pg1", lock=lock) as host:
        thread = threading.Thread(target=lambda: holder.run(script("sleep 3", user="postgres")))
        thread.start()
        wait_until(lambda: "sleep 3" in command_lines(pg1))
        with pytest.raises(LockHeld, match="another changing command"):
            host.run(script("true", user="postgres"))
        thread.join()


def test_without_an_account_postgres_root_keeps_the_lock_itself(lab: Lab, pg1: LabHost) -> None:
    key = str(uuid.uuid4())
    with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 2), state_owner="enterprisedb") as host:
        host.run(script("true"))
    with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 1), state_owner="enterprisedb") as host, pytest.raises(EpochRefused):
        host.run(script("true"))


def test_root_writes_nothing_through_what_the_owner_has_prepared(lab: Lab, pg1: LabHost) -> None:
    key = str(uuid.uuid4())
    pg1.run(
        f"mkdir -p {POSTGRES_STATE}/locks; ln -s /etc/victim {POSTGRES_STATE}/locks/{key}.epoch; echo 1 >/etc/victim", user="root"
    )
    pg1.run(f"chown -R postgres {POSTGRES_STATE}")
    with Host(access_to(lab, pg1), "pg1", lock=Lock(key, 7)) as host:
        host.run(script("true"))
    assert pg1.run("cat /etc/victim").stdout == "1\n"


# --- secrets -----------------------------------------------------------------------------------------------------------


def test_no_secret_stands_in_a_process_list_or_a_readable_file_while_a_command_runs(lab: Lab, pg1: LabHost) -> None:
    secret = Secret("role password", "hunter2-in-the-input")
    password = lab_password(lab)
    seen: list[str] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            seen.append(command_lines(pg1))

    watcher = threading.Thread(target=look)
    watcher.start()
    with Host(access_to(lab, pg1, "ops", password=password), "pg1") as host:
        assert host.run(reads("sleep 0.5; cat", user="postgres", stdin=("set ", secret))).stdout == "set hunter2-in-the-input"
    is_over.set()
    watcher.join()
    assert len(seen) > 3
    assert any("sleep 0.5" in lines for lines in seen)
    assert not any(secret.value in lines or password.value in lines for lines in seen)
    found = pg1.run(["grep", "-rlsF", secret.value, "/tmp", "/var", "/home", "/run", "/root", "/etc"], check=False).stdout
    assert found == ""


def test_the_password_of_a_login_is_in_no_repr_of_what_knows_it(lab: Lab, pg1: LabHost) -> None:
    access = access_to(lab, pg1, "ops", password=Secret("password", "hunter2"))
    assert "hunter2" not in repr(access)
    assert "PRIVATE KEY" not in repr(access)
