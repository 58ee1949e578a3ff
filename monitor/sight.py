"""What one look at a node's PostgreSQL says, as plain values. A look that failed is an `Unseen`, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from remote.facts import Archiver, Role, Slot, WalSender

Way = Literal["tcp", "ssh"]


@dataclass(frozen=True)
class Receiver:
    """A standby's WAL receiver. heard_seconds: since the last message of its upstream, by the standby's own clock."""

    status: str
    sender_host: str = ""
    sender_port: int = 0
    slot_name: str = ""
    timeline: int = 0
    written_lsn: int = 0
    flushed_lsn: int = 0
    heard_seconds: float | None = None

    @property
    def follows(self) -> str:
        return f"{self.sender_host}:{self.sender_port or 5432}" if self.sender_host else ""


@dataclass(frozen=True)
class Condition:
    """What changes seldom and is read as seldom as the archiver. None = the server did not say.

    wal_keep_bytes: WAL that is kept for standbys without a slot. expiring: (role, epoch seconds) of roles that replication or
    the monitor logs in with and whose password ends some day. certificate_file: as the server is set, "" = no TLS.
    """

    pending_restart: tuple[str, ...] = ()
    wal_keep_bytes: int | None = None
    certificate_file: str = ""
    expiring: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Sight:
    """at: the panel's clock in the middle of the round trip, epoch seconds. LSNs are integers, 0 = the server gave none.

    knows_receiver: whether this version and role can tell if a WAL receiver runs. archiver, condition: None when they were not
    asked for (read less often: up to 14 each read of the archiver makes the server write its statistics file). started_at: of the
    postmaster, by the server's clock.
    """

    at: float
    way: Way
    round_trip_seconds: float
    major: str
    role: Role
    is_writable: bool
    timeline: int
    system_identifier: str = ""
    current_lsn: int = 0
    receive_lsn: int = 0
    replay_lsn: int = 0
    is_replay_paused: bool = False
    last_replayed_at: float | None = None
    clock_skew_seconds: float = 0.0
    knows_receiver: bool = False
    receiver: Receiver | None = None
    senders: tuple[WalSender, ...] = ()
    slots: tuple[Slot, ...] = ()
    archiver: Archiver | None = None
    condition: Condition | None = None
    started_at: float | None = None


@dataclass(frozen=True)
class Unseen:
    """cause: "refused" | "timeout" | "no-role" (the monitoring role cannot log in) | "starting" | "stopped" (the host answers,
    PostgreSQL does not) | "no-hot-standby" | "ssh-…" (SSH does not work either, and why) | "other"."""

    at: float
    cause: str
    message: str

    @property
    def host_answers(self) -> bool:
        """The host is there; its PostgreSQL is not, or does not let the panel in."""
        return self.cause in ("refused", "no-role", "starting", "stopped", "no-hot-standby", "other")
