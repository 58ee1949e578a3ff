"""Asking everybody about the primary: the panel by SSH, TCP and SQL, every standby's host by TCP and the replication protocol.

`gather` is what a task does (queue `plans`); pages call `evidence_of`, which only reads rows, and `evidence_refresh`, which starts
the task. The verdicts themselves are pure: `clusters/evidence.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from accounts.audit import record
from clusters.credentials import ROLES
from clusters.evidence import (
    PANEL,
    Candidate,
    Known,
    Memory,
    Observation,
    Place,
    Verdict,
    candidates,
    observations_of,
    verdict,
)
from clusters.fencing import fence_shown
from clusters.models import Cluster, Credential, Evidence, Node, NodeState, Quarantine
from clusters.services import access_of, facts_request_of, paths_of, remember_positions
from remote.facts import Facts, FactsRequest, Identify, Unreachable
from remote.host import Host
from remote.reaching import postgres_answers

CONNECT_SECONDS = 4.0
ASKED_SECONDS = 30
"""So long a page believes that somebody is asking."""
SECTIONS = frozenset({"host", "postgres", "sql", "reach"})


@dataclass(frozen=True)
class ClusterEvidence:
    """All that the promote page shows. gathered_at: None = nobody has asked yet. is_asking: an answer is on its way."""

    primary: Node | None
    verdict: Verdict
    observations: tuple[Observation, ...]
    candidates: tuple[Candidate, ...]
    gathered_at: datetime | None
    is_asking: bool
    error: str = ""
    quarantined: tuple[str, ...] = ()

    @property
    def age_seconds(self) -> float | None:
        return (timezone.now() - self.gathered_at).total_seconds() if self.gathered_at else None


# -- for pages -----------------------------------------------------------------------------------------------------------------


def evidence_of(cluster: Cluster) -> ClusterEvidence:
    """What was last gathered, judged now: it grows old by itself. Reads rows only."""
    kept = Evidence.objects.filter(cluster=cluster).first()
    nodes = list(cluster.nodes.select_related("state"))
    primary = next((node for node in nodes if kept and node.name == kept.primary), None) or primary_of(nodes)
    now = time.time()
    seen = tuple(Observation(**one) for one in kept.observations) if kept else ()
    seen = tuple(one for one in seen if kept and primary and kept.primary == primary.name)
    found = (
        verdict(primary.name, seen, now)
        if primary
        else Verdict("cannot_tell", "No primary has ever been seen.", "Look at the nodes.")
    )
    standbys = [known_of(node) for node in nodes if node != primary]
    return ClusterEvidence(
        primary=primary, verdict=found, observations=seen,
        candidates=tuple(candidates(known_of(primary) if primary else None, standbys, found, now)),
        gathered_at=kept.gathered_at if kept else None,
        is_asking=bool(kept and kept.asked_at and timezone.now() - kept.asked_at < timedelta(seconds=ASKED_SECONDS)),
        error=kept.error if kept else "",
        quarantined=tuple(Quarantine.objects.filter(node__cluster=cluster, lifted_at=None).values_list("node__name", flat=True)),
    )  # fmt: skip


def evidence_refresh(cluster: Cluster, *, by_hand: bool = False) -> bool:
    """Have it gathered by a worker; False when that is under way already. by_hand: somebody asked for it."""
    from clusters.tasks import start_gathering  # noqa: PLC0415 — tasks import this module

    kept, _made = Evidence.objects.get_or_create(cluster=cluster)
    late = timezone.now() - timedelta(seconds=ASKED_SECONDS)
    free = Evidence.objects.filter(pk=kept.pk, asked_at=None) | Evidence.objects.filter(pk=kept.pk, asked_at__lt=late)
    if not free.update(asked_at=timezone.now(), error=""):
        return False
    if by_hand:
        record("evidence.refresh", cluster.name, cluster=cluster.name)
    start_gathering(cluster)
    return True


def primary_of(nodes: Sequence[Node]) -> Node | None:
    """Who was the primary when it was last seen: of several the one on the newest timeline."""
    found = [node for node in nodes if state_of(node) and state_of(node).role == "primary"]
    quarantined = set(Quarantine.objects.filter(node__in=found, lifted_at=None).values_list("node_id", flat=True))
    free = [node for node in found if node.pk not in quarantined] or found
    return max(free, key=lambda node: (state_of(node).timeline, state_of(node).current_lsn), default=None)


def state_of(node: Node) -> NodeState:
    return getattr(node, "state", None) or NodeState(node=node)


def known_of(node: Node) -> Known:
    """As it was last seen; a node that the panel does not see now keeps its last position, and its age says how old that is."""
    state = state_of(node)
    is_primary = state.role == "primary"
    return Known(
        name=node.name,
        lsn=state.current_lsn if is_primary else max(state.receive_lsn, state.replay_lsn),
        timeline=state.timeline,
        at=state.seen_at.timestamp() if state.seen_at else 0.0,
        replay_lsn=0 if is_primary else state.replay_lsn,
        is_reachable=state.is_reachable,
        is_standby=state.role == "standby",
        is_paused=bool(state.sample.get("is_replay_paused")),
        sync_state=state.sample.get("sync_state", ""),
    )


def memory_of(cluster: Cluster) -> Memory:
    """For a job's brief."""
    kept = Evidence.objects.filter(cluster=cluster).first()
    fenced = [Observation(**one) for one in kept.observations] if kept else []
    nodes = list(cluster.nodes.select_related("state"))
    return Memory(
        known={node.name: known_of(node) for node in nodes},
        fenced={kept.primary: tuple(one for one in fenced if one.by == "fence")} if kept else {},
        fences={node.name: fence_shown(node) for node in nodes if node.fence_command},
        timelines={row.timeline: row.node for row in cluster.lineage.all()},
    )


# -- asking --------------------------------------------------------------------------------------------------------------------


def gather(cluster: Cluster) -> list[Observation]:
    """Ask everybody at once, keep what was seen; SSH, so only from a task. Takes as long as the slowest host, at most some 12 s."""
    nodes = list(cluster.nodes.select_related("credential", "state"))
    primary = primary_of(nodes)
    if primary is None:
        _keep(cluster, "", [])
        return []
    requests = {node.name: request_about(primary, node) for node in nodes}
    with ThreadPoolExecutor(max_workers=max(2, min(16, len(nodes) + 1))) as pool:
        knock = pool.submit(knocked, primary)
        looks = {node.name: pool.submit(_look, node, requests[node.name]) for node in nodes}
        facts = {name: look.result() for name, look in looks.items()}
        seen = list(knock.result())
    seen += observations_of(place_of(primary), [place_of(node) for node in nodes], facts, time.time(), cluster.system_identifier)
    for node in nodes:
        remember_positions(node, facts[node.name])
    fence = [one for one in _kept_observations(cluster, primary.name) if one.by == "fence"]
    _keep(cluster, primary.name, [*seen, *fence])
    return seen


def knocked(primary: Node) -> list[Observation]:
    """The panel at PostgreSQL's own port; not behind a jump host, where it cannot go."""
    if primary.jump_host:
        return []
    answer = postgres_answers(primary.ssh_host, primary.postgres_port, CONNECT_SECONDS)
    at, place = time.time(), f"{primary.ssh_host}:{primary.postgres_port}"
    if answer.has_spoken:
        return [Observation(PANEL, "tcp", "alive", at, f"{place}: open"), Observation(PANEL, "sql", "alive", at, answer.detail)]
    says = "alive" if answer.is_open else "stopped" if answer.is_refused else "no-answer"
    found = [Observation(PANEL, "tcp", says, at, f"{place}: {answer.detail}")]  # type: ignore[arg-type]
    return [*found, Observation(PANEL, "sql", "no-answer", at, answer.detail)]


def request_about(primary: Node, node: Node) -> FactsRequest:
    """The look at `node`, from whose host the primary is asked too."""
    request = facts_request_of(node, sections=SECTIONS)
    if node == primary:
        return request
    role = Credential.objects.filter(cluster=primary.cluster_id, purpose="replication").values_list("username", flat=True).first()
    passfile = f"{paths_of(node).wal_archive_directory}/.pgpanel/pgpass"
    ask = Identify(primary.node_address, primary.postgres_port, role or ROLES["replication"], passfile)
    return replace(request, reach=((primary.node_address, primary.postgres_port),), identify=(ask,))


def place_of(node: Node) -> Place:
    return Place(node.name, node.node_address, node.postgres_port, paths_of(node).data_directory)


def _look(node: Node, request: FactsRequest) -> Facts | Unreachable:
    with Host(access_of(node), node.name, connect_timeout_seconds=CONNECT_SECONDS) as host:
        return host.facts(request)


def fence_observed(node: Node, detail: str) -> None:
    """The fence command has succeeded: kept until somebody sees the node alive."""
    cluster = node.cluster
    before = [one for one in _kept_observations(cluster, node.name) if one.by != "fence"]
    _keep(cluster, node.name, [*before, Observation(PANEL, "fence", "stopped", time.time(), detail)])


def _kept_observations(cluster: Cluster, primary: str) -> list[Observation]:
    kept = Evidence.objects.filter(cluster=cluster, primary=primary).first()
    return [Observation(**one) for one in kept.observations] if kept else []


def _keep(cluster: Cluster, primary: str, seen: Sequence[Observation]) -> None:
    now = timezone.now().astimezone(UTC)
    values = {"primary": primary, "observations": [asdict(one) for one in seen], "gathered_at": now, "asked_at": None, "error": ""}
    Evidence.objects.update_or_create(cluster=cluster, defaults=values)
