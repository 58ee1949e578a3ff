"""What each node holds and has left, for pages and API: disks, slots and when they fill them, the archive, what waits or changed.

From the stored last looks; what nobody has seen is None and is said as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from clusters.models import Cluster, NodeState
from monitor.rules import DAY_SECONDS
from pgpanel.templatetags.show import bytes_shown, seconds_shown

SOON_SECONDS = DAY_SECONDS


@dataclass(frozen=True)
class SlotShown:
    """tone: of components/state.html. until: when the disk is full or the slot let go, in words, "" where nothing is to be said."""

    name: str
    is_active: bool
    held_bytes: int
    wal_status: str
    safe_wal_bytes: int | None
    bytes_per_second: float | None
    seconds_left: float | None
    ends: str
    tone: str
    until: str
    do: str


@dataclass(frozen=True)
class NodeStore:
    """data, wal: {"size_bytes", "free_bytes"} of their file systems. is_one_disk: both on the same."""

    name: str
    is_the_primary: bool
    looked_at: datetime | None
    data: dict[str, int] | None
    wal: dict[str, int] | None
    is_one_disk: bool
    ready_count: int | None
    archive_fails_since: datetime | None
    archived_at: datetime | None
    pending_restart: tuple[str, ...]
    drifted: tuple[str, ...]
    certificate_until: datetime | None
    slots: tuple[SlotShown, ...]
    left: str


def stores_of(cluster: Cluster) -> list[NodeStore]:
    states = NodeState.objects.filter(node__cluster=cluster, seen_at__isnull=False).select_related("node")
    return [_store(state) for state in states.order_by("node__position", "node__name")]


def _store(state: NodeState) -> NodeStore:
    sample = state.sample
    host = sample.get("host") or {}
    data, wal = host.get("data"), host.get("wal")
    is_one_disk = bool(data and wal and data["device"] == wal["device"])
    archiver = sample.get("archiver") or {}
    failed, archived = _moment(archiver.get("last_failed_at")), _moment(archiver.get("last_archived_at"))
    return NodeStore(
        name=state.node.name, is_the_primary=bool(sample.get("is_the_primary")), looked_at=_moment(host.get("at")),
        data=_sizes(data), wal=_sizes(wal),
        is_one_disk=is_one_disk, ready_count=host.get("ready_count"),
        archive_fails_since=failed if failed and (archived is None or failed > archived) else None, archived_at=archived,
        pending_restart=tuple(sample.get("pending_restart") or ()), drifted=tuple(sample.get("drifted") or ()),
        certificate_until=_moment(host.get("certificate_until")), slots=tuple(_slots(sample)), left=left_shown(sample.get("left")),
    )  # fmt: skip


def _slots(sample: dict[str, Any]) -> Iterator[SlotShown]:
    forecasts = sample.get("forecasts") or {}
    for slot in sample.get("slots") or ():
        seen = forecasts.get(slot["name"]) or {}
        seconds, ends = seen.get("seconds_left"), seen.get("ends", "disk")
        is_grave = slot["wal_status"] in ("lost", "unreserved") or (seconds is not None and seconds < SOON_SECONDS)
        yield SlotShown(
            name=slot["name"], is_active=slot["is_active"], held_bytes=slot["held_bytes"], wal_status=slot["wal_status"],
            safe_wal_bytes=slot.get("safe_wal_bytes"), bytes_per_second=seen.get("bytes_per_second"),
            seconds_left=seconds, ends=ends,
            tone="ok" if slot["is_active"] else "failed" if is_grave else "warning", until=until_shown(slot, seen),
            do="" if slot["is_active"] else _("Bring its standby back, or drop the slot and rebuild the standby later."),
        )  # fmt: skip


def until_shown(slot: dict[str, Any], forecast: dict[str, Any]) -> str:
    """What becomes of a slot that nobody reads, at the present rate."""
    if slot["is_active"]:
        return ""
    if slot["wal_status"] == "lost":
        return _("Its WAL is gone: the standby has to be rebuilt.")
    rate, seconds = forecast.get("bytes_per_second"), forecast.get("seconds_left")
    if rate is None:
        return _("Not watched for long enough to tell.")
    shown = {"time": seconds_shown(seconds), "rate": bytes_shown(rate)}
    words = {
        "steady": _("Does not grow at present."),
        "unknown": _("Grows by %(rate)s/s; nobody has seen the disk yet."),
        "disk": _("Fills the disk in %(time)s at %(rate)s/s."),
        "slot": _("Let go in %(time)s at %(rate)s/s: then its standby is lost."),
    }
    return str(words[forecast["ends"] if forecast["word"] == "filling" else forecast["word"]] % shown)


def left_shown(left: dict[str, Any] | None) -> str:
    """How much a standby that hears nobody may still miss."""
    if not left:
        return ""
    if left["by"] == "lost":
        return _("Lost: the WAL that it needs is gone. It has to be rebuilt.")
    if left["by"] == "slot" and left["bytes"] is None:
        return _("Its slot keeps all that it needs, as long as the disk has room.")
    shown = {"size": bytes_shown(left["bytes"]), "time": seconds_shown(left["seconds"])}
    if left["seconds"] is not None:
        return _("It may miss %(size)s more, %(time)s at this rate.") % shown
    return _("It may miss %(size)s more.") % shown


def _sizes(space: dict[str, Any] | None) -> dict[str, int] | None:
    return {name: space[name] for name in ("size_bytes", "free_bytes")} if space else None


def _moment(epoch: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(str(epoch)), UTC) if epoch else None
    except (ValueError, OverflowError, OSError):
        return None
