"""What would be lost if the primary died now, with each standby: honest about what nobody saw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitor.standing import NodeStanding, Standing

KNOWN_STATES = ("streaming", "idle", "catching-up", "paused", "stalled", "disconnected")


@dataclass(frozen=True)
class Loss:
    """bytes: WAL that the primary had at `primary_at` and that is not on the standby's disk; None = not known.

    is_present: both positions are of just now. to_replay_bytes: has arrived, but must be replayed before it can take over.
    """

    node: NodeStanding
    bytes: int | None
    seconds: float | None
    to_replay_bytes: int | None
    is_present: bool
    seen_at: datetime | None

    @property
    def tone(self) -> str:
        if self.bytes is None or not self.is_present:
            return "warn"
        return "ok" if self.bytes == 0 else "warn"


def losses_of(standing: Standing) -> list[Loss]:
    """The least loss first; what is not known last."""
    losses = [_loss(node) for node in standing.standbys]
    return sorted(losses, key=lambda loss: (loss.bytes is None, not loss.is_present, loss.bytes or 0, loss.to_replay_bytes or 0))


def _loss(node: NodeStanding) -> Loss:
    number = node.number
    missing, behind = number.flush_bytes, number.replay_bytes
    return Loss(
        node=node, bytes=missing, seconds=number.flush_seconds,
        to_replay_bytes=behind - missing if behind is not None and missing is not None else None,
        is_present=node.state in KNOWN_STATES, seen_at=node.seen_at,
    )  # fmt: skip
