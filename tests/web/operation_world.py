"""A cluster of three that streams, as rows, and kinds that only say that they were asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from clusters.models import Cluster, Credential, NodeState
from clusters.secrets import seal
from clusters.services import cluster_create, node_create
from jobs.forms import FORMS

LSN = (3 << 32) + 0x1000


@dataclass(frozen=True)
class Asked:
    """Takes any parameters, so that a form's own are what is tested."""

    name: str

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").title()

    def params(self, data: Any) -> dict[str, Any]:
        return dict(data)

    def title(self, params: dict[str, Any]) -> str:
        return f"{self.label} {params.get('candidate') or params.get('node') or ''}".strip()


def all_kinds() -> dict[str, Any]:
    return {name: Asked(name) for name in (*FORMS, "promote")}


def three(name: str = "registry") -> Cluster:
    cluster = cluster_create(name)
    credential = Credential.objects.create(kind=Credential.Kind.SSH_KEY, label="key", sealed=seal("no key"))
    for node in ("pg1", "pg2", "pg3"):
        node_create(cluster, credential, node, f"{node}.example", postgres_major="15")
    seen(cluster, "pg1", role="primary", sample={"state": "primary", "is_the_primary": True}, current_lsn=LSN)
    seen(cluster, "pg2", sample={"state": "streaming", "upstream": "pg1", "replay_bytes": 0, "sync_state": "async"})
    seen(cluster, "pg3", sample={"state": "catching-up", "upstream": "pg1", "replay_bytes": 4096, "sync_state": "async"})
    return cluster


def seen(cluster: Cluster, name: str, **fields: Any) -> None:
    now = timezone.now()
    values = {"role": "standby", "is_reachable": True, "timeline": 3, "receive_lsn": LSN, "replay_lsn": LSN}
    values |= {"seen_at": now, "tried_at": now}
    NodeState.objects.update_or_create(node=cluster.nodes.get(name=name), defaults=values | fields)


def primary_gone(cluster: Cluster) -> None:
    seen(cluster, "pg1", role="primary", is_reachable=False, current_lsn=LSN, error="pg1: no route to host",
         sample={"state": "unreachable", "is_the_primary": True})  # fmt: skip
