"""Forms of alerts, maintenance and channels."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import clusters_for
from monitor.models import Channel

MOST_MINUTES = 7 * 24 * 60


class AcknowledgeForm(forms.Form):
    comment = forms.CharField(label=_("Comment"), max_length=500, required=False)


class MaintenanceForm(forms.Form):
    cluster = forms.ModelChoiceField(label=_("Cluster"), queryset=Cluster.objects.none())
    minutes = forms.IntegerField(label=_("For how many minutes"), min_value=1, max_value=MOST_MINUTES, initial=60)
    reason = forms.CharField(label=_("Reason"), max_length=200)

    def __init__(self, *args: Any, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["cluster"].queryset = clusters_for(user, "operator")  # type: ignore[attr-defined]


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """What every kind of channel has; the rest is the kind's own form."""

    least_severity = forms.ChoiceField(
        label=_("Wakes for"), choices=[("warning", _("warnings and critical alerts")), ("critical", _("critical alerts only"))]
    )
    clusters = forms.ModelMultipleChoiceField(
        label=_("Only these clusters"), queryset=Cluster.objects.all(), required=False, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = Channel
        fields = ["name", "least_severity", "is_for_all", "clusters", "is_active"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("is_for_all") and not cleaned.get("clusters"):
            raise ValidationError({"clusters": _("Choose at least one, or all clusters.")})
        return cleaned
