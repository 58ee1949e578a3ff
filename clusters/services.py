"""What other rooms may ask of clusters: how a node is reached, where its things lie, its secrets, and keeping what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import record
from clusters.credentials import (
    archive_key,
    fingerprint,
    next_role_password,
    next_role_password_since,
    password_keep,
    role_password,
    role_password_keep,
    role_password_promote,
    secret_of,
)
from clusters.models import Cluster, Credential, HostAddress, Node, NodeState
from clusters.rights import cluster_or_404, clusters_for, may, node_or_404
from remote import guard
from remote.access import Access, Lock
from remote.facts import Facts, FactsRequest, Postgres, Unreachable, facts_to_json
from remote.host import Host
from remote.hostkeys import HostKey
from remote.layouts import LAYOUTS, Paths

__all__ = [
    "OtherKeyOffered", "accept_host_key", "accept_offered_key", "access_of", "access_to", "archive_key",
    "cluster_create", "cluster_or_404", "cluster_remove", "cluster_save", "clusters_for", "facts_request_of", "forget_host_key",
    "host_of", "may",
    "next_role_password", "next_role_password_since", "node_create", "node_or_404", "node_remove", "node_save", "paths_of",
    "remember_facts", "remember_positions", "role_password", "role_password_keep", "role_password_promote",
]  # fmt: skip

# -- reaching a node -----------------------------------------------------------------------------------------------------------


def access_of(node: Node) -> Access:
    return access_to(node, node.credential)


def access_to(address: HostAddress, credential: Credential | None) -> Access:
    """How one logs into the host of a node or of a draft."""
    secret = secret_of(credential) if credential else None
    is_key = credential is not None and credential.kind == Credential.Kind.SSH_KEY
    here = Access(
        host=address.ssh_host, port=address.ssh_port, user=address.ssh_user, host_key=address.host_key,
        private_key=secret if is_key else None, password=None if is_key else secret,
    )  # fmt: skip
    if not address.jump_host:
        return here
    through = replace(
        here,
        host=address.jump_host,
        port=address.jump_port,
        user=address.jump_user or address.ssh_user,
        host_key=address.jump_host_key,
    )
    return replace(here, jump=through)


def host_of(node: Node, lock: Lock | None = None) -> Host:
    """Not connected yet; a context manager. `lock` for whoever changes something there."""
    return Host(access_of(node), node.name, lock=lock, state_owner=paths_of(node).owner)


def paths_of(node: Node) -> Paths:
    """Where the node's things lie: its layout's row, with what the node overrides."""
    return LAYOUTS[node.layout].paths(node.postgres_major, node.overrides)


def facts_request_of(node: Node, **more: Any) -> FactsRequest:
    """The look at this node's own database cluster. `more`: further fields of FactsRequest (paths, reach, sections)."""
    paths = paths_of(node)
    request = FactsRequest(
        data_directory=paths.data_directory,
        port=node.postgres_port,
        bin_directory=paths.bin_directory,
        owner=paths.owner,
        paths=(paths.config_file, *guard.paths(paths)),
    )
    return replace(request, **more)


def watched_from(cluster: Cluster) -> list[str]:
    """The addresses that the panel comes from, as its hosts saw them; not those behind a jump host, which SQL cannot use."""
    states = NodeState.objects.filter(node__cluster=cluster, node__jump_host="")
    return sorted({address for state in states if (address := state.facts.get("seen_from", ""))})


# -- keeping what was seen -----------------------------------------------------------------------------------------------------


def remember_facts(node: Node, facts: Facts | Unreachable) -> None:
    """Write the node's last look. A host that did not answer keeps its old facts: stale is not down."""
    if isinstance(facts, Unreachable):
        NodeState.objects.update_or_create(
            node=node, defaults={"tried_at": timezone.now(), "is_reachable": False, "error": facts.message}
        )
        return
    postgres = facts.postgres(paths_of(node).data_directory)
    if postgres:
        _pin(node, postgres)
    now = timezone.now()
    seen = {"tried_at": now, "seen_at": now, "is_reachable": True, "error": "", "facts": facts_to_json(facts), "facts_at": now}
    NodeState.objects.update_or_create(node=node, defaults=seen | _state_of(node, postgres))


def _state_of(node: Node, postgres: Postgres | None) -> dict[str, Any]:
    """A database cluster of another origin (the empty one that a package makes, say) is not a member: its role is unknown."""
    if postgres is None or not _is_of(node.cluster, postgres):
        return {"role": "unknown", "is_writable": None, "timeline": 0, "follows": ""}
    if not postgres.answers_sql:  # its positions stay as they were last seen: a promotion asks what would be lost
        return {"is_writable": None} | ({"role": postgres.role} if postgres.role != "unknown" else {})
    receiver = postgres.receiver
    return {
        "role": postgres.role,
        "is_writable": postgres.role == "primary" if postgres.answers_sql else None,
        "timeline": postgres.timeline,
        "current_lsn": postgres.current_lsn,
        "receive_lsn": postgres.receive_lsn,
        "replay_lsn": postgres.replay_lsn,
        "follows": f"{receiver.sender_host}:{receiver.sender_port}" if receiver and receiver.sender_host else "",
    }


def remember_positions(node: Node, facts: Facts | Unreachable) -> None:
    """Of a short look: where its WAL stands. What the pages know of settings, sizes and paths stays."""
    postgres = None if isinstance(facts, Unreachable) else facts.postgres(paths_of(node).data_directory)
    if postgres is not None and postgres.answers_sql:
        now = timezone.now()
        seen = {"tried_at": now, "seen_at": now, "is_reachable": True, "error": ""}
        NodeState.objects.update_or_create(node=node, defaults=seen | _state_of(node, postgres))


def _pin(node: Node, postgres: Postgres) -> None:
    """The major version follows the host; the system identifier is pinned once and never changed here."""
    if postgres.major and postgres.major != node.postgres_major and _is_of(node.cluster, postgres):
        node.postgres_major = postgres.major
        node.save(update_fields=["postgres_major"])
    if postgres.system_identifier and not node.cluster.system_identifier:
        node.cluster.system_identifier = postgres.system_identifier
        node.cluster.save(update_fields=["system_identifier"])


def _is_of(cluster: Cluster, postgres: Postgres) -> bool:
    return not postgres.system_identifier or postgres.system_identifier == cluster.system_identifier


# -- what we have --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def cluster_create(name: str, description: str = "", system_identifier: str = "") -> Cluster:
    """ValidationError when the name is taken or is none."""
    cluster = Cluster(name=name, description=description, system_identifier=system_identifier)
    cluster.full_clean()
    cluster.save()
    record("cluster.add", name, cluster=name)
    return cluster


@transaction.atomic
def cluster_save(cluster: Cluster, changed: Iterable[str]) -> None:
    """What a person has edited (validated). changed: the names of the fields."""
    before = Cluster.objects.get(pk=cluster.pk).name
    cluster.save()
    if fields := ", ".join(changed):
        was = {"was": before} if before != cluster.name else {}
        record("cluster.edit", cluster.name, cluster=cluster.name, detail={"fields": fields, **was})


@transaction.atomic
def node_create(cluster: Cluster, credential: Credential, name: str, ssh_host: str, **fields: Any) -> Node:
    """A node of `cluster`. `fields`: the other columns of Node; the address for the other nodes defaults to the SSH address."""
    fields.setdefault("position", cluster.nodes.count())
    node = Node(cluster=cluster, credential=credential, name=name, ssh_host=ssh_host, **fields)
    node.node_address = node.node_address or ssh_host
    if node.layout not in LAYOUTS:
        raise ValidationError({"layout": _("No such layout. Known: %(names)s") % {"names": ", ".join(LAYOUTS)}})
    node.full_clean()
    node.save()
    NodeState.objects.create(node=node)
    if credential.cluster_id is None:
        credential.cluster = cluster
        credential.save(update_fields=["cluster"])
    record("node.add", node.name, cluster=cluster.name, detail={"host": f"{node.ssh_user}@{node.ssh_host}:{node.ssh_port}"})
    return node


@transaction.atomic
def node_save(node: Node, changed: Iterable[str], password: str = "") -> None:
    """What a person has edited (validated). changed: the names of the fields. password: by which this node is logged into now."""
    before = Node.objects.get(pk=node.pk).name
    if password:
        node.credential = password_keep(password, node.name, node.ssh_user, node.cluster)
    node.save()
    if fields := ", ".join(changed):
        was = {"was": before} if before != node.name else {}
        record("node.edit", node.name, cluster=node.cluster.name, detail={"fields": fields, **was})


class OtherKeyOffered(Exception):
    """The host does not show the key any more whose fingerprint a person accepted."""


def remember_offer(address: HostAddress, key: HostKey, *, is_jump: bool) -> None:
    """A host key that nobody has accepted yet: shown to a person."""
    address.offered_key, address.offered_fingerprint, address.offered_by_jump = key.line, key.fingerprint, is_jump
    address.save(update_fields=["offered_key", "offered_fingerprint", "offered_by_jump"])


@transaction.atomic
def accept_offered_key(address: HostAddress, fingerprint: str) -> None:
    """Pin the offered key of a node or of a draft's host, if it is still the one whose fingerprint the person read."""
    if not address.offered_key or fingerprint != address.offered_fingerprint:
        text = _("%(name)s now shows another key than the one you accepted. Compare it again.")
        raise OtherKeyOffered(text % {"name": address.name})
    field = "jump_host_key" if address.offered_by_jump else "host_key"
    setattr(address, field, address.offered_key)
    address.offered_key = address.offered_fingerprint = ""
    address.save(update_fields=[field, "offered_key", "offered_fingerprint"])
    _note_host_key("host_key.accept", address, field)


@transaction.atomic
def accept_host_key(node: Node, line: str, *, of_jump_host: bool = False) -> None:
    """Pin what a person has compared. `line`: "ssh-ed25519 AAAA…"."""
    field = "jump_host_key" if of_jump_host else "host_key"
    setattr(node, field, line)
    node.save(update_fields=[field])
    _note_host_key("host_key.accept", node, field)


@transaction.atomic
def forget_host_key(node: Node) -> None:
    """Of a host that was reinstalled: the new one is shown and has to be accepted. Nothing is trusted by this."""
    _note_host_key("host_key.forget", node, "host_key")
    node.host_key = ""
    node.save(update_fields=["host_key"])


def _note_host_key(action: str, address: HostAddress, field: str) -> None:
    """address: a node, or a host of a draft, whose cluster may not be there yet."""
    cluster = address.cluster if isinstance(address, Node) else getattr(address, "draft").cluster  # noqa: B009
    host = address.jump_host if field == "jump_host_key" else address.ssh_host
    detail = {"host": host, "fingerprint": fingerprint(getattr(address, field))}
    record(action, address.name, cluster=cluster.name if cluster else "", detail=detail)


@transaction.atomic
def node_remove(node: Node) -> None:
    """Forget the node; nothing on its host is touched. Credentials that no other node uses go with it."""
    cluster, name, host = node.cluster, node.name, node.ssh_host
    node.delete()
    unused = Credential.objects.filter(cluster=cluster, nodes=None, purpose="login")
    archive = Credential.objects.filter(cluster=cluster, purpose=f"archive:{node.name}")
    unused.delete()
    archive.delete()
    record("node.remove", name, cluster=cluster.name, detail={"host": host})


@transaction.atomic
def cluster_remove(cluster: Cluster) -> None:
    """Forget the cluster, its nodes, credentials and jobs; nothing on the hosts is touched."""
    name, nodes = cluster.name, ", ".join(cluster.nodes.values_list("name", flat=True))
    cluster.nodes.all().delete()
    cluster.delete()
    record("cluster.remove", name, cluster=name, detail={"nodes": nodes})


def overrides_changed(layout: str, major: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Of the paths a person typed, those that differ from the layout's own row."""
    own = LAYOUTS[layout].paths(major, {})
    return {key: value for key, value in wanted.items() if value and value != getattr(own, key, "")}
