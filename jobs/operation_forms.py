"""Settings of what is done to a running replication: switch over, promote, rebuild, repair, and the small things of one node."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.models import Cluster
from jobs.job_form import JobForm
from jobs.models import Job
from jobs.picture import picture_of

HOOK_ROWS = 3
HOOK_SECONDS = 30
OLD, NEW = "@old", "@new"
"""Where a command runs, said by role: so that the same settings serve the way back."""


class NodeForm(JobForm):
    """About one node and nothing else."""

    node = forms.ChoiceField(label=gettext_lazy("Node"))

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        return {"node": cluster.nodes.values_list("name", flat=True).first()}


class CandidateForm(JobForm):
    """Who takes over from the present primary."""

    candidate = forms.ChoiceField(label=gettext_lazy("Who takes over"))

    def choices_of(self, field_name: str) -> list[tuple[str, str]]:  # noqa: ARG002
        picture = picture_of(self.cluster)
        primary = picture.primary.name if picture.primary else ""
        first = [member.name for member in picture.successors]
        return [(name, name) for name in sorted(self.node_names, key=lambda name: name not in first) if name != primary]

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        successors = picture_of(cluster).successors
        return {"candidate": successors[0].name} if successors else {}


class SwitchoverForm(CandidateForm):
    template = "jobs/switchover_fields.html"
    catch_up_seconds = forms.IntegerField(
        label=gettext_lazy("Wait for the standby to catch up, at most, seconds"), min_value=1, max_value=600, initial=10,
        help_text=gettext_lazy("It must have everything before it takes over. If it has not by then, the old primary goes on."),
    )  # fmt: skip
    allow_long_transactions = forms.BooleanField(
        label=gettext_lazy("Transactions that have run for long may be ended"), required=False,
        help_text=gettext_lazy("Otherwise the plan names them and refuses."),
    )  # fmt: skip

    def __init__(self, *arguments: Any, cluster: Cluster, **options: Any) -> None:
        super().__init__(*arguments, cluster=cluster, **options)
        for when in ("before", "after"):
            for row in range(HOOK_ROWS):
                self.fields |= self._hook_fields(f"{when}_{row}")

    def _hook_fields(self, name: str) -> dict[str, forms.Field]:
        places = [(NEW, _("the new primary")), (OLD, _("the old primary")), *((node, node) for node in self.node_names)]
        return {
            f"{name}_node": forms.ChoiceField(
                label=_("Runs on"), choices=places, required=False, initial=OLD if name.startswith("before") else NEW
            ),
            f"{name}_command": forms.CharField(
                label=_("Command"), required=False, max_length=500, widget=forms.TextInput(attrs={"spellcheck": "false"})
            ),
            f"{name}_seconds": forms.IntegerField(
                label=_("Seconds"), required=False, min_value=1, max_value=600, initial=HOOK_SECONDS
            ),
        }

    @property
    def hook_groups(self) -> list[tuple[str, str, list[dict[str, forms.BoundField]]]]:
        """(heading, what for, rows) for the page."""
        said = (
            ("before", _("Before the old primary is stopped"), _("Pause PgBouncer, tell the monitoring.")),
            ("after", _("When the new primary takes writes"), _("Move an address, resume PgBouncer, restart CoCCA.")),
        )
        parts = ("node", "command", "seconds")
        return [
            (title, hint, [{part: self[f"{when}_{row}_{part}"] for part in parts} for row in range(HOOK_ROWS)])
            for when, title, hint in said
        ]

    @property
    def has_hooks(self) -> bool:
        """Does the folded part hold anything?"""
        return any(self[name].value() or self[name].errors for name in self.fields if name.endswith("_command")) or any(
            self[name].errors for name in self.fields if name.endswith("_seconds")
        )

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        """As the last switchover was told: its commands serve the way back too."""
        last = last_proven(cluster)
        kept = cls.as_typed(last) if last else {}
        return {name: value for name, value in kept.items() if name != "candidate"} | super().first_values(cluster)

    @classmethod
    def as_typed(cls, job: Job) -> dict[str, Any]:
        """Commands that ran on the new or the old primary are kept by that role."""
        typed = {name: value for name, value in job.params.items() if name not in ("before", "after")}
        roles = {_primary_then(job): OLD, job.params.get("candidate", ""): NEW}
        for when in ("before", "after"):
            for row, hook in enumerate(job.params.get(when, ())[:HOOK_ROWS]):
                typed[f"{when}_{row}_node"] = roles.get(hook["node"], hook["node"])
                typed[f"{when}_{row}_command"] = hook["command"]
                typed[f"{when}_{row}_seconds"] = hook.get("timeout_seconds", HOOK_SECONDS)
        return typed

    def params(self) -> dict[str, Any]:
        given = self.cleaned_data
        plain = {name: given[name] for name in ("candidate", "catch_up_seconds", "allow_long_transactions")}
        return plain | {when: self._hooks(when) for when in ("before", "after")}

    def _hooks(self, when: str) -> list[dict[str, Any]]:
        given, places = self.cleaned_data, {NEW: self.cleaned_data["candidate"], OLD: _primary(self.cluster)}
        return [
            {"node": places.get(given[f"{when}_{row}_node"], given[f"{when}_{row}_node"]),
             "command": given[f"{when}_{row}_command"].strip(),
             "timeout_seconds": given[f"{when}_{row}_seconds"] or HOOK_SECONDS}
            for row in range(HOOK_ROWS) if given[f"{when}_{row}_command"].strip()
        ]  # fmt: skip


def _primary(cluster: Cluster) -> str:
    primary = picture_of(cluster).primary
    return primary.name if primary else ""


def _primary_then(job: Job) -> str:
    """Who was the primary when the job was planned."""
    found = [name for name, known in job.plan.get("identities", {}).items() if known.get("role") == "primary"]
    return found[0] if found else _primary(job.cluster)


class RebuildForm(NodeForm):
    METHODS = [
        ("auto", gettext_lazy("The mildest that works (the plan says which and why)")),
        ("rewind", gettext_lazy("pg_rewind: only what differs")),
        ("delta", gettext_lazy("rsync: only files that differ")),
        ("copy", gettext_lazy("A whole new copy")),
    ]
    method = forms.ChoiceField(label=gettext_lazy("How"), choices=METHODS, initial="auto")
    keep_days = forms.IntegerField(
        label=gettext_lazy("Keep the old data directory, days"), min_value=1, max_value=365, initial=7,
        help_text=gettext_lazy("Rows that never left it stay readable, and the rebuild can be undone until then."),
    )  # fmt: skip

    def choices_of(self, field_name: str) -> list[tuple[str, str]]:  # noqa: ARG002
        primary = _primary(self.cluster)
        return [(name, name) for name in self.node_names if name != primary]

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        """The node that needs it most: one that is no standby, then one that does not follow."""
        picture = picture_of(cluster)
        others = [one for one in picture.members if one != picture.primary]
        worst = sorted(others, key=lambda one: (one.role == "standby", one.is_flowing))
        return {"node": worst[0].name} if worst else {}


class RepairForm(NodeForm):
    CURES = [
        ("auto", gettext_lazy("The mildest that works (the plan says what is wrong and which)")),
        ("bridge", gettext_lazy("Bring the WAL that it lacks")),
        ("slot", gettext_lazy("Make its replication slot anew")),
        ("repoint", gettext_lazy("Let it follow the primary again")),
        ("restart", gettext_lazy("Restart it")),
        ("rebuild", gettext_lazy("Copy it anew")),
    ]
    cure = forms.ChoiceField(label=gettext_lazy("Cure"), choices=CURES, initial="auto")


class RepointForm(NodeForm):
    upstream = forms.ChoiceField(
        label=gettext_lazy("Follows from now on"), help_text=gettext_lazy("The primary, or another standby (a cascade).")
    )

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        return {"upstream": _primary(cluster)}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        node, upstream = cleaned.get("node", ""), cleaned.get("upstream", "")
        if node and upstream in picture_of(self.cluster).below(node):
            self.add_error("upstream", _("%(upstream)s is %(node)s itself, or follows it.") % {"upstream": upstream, "node": node})
        return cleaned


class ForgetOldForm(NodeForm):
    """Rows that never left the old primary are gone with it: its name is typed."""

    typed = forms.CharField(
        label=gettext_lazy("Type the node's name: the old data directory is deleted for good"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("typed") and cleaned["typed"].strip() != cleaned.get("node"):
            self.add_error("typed", _("Type “%(name)s”.") % {"name": cleaned.get("node", "")})
        return cleaned

    def params(self) -> dict[str, Any]:
        return {"node": self.cleaned_data["node"]}


class SetParameterForm(JobForm):
    name = forms.CharField(
        label=gettext_lazy("Setting"), max_length=63,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "none"}),
        help_text=gettext_lazy("Its name in postgresql.conf, for instance max_connections."),
    )  # fmt: skip
    value = forms.CharField(
        label=gettext_lazy("Value"), max_length=500, required=False, widget=forms.TextInput(attrs={"spellcheck": "false"}),
        help_text=gettext_lazy("With its unit, as PostgreSQL writes it: 512MB, 30s, on. Restarts come in the right order."),
    )  # fmt: skip


class RotatePasswordForm(JobForm):
    PURPOSES = [
        ("replication", gettext_lazy("The replication role: by it the standbys log in to the primary")),
        ("monitoring", gettext_lazy("The monitoring role: by it the panel looks")),
    ]
    purpose = forms.ChoiceField(
        label=gettext_lazy("Whose password"), choices=PURPOSES, widget=forms.RadioSelect, initial="replication"
    )


OPERATIONS: dict[str, type[JobForm]] = {
    "switchover": SwitchoverForm,
    "rehearse": CandidateForm,
    "rebuild": RebuildForm,
    "undo_rebuild": NodeForm,
    "forget_old": ForgetOldForm,
    "repair": RepairForm,
    "repoint": RepointForm,
    "remove_standby": NodeForm,
    "start": NodeForm,
    "stop": NodeForm,
    "restart": NodeForm,
    "reload": NodeForm,
    "set_parameter": SetParameterForm,
    "rotate_password": RotatePasswordForm,
}
"""The form of each kind but `promote`, which has a page of its own (`jobs/promote_page.py`)."""


def last_proven(cluster: Cluster) -> Job | None:
    """The last switchover that was seen through."""
    return Job.objects.filter(status=Job.Status.SUCCEEDED, cluster=cluster, kind="switchover").first()
