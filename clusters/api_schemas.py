"""What the API says of clusters and nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from ninja import Field, Schema

from clusters.condition import state_of, worst_of
from clusters.credentials import fingerprint
from clusters.models import Cluster, Node, NodeState
from clusters.observing import primary_of
from clusters.offers import Offer
from pgpanel.rest.rules import Name

NodeRole = Literal["primary", "standby", "unknown"]


class NodeBrief(Schema):
    name: Name = Field(examples=["pg1"])
    role: NodeRole
    is_reachable: bool
    seen_at: datetime | None = Field(description="The last look that succeeded; every value is as old as that.")

    @staticmethod
    def of(node: Node) -> NodeBrief:
        state = state_of(node) or NodeState(node=node)
        return NodeBrief(name=node.name, role=cast(NodeRole, state.role), is_reachable=state.is_reachable, seen_at=state.seen_at)


class ClusterOut(Schema):
    name: Name
    description: str
    condition: str = Field(description="The worst that holds: broken, stopped, disconnected, stalled, … or streaming.",
                           examples=["streaming"])  # fmt: skip
    problem: str = Field(description="The worst problem in one sentence; empty where there is none.")
    primary: str | None = Field(description="The node that takes writes, as last seen.", examples=["pg1"])
    epoch: int = Field(description="Rises with every job that begins; part of the ETag.")
    system_identifier: str
    sample_interval_seconds: float
    created_at: datetime
    nodes: list[NodeBrief]

    @staticmethod
    def of(cluster: Cluster) -> ClusterOut:
        nodes = list(cluster.nodes.select_related("state", "cluster"))
        word, problem = worst_of(nodes)
        primary = primary_of(nodes)
        return ClusterOut(
            name=cluster.name, description=cluster.description, condition=word, problem=str(problem),
            primary=primary.name if primary else None, epoch=cluster.epoch, system_identifier=cluster.system_identifier,
            sample_interval_seconds=cluster.sample_interval_seconds, created_at=cluster.created_at,
            nodes=[NodeBrief.of(node) for node in nodes],
        )  # fmt: skip


class NodeOut(NodeBrief):
    cluster: Name
    ssh_host: str
    ssh_port: int
    ssh_user: str
    node_address: str = Field(description="By which the other nodes reach it.")
    postgres_port: int
    postgres_major: str = Field(examples=["17"])
    layout: str = Field(examples=["debian"])
    overrides: dict[str, str]
    jump_host: str
    jump_port: int
    jump_user: str
    host_key: str = Field(description="Fingerprint of the accepted host key; empty: none is accepted, nobody logs in.")
    offered_host_key: str = Field(description="Fingerprint that the host shows and nobody has accepted yet.")
    is_writable: bool | None
    timeline: int
    error: str = Field(description="Why the last look failed.")
    tried_at: datetime | None
    quarantine: str = Field(description="Why it must not become writable; empty where it may.")

    @staticmethod
    def of(node: Node) -> NodeOut:
        state = state_of(node) or NodeState(node=node)
        held = node.quarantines.filter(lifted_at=None).first()
        same: dict[str, Any] = {name: getattr(node, name) for name in (
            "ssh_host", "ssh_port", "ssh_user", "node_address", "postgres_port", "postgres_major", "layout", "overrides",
            "jump_host", "jump_port", "jump_user",
        )}  # fmt: skip
        return NodeOut(
            **NodeBrief.of(node).model_dump(), **same, cluster=node.cluster.name, host_key=fingerprint(node.host_key),
            offered_host_key=node.offered_fingerprint, is_writable=state.is_writable, timeline=state.timeline, error=state.error,
            tried_at=state.tried_at, quarantine=held.reason if held else "",
        )  # fmt: skip


class FactsOut(Schema):
    """What a look found, as it was read: version, settings, disks, replication. The texts of files are left out."""

    facts: dict[str, Any]
    facts_at: datetime | None
    tried_at: datetime | None
    is_reachable: bool
    error: str

    @staticmethod
    def of(node: Node) -> FactsOut:
        state = state_of(node) or NodeState(node=node)
        facts = dict(state.facts or {})
        if "paths" in facts:
            facts["paths"] = {path: {**known, "text": None} for path, known in facts["paths"].items()}
        return FactsOut(
            facts=facts, facts_at=state.facts_at, tried_at=state.tried_at, is_reachable=state.is_reachable, error=state.error
        )


class OfferOut(Schema):
    """A button of the pages, in words, with the plan that it leads to."""

    kind: str
    node: str | None = Field(description="null: of the cluster as a whole.")
    text: str
    why: str
    weight: Literal["now", "usual", "rare"] = Field(description="now: it mends what is wrong at present.")
    params: dict[str, str] = Field(description="To begin a plan of this kind with.")

    @staticmethod
    def of(offer: Offer) -> OfferOut:
        params = {name: value for name, value in offer.fields if name != "unasked"}
        return OfferOut(
            kind=offer.kind, node=offer.node or None, text=str(offer.text), why=str(offer.why), weight=offer.weight, params=params
        )
