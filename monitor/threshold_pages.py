"""The page of a cluster's thresholds: each with its default, and what is its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import BoundField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from clusters.rights import cluster_or_404
from monitor.thresholds import THRESHOLDS, Threshold, own_of, thresholds_save


class ThresholdsForm(forms.Form):
    """A field each, in the unit that a person thinks in. Empty: the default."""

    def __init__(self, *args: Any, own: dict[str, float], **options: Any) -> None:
        super().__init__(*args, **options)
        for one in THRESHOLDS:
            kind = forms.IntegerField if one.is_whole else forms.FloatField
            default = _("%(help)s Default: %(default)s %(unit)s.") % {
                "help": one.help, "default": f"{one.default / one.scale:g}", "unit": one.unit}  # fmt: skip
            self.fields[one.name] = kind(label=f"{one.label} ({one.unit})", required=False, help_text=default.strip())
            if one.name in own:
                value = own[one.name] / one.scale
                self.initial[one.name] = int(value) if value == int(value) else value

    @property
    def own(self) -> dict[str, float]:
        given = self.cleaned_data
        return {one.name: given[one.name] * one.scale for one in THRESHOLDS if given.get(one.name) is not None}


@dataclass(frozen=True)
class Row:
    threshold: Threshold
    field: BoundField
    is_own: bool


@require_http_methods(["GET", "POST"])
def thresholds(request: HttpRequest, cluster: str) -> HttpResponse:
    found = cluster_or_404(request.user, cluster, "administrator")
    own = own_of(found)
    form = ThresholdsForm(request.POST if request.method == "POST" else None, own=own)
    if request.method == "POST" and form.is_valid():
        try:
            thresholds_save(found, form.own)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, _("Saved. It counts from the next look on."))
            return redirect("monitor:thresholds", found.name)
    rows = [Row(one, form[one.name], one.name in own) for one in THRESHOLDS]
    context = {"cluster": found, "form": form, "rows": rows}
    return render(request, "monitor/thresholds.html", context, status=422 if form.errors else 200)
