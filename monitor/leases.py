"""Who watches which cluster, and what there is to know of its nodes before looking."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from clusters.credentials import secret_of
from clusters.models import Cluster, Credential, Node, Quarantine
from clusters.secrets import EncryptionKeyLost
from clusters.services import access_of, paths_of
from monitor.models import Lease
from monitor.past import past_of
from monitor.probe import Server
from monitor.watch import ClusterTarget, NodeTarget
from remote.access import Access
from remote.command import Secret

logger = logging.getLogger(__name__)

LEASE_SECONDS = 10.0


def _is_free(now: datetime) -> Q:
    return Q(until=None) | Q(until__lt=now)


def unwatched() -> bool:
    """Is there a cluster with nodes that nobody watches?"""
    now = timezone.now()
    free = Q(lease=None) | Q(lease__until=None) | Q(lease__until__lt=now)
    return Cluster.objects.filter(free, nodes__isnull=False).exists()


def claim(holder: str, capacity: int) -> dict[int, int]:
    """Take free clusters up to the capacity (one at least, however big). Returns all that `holder` has: cluster id → changes.

    capacity: looks a second; a node that is looked at less often than once a second counts as one, for its connection.
    """
    now = timezone.now()
    missing = Cluster.objects.filter(lease=None, nodes__isnull=False).distinct()
    Lease.objects.bulk_create([Lease(cluster=cluster) for cluster in missing], ignore_conflicts=True)
    held = _held(holder)
    load = sum(_looks(lease) for lease in _with_nodes().filter(pk__in=held))
    for lease in _with_nodes().filter(_is_free(now)).order_by("pk"):
        looks = _looks(lease)
        if held and load + looks > capacity:
            break
        taken = looks and Lease.objects.filter(_is_free(now), pk=lease.pk).update(
            holder=holder, until=now + timedelta(seconds=LEASE_SECONDS)
        )
        if taken:
            held[lease.pk] = lease.changes
            load += looks
    return held


def _with_nodes() -> QuerySet[Lease]:
    return Lease.objects.select_related("cluster").annotate(node_count=Count("cluster__nodes"))


def _looks(lease: Lease) -> float:
    return float(lease.node_count * max(1.0, 1 / lease.cluster.sample_interval_seconds))  # type: ignore[attr-defined]


def renew(holder: str, capacity: int) -> dict[int, int]:
    """Keep what is still ours, take what has become free."""
    Lease.objects.filter(holder=holder).update(until=timezone.now() + timedelta(seconds=LEASE_SECONDS))
    if unwatched():
        return claim(holder, capacity)
    return _held(holder)


def give_back(holder: str) -> None:
    Lease.objects.filter(holder=holder).update(holder="", until=None)


def note_change(cluster_id: int) -> None:
    """Something has happened to the cluster: its holder reads anew and tries at once what it had given up."""
    Lease.objects.filter(cluster_id=cluster_id).update(changes=F("changes") + 1)


def _held(holder: str) -> dict[int, int]:
    return dict(Lease.objects.filter(holder=holder).values_list("cluster_id", "changes"))


def read_targets(held: Mapping[int, int], new: Iterable[int] = ()) -> list[ClusterTarget]:
    """The clusters and nodes as they are now; of the `new` ones also what is remembered from before."""
    past = past_of(new)
    nodes: dict[int, list[Node]] = {}
    for node in Node.objects.filter(cluster_id__in=held).select_related("cluster", "credential"):
        nodes.setdefault(node.cluster_id, []).append(node)
    roles = {role.cluster_id: role for role in Credential.objects.filter(
        cluster_id__in=held, kind=Credential.Kind.DATABASE_ROLE, purpose="monitoring")}  # fmt: skip
    return [
        ClusterTarget(
            cluster_id=cluster_id, name=members[0].cluster.name, interval_seconds=members[0].cluster.sample_interval_seconds,
            nodes=_node_targets(members, *_role(roles.get(cluster_id))),
            changes=held[cluster_id], past=past.get(cluster_id),
        )
        for cluster_id, members in nodes.items()
    ]  # fmt: skip


def _role(credential: Credential | None) -> tuple[str, Secret | None]:
    if credential is None:
        return "", None
    try:
        return credential.username, secret_of(credential)
    except EncryptionKeyLost:
        logger.exception("the monitoring role's password cannot be read; looking through SSH")
        return "", None


def _node_targets(nodes: Iterable[Node], role: str, password: Secret | None) -> tuple[NodeTarget, ...]:
    """A node whose layout cannot be read is left out, and the others are watched."""
    found = []
    members = list(nodes)
    quarantined = set(Quarantine.objects.filter(node__in=members, lifted_at=None).values_list("node_id", flat=True))
    for node in members:
        try:
            found.append(_target(node, role, password, quarantined))
        except KeyError:
            logger.exception("%s is not watched: what is kept of its layout cannot be read", node.name)
    return tuple(found)


def _target(node: Node, role: str, password: Secret | None, quarantined: Collection[int]) -> NodeTarget:
    paths = paths_of(node)
    return NodeTarget(
        node_id=node.pk, name=node.name, server=Server(node.node_address, node.postgres_port, role, password),
        access=_access(node), ssh_host=node.ssh_host, data_directory=paths.data_directory, bin_directory=paths.bin_directory,
        owner=paths.owner, major=node.postgres_major, is_quarantined=node.pk in quarantined,
        config_directory=paths.config_directory,
    )  # fmt: skip


def _access(node: Node) -> Access:
    try:
        return access_of(node)
    except EncryptionKeyLost:
        logger.exception("%s: its SSH credential cannot be read", node.name)
        return Access(host=node.ssh_host, port=node.ssh_port, user=node.ssh_user, host_key=node.host_key)
