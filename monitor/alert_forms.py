"""Forms of alerts and maintenance."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import clusters_for

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
