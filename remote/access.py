"""How one logs in to a host, and on whose behalf one changes it: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from remote.command import Secret


@dataclass(frozen=True)
class Access:
    """How one logs in. Nothing else is consulted: no agent, no key files, no `~/.ssh/config`, no environment.

    private_key: an unencrypted private key as text (OpenSSH or PEM form).
    password: the login password; also what sudo gets when it asks for one.
    host_key: the pinned key, "ssh-ed25519 AAAA…"; empty means that none was accepted yet (`HostKeyUnknown`).
    jump: the host to go through, with an access and a pinned key of its own.
    """

    host: str
    port: int = 22
    user: str = "root"
    private_key: Secret | None = None
    password: Secret | None = None
    host_key: str = ""
    jump: Access | None = None

    @property
    def place(self) -> str:
        """The address as messages name it: `10.0.0.3:22`, `[fd00::3]:22`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Lock:
    """Every changing command takes the lock `key` on the host and proves that no later `epoch` has been there.

    key: the cluster's uuid. epoch: rises with each claim of a job, so that a worker that was taken for dead can do no harm.
    """

    key: str
    epoch: int
