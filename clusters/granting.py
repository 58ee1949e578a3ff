"""Giving and taking roles: the services behind the people page, the API and commands."""

from __future__ import annotations

from django.db import transaction

from accounts.audit import record
from accounts.models import User
from clusters.models import Cluster, Grant


@transaction.atomic
def grant_give(user: User, cluster: Cluster | None, role: str) -> Grant:
    """The role on this cluster, or over all; it replaces the one that was there."""
    before = Grant.objects.filter(user=user, cluster=cluster).values_list("role", flat=True).first()
    grant, _made = Grant.objects.update_or_create(user=user, cluster=cluster, defaults={"role": role})
    detail = {"before": before, "over_all": not cluster}
    record("grant.give", user.get_username(), cluster=_name(cluster), result=role, detail=detail)
    return grant


@transaction.atomic
def grant_take(grant: Grant) -> None:
    user, cluster = grant.user, grant.cluster
    grant.delete()
    record("grant.take", user.get_username(), cluster=_name(cluster), detail={"role": grant.role, "over_all": not cluster})


def _name(cluster: Cluster | None) -> str:
    return cluster.name if cluster else ""
