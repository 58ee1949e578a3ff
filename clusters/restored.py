"""After the panel was restored from a backup: hosts may have seen later claims than this panel remembers."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from clusters.models import Cluster, Evidence, Node

AHEAD = 1_000_000
"""Hosts refuse an epoch lower than they have seen: this is far ahead of whatever the lost panel has claimed since the backup. One
that lives on all the same is refused by every host that this one has touched."""


def settle(sender: Any, **_more: Any) -> None:  # noqa: ARG001
    Cluster.objects.update(epoch=F("epoch") + AHEAD)
    Node.objects.update(fence_asked_at=None)
    Evidence.objects.update(asked_at=None)
