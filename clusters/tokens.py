"""API tokens with the clusters on which they count: what pages and API call. The token itself is `accounts.tokens`'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts import tokens
from accounts.models import ApiToken, TokenLimits, User
from clusters.models import Cluster, TokenScope
from clusters.rights import Person, clusters_for, may


def limits_of(token: ApiToken) -> TokenLimits:
    """None left of a scoped token's clusters means: it counts nowhere."""
    ids = frozenset(token.scopes.values_list("cluster_id", flat=True)) if token.is_scoped else None
    return TokenLimits(token.role, ids)


def user_of(text: str, address: str) -> tuple[ApiToken, User]:
    """Whoever sent this token, narrowed by it; `accounts.tokens.TokenRefused`."""
    token = tokens.token_of(text, address)
    token.user.limits = limits_of(token)
    return token, token.user


def tokens_for(user: Person) -> QuerySet[ApiToken]:
    """Those that `user` may see and revoke: one's own, and service accounts' for administrators over all."""
    if not user.is_authenticated:
        return ApiToken.objects.none()
    own = Q(user_id=user.pk)
    where = own | Q(user__is_service=True) if may(user, "administrator", None) else own
    return ApiToken.objects.filter(where).select_related("user").prefetch_related("scopes__cluster")


@transaction.atomic
def token_create(
    by: User,
    user: User,
    name: str,
    role: str,
    *,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
    clusters: Iterable[Cluster] | None = None,
) -> tuple[ApiToken, str]:
    """A token of `user`, made by `by`; its text is there this once. clusters: None = wherever the user may.

    A stolen token must not grow: with a token nobody makes another one of the same user.
    """
    if user.pk == by.pk and by.limits is not None:
        raise PermissionDenied(_("A token does not make another of its own user: make it in the browser, signed in."))
    if user.pk != by.pk and not (user.is_service and may(by, "administrator", None)):
        raise PermissionDenied(_("Only for oneself, or by an administrator over all clusters for a service account."))
    chosen = None if clusters is None else list(clusters)
    if chosen is not None:
        strange = {cluster.pk for cluster in chosen} - set(clusters_for(by).values_list("pk", flat=True))
        if strange or not chosen:
            raise ValidationError({"clusters": _("Name at least one cluster that you may see.")})
    token, text = tokens.token_make(user, name, role, by=by, expires_at=expires_at, networks=networks, is_scoped=chosen is not None)
    TokenScope.objects.bulk_create(TokenScope(token=token, cluster=cluster) for cluster in chosen or ())
    return token, text
