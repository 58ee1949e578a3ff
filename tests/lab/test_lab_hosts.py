"""What a host is: its own machine, reachable by SSH, with nothing of this machine's life in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import paramiko
import pytest

from lab import Host, Lab, LabError, machine

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def host(lab: Lab) -> Host:
    return lab.up("h1")


def ssh(host: Host, login: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    unpinned = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    where = ["-F", "none", "-i", str(host.lab.key_path), "-p", str(host.ssh_port), f"{login}@{host.ip}"]
    return subprocess.run(
        [machine.program("ssh"), *unpinned, *options, *where, command], capture_output=True, text=True, check=False
    )


def test_every_account_logs_in_by_key(host: Host) -> None:
    for login in host.logins:
        assert ssh(host, login, "id -un").stdout.strip() == login


def test_ops_becomes_root_and_postgres_by_sudo(host: Host) -> None:
    if "ops" not in host.logins:
        pytest.skip("not possible here: no account of its own for ops")
    assert ssh(host, "ops", "sudo -n id -un; sudo -n -u postgres id -un").stdout.split() == ["root", "postgres"]


def test_the_recorded_fingerprint_is_the_one_that_sshd_shows(host: Host, tmp_path: Path) -> None:
    scanned = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", "-p", str(host.ssh_port), host.ip], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "key").write_text(scanned)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key"], capture_output=True, text=True, check=True).stdout
    assert host.host_key_fingerprint in shown


def test_a_password_login_is_possible_only_where_asked_for(lab: Lab, host: Host) -> None:
    offered = ssh(host, "root", "true", "-o", "PubkeyAuthentication=no").stderr
    assert "publickey)" in offered
    assert "password" not in offered
    with_password = lab.up("pw", create=False, password_login=True)
    offered = ssh(with_password, "ops", "true", "-o", "PubkeyAuthentication=no").stderr
    assert "password" in offered
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(with_password.ip, username="ops", password=lab.keys.password, look_for_keys=False, allow_agent=False)
        assert client.exec_command("sudo -n id -un")[1].read() == b"root\n"


def test_the_registry_role_gets_in_from_the_network_and_nobody_else_does(host: Host) -> None:
    rules = host.sql("SELECT type, user_name[1], auth_method FROM pg_hba_file_rules WHERE address LIKE '10.99.%'")
    if host.lab.backend == "namespaces":
        assert rules == [["host", "registry", "scram-sha-256"]]
    assert host.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1") == [["postgres"], ["registry"]]


def test_the_password_lies_in_a_file_that_only_its_owner_reads_and_on_no_command_line(lab: Lab, host: Host) -> None:
    assert lab.keys.pgpass_path.stat().st_mode & 0o077 == 0
    assert (lab.keys.directory / "password").stat().st_mode & 0o077 == 0
    lab.registry(host, rows=100)
    lab.trickle(host)
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(lab.keys.password.encode() in line for line in command_lines)
    assert lab.keys.password not in host.pg_log_tail(1000)


def test_nothing_of_the_machine_but_its_programs_is_seen_in_a_host(host: Host) -> None:
    if host.lab.backend != "namespaces":
        pytest.skip("not possible here: plain processes see the machine's disk")
    secret = Path("/etc/shadow").read_text()
    assert host.run(["cat", "/etc/shadow"]).stdout != secret
    for hidden in (str(host.lab.directory), str(Path(__file__).parent), "/etc/pip.conf", "/etc/gitconfig", "/usr/local/lib"):
        assert host.run(["ls", "-d", hidden], check=False).returncode != 0, hidden
    for empty in ("/home", "/mnt", "/srv", "/opt", "/tmp", "/var/tmp"):
        listed = host.run(["ls", "-A", empty]).stdout.split()
        assert set(listed) <= {"ops"}, (empty, listed)
    interfaces = host.run("ls /sys/class/net; hostname").stdout.split()
    assert interfaces == ["eth0", "lo", "h1"]


def test_a_host_reaches_the_lab_and_nothing_else(host: Host) -> None:
    if host.lab.backend != "namespaces":
        pytest.skip("not possible here: plain processes share the machine's network")
    assert "default" not in host.run(["ip", "route"]).stdout


def test_hosts_have_identities_of_their_own(lab: Lab, host: Host) -> None:
    if host.lab.backend != "namespaces":
        pytest.skip("not possible here: plain processes share the machine's identity")
    other = lab.up("h2", create=False)
    assert host.run(["cat", "/etc/machine-id"]).stdout != other.run(["cat", "/etc/machine-id"]).stdout
    assert host.host_key_fingerprint != other.host_key_fingerprint


def test_a_bare_host_has_the_programs_and_no_cluster(lab: Lab) -> None:
    bare = lab.up("bare", create=False)
    assert "postgres" in bare.run([f"{bare.bin_directory}/postgres", "--version"]).stdout
    assert not bare.is_postgres_running()
    assert bare.run(["test", "-e", bare.data_directory], check=False).returncode != 0


def test_what_runs_in_a_host_is_listed_with_its_arguments(host: Host) -> None:
    assert any("postgres" in argv and host.data_directory in argv for _, argv in host.processes())


def test_a_failed_command_says_what_and_where(host: Host) -> None:
    with pytest.raises(LabError, match="h1: false ended with 1"):
        host.run(["false"])


def test_an_attached_lab_is_the_same_lab(lab: Lab, host: Host) -> None:
    again = Lab.attach(lab.name, lab.directory)
    assert again[host.name].ip == host.ip
    assert again[host.name].sql("SELECT 1") == [["1"]]


def test_a_second_lab_of_the_same_name_is_refused_while_the_first_is_in_use(lab: Lab, host: Host) -> None:
    with pytest.raises(LabError, match="in use by process"):
        Lab(lab.name, directory=lab.directory)
    assert host.is_up()


def test_a_directory_that_holds_something_else_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(LabError, match="holds no lab"):
        Lab("thesis", directory=tmp_path)
    assert (tmp_path / "thesis.txt").exists()
