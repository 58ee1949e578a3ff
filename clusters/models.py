"""What we have: clusters, their nodes, the credentials that reach them, who may, and what was last seen."""

from __future__ import annotations

import ipaddress
import socket
import uuid
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiToken, Role
from remote import layouts
from remote.visible import visible

name_validator = RegexValidator(
    r"^[a-z][a-z0-9-]{0,38}$", _("Small letters, digits and hyphens, beginning with a letter, at most 39 characters.")
)
# an address or a name, never an option: it may stand on a command line
host_validator = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9.:_%-]*$", _("A host name or an IP address."))
user_validator = RegexValidator(r"^[A-Za-z_][A-Za-z0-9._-]*\$?$", _("The name of a login account."))
port_validators = [MinValueValidator(1), MaxValueValidator(65535)]


def why_no_host(address: str) -> str:
    """Of an address that no server of a cluster has, but a cloud's metadata service, or everybody at once; "" = none such."""
    ip = _address(address)
    if ip is None:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    is_odd = ip.is_multicast or ip.is_unspecified or (ip.version == 4 and (ip.is_link_local or str(ip) == "255.255.255.255"))
    return str(_("No host of a cluster has this address.")) if is_odd else ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None: it is a name."""
    with suppress(ValueError):
        return ipaddress.ip_address(text)
    with suppress(OSError):  # 2852039166, 0xa9fea9fe, 169.254.43518: whoever resolves names reads these as addresses
        return ipaddress.ip_address(socket.inet_aton(text))
    return None


class Cluster(models.Model):
    """One PostgreSQL replication cluster: a primary and the standbys that follow it."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=39, unique=True, validators=[name_validator])
    description = models.CharField(_("description"), max_length=200, blank=True)
    system_identifier = models.CharField(max_length=20, blank=True, help_text="of the databases; pinned when first seen")
    epoch = models.PositiveBigIntegerField(default=0, help_text="rises with every claim of a job; hosts refuse a lower one")
    sample_interval_seconds = models.FloatField(default=1.0, validators=[MinValueValidator(0.5), MaxValueValidator(60)])
    needs_second_person = models.BooleanField(
        default=False, help_text="a plan that may lose or destroys data starts only after another person has approved it"
    )
    probe_networks: models.JSONField[list[str]] = models.JSONField(
        default=list, blank=True, help_text="from which one may ask who is primary, without a token"
    )
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
        FENCE = "fence", _("Secret of a fence command")
        WEBHOOK = "webhook", _("Secret of a webhook")
        CHANNEL = "channel", _("Secret of a channel for alerts")

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


class HostAddress(models.Model):
    """How one host is reached and where its PostgreSQL listens: shared by a Node and by a host of a Draft.

    A jump host is logged into with the same credential. `host_key` is empty until a person accepted the fingerprint.
    """

    name = models.CharField(_("name"), max_length=39, validators=[name_validator])
    ssh_host = models.CharField(_("SSH address"), max_length=253, validators=[host_validator])
    ssh_port = models.PositiveIntegerField(_("SSH port"), default=22, validators=port_validators)
    ssh_user = models.CharField(_("SSH user"), max_length=63, default="root", validators=[user_validator])
    host_key = models.TextField(blank=True, help_text='pinned: "ssh-ed25519 AAAA…"')
    jump_host = models.CharField(_("jump host"), max_length=253, blank=True, validators=[host_validator])
    jump_port = models.PositiveIntegerField(_("port of the jump host"), default=22, validators=port_validators)
    jump_user = models.CharField(_("user on the jump host"), max_length=63, blank=True, validators=[user_validator])
    jump_host_key = models.TextField(blank=True)
    node_address = models.CharField(_("address that the other nodes use"), max_length=253, validators=[host_validator])
    offered_key = models.TextField(blank=True, help_text="what the host showed; becomes host_key when a person accepts it")
    offered_fingerprint = models.CharField(max_length=80, blank=True)
    offered_by_jump = models.BooleanField(default=False, help_text="the offered key is the jump host's")
    postgres_port = models.PositiveIntegerField(_("PostgreSQL port"), default=5432, validators=port_validators)
    layout = models.CharField(_("layout"), max_length=20, default="debian")
    overrides: models.JSONField[dict[str, str]] = models.JSONField(default=dict, blank=True)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Also what no validator of one field sees: a line break at an end (`$` overlooks it), and the overrides.

        Whoever named them: a person, the API, a command, or another host by what it says of itself.
        """
        super().clean_fields(exclude)
        found: dict[str, Any] = {
            field.name: _("No line breaks or other control characters.")
            for field in self._meta.fields
            if isinstance(field, models.CharField) and field.name not in (exclude or ())
            and visible(getattr(self, field.name)) != getattr(self, field.name)
        }  # fmt: skip
        for name in {"ssh_host", "jump_host", "node_address"} - set(exclude or ()):
            if why := why_no_host(getattr(self, name)):
                found[name] = why
        if "overrides" not in (exclude or ()):
            for name, value in self.overrides.items():
                why = layouts.why_not(name, value) if name in layouts.OVERRIDABLE else "nothing that a layout says"
                if why:
                    found["overrides"] = f"{name}: {why}"
        if found:
            raise ValidationError(found)


class Node(HostAddress):
    """One PostgreSQL server of a cluster, on a host reached by SSH.

    `overrides` holds what differs from the layout's row: data_directory, config_directory, bin_directory,
    wal_archive_directory, owner, service, start_command, stop_command, restart_command (see `remote/layouts.py`).
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="nodes")
    credential = models.ForeignKey(Credential, on_delete=models.PROTECT, related_name="nodes")
    postgres_major = models.CharField(max_length=4, blank=True)
    # run on the panel's own machine (`clusters.fencing`), so only an administrator over all clusters sets them
    fence_command = models.CharField(_("fence command"), max_length=500, blank=True, help_text=_("switches the host off for sure"))
    fence_test_command = models.CharField(
        _("test of the fence command"), max_length=500, blank=True, help_text=_("asks the same device and changes nothing")
    )
    fence_secret = models.ForeignKey(Credential, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    fence_asked_at = models.DateTimeField(null=True, blank=True)
    fence_tested_at = models.DateTimeField(null=True, blank=True)
    fence_test_works = models.BooleanField(null=True, blank=True)
    fence_test_output = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "name"], name="node_name_once_per_cluster"),
            models.UniqueConstraint(fields=["cluster", "node_address", "postgres_port"], name="server_once_per_cluster"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_by_password(self) -> bool:
        return self.credential_id is not None and self.credential.kind == Credential.Kind.SSH_PASSWORD

    @property
    def slot_name(self) -> str:
        """Of the replication slot by which this node follows its primary."""
        return "pgpanel_" + self.name.replace("-", "_")

    @property
    def drop_slot_line(self) -> str:
        return f"SELECT pg_drop_replication_slot('{self.slot_name}');"


class Grant(models.Model):
    """Who may do what: on one cluster, or on all (`cluster` empty). Each role includes the ones before it."""

    Role = Role

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    cluster = models.ForeignKey(Cluster, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=Role.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "cluster"], name="one_grant_per_user_and_cluster"),
            models.UniqueConstraint(fields=["user"], condition=models.Q(cluster=None), name="one_grant_over_all_per_user"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.cluster or 'all'}"


class TokenScope(models.Model):
    """A cluster on which a scoped API token counts."""

    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="scopes")
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="token_scopes")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "cluster"], name="cluster_once_per_token")]

    def __str__(self) -> str:
        return f"{self.token}: {self.cluster}"


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
    seen_writable_at = models.DateTimeField(null=True, help_text="when the zombie watch last saw it writable")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node"], condition=models.Q(lifted_at=None), name="one_quarantine_per_node")]

    def __str__(self) -> str:
        return f"{self.node} since {self.since}"


class Evidence(models.Model):
    """What was last observed of a cluster's primary (`clusters.evidence`), for pages: gathered by a task, never in a request.

    observations: `Observation`s as JSON. primary: a node's name, "" where none was ever known.
    """

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="evidence")
    primary = models.CharField(max_length=39, blank=True)
    observations: models.JSONField[list[dict[str, Any]]] = models.JSONField(default=list)
    asked_at = models.DateTimeField(null=True)
    gathered_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.cluster} at {self.gathered_at}"


class Lineage(models.Model):
    """A timeline that a node of the cluster began, and where: a number is never used for two histories."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="lineage")
    timeline = models.PositiveIntegerField()
    node = models.CharField(max_length=39)
    switch_lsn = models.BigIntegerField(default=0)
    began_at = models.DateTimeField(auto_now_add=True)
    job = models.CharField(max_length=60, blank=True)

    class Meta:
        ordering = ["timeline"]
        constraints = [models.UniqueConstraint(fields=["cluster", "timeline"], name="timeline_once_per_cluster")]

    def __str__(self) -> str:
        return f"{self.cluster}: timeline {self.timeline} by {self.node}"


class Draft(models.Model):
    """A wizard that somebody left and may take up again. Secrets typed into it are `Credential`s at once, never in `data`.

    `data["hosts_form"]` keeps page 1 as it was typed, valid or not; `hosts` are its valid rows, with what was found on them.
    """

    class Kind(models.TextChoices):
        SETUP = "setup", _("New replication")
        IMPORT = "import", _("Import of a running cluster")
        ADD_NODE = "add-node", _("New standby")

    class Access(models.TextChoices):
        MADE_KEY = "made-key", _("A key that the panel makes")
        PASTED_KEY = "pasted-key", _("A private key that I paste")
        PASSWORD_ONCE = "password-once", _("A password, used once to install the panel's key, then forgotten")
        PASSWORD_KEPT = "password-kept", _("A password, kept encrypted (where sudo asks for one)")

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # empty: a management command's, gone when it ends
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="drafts")
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.SETUP)
    cluster = models.ForeignKey(Cluster, null=True, blank=True, on_delete=models.CASCADE)
    page = models.CharField(max_length=20, default="hosts")
    access = models.CharField(max_length=20, choices=Access.choices, default=Access.MADE_KEY)
    made_key = models.ForeignKey(Credential, null=True, on_delete=models.SET_NULL, related_name="+")
    typed = models.ForeignKey(Credential, null=True, on_delete=models.SET_NULL, related_name="+")
    data: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-changed_at"]

    def __str__(self) -> str:
        return f"{self.kind} by {self.user}, {self.page}"


class DraftHost(HostAddress):
    """A host of a wizard that is not finished, and what the last look at it said.

    new → asking (a task looks) → host-key (a person must accept the fingerprint) | seen | refused (reason and mend)
    host-key, seen, refused → asking (look again)
    """

    class Status(models.TextChoices):
        NEW = "new", _("not looked at yet")
        ASKING = "asking", _("looking")
        HOST_KEY = "host-key", _("host key to accept")
        SEEN = "seen", _("looked at")
        REFUSED = "refused", _("not reached")

    draft = models.ForeignKey(Draft, on_delete=models.CASCADE, related_name="hosts")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.NEW)
    asked_at = models.DateTimeField(null=True)
    key_installed = models.BooleanField(default=False, help_text="the panel's key was put there with the password")
    expected_fingerprint = models.CharField(max_length=80, blank=True, help_text="of the host key: this one is accepted by itself")
    expected_jump_fingerprint = models.CharField(max_length=80, blank=True)
    error = models.TextField(blank=True)
    mend = models.TextField(blank=True)
    facts: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    seen_at = models.DateTimeField(null=True)
    data_directory = models.CharField(max_length=500, blank=True, help_text="the chosen database cluster; empty: none there yet")
    is_primary = models.BooleanField(default=False)
    is_chosen = models.BooleanField(default=False, help_text="a person has chosen; before, the panel's own proposal stands")

    class Meta:
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["draft", "name"], name="host_name_once_per_draft")]

    def __str__(self) -> str:
        return self.name
