"""What we have: clusters, their nodes, the credentials that reach them, who may, and what was last seen."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

name_validator = RegexValidator(
    r"^[a-z][a-z0-9-]{0,38}$", _("Small letters, digits and hyphens, beginning with a letter, at most 39 characters.")
)
port_validators = [MinValueValidator(1), MaxValueValidator(65535)]


class Cluster(models.Model):
    """One PostgreSQL replication cluster: a primary and the standbys that follow it."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=39, unique=True, validators=[name_validator])
    description = models.CharField(_("description"), max_length=200, blank=True)
    system_identifier = models.CharField(max_length=20, blank=True, help_text="of the databases; pinned when first seen")
    epoch = models.PositiveBigIntegerField(default=0, help_text="rises with every claim of a job; hosts refuse a lower one")
    sample_interval_seconds = models.FloatField(default=1.0, validators=[MinValueValidator(0.5), MaxValueValidator(60)])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Credential(models.Model):
    """A secret, encrypted at rest (`clusters.secrets`), write-only: pages show `label`, `public_part` and dates, never more."""

    class Kind(models.TextChoices):
        SSH_KEY = "ssh-key", _("SSH key")
        SSH_PASSWORD = "ssh-password", _("SSH password")
        DATABASE_ROLE = "database-role", _("Database role")

    kind = models.CharField(max_length=20, choices=Kind.choices)
    label = models.CharField(max_length=80)
    cluster = models.ForeignKey(Cluster, null=True, blank=True, on_delete=models.CASCADE, related_name="credentials")
    purpose = models.CharField(max_length=80, blank=True, help_text='of a database role: "replication", "monitoring"')
    username = models.CharField(max_length=63, blank=True)
    sealed = models.TextField(editable=False, help_text="MultiFernet token")
    public_part = models.TextField(blank=True, help_text="the public key, in authorized_keys form")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "purpose"], condition=models.Q(kind="database-role"), name="one_role_credential_per_purpose"
            )
        ]

    def __str__(self) -> str:
        return self.label


class Node(models.Model):
    """One PostgreSQL server of a cluster, on a host reached by SSH.

    `overrides` holds what differs from the layout's row: data_directory, config_directory, bin_directory,
    wal_archive_directory, owner, service, start_command, stop_command, restart_command (see `remote/layouts.py`).
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(_("name"), max_length=39, validators=[name_validator])
    ssh_host = models.CharField(_("SSH address"), max_length=253)
    ssh_port = models.PositiveIntegerField(_("SSH port"), default=22, validators=port_validators)
    ssh_user = models.CharField(_("SSH user"), max_length=63, default="root")
    credential = models.ForeignKey(Credential, on_delete=models.PROTECT, related_name="nodes")
    host_key = models.TextField(blank=True, help_text='pinned: "ssh-ed25519 AAAA…"')
    jump_host = models.CharField(_("jump host"), max_length=253, blank=True)
    jump_port = models.PositiveIntegerField(default=22, validators=port_validators)
    jump_user = models.CharField(max_length=63, blank=True)
    jump_host_key = models.TextField(blank=True)
    node_address = models.CharField(_("address that the other nodes use"), max_length=253)
    postgres_port = models.PositiveIntegerField(_("PostgreSQL port"), default=5432, validators=port_validators)
    postgres_major = models.CharField(max_length=4, blank=True)
    layout = models.CharField(_("layout"), max_length=20, default="debian")
    overrides = models.JSONField(default=dict, blank=True)
    position = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "name"], name="node_name_once_per_cluster"),
            models.UniqueConstraint(fields=["cluster", "node_address", "postgres_port"], name="server_once_per_cluster"),
        ]

    def __str__(self) -> str:
        return self.name


class Grant(models.Model):
    """Who may do what: on one cluster, or on all (`cluster` empty). Each role includes the ones before it."""

    class Role(models.TextChoices):
        VIEWER = "viewer", _("Viewer")
        OPERATOR = "operator", _("Operator")
        ADMINISTRATOR = "administrator", _("Administrator")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    cluster = models.ForeignKey(Cluster, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=Role.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "cluster"], name="one_grant_per_user_and_cluster")]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.cluster or 'all'}"


class NodeState(models.Model):
    """What was last seen of a node: `monitor` writes it, all read it. Every value has the age of `seen_at`."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="state")
    tried_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True, help_text="last successful look")
    is_reachable = models.BooleanField(default=False)
    error = models.TextField(blank=True)
    role = models.CharField(max_length=10, default="unknown")
    is_writable = models.BooleanField(null=True)
    timeline = models.PositiveIntegerField(default=0)
    current_lsn = models.BigIntegerField(default=0)
    receive_lsn = models.BigIntegerField(default=0)
    replay_lsn = models.BigIntegerField(default=0)
    follows = models.CharField(max_length=253, blank=True, help_text="host:port that its WAL receiver hears")
    sample: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    facts: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    facts_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.node}: {self.role}"


class Quarantine(models.Model):
    """A node that must not become writable: an old primary that was promoted away from."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="quarantines")
    since = models.DateTimeField(auto_now_add=True)
    reason = models.TextField()
    lifted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.node} since {self.since}"


class Draft(models.Model):
    """A wizard that somebody left and may take up again. Secrets typed into it are `Credential`s at once, never in `data`."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drafts")
    kind = models.CharField(max_length=20, default="setup")
    cluster = models.ForeignKey(Cluster, null=True, blank=True, on_delete=models.CASCADE)
    page = models.CharField(max_length=20, default="hosts")
    data: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-changed_at"]

    def __str__(self) -> str:
        return f"{self.kind} by {self.user}, {self.page}"
