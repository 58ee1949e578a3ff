"""How far a standby is behind, and how much to trust that. Pure: (the primary's history, looks at the standby) → Lag.

Bytes are counted against the primary's *remembered* position; seconds are the time since the primary was past what the standby has
replayed. So an idle primary means 0 s and not a growing number (`now() - pg_last_xact_replay_timestamp()` grows there), a cut
link means growing seconds although both ends still say "streaming", and what is not known is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from monitor.history import History

State = Literal["streaming", "idle", "catching-up", "stalled", "disconnected", "paused", "stale", "unknown"]
Reason = Literal[
    "",
    "never-seen",  # no look at this standby has ever succeeded
    "not-seen",  # the newest look is too old
    "primary-unknown",  # no position of a primary has ever been seen
    "primary-unseen",  # the primary's newest position is too old
    "no-receiver",  # the standby says that it hears nobody
    "link-silent",  # both ends may say "streaming", but the primary wrote and nothing arrives
    "other-timeline",  # positions on different timelines cannot be compared
    "falling-behind",  # replays more slowly than the primary writes: no end in sight
]

STALE_SECONDS = 3.0
"""A look older than this (or than three intervals) is stale."""
SILENT_SECONDS = 3.0
"""How long something that should move may stand still."""
NEAR_SECONDS = 2.0
"""Up to here a standby is streaming, beyond it is catching up."""
MOMENT_SECONDS = 0.25
RATE_SECONDS = 10.0
"""Rates are measured over at most this long, and at least over `RATE_LEAST_SECONDS`."""
RATE_LEAST_SECONDS = 2.0


@dataclass(frozen=True)
class StandbyLook:
    """One look at a standby. LSNs None = not known. `at`: the panel's clock.

    is_receiving: it says that its WAL receiver streams (None: not known). heard_seconds: age of the last message from its upstream,
    by its own clock. is_link_open: an active probe from its host reached the upstream (None: nobody tried).
    """

    at: float
    timeline: int = 0
    write_lsn: int | None = None
    flush_lsn: int | None = None
    replay_lsn: int | None = None
    is_receiving: bool | None = None
    is_paused: bool = False
    heard_seconds: float | None = None
    is_link_open: bool | None = None


@dataclass(frozen=True)
class Lag:
    """Bytes and seconds behind the primary; None = not known.

    flush_seconds: the writes of how long are not on the standby's disk: what would be lost (replay only has to be waited for).
    is_bound: `replay_seconds` is at least that much. eta_seconds: until caught up, while catching up and an end is in sight.
    primary_at, standby_at: when the two positions were read: values of different moments say so.
    """

    state: State
    reason: Reason = ""
    write_bytes: int | None = None
    flush_bytes: int | None = None
    replay_bytes: int | None = None
    replay_seconds: float | None = None
    flush_seconds: float | None = None
    is_bound: bool = False
    eta_seconds: float | None = None
    primary_at: float | None = None
    primary_lsn: int | None = None
    standby_at: float | None = None

    def age_seconds(self, now: float) -> float | None:
        """Age of the older of the two positions."""
        known = [at for at in (self.primary_at, self.standby_at) if at is not None]
        return max(0.0, now - min(known)) if known else None


def lag_of(
    history: History,
    looks: Sequence[StandbyLook],
    now: float,
    *,
    interval_seconds: float = 1.0,
    measured_seconds: float | None = None,
) -> Lag:
    """The lag of the standby whose looks (oldest first, the newest last) these are.

    measured_seconds: what the primary itself measured (pg_stat_replication.replay_lag, from 10 on), used below the resolution of
    our own history.
    """
    if not looks:
        return Lag("unknown", "never-seen")
    look = looks[-1]
    stale_seconds = max(STALE_SECONDS, 3 * interval_seconds)
    lag = _measured(history, look, now, interval_seconds, measured_seconds)
    if now - look.at > stale_seconds:
        return replace(lag, state="stale", reason="not-seen")
    if lag.state != "unknown":
        return lag
    return _judged(lag, history, looks, now, stale_seconds)


def _measured(history: History, look: StandbyLook, now: float, interval_seconds: float, measured_seconds: float | None) -> Lag:
    """The numbers. State "unknown" where they leave it to `_judged`."""
    primary = history.last
    if primary is None:
        state: State = "disconnected" if look.is_receiving is False else "unknown"
        return Lag(state, "no-receiver" if look.is_receiving is False else "primary-unknown", standby_at=look.at)
    known = Lag("unknown", primary_at=primary.at, primary_lsn=primary.lsn, standby_at=look.at)
    if look.timeline and primary.timeline and look.timeline != primary.timeline:
        return replace(known, state="disconnected", reason="other-timeline")
    lag = replace(
        known,
        write_bytes=_behind(primary.lsn, look.write_lsn),
        flush_bytes=_behind(primary.lsn, look.flush_lsn),
        replay_bytes=_behind(primary.lsn, look.replay_lsn),
        flush_seconds=_seconds_past(history, look.flush_lsn, primary.at),
    )
    if look.replay_lsn is None:
        return lag
    passed = history.passed(look.replay_lsn)
    if passed is None:
        is_moving = now - (history.idle_since() or 0.0) < SILENT_SECONDS
        # with nothing behind, more than a moment is a measurement of earlier (PostgreSQL keeps the last one)
        is_of_now = is_moving and measured_seconds is not None and measured_seconds < MOMENT_SECONDS
        return replace(lag, replay_seconds=measured_seconds if is_of_now else 0.0)
    seconds = _seconds_past(history, look.replay_lsn, primary.at) or 0.0
    if measured_seconds is not None and max(seconds, measured_seconds) < 2 * interval_seconds:
        seconds = measured_seconds
    return replace(lag, replay_seconds=seconds, is_bound=passed.is_bound)


def _judged(lag: Lag, history: History, looks: Sequence[StandbyLook], now: float, stale_seconds: float) -> Lag:
    look = looks[-1]
    if lag.primary_at is None:
        return lag
    if look.is_receiving is False:
        return replace(lag, state="disconnected", reason="no-receiver")
    if silence := _silence(history, looks):
        return replace(lag, state=silence, reason="link-silent" if silence == "disconnected" else "")
    if now - lag.primary_at > stale_seconds:
        return _without_primary(lag, looks)
    if look.is_paused:
        return replace(lag, state="paused")
    return lag if lag.replay_bytes is None else _moving(lag, history, looks)


def _without_primary(lag: Lag, looks: Sequence[StandbyLook]) -> Lag:
    """The panel does not see the primary. If it still feeds the standby, the remembered position says nothing any more."""
    if _still_seconds(looks, lambda one: one.write_lsn) >= SILENT_SECONDS:
        return replace(lag, state="stale", reason="primary-unseen")
    return Lag(
        "streaming", "primary-unseen", primary_at=lag.primary_at, primary_lsn=lag.primary_lsn, standby_at=lag.standby_at
    )  # fmt: skip


def _moving(lag: Lag, history: History, looks: Sequence[StandbyLook]) -> Lag:
    """Connected and not paused: does replay keep up?"""
    if not lag.replay_bytes:
        is_idle = (lag.primary_at or 0.0) - (history.idle_since() or 0.0) >= SILENT_SECONDS
        return replace(lag, state="idle" if is_idle else "streaming")
    seconds = lag.replay_seconds or 0.0
    if min(seconds, _still_seconds(looks, lambda one: one.replay_lsn)) >= SILENT_SECONDS:
        return replace(lag, state="stalled")
    if seconds <= NEAR_SECONDS:
        return replace(lag, state="streaming")
    eta_seconds, is_measured = _eta(lag.replay_bytes, history, looks)
    reason: Reason = "falling-behind" if is_measured and eta_seconds is None else ""
    return replace(lag, state="catching-up", eta_seconds=eta_seconds, reason=reason)


def _seconds_past(history: History, lsn: int | None, primary_at: float) -> float | None:
    """Not until now: of a primary that is gone it counts what it had written when it was last seen."""
    if lsn is None:
        return None
    passed = history.passed(lsn)
    return max(0.0, primary_at - passed.at) if passed else 0.0


def _behind(primary_lsn: int, lsn: int | None) -> int | None:
    """A standby that was looked at a moment later than the primary may be ahead of what is remembered: 0, not less."""
    return None if lsn is None else max(0, primary_lsn - lsn)


def _silence(history: History, looks: Sequence[StandbyLook]) -> Literal["disconnected", "stalled"] | None:
    """The primary has long been past what the standby received, and nothing more arrives."""
    look = looks[-1]
    passed = history.passed(look.write_lsn) if look.write_lsn is not None else None
    if passed is None or look.at - passed.at < SILENT_SECONDS:
        return None
    if _still_seconds(looks, lambda one: one.write_lsn) < SILENT_SECONDS:
        return None
    is_heard = look.heard_seconds is not None and look.heard_seconds < SILENT_SECONDS
    return "stalled" if is_heard or look.is_link_open else "disconnected"


def _still_seconds(looks: Sequence[StandbyLook], value: Callable[[StandbyLook], int | None]) -> float:
    """How long the value has been seen standing at what it is now."""
    newest = looks[-1]
    since = newest.at
    for look in reversed(looks):
        if value(look) != value(newest):
            break
        since = look.at
    return newest.at - since


def _eta(behind_bytes: int, history: History, looks: Sequence[StandbyLook]) -> tuple[float | None, bool]:
    """(seconds until caught up at the rates of the last moments, whether rates could be measured)."""
    newest = looks[-1]
    first = next((look for look in looks if newest.at - look.at <= RATE_SECONDS and look.replay_lsn is not None), newest)
    elapsed = newest.at - first.at
    written_from, written_to = history.lsn_at(first.at), history.last
    if newest.replay_lsn is None or first.replay_lsn is None or written_from is None or written_to is None:
        return None, False
    if elapsed < RATE_LEAST_SECONDS:
        return None, False
    gain = ((newest.replay_lsn - first.replay_lsn) - (written_to.lsn - written_from)) / elapsed
    return (behind_bytes / gain if gain > 0 else None), True
