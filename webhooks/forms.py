"""The settings of a subscription; its secret is no field: the panel makes it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster
from pgpanel.outgoing.addresses import AddressRefused, check_url
from webhooks.catalog import OFFERED
from webhooks.models import Subscription


class SubscriptionForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("By which you know the receiver."))
    url = forms.CharField(
        label="URL", max_length=500, help_text=_("https://… of the receiver. The panel follows no redirect."),
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    events = forms.MultipleChoiceField(
        label=_("Events"), required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("None ticked: all, also those of later releases."),
        choices=[(each.name, each.name) for each in OFFERED],
    )  # fmt: skip
    is_for_all = forms.BooleanField(label=_("All clusters, also those that are added later"), required=False, initial=True)
    clusters = forms.ModelMultipleChoiceField(
        label=_("Or only these clusters"), required=False, widget=forms.CheckboxSelectMultiple, queryset=Cluster.objects.none()
    )

    def __init__(self, *args: Any, subscription: Subscription | None = None, **options: Any) -> None:
        if subscription is not None:
            options["initial"] = {
                "name": subscription.name, "url": subscription.url, "events": subscription.events,
                "is_for_all": subscription.is_for_all, "clusters": subscription.clusters.all(), "is_active": subscription.is_active,
            }  # fmt: skip
        super().__init__(*args, **options)
        chosen = self.fields["clusters"]
        assert isinstance(chosen, forms.ModelMultipleChoiceField)
        chosen.queryset = Cluster.objects.all()
        if not chosen.queryset.exists():
            del self.fields["clusters"]
        if subscription is not None:
            self.fields["is_active"] = forms.BooleanField(label=_("Active"), required=False)

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            check_url(url)
        except AddressRefused as error:
            raise ValidationError(str(error)) from None
        return url

    def clean(self) -> None:
        is_for_all, chosen = self.cleaned_data.get("is_for_all"), self.cleaned_data.get("clusters")
        if is_for_all and chosen:
            self.add_error("is_for_all", _("All clusters, or only the ticked ones: not both."))
        if not is_for_all and not chosen:
            self.add_error("is_for_all", _("All clusters, or at least one ticked below."))

    @property
    def wanted(self) -> dict[str, Any]:
        """As the services take it."""
        given = self.cleaned_data
        clusters = None if given["is_for_all"] else list(given["clusters"])
        return {"name": given["name"], "url": given["url"], "events": given["events"], "clusters": clusters}


class ReplayForm(forms.Form):
    since = forms.DateTimeField(
        label=_("Since"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"],
        help_text=_("In the panel's time zone, at most 30 days ago. A receiver recognises what it has already by the webhook-id."),
    )  # fmt: skip
