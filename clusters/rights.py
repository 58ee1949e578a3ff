"""Who may do what: the one place that decides. Pages, live streams, API and engine ask here.

A role counts on one cluster, or over all (`Grant.cluster` empty); each includes the ones before it. A superuser is administrator
over all. A cluster that one may not see does not exist: 404, not 403. A request that came by an API token carries a user with
`limits`: they narrow every answer here, so that nobody else has to ask for them. With `PGPANEL_REQUIRE_MFA` an administrator
without a second factor may what an operator may.
"""

from __future__ import annotations

from typing import Literal

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils.translation import gettext as _

from accounts.models import AuditEntry, TokenLimits, User
from clusters.models import Cluster, Grant, Node

Role = Literal["viewer", "operator", "administrator"]
Person = User | AnonymousUser
RANK: dict[str, int] = {role: rank for rank, role in enumerate(Grant.Role.values)}


def may(user: Person, role: Role, cluster: Cluster | None) -> bool:
    """May `user` act as `role` on `cluster` (None: over all clusters)?"""
    if not user.is_authenticated or not user.is_active or not _token_allows(user.limits, role, cluster):
        return False
    if role == "administrator" and user.lacks_second_factor:
        return False
    if user.is_superuser:
        return True
    where = Q(cluster=None) if cluster is None else Q(cluster=None) | Q(cluster=cluster)
    return Grant.objects.filter(where, user=user, role__in=_at_least(role)).exists()


def _token_allows(limits: TokenLimits | None, role: Role, cluster: Cluster | None) -> bool:
    """A token that counts on some clusters only counts for nothing that is over all."""
    if limits is None:
        return True
    is_there = limits.cluster_ids is None or (cluster is not None and cluster.pk in limits.cluster_ids)
    return is_there and RANK[role] <= RANK[limits.role]


def clusters_for(user: Person, role: Role = "viewer") -> QuerySet[Cluster]:
    """The clusters on which `user` may act as `role`."""
    if not user.is_authenticated or not user.is_active:
        return Cluster.objects.none()
    if user.limits and RANK[role] > RANK[user.limits.role]:
        return Cluster.objects.none()
    if role == "administrator" and user.lacks_second_factor:
        return Cluster.objects.none()
    is_over_all = user.is_superuser or Grant.objects.filter(user=user, cluster=None, role__in=_at_least(role)).exists()
    found = Cluster.objects.all() if is_over_all else Cluster.objects.filter(grants__user=user, grants__role__in=_at_least(role))
    if user.limits and user.limits.cluster_ids is not None:
        found = found.filter(pk__in=user.limits.cluster_ids)
    return found


def cluster_or_404(user: Person, name: str, role: Role = "viewer") -> Cluster:
    """The cluster; 404 if it is not there or may not be seen, 403 if it may be seen but not that."""
    cluster = clusters_for(user, "viewer").filter(name=name).first()
    if cluster is None:
        raise Http404(_("No such cluster."))
    if not may(user, role, cluster):
        raise PermissionDenied(_("This needs the role “%(role)s” on %(name)s.") % {"role": role, "name": name})
    return cluster


def node_or_404(user: Person, cluster_name: str, node_name: str, role: Role = "viewer") -> Node:
    cluster = cluster_or_404(user, cluster_name, role)
    node = cluster.nodes.select_related("credential", "state").filter(name=node_name).first()
    if node is None:
        raise Http404(_("No such node."))
    return node


def require(user: Person, role: Role, cluster: Cluster | None) -> None:
    if not may(user, role, cluster):
        raise PermissionDenied(_("This needs the role “%(role)s” over all clusters.") % {"role": role})


def entries_for(user: Person) -> QuerySet[AuditEntry]:
    """The audit trail as far as `user` administers: all of it, or what concerns his clusters; 403 for who administers none.

    A cluster's entries begin with it: a name that another one had before says nothing of that one.
    """
    if may(user, "administrator", None):
        return AuditEntry.objects.all()
    own = clusters_for(user, "administrator").values_list("name", "created_at")
    concerns = [Q(cluster=name, at__gte=since) for name, since in own]
    if not concerns:
        raise PermissionDenied(_("This needs the role “administrator”."))
    return AuditEntry.objects.filter(Q(*concerns, _connector=Q.OR))


def _at_least(role: Role) -> list[str]:
    return [name for name, rank in RANK.items() if rank >= RANK[role]]
