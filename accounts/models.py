"""Who may: people. Roles per cluster are `clusters.Grant`."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from accounts.trail import AuditEntry, AuditHead

__all__ = ["ApiToken", "AuditEntry", "AuditHead", "CacheEntry", "RememberedAnswer", "Role", "TokenLimits", "User"]


class Role(models.TextChoices):
    """What somebody may do, on a cluster or over all; each includes the ones before it."""

    VIEWER = "viewer", _("Viewer")
    OPERATOR = "operator", _("Operator")
    ADMINISTRATOR = "administrator", _("Administrator")


@dataclass(frozen=True)
class TokenLimits:
    """What a token leaves of what its user may: at most `role`, on these clusters only (None: on all of the user's)."""

    role: str
    cluster_ids: frozenset[int] | None = None


class User(AbstractUser):
    """A person, or a program's account. A model of our own from the first migration on, because Django cannot swap it later."""

    is_service = models.BooleanField(default=False, help_text="a program's account: no password, comes by token only")
    limits: TokenLimits | None = None
    """Of the token by which this request came; never stored. `clusters.rights` heeds it."""

    @cached_property
    def has_second_factor(self) -> bool:
        """One that is asked for at every sign-in; recovery codes alone are none."""
        from allauth.mfa.models import Authenticator  # noqa: PLC0415 — a model that refers to this one

        factors = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
        return Authenticator.objects.filter(user=self, type__in=factors).exists()

    @property
    def lacks_second_factor(self) -> bool:
        """So that administrator's rights rest (`PGPANEL_REQUIRE_MFA`). A program has none: its tokens are limited instead."""
        return bool(settings.REQUIRE_MFA) and not self.is_service and not self.has_second_factor

    @property
    def is_held_back(self) -> bool:
        """Would be an administrator somewhere, with a second factor."""
        return self.lacks_second_factor and (self.is_superuser or self.grants.filter(role=Role.ADMINISTRATOR).exists())


class CacheEntry(models.Model):
    """Django's database cache, as a table of a migration, so that nobody has to call `createcachetable`."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.cache_key


class ApiToken(models.Model):
    """A program's key to the API. The secret is shown once; here stands its hash (`accounts.tokens`).

    It can never do more than its user may at that moment, and less by `role`, by `is_scoped` (then only on the clusters of
    `clusters.TokenScope`: none left means none at all), by `networks` and until `expires_at`.
    """

    public_id = models.CharField(max_length=10, unique=True, help_text="the part of the token that may be seen")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(_("name"), max_length=80)
    role = models.CharField(_("at most"), max_length=20, choices=Role.choices)
    is_scoped = models.BooleanField(default=False)
    secret_hash = models.CharField(max_length=64, help_text="sha256 of the whole token")
    networks: models.JSONField[list[str]] = models.JSONField(default=list, blank=True, help_text="CIDR; empty: from everywhere")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    last_used_from = models.CharField(max_length=45, blank=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name


class RememberedAnswer(models.Model):
    """What a call with an `Idempotency-Key` was answered: the same key gets the same answer for a day (`pgpanel.rest.once`)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="sha256 of method, path and body")
    status = models.PositiveSmallIntegerField(default=0)
    headers: models.JSONField[dict[str, str]] = models.JSONField(default=dict)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_per_user")]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.key}"
