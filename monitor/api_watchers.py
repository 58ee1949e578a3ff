"""The API of the collector's own health: for scripts that watch the watcher."""

from __future__ import annotations

from datetime import datetime

from ninja import Field, Router, Schema

from accounts.models import User
from monitor.models import Watcher
from monitor.watchers import State, Watched, health_of
from pgpanel.rest.rules import Name, needs, oneself

router = Router(tags=["What is seen"])


class WatcherOut(Schema):
    """A collector process, as it last said itself how it is."""

    holder: str = Field(examples=["panel:4711:1f0c99ab"])
    began_at: datetime
    said_at: datetime
    is_silent: bool = Field(description="It says nothing any more: stopped, killed or hanging.")
    capacity: int = Field(description="Looks a second that it takes on at most.")
    nodes: int | None = Field(description="null: also other people's clusters are among them.")
    lines: int | None = Field(description="Nodes with an open connection.")
    looks_a_second: float | None
    behind_seconds: float = Field(description="How late its latest round began.")
    waiting: int = Field(description="Rounds that are not in the panel's database yet.")
    written_at: datetime | None
    last_error: str | None = Field(description="null: it may name other people's clusters.")
    last_error_at: datetime | None

    @staticmethod
    def of(row: Watcher, is_silent: bool, tells_all: bool) -> WatcherOut:
        return WatcherOut(
            holder=row.holder, began_at=row.began_at, said_at=row.said_at, is_silent=is_silent, capacity=row.capacity,
            nodes=row.nodes if tells_all else None, lines=row.lines if tells_all else None,
            looks_a_second=round(row.looks_a_second, 1) if tells_all else None, behind_seconds=row.behind_seconds,
            waiting=row.waiting, written_at=row.written_at, last_error=row.last_error if tells_all else None,
            last_error_at=row.last_error_at if tells_all else None,
        )  # fmt: skip


class WatchedOut(Schema):
    cluster: Name
    nodes: int
    holder: str | None = Field(description="Which collector watches it; null: none.")
    looked_at: datetime | None = Field(description="The newest try at any of its nodes.")
    is_late: bool = Field(description="Nobody watches it, or the newest look is too old.")

    @staticmethod
    def of(found: Watched) -> WatchedOut:
        return WatchedOut(
            cluster=found.name, nodes=found.nodes, holder=found.holder or None, looked_at=found.looked_at, is_late=found.is_late
        )


class HealthOut(Schema):
    state: State = Field(description="none: no collector runs; late: clusters go unwatched; unwritten: it waits for the database.")
    behind_seconds: float
    watchers: list[WatcherOut]
    clusters: list[WatchedOut] = Field(description="Those in trouble first.")


@router.get("/collector", response=HealthOut, summary="How the collector itself is")
@needs(None, oneself)
def collector_read(user: User) -> object:
    """As far as you may see: the clusters that are yours, and the collectors that watch them."""
    health = health_of(user)
    watchers = [*((row, False) for row in health.watchers), *((row, True) for row in health.gone)]
    return HealthOut(
        state=health.state, behind_seconds=health.behind_seconds,
        watchers=[WatcherOut.of(row, is_silent, health.is_over_all) for row, is_silent in watchers],
        clusters=[WatchedOut.of(found) for found in health.clusters],
    )  # fmt: skip
