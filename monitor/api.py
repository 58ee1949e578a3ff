"""The API of what we see: how a cluster stands, its lag over time, each node's samples. Never fresher than what was stored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import Field, Query, Router, Schema

from clusters.models import Cluster, Node
from monitor import api_alerts, api_channels, api_nagios, api_probes, api_watchers, log_tail
from monitor.loss import Loss, losses_of
from monitor.models import LogTail, Sample
from monitor.series import MOST_SECONDS, series_of
from monitor.standing import NodeStanding, standing_of
from monitor.stores import NodeStore, stores_of
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.rules import Name, needs, of_cluster, of_node
from pgpanel.rest.topology import tag_of

router = Router(tags=["What is seen"])
ROUTERS = (
    router, api_probes.router, api_alerts.router, api_channels.router, api_watchers.router, api_nagios.router,
)  # fmt: skip

State = Literal[
    "primary", "streaming", "idle", "catching-up", "stalled", "disconnected", "paused", "stale", "unreachable", "stopped", "bare",
    "second-primary", "unknown",
]  # fmt: skip


class NodeStandingOut(Schema):
    name: Name
    role: Literal["primary", "standby", "unknown"]
    state: State
    why: str = Field(description="In a sentence, where the state alone does not say it.")
    is_the_primary: bool
    is_writable: bool
    upstream: str | None = Field(description="The node that it follows.")
    timeline: int
    lsn: int = Field(description="End of its WAL; of a standby, what it has replayed. 0: not known.")
    write_bytes: int | None = Field(description="Behind the primary; null: not known, never 0 instead.")
    flush_bytes: int | None
    replay_bytes: int | None
    replay_seconds: float | None
    sync_state: str
    seen_at: datetime | None = Field(description="The last look that succeeded; every value is as old as that.")
    tried_at: datetime | None
    error: str

    @staticmethod
    def of(node: NodeStanding) -> NodeStandingOut:
        number = node.number
        return NodeStandingOut(
            name=node.name, role=node.role, state=node.state, why=node.why, is_the_primary=node.is_the_primary,  # type: ignore[arg-type]
            is_writable=node.is_writable, upstream=node.upstream or None, timeline=node.timeline, lsn=node.lsn,
            write_bytes=number.write_bytes, flush_bytes=number.flush_bytes, replay_bytes=number.replay_bytes,
            replay_seconds=number.replay_seconds, sync_state=node.sync_state, seen_at=node.seen_at, tried_at=node.tried_at,
            error=node.error,
        )  # fmt: skip


class LossOut(Schema):
    """If the primary died now and this standby took over."""

    node: Name
    bytes: int | None = Field(description="WAL that would be lost; null: not known.")
    seconds: float | None
    to_replay_bytes: int | None
    is_present: bool = Field(description="Both positions are of just now.")
    seen_at: datetime | None

    @staticmethod
    def of(loss: Loss) -> LossOut:
        return LossOut(
            node=loss.node.name, bytes=loss.bytes, seconds=loss.seconds, to_replay_bytes=loss.to_replay_bytes,
            is_present=loss.is_present, seen_at=loss.seen_at,
        )  # fmt: skip


class TopologyOut(Schema):
    cluster: Name
    primary: str | None
    nodes: list[NodeStandingOut]
    if_primary_died: list[LossOut] = Field(description="The least loss first.")


@router.get("/clusters/{name}/topology", response=TopologyOut, summary="Who is primary, who follows whom, how far behind")
@needs("viewer", of_cluster)
def topology_read(cluster: Cluster) -> HttpResponse:
    standing = standing_of(cluster)
    body = TopologyOut(
        cluster=cluster.name, primary=standing.primary.name if standing.primary else None,
        nodes=[NodeStandingOut.of(node) for node in standing.nodes],
        if_primary_died=[LossOut.of(loss) for loss in losses_of(standing)],
    )  # fmt: skip
    return answered(200, body, etag=tag_of(cluster))


class SeriesOut(Schema):
    bytes: list[int | None]
    seconds: list[float | None]
    state: list[str | None]


class MarkOut(Schema):
    at: float = Field(description="Epoch seconds.")
    kind: Literal["job", "restart", "role", "alert"]
    node: str = Field(description="Empty: of the cluster.")
    says: str


class LagOut(Schema):
    at: list[float] = Field(description="Epoch seconds.")
    nodes: dict[str, SeriesOut] = Field(description="By standby, one value per moment; null: not known.")
    marks: list[MarkOut] = Field(description="What happened meanwhile, oldest first; at most the newest 200.")


@router.get("/clusters/{name}/lag", response=LagOut, summary="Replay lag over time, and what happened meanwhile")
@needs("viewer", of_cluster)
def lag_read(cluster: Cluster, seconds: Annotated[int, Query(60, ge=10, le=MOST_SECONDS)] = 60) -> object:
    return series_of(cluster, seconds)


class SampleOut(Schema):
    at: datetime
    state: str
    primary_lsn: int | None
    write_bytes: int | None
    flush_bytes: int | None
    replay_bytes: int | None
    replay_seconds: float | None

    @staticmethod
    def of(row: Sample) -> SampleOut:
        return SampleOut(**{name: getattr(row, name) for name in SampleOut.model_fields})


@router.get("/clusters/{name}/nodes/{node}/samples", response=Page[SampleOut], summary="Its kept samples, newest first")
@needs("viewer", of_node)
def sample_list(node: Node, after: After = "", limit: Limit = 100) -> object:
    return paged(Sample.objects.filter(node=node), after, limit, SampleOut.of, newest_first=True)


class SpaceOut(Schema):
    size_bytes: int
    free_bytes: int = Field(description="For the server's own account.")


class SlotOut(Schema):
    name: str
    is_active: bool
    held_bytes: int
    wal_status: str = Field(description="Empty before PostgreSQL 13.")
    safe_wal_bytes: int | None = Field(description="What may still be written before the server lets it go; null: no limit.")
    bytes_per_second: float | None = Field(description="How fast it grows; null: used, or not watched for long enough.")
    seconds_left: float | None = Field(description="At that rate; null: not known, or it does not grow.")
    ends: Literal["disk", "slot"] = Field(description="What then happens: the disk is full, or the slot is let go.")


class StoreOut(Schema):
    name: Name
    looked_at: datetime | None = Field(description="When its host was last looked at, about once a minute; null: not lately.")
    data: SpaceOut | None
    wal: SpaceOut | None
    is_one_disk: bool
    archive_waiting: int | None = Field(description="WAL files that wait for the archive.")
    archived_at: datetime | None
    archive_fails_since: datetime | None
    pending_restart: list[str] = Field(description="Settings that wait for a restart.")
    drifted: list[str] = Field(description="Files whose managed block is not as the last job left it.")
    certificate_until: datetime | None
    may_miss: str = Field(description="Of a standby that is cut off: how much more, in a sentence.")
    slots: list[SlotOut]

    @staticmethod
    def of(node: NodeStore) -> StoreOut:
        return StoreOut(
            name=node.name, looked_at=node.looked_at, data=SpaceOut(**node.data) if node.data else None,
            wal=SpaceOut(**node.wal) if node.wal else None, is_one_disk=node.is_one_disk, archive_waiting=node.ready_count,
            archived_at=node.archived_at, archive_fails_since=node.archive_fails_since, pending_restart=list(node.pending_restart),
            drifted=list(node.drifted), certificate_until=node.certificate_until, may_miss=node.left,
            slots=[SlotOut(**{name: getattr(slot, name) for name in SlotOut.model_fields}) for slot in node.slots],
        )  # fmt: skip


@router.get("/clusters/{name}/stores", response=list[StoreOut], summary="Disks, slots and when they fill them, by node")
@needs("viewer", of_cluster)
def store_list(cluster: Cluster) -> object:
    return [StoreOut.of(node) for node in stores_of(cluster)]


class ServerLogOut(Schema):
    is_asking: bool = Field(description="A worker is reading it: ask again.")
    read_at: datetime | None
    source: str = Field(description="The file, or the unit of the journal.")
    lines: list[str] = Field(description="At most the last 200; passwords and keys are hidden.")
    error: str

    @staticmethod
    def of(tail: LogTail | None) -> ServerLogOut:
        if tail is None:
            return ServerLogOut(is_asking=False, read_at=None, source="", lines=[], error="")
        return ServerLogOut(
            is_asking=log_tail.is_asking(tail), read_at=tail.read_at, source=tail.source, lines=tail.lines.splitlines(),
            error=tail.error,
        )  # fmt: skip


@router.get("/clusters/{name}/nodes/{node}/log", response=ServerLogOut, summary="The end of its server log, as it was last read")
@needs("operator", of_node)
def log_read(node: Node) -> object:
    return ServerLogOut.of(LogTail.objects.filter(node=node).first())


@router.post("/clusters/{name}/nodes/{node}/log", response={202: ServerLogOut}, summary="Read the end of its server log")
@needs("operator", of_node)
def log_ask(node: Node) -> HttpResponse:
    """By a worker; ask the same path until `is_asking` is over."""
    return answered(
        202, ServerLogOut.of(log_tail.ask(node)), location=f"/api/v1/clusters/{node.cluster.name}/nodes/{node.name}/log"
    )


@router.get("/clusters/{name}/events", response=None, summary="Samples and topology as server-sent events", openapi_extra={
    "responses": {200: {"description": "sample, topology, evidence, gone", "content": {
        "text/event-stream": {"schema": {"type": "string"}}}}},
})  # fmt: skip
@needs("viewer", of_cluster)
def cluster_events(request: HttpRequest, cluster: Cluster) -> HttpResponseBase:
    """Stays open until the client closes it, the right is withdrawn or the token revoked (`gone`)."""
    from pgpanel.streams import stream_of  # noqa: PLC0415 — it brings asyncio's Redis along

    return stream_of(request, [f"cluster:{cluster.pk}"], 0)
