"""Each kind's settings page as a form: plain fields in, the kind's parameters as plain JSON out (`params`)."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.models import Cluster, Node, NodeState
from clusters.services import watched_from
from jobs.blocks.settings import share_megabytes
from jobs.job_form import JobForm
from jobs.models import Job
from jobs.operation_forms import OPERATIONS
from pgpanel.templatetags.show import bytes_shown
from remote import versions
from remote.facts import Facts, facts_from_json

METHODS = [
    ("auto", gettext_lazy("The better one for this version, size and link (the plan says which and why)")),
    ("pg_basebackup", gettext_lazy("pg_basebackup: the server sends itself")),
    ("rsync", gettext_lazy("rsync: several streams of files inside one held backup session")),
]
RETENTIONS = [
    ("auto", gettext_lazy("Replication slots with a limit from PostgreSQL 13, kept segments before")),
    ("slots", gettext_lazy("Replication slots: exactly what the standby still needs")),
    ("segments", gettext_lazy("Kept segments: always the same amount")),
]


class CopyForm(JobForm):
    """What every copy of a data directory asks for."""

    shows_disks = True
    method = forms.ChoiceField(label=gettext_lazy("How the data is copied"), choices=METHODS, initial="auto")
    link_megabits = forms.IntegerField(
        label=gettext_lazy("Slowest link between the hosts, Mbit/s"), min_value=0, required=False, initial=0,
        help_text=gettext_lazy("0 means a local network. On a slow link the copy is compressed."),
    )  # fmt: skip
    verify = forms.BooleanField(
        label=gettext_lazy("Verify the copy by its manifest (PostgreSQL 13+)"), required=False, initial=True
    )
    replication_role = forms.CharField(label=gettext_lazy("Replication role"), initial="pgpanel_replication", max_length=63)
    tablespaces = forms.CharField(
        label=gettext_lazy("Tablespaces elsewhere on the target"), required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("One per line: /old/place = /new/place"),
    )  # fmt: skip

    @classmethod
    def as_typed(cls, job: Job) -> dict[str, Any]:
        typed = super().as_typed(job)
        if isinstance(typed.get("tablespaces"), dict):
            typed["tablespaces"] = "\n".join(f"{old} = {new}" for old, new in typed["tablespaces"].items())
        if isinstance(typed.get("panel_addresses"), list):
            typed["panel_addresses"] = ", ".join(typed["panel_addresses"])
        return typed

    def clean_tablespaces(self) -> dict[str, str]:
        """Lines of `old = new`."""
        pairs = {}
        for line in self.cleaned_data["tablespaces"].splitlines():
            old, equals, new = line.partition("=")
            if line.strip() and not equals:
                raise forms.ValidationError(_("“%(line)s”: write it as /old/place = /new/place") % {"line": line.strip()})
            if line.strip():
                pairs[old.strip()] = new.strip()
        return pairs


class SetupForm(CopyForm):
    template = "jobs/setup_fields.html"
    primary = forms.ChoiceField(label=gettext_lazy("Primary"), help_text=gettext_lazy("The node that takes the writes now."))
    standbys = forms.MultipleChoiceField(
        label=gettext_lazy("Standbys to make"), widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Each gets a copy of the primary and follows it. Only an empty data directory is filled."),
    )  # fmt: skip
    retention = forms.ChoiceField(
        label=gettext_lazy("What keeps WAL for a standby that is away"), choices=RETENTIONS, initial="auto"
    )
    keep_megabytes = forms.IntegerField(
        label=gettext_lazy("At most so much WAL is kept on the primary, MB"), min_value=0, required=False, initial=0,
        help_text=gettext_lazy("0: by the size of the disk, as the plan says; only used while a standby is away."),
    )  # fmt: skip
    archive = forms.BooleanField(
        label=gettext_lazy("Archive WAL to the standbys"), required=False, initial=True,
        help_text=gettext_lazy("Finished segments are pushed to the others: a standby that was away catches up from its disk."),
    )  # fmt: skip
    archive_hold_megabytes = forms.IntegerField(
        label=gettext_lazy("WAL that waits on the primary for a standby that does not answer, MB"), min_value=32, initial=1024,
        help_text=gettext_lazy("Past that, it is no longer pushed there, so that one dead standby cannot fill the primary's disk."),
    )  # fmt: skip
    rewind_ready = forms.BooleanField(
        label=gettext_lazy("Make a later rewind possible (wal_log_hints, if no checksums)"), required=False, initial=True,
        help_text=gettext_lazy("Costs a restart of the primary now; after a failover it is too late."),
    )  # fmt: skip
    start_guard = forms.BooleanField(
        label=gettext_lazy("Before PostgreSQL starts, ask the other nodes whether they have gone on without it"),
        required=False,
        initial=True,
        help_text=gettext_lazy("A primary that was away while another was promoted then comes back read-only, by itself."),
    )
    replace_archive_command = forms.BooleanField(
        label=gettext_lazy("Replace an archive_command that is not the panel's"), required=False,
        help_text=gettext_lazy("Otherwise it stays as it is, and nothing is pushed to the standbys."),
    )  # fmt: skip
    replace_empty_cluster = forms.BooleanField(
        label=gettext_lazy("A freshly installed, empty database cluster on a standby's host may be moved aside"),
        required=False,
        initial=True,
    )
    monitoring_role = forms.CharField(label=gettext_lazy("Monitoring role"), initial="pgpanel_monitor", max_length=63)
    trust = forms.BooleanField(
        label=gettext_lazy("No password for the replication role, only the nodes' addresses (trust)"), required=False,
        help_text=gettext_lazy("Refused where the port is open to more than the nodes."),
    )  # fmt: skip
    panel_addresses = forms.CharField(
        label=gettext_lazy("The panel's addresses, for watching over TCP"), required=False,
        help_text=gettext_lazy("Separated by commas. Empty: the panel watches by SSH only."),
    )  # fmt: skip

    def __init__(self, *arguments: Any, cluster: Cluster, **options: Any) -> None:
        super().__init__(*arguments, cluster=cluster, **options)
        if words := kept_words(cluster, str(self.initial.get("primary") or "")):
            self.fields["keep_megabytes"].help_text = words

    @classmethod
    def proposed(cls, cluster: Cluster) -> dict[str, Any]:
        return {"panel_addresses": watched_from(cluster)}

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        roles = {state.node.name: state.role for state in NodeState.objects.select_related("node").filter(node__cluster=cluster)}
        names = list(cluster.nodes.values_list("name", flat=True))
        primary = next((name for name in names if roles.get(name) == "primary"), names[0] if names else "")
        standbys = [name for name in names if name != primary and roles.get(name) != "standby"]
        return {"primary": primary, "standbys": standbys, "panel_addresses": ", ".join(watched_from(cluster))}

    def clean_panel_addresses(self) -> list[str]:
        return [address for address in re.split(r"[\s,]+", self.cleaned_data["panel_addresses"]) if address]


class BaseBackupForm(CopyForm):
    field_order = ("source", "target", "directory")
    source = forms.ChoiceField(label=gettext_lazy("Copy from"))
    target = forms.ChoiceField(label=gettext_lazy("Copy to"))
    directory = forms.CharField(
        label=gettext_lazy("Into this directory"), required=False,
        help_text=gettext_lazy("Empty: the node's own, as a standby; the old one is kept aside until the new one streams."),
    )  # fmt: skip

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        """From the primary to the first node that is not the primary."""
        source = SetupForm.first_values(cluster)["primary"]
        return {"source": source, "target": cluster.nodes.exclude(name=source).values_list("name", flat=True).first()}


FORMS: dict[str, type[JobForm]] = {"setup": SetupForm, "add_standby": SetupForm, "base_backup": BaseBackupForm, **OPERATIONS}


def disks(cluster: Cluster) -> list[dict[str, str]]:
    """What is free where the nodes' data lies, as last seen: what retention may cost stands against it."""
    found = []
    for node in cluster.nodes.select_related("state"):
        facts, mount = _facts(node), None
        postgres = next(iter(facts.clusters), None) if facts else None
        if facts and postgres:
            mount = facts.mount_of(postgres.data_directory)
        if mount and postgres:
            found.append({
                "node": node.name, "mount": mount.path, "free": bytes_shown(mount.free_bytes),
                "size": bytes_shown(mount.size_bytes), "data": bytes_shown(postgres.size_bytes),
                "wal": bytes_shown(postgres.wal_bytes),
            })  # fmt: skip
    return found


def kept_words(cluster: Cluster, primary: str) -> str:
    """What 0 means on this primary, in MB; "" while its disk has not been seen."""
    node = cluster.nodes.select_related("state").filter(name=primary).first()
    facts = _facts(node) if node else None
    postgres = next(iter(facts.clusters), None) if facts else None
    mount = facts.mount_of(postgres.data_directory) if facts and postgres else None
    if node is None or postgres is None or mount is None:
        return ""
    is_limit = versions.of(postgres.major or node.postgres_major).has_setting("max_slot_wal_keep_size")
    names = {
        "kept": f"{share_megabytes(mount.size_bytes >> 20, is_limit=is_limit):,}", "name": node.name,
        "data": bytes_shown(postgres.size_bytes), "free": bytes_shown(mount.free_bytes),
    }  # fmt: skip
    if is_limit:
        return _(
            "0: at most %(kept)s MB on %(name)s, where the data is %(data)s and %(free)s are free. A limit, not a reservation: "
            "next to nothing is used while every standby keeps up. A standby that falls further behind is copied anew."
        ) % names  # fmt: skip
    return _(
        "0: %(kept)s MB on %(name)s, where the data is %(data)s and %(free)s are free. So much WAL lies there once it has been "
        "written. A standby that falls further behind catches up from the archive, or is copied anew."
    ) % names  # fmt: skip


def _facts(node: Node) -> Facts | None:
    state = NodeState.objects.filter(node=node).first()
    return facts_from_json(state.facts) if state and state.facts else None
