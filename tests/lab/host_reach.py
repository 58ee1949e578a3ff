"""What the tests of `remote/host.py` share: how to log in to a host of the lab."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import Host as LabHost
from lab import Lab, NotPossibleHere
from remote.command import Command, Secret, script
from remote.host import Access

POSTGRES_STATE = "/var/lib/postgresql/.pgpanel"


def needs_own_machines(lab: Lab) -> None:
    """These tests change accounts, sudo and sshd of their hosts: never where a host is only some processes of this machine."""
    if lab.backend != "namespaces":
        raise NotPossibleHere(f"changing a host's accounts and programs is not possible with the {lab.backend} backend")


def access_to(lab: Lab, host: LabHost, user: str = "root", **changes: Any) -> Access:
    given = {
        "port": host.ssh_port,
        "user": user,
        "private_key": Secret("lab key", lab.key_path.read_text()),
        "host_key": pinned(host),
    }
    return Access(host.ip, **{**given, **changes})


def pinned(host: LabHost) -> str:
    return " ".join(host.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[:2])


def lab_password(lab: Lab) -> Secret:
    return Secret("password of ops", lab.keys.password)


def reads(body: str, *arguments: str, **options: Any) -> Command:
    return script(body, *arguments, mutates=False, **options)


@contextmanager
def file_kept(host: LabHost, path: str, text: str) -> Iterator[None]:
    """The file with another content for a while."""
    before = host.run(["cat", path]).stdout
    host.run(f"cat >{path}", input=text)
    try:
        yield
    finally:
        host.run(f"cat >{path}", input=before)


def wait_until(holds: Callable[[], object], timeout_seconds: float = 10) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def command_lines(host: LabHost) -> str:
    return "\n".join(line for _pid, line in host.processes())


def kill(host: LabHost, text: str, signal: str = "TERM") -> None:
    """Every process of the host whose command line contains the text."""
    pids = [str(pid) for pid, line in host.processes() if text in line]
    assert pids, f"nothing on {host.name} has {text!r} in its command line"
    host.run(["kill", f"-{signal}", *pids])
