"""Logging in to real hosts: keys, passwords, jump hosts, becoming other users, and every way in which it can be refused."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from host_reach import access_to, file_kept, lab_password, needs_own_machines, pinned, reads, wait_until

from lab import Host as LabHost
from lab import Lab
from remote.command import Command, Secret, script
from remote.errors import HostError
from remote.facts import Unreachable
from remote.host import (
    Access,
    AuthenticationRefused,
    CannotBecome,
    Host,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    Lock,
    generate_key,
    offered_host_key,
    unreachable,
)

pytestmark = pytest.mark.lab
WHO = reads("id -un")
SUDOERS = "/etc/sudoers"


@pytest.fixture(scope="module")
def pg1(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    return lab.up("pg1", create=False, password_login=True)


@pytest.fixture(scope="module")
def pg2(lab: Lab) -> LabHost:
    needs_own_machines(lab)
    return lab.up("pg2", create=False, ssh_port=2222)


@pytest.fixture(scope="module")
def host_keys(pg1: LabHost) -> Iterator[dict[str, str]]:
    """One host key of each kind on pg1, whose sshd offers all of them while the module runs."""
    for kind in ("rsa", "ecdsa"):
        pg1.run(f"[ -e /etc/ssh/ssh_host_{kind}_key ] || ssh-keygen -q -N '' -t {kind} -f /etc/ssh/ssh_host_{kind}_key")
    return {kind: pg1.run(["cat", f"/etc/ssh/ssh_host_{kind}_key.pub"]).stdout for kind in ("ed25519", "rsa", "ecdsa")}


@contextmanager
def sshd_set(host: LabHost, lines: str) -> Iterator[None]:
    """sshd with other settings for a while (the first value wins)."""
    path = "/etc/ssh/sshd_config"
    with file_kept(host, path, lines + host.run(["cat", path]).stdout):
        reload(host)
        yield
    reload(host)


def reload(host: LabHost) -> None:
    host.run("kill -HUP $(cat /run/sshd.pid)")
    time.sleep(0.3)
    host.wait_ssh()


@pytest.mark.parametrize(
    ("login", "user"),
    [*itertools.product(["root", "ops"], ["", "root", "postgres", "ops"]), ("postgres", ""), ("postgres", "postgres")],
)
def test_a_command_runs_as_the_user_that_it_names_whoever_logs_in(lab: Lab, pg1: LabHost, login: str, user: str) -> None:
    look = reads('printf "%s %s %s %s %s" "$(id -un)" "$HOME" "$PWD" "$USER" "$LC_ALL"', user=user)
    homes = {"root": "/root", "postgres": "/var/lib/postgresql", "ops": "/home/ops"}
    expected = user or login
    with Host(access_to(lab, pg1, login), "pg1") as host:
        assert host.run(look).stdout.split() == [expected, homes[expected], homes[expected], expected, "C"]


def test_ops_logs_in_with_a_password_alone(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1, "ops", private_key=None, password=lab_password(lab)), "pg1") as host:
        assert host.run(WHO).stdout == "ops\n"


def test_a_server_that_takes_passwords_only_in_a_dialogue_gets_it_there(lab: Lab, pg2: LabHost) -> None:
    pg2.run(["chpasswd"], input=f"ops:{lab.keys.password}\n")
    access = access_to(lab, pg2, "ops", private_key=None, password=lab_password(lab))
    with sshd_set(pg2, "PasswordAuthentication no\nKbdInteractiveAuthentication yes\n"), Host(access, "pg2") as host:
        assert host.run(WHO).stdout == "ops\n"


def test_a_server_without_an_algorithm_in_common_is_said(lab: Lab, pg2: LabHost) -> None:
    with (
        sshd_set(pg2, "KexAlgorithms sntrup761x25519-sha512@openssh.com\n"),
        Host(access_to(lab, pg2), "pg2") as host,
        pytest.raises(HostUnreachable, match="no way of encrypting in common"),
    ):
        host.run(WHO)


def test_a_login_that_may_only_copy_files_is_said_in_plain_words(lab: Lab, pg2: LabHost) -> None:
    with (
        sshd_set(pg2, "ForceCommand internal-sftp\n"),
        Host(access_to(lab, pg2), "pg2") as host,
        pytest.raises(AuthenticationRefused, match="runs no commands"),
    ):
        host.run(WHO)


def test_where_there_is_no_runuser_root_uses_su(lab: Lab, pg2: LabHost) -> None:
    pg2.run("mv /usr/sbin/runuser /usr/sbin/runuser.away")
    try:
        with Host(access_to(lab, pg2), "pg2", lock=Lock("su", 1)) as host:
            result = host.run(script('id -un; echo "$1"; cat; exit 7', "it's", user="postgres", stdin="in"), check=False)
            assert (result.stdout, result.exit_code) == ("postgres\nit's\nin", 7)
            assert host.run(script("id -un")).stdout == "root\n"
    finally:
        pg2.run("mv /usr/sbin/runuser.away /usr/sbin/runuser")


def test_without_flock_nothing_is_changed_and_it_is_said(lab: Lab, pg2: LabHost) -> None:
    pg2.run("mv /usr/bin/flock /usr/bin/flock.away")
    try:
        with Host(access_to(lab, pg2), "pg2", lock=Lock("flock", 1)) as host:
            with pytest.raises(HostError, match="pg2 has no flock program") as refused:
                host.run(script("touch /tmp/changed"))
            assert "util-linux" in refused.value.mend
            assert host.run(reads("ls /tmp")).stdout == ""
    finally:
        pg2.run("mv /usr/bin/flock.away /usr/bin/flock")


def test_sudo_gets_the_password_when_it_asks_and_the_command_gets_its_input_whole(lab: Lab, pg1: LabHost) -> None:
    """More input than any pipe holds, so that a password taken for input, or input for a password, would show."""
    text = "first line\n" + "é" * 200_000 + "\nno newline at the end"
    for rules in (
        "ops ALL=(ALL) ALL\n",
        "Defaults use_pty\nops ALL=(ALL) ALL\n",
        "Defaults use_pty\nops ALL=(ALL) NOPASSWD: ALL\n",
    ):
        with (
            file_kept(pg1, SUDOERS, rules),
            Host(access_to(lab, pg1, "ops", password=lab_password(lab)), "pg1") as host,
        ):
            for user in ("postgres", "root"):
                assert host.run(reads("id -un; cat", user=user, stdin=text)).stdout == f"{user}\n{text}", rules
            assert host.run(reads("id -un; cat", user="root")).stdout == "root\n"


def test_a_wrong_sudo_password_is_tried_once_and_said(lab: Lab, pg1: LabHost) -> None:
    wrong = Secret("password of ops", "not the password")
    with file_kept(pg1, SUDOERS, "ops ALL=(ALL) ALL\n"), Host(access_to(lab, pg1, "ops", password=wrong), "pg1") as host:
        with pytest.raises(CannotBecome, match="sudo refuses the password of ops") as refused:
            host.run(reads("id", user="postgres", stdin=Secret("role password", "hunter2")))
        assert "hunter2" not in str(refused.value)
        assert "sudoers.d" in refused.value.mend


def test_a_sudo_that_asks_although_the_panel_has_no_password_is_said(lab: Lab, pg1: LabHost) -> None:
    with (
        file_kept(pg1, SUDOERS, "ops ALL=(ALL) ALL\n"),
        Host(access_to(lab, pg1, "ops"), "pg1") as host,
        pytest.raises(CannotBecome, match="the panel has none"),
    ):
        host.run(reads("id", user="postgres"))


def test_a_user_who_may_not_sudo_is_told_the_line_that_mends_it(lab: Lab, pg1: LabHost) -> None:
    with (
        file_kept(pg1, SUDOERS, "ops ALL=(root) NOPASSWD: ALL\n"),
        Host(access_to(lab, pg1, "ops"), "pg1") as host,
        pytest.raises(CannotBecome) as refused,
    ):
        host.run(reads("id", user="postgres"))
    assert "echo 'ops ALL=(postgres) NOPASSWD: ALL' > /etc/sudoers.d/pgpanel" in refused.value.mend


def test_an_account_that_does_not_exist_is_said(lab: Lab, pg1: LabHost) -> None:
    for login in ("root", "ops"):
        with Host(access_to(lab, pg1, login), "pg1") as host, pytest.raises(CannotBecome, match="enterprisedb"):
            host.run(reads("id", user="enterprisedb"))


def test_a_locked_account_can_still_be_become(lab: Lab, pg1: LabHost) -> None:
    pg1.run(["usermod", "-s", "/usr/sbin/nologin", "games"])
    with Host(access_to(lab, pg1), "pg1") as host:
        assert host.run(reads("id -un", user="games")).stdout == "games\n"


def test_a_login_whose_shell_runs_nothing_is_said_in_plain_words(lab: Lab, pg1: LabHost) -> None:
    pg1.run(["usermod", "-s", "/usr/sbin/nologin", "ops"])
    try:
        with (
            Host(access_to(lab, pg1, "ops"), "pg1") as host,
            pytest.raises(AuthenticationRefused, match="runs no commands") as refused,
        ):
            host.run(WHO)
        assert "usermod -s /bin/sh ops" in refused.value.mend
    finally:
        pg1.run(["usermod", "-s", "/bin/bash", "ops"])


def test_what_login_scripts_print_is_not_output_and_their_settings_do_not_leak(lab: Lab, pg1: LabHost) -> None:
    noise = 'echo "Welcome to pg1"; echo "mind the gap" >&2; printf "no newline"; export PGHOST=elsewhere LC_ALL=C.UTF-8; cd /tmp\n'
    before = pg1.run("cat /home/ops/.bashrc 2>/dev/null || :").stdout
    pg1.run("cat >/home/ops/.bashrc", input=noise)
    try:
        with Host(access_to(lab, pg1, "ops"), "pg1") as host:
            result = host.run(reads('echo "$1:$PGHOST:$LC_ALL:$PWD"; echo error >&2', "é"))
            assert (result.stdout, result.stderr) == ("é::C:/home/ops\n", "error\n")
    finally:
        pg1.run("cat >/home/ops/.bashrc", input=before)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_private_key_of_any_kind_and_form_logs_in(lab: Lab, pg1: LabHost, kind: str) -> None:
    for form in ([], ["-m", "PEM"]) if kind != "ed25519" else ([],):
        pg1.run(["rm", "-f", "/tmp/key", "/tmp/key.pub"])
        pg1.run(["ssh-keygen", "-q", "-t", kind, *(["-b", "2048"] if kind == "rsa" else []), "-N", "", "-f", "/tmp/key", *form])
        pg1.run("cat /tmp/key.pub >>/home/ops/.ssh/authorized_keys")
        key = Secret("key", pg1.run(["cat", "/tmp/key"]).stdout)
        with Host(access_to(lab, pg1, "ops", private_key=key), "pg1") as host:
            assert host.run(WHO).stdout == "ops\n"


def test_a_key_made_by_the_panel_logs_in_once_it_is_authorized(lab: Lab, pg1: LabHost) -> None:
    private, public = generate_key("pgpanel pg1")
    access = access_to(lab, pg1, "postgres", private_key=private)
    with Host(access, "pg1") as host, pytest.raises(AuthenticationRefused):
        host.run(WHO)
    pg1.run("cat >>/var/lib/postgresql/.ssh/authorized_keys", input=public + "\n")
    with Host(access, "pg1") as host:
        assert host.run(WHO).stdout == "postgres\n"


def test_a_wrong_key_and_a_wrong_password_are_refused_in_words_that_name_host_and_mend(lab: Lab, pg1: LabHost) -> None:
    strange, _public = generate_key("stranger")
    with Host(access_to(lab, pg1, private_key=strange), "pg1") as host, pytest.raises(AuthenticationRefused) as refused:
        host.run(WHO)
    assert refused.value.message == f"pg1 ({pg1.ip}:22) refuses the key of root"
    assert "~root/.ssh/authorized_keys" in refused.value.mend
    wrong = access_to(lab, pg1, "ops", private_key=None, password=Secret("password", "hunter2"))
    with Host(wrong, "pg1") as host, pytest.raises(AuthenticationRefused, match="refuses the password of ops") as refused:
        host.run(WHO)
    assert "hunter2" not in str(refused.value)
    assert unreachable(refused.value).cause == "authentication"


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"])
def test_a_private_key_that_is_none_is_said(lab: Lab, pg1: LabHost, text: str) -> None:
    with (
        Host(access_to(lab, pg1, private_key=Secret("key", text)), "pg1") as host,
        pytest.raises(AuthenticationRefused, match="read"),
    ):
        host.run(WHO)


def test_a_private_key_with_a_passphrase_is_said(lab: Lab, pg1: LabHost) -> None:
    pg1.run(["rm", "-f", "/tmp/locked"])
    pg1.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", "/tmp/locked"])
    key = Secret("key", pg1.run(["cat", "/tmp/locked"]).stdout)
    with Host(access_to(lab, pg1, private_key=key), "pg1") as host, pytest.raises(AuthenticationRefused, match="passphrase"):
        host.run(WHO)


def test_neither_agent_nor_key_files_nor_configuration_of_the_panels_own_account_are_used(
    lab: Lab, pg1: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  Port 1\n  User nobody\n  ProxyCommand false\n")
    (tmp_path / ".ssh" / "id_ed25519").write_text(lab.key_path.read_text())
    (tmp_path / ".fabric.yaml").write_text("user: nobody\nport: 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FABRIC_PORT", "1")
    with Host(access_to(lab, pg1), "pg1") as host:
        assert host.run(WHO).stdout == "root\n"
    with Host(access_to(lab, pg1, private_key=None), "pg1") as host, pytest.raises(AuthenticationRefused):
        host.run(WHO)


# --- host keys ---------------------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_offered_with_its_fingerprint_and_nothing_is_sent(lab: Lab, pg1: LabHost) -> None:
    offered = offered_host_key(Access(pg1.ip))
    assert offered.fingerprint == pg1.host_key_fingerprint
    assert offered.line == pinned(pg1)
    with Host(access_to(lab, pg1, host_key=""), "pg1") as host, pytest.raises(HostKeyUnknown) as unknown:
        host.run(WHO)
    assert unknown.value.offered == offered
    assert offered.fingerprint in unknown.value.message


def test_a_changed_host_key_stops_everything_before_any_authentication(lab: Lab, pg1: LabHost, pg2: LabHost) -> None:
    logged_before = pg2.console_tail(1000).count("root")
    with Host(access_to(lab, pg2, host_key=pinned(pg1)), "pg2") as host, pytest.raises(HostKeyChanged) as changed:
        host.run(WHO)
    assert changed.value.pinned.fingerprint == pg1.host_key_fingerprint
    assert changed.value.offered.fingerprint == pg2.host_key_fingerprint
    assert "nothing was sent" in changed.value.message
    assert pg2.console_tail(1000).count("root") == logged_before
    assert unreachable(changed.value).cause == "host-key"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_pinned_key_of_any_kind_is_the_one_that_is_asked_for(lab: Lab, host_keys: dict[str, str], kind: str) -> None:
    host = lab.up(f"keys-{kind}", create=False)
    for other in ("rsa", "ecdsa"):
        host.run(f"[ -e /etc/ssh/ssh_host_{other}_key ] || ssh-keygen -q -N '' -t {other} -f /etc/ssh/ssh_host_{other}_key")
    host.run("sed -i '/^HostKey/d' /etc/ssh/sshd_config")
    host.kill()
    host.start()
    line = host.run(["cat", f"/etc/ssh/ssh_host_{kind}_key.pub"]).stdout
    with Host(access_to(lab, host, host_key=line), host.name) as reached:
        assert reached.run(WHO).stdout == "root\n"
    with Host(access_to(lab, host, host_key=host_keys[kind]), host.name) as reached, pytest.raises(HostKeyChanged):
        reached.run(WHO)
    host.down()


@pytest.mark.parametrize("line", ["nonsense", "ssh-ed25519 AAAA", "ssh-ed25519 !!!", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA=="])
def test_a_pinned_key_that_cannot_be_read_lets_nobody_in(lab: Lab, pg1: LabHost, line: str) -> None:
    with Host(access_to(lab, pg1, host_key=line), "pg1") as host, pytest.raises(HostUnreachable, match="accepted host key"):
        host.run(WHO)


# --- jump hosts --------------------------------------------------------------------------------------------------------


def test_a_host_is_reached_through_a_jump_host_with_a_pinned_key_of_its_own(lab: Lab, pg1: LabHost, pg2: LabHost) -> None:
    through = access_to(lab, pg2, jump=access_to(lab, pg1, "ops"))
    with Host(through, "pg2") as host:
        result = host.run(reads('hostname; echo "$SSH_CONNECTION"'))
    assert result.stdout.splitlines()[0] == "pg2"
    assert result.stdout.splitlines()[1].startswith(f"{pg1.ip} ")
    assert offered_host_key(Access(pg2.ip, 2222, jump=through.jump)).fingerprint == pg2.host_key_fingerprint


def test_a_jump_host_with_an_unknown_or_changed_key_is_not_passed(lab: Lab, pg1: LabHost, pg2: LabHost) -> None:
    unknown = access_to(lab, pg2, jump=access_to(lab, pg1, host_key=""))
    with Host(unknown, "pg2") as host, pytest.raises(HostKeyUnknown, match="pg2's jump host"):
        host.run(WHO)
    with pytest.raises(HostKeyUnknown, match="jump host"):
        offered_host_key(unknown)
    changed = access_to(lab, pg2, jump=access_to(lab, pg1, host_key=pinned(pg2)))
    with Host(changed, "pg2") as host, pytest.raises(HostKeyChanged, match="pg2's jump host"):
        host.run(WHO)


def test_a_jump_host_that_cannot_reach_the_host_is_named(lab: Lab, pg1: LabHost, pg2: LabHost) -> None:
    with Host(access_to(lab, pg2, port=23, jump=access_to(lab, pg1)), "pg2") as host, pytest.raises(HostUnreachable) as error:
        host.run(WHO)
    assert f"the jump host cannot reach pg2 ({pg2.ip}:23)" in error.value.message


# --- hosts that do not answer ------------------------------------------------------------------------------------------


def cause_of(access: Access, **options: float) -> Unreachable:
    with Host(access, "pg3", **options) as host:
        answer = host.facts()
    assert isinstance(answer, Unreachable)
    assert "pg3" in answer.message
    assert answer.mend
    return answer


def test_a_port_where_nothing_listens_refuses(lab: Lab, pg1: LabHost) -> None:
    answer = cause_of(access_to(lab, pg1, port=2299))
    assert (answer.cause, answer.message) == ("refused", f"pg3 ({pg1.ip}:2299) refuses connections")


def test_a_name_that_nobody_knows_is_a_matter_of_dns() -> None:
    assert cause_of(Access("no-such-host.invalid")).cause == "dns"


def test_a_host_that_is_cut_off_times_out_in_the_time_given(lab: Lab, pg2: LabHost) -> None:
    access = access_to(lab, pg2)
    pg2.cut()
    try:
        started = time.monotonic()
        assert cause_of(access, connect_timeout_seconds=1.5).cause in ("timeout", "no-route")
        assert time.monotonic() - started < 5
    finally:
        pg2.heal()


def test_a_frozen_host_times_out_at_login_and_in_the_middle_of_a_session(lab: Lab, pg2: LabHost) -> None:
    with Host(access_to(lab, pg2), "pg2", connect_timeout_seconds=1) as host:
        host.run(WHO)
        pg2.pause()
        try:
            started = time.monotonic()
            with pytest.raises(HostError):
                host.run(WHO)
            assert cause_of(host.access, connect_timeout_seconds=1).cause == "timeout"
            assert time.monotonic() - started < 10
        finally:
            pg2.resume()
        assert host.run(WHO).stdout == "root\n"


def test_a_server_that_does_not_speak_ssh_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = cause_of(Access("127.0.0.1", server.getsockname()[1]), connect_timeout_seconds=1)
    assert answer.cause == "timeout"
    assert "does not speak SSH" in answer.message


def test_a_server_that_hangs_up_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = cause_of(Access("127.0.0.1", server.getsockname()[1]), connect_timeout_seconds=2)
        thread.join()
    assert answer.cause in ("other", "timeout")


# --- the connection ----------------------------------------------------------------------------------------------------


def test_one_connection_carries_many_commands(lab: Lab, pg1: LabHost) -> None:
    with Host(access_to(lab, pg1), "pg1") as host:
        ports = {host.run(reads('echo "$SSH_CONNECTION"')).stdout for _ in range(5)}
    assert len(ports) == 1


def test_a_host_that_was_restarted_is_logged_in_to_again(lab: Lab, pg2: LabHost) -> None:
    with Host(access_to(lab, pg2), "pg2", connect_timeout_seconds=3) as host:
        host.run(WHO)
        pg2.kill()
        pg2.start()
        assert host.run(WHO).stdout == "root\n"


def test_where_only_one_session_is_allowed_commands_side_by_side_take_another_connection(lab: Lab, pg2: LabHost) -> None:
    with sshd_set(pg2, "MaxSessions 1\n"), Host(access_to(lab, pg2), "pg2") as host:
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(host.run(reads("sleep 1; id -un")).stdout)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["root\n"] * 3
        assert [host.run(WHO).stdout for _ in range(5)] == ["root\n"] * 5


def test_no_connection_is_left_behind(lab: Lab, pg1: LabHost) -> None:
    def sessions() -> int:
        return sum("@notty" in line for _pid, line in pg1.processes())

    wait_until(lambda: sessions() == 0)
    host = Host(access_to(lab, pg1), "pg1")
    host.run(Command(("true",), mutates=False))
    assert sessions() == 1
    host.close()
    wait_until(lambda: sessions() == 0)
