"""The same on hosts that are plain processes of this machine, logged in to as the one account that there may be."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from lab import Lab
from remote.command import Command, Detached, Secret, WriteFile, script
from remote.host import Access, EpochRefused, Host, Lock, offered_host_key

pytestmark = pytest.mark.lab


def test_commands_files_claims_and_long_commands_work_without_namespaces(new_lab, tmp_path: Path) -> None:
    lab: Lab = new_lab(backend="processes")
    plain = lab.up("plain", create=False)
    user = plain.logins[0]
    access = Access(plain.ip, plain.ssh_port, user, Secret("lab key", lab.key_path.read_text()))
    offered = offered_host_key(access)
    assert offered.fingerprint == plain.host_key_fingerprint
    access = Access(access.host, access.port, user, access.private_key, host_key=offered.line)
    key, name = str(uuid.uuid4()), f"test-{uuid.uuid4()}/step"
    with Host(access, "plain", lock=Lock(key, 2), state_owner=user) as host:
        home = Path(host.run(script('printf %s "$HOME"', mutates=False)).stdout)
        try:
            assert host.run(Command(("id", "-un"))).stdout.strip() == user
            assert host.write(WriteFile(f"{tmp_path}/a file", "text", user, "0640"))
            assert host.read(f"{tmp_path}/a file") == b"text"
            host.start_detached(name, Detached(script("echo one; sleep 60", user=user)))
            assert host.follow(name, user)[1].status == "running"
            assert host.end_detached(name, user, grace_seconds=1)
            host.forget_detached(name, user)
            with Host(access, "plain", lock=Lock(key, 1), state_owner=user) as stale, pytest.raises(EpochRefused):
                stale.run(Command(("true",)))
        finally:
            # these hosts share the machine's own home
            for left in (home / ".pgpanel" / "locks").glob(f"{key}*"):
                left.unlink()
            shutil.rmtree(home / ".pgpanel" / "jobs" / name.split("/", maxsplit=1)[0], ignore_errors=True)
