"""A cluster as it was last seen, as forms and buttons need it: who is what, who follows whom. Reads rows, no host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clusters.condition import is_bare, is_foreign, state_of
from clusters.models import Cluster, Node, NodeState, Quarantine
from jobs.kept import kept_in

FLOWING = ("streaming", "idle", "catching-up", "paused")
SILENT = ("stopped", "starting")


@dataclass(frozen=True)
class Member:
    """state: the collector's word for it, "unreachable" or "stopped". lag_bytes: behind in replay, None = not known.

    has_kept: a rebuild has put its old data directory aside.
    """

    name: str
    role: str
    state: str
    upstream: str
    is_reachable: bool
    is_bare: bool
    is_quarantined: bool
    is_the_primary: bool
    timeline: int
    lag_bytes: int | None
    sync_state: str
    has_kept: bool = False

    @property
    def is_flowing(self) -> bool:
        return self.role == "standby" and self.state in FLOWING

    @property
    def is_running(self) -> bool:
        return self.is_reachable and self.state != "stopped" and not self.is_bare

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """The better successor first: synchronous, known, least behind."""
        return self.sync_state not in ("sync", "quorum"), self.lag_bytes is None, self.lag_bytes or 0


@dataclass(frozen=True)
class Picture:
    members: tuple[Member, ...]

    @property
    def primary(self) -> Member | None:
        """The node that takes the writes, as far as was last seen; never one that is under quarantine."""
        found = [member for member in self.members if member.role == "primary" and not member.is_quarantined]
        return max(found, key=lambda one: (one.is_the_primary, one.is_reachable, one.timeline), default=None)

    @property
    def successors(self) -> list[Member]:
        """Standbys that follow now, the best first."""
        found = (member for member in self.members if member.is_flowing and not member.is_quarantined)
        return sorted(found, key=lambda member: member.rank)

    def member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)

    def below(self, name: str) -> set[str]:
        """The node and all that follow it, directly or not: none of them can be its upstream."""
        found = {name}
        while more := {member.name for member in self.members if member.upstream in found} - found:
            found |= more
        return found


def picture_of(cluster: Cluster, nodes: Sequence[Node] | None = None) -> Picture:
    known = list(nodes if nodes is not None else cluster.nodes.select_related("state", "cluster"))
    quarantined = set(Quarantine.objects.filter(node__in=known, lifted_at=None).values_list("node_id", flat=True))
    kept = {one.node for one in kept_in(cluster)}
    return Picture(tuple(replace(_member(node, node.pk in quarantined), has_kept=node.name in kept) for node in known))


def _member(node: Node, is_quarantined: bool) -> Member:
    state = state_of(node) or NodeState(node=node)
    sample = state.sample or {}
    return Member(
        name=node.name, role="unknown" if is_foreign(node) else state.role, state=_word(state),
        upstream=str(sample.get("upstream") or ""), is_reachable=state.is_reachable, is_bare=is_bare(node),
        is_quarantined=is_quarantined, is_the_primary=bool(sample.get("is_the_primary")), timeline=state.timeline,
        lag_bytes=sample.get("replay_bytes"), sync_state=str(sample.get("sync_state") or ""),
    )  # fmt: skip


def _word(state: NodeState) -> str:
    sample = state.sample or {}
    if sample.get("cause") in SILENT:
        return "stopped"
    if state.tried_at and not state.is_reachable:
        return "unreachable"
    return str(sample.get("state") or "unknown")
