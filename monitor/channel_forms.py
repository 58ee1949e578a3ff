"""Forms of channels: what every kind has, the kind's own, and quiet hours; one set of them for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from clusters.models import Cluster
from monitor.channels import CHANNELS
from monitor.models import Channel
from monitor.quiet import MOST_WINDOWS, Window, is_ever_loud, windows_of

SEVERITIES = [
    ("warning", gettext_lazy("warnings and critical alerts")),
    ("critical", gettext_lazy("critical alerts only")),
]
DAYS = [
    (0, pgettext_lazy("day", "Mon")), (1, pgettext_lazy("day", "Tue")), (2, pgettext_lazy("day", "Wed")),
    (3, pgettext_lazy("day", "Thu")), (4, pgettext_lazy("day", "Fri")), (5, pgettext_lazy("day", "Sat")),
    (6, pgettext_lazy("day", "Sun")),
]  # fmt: skip
NO_PLACE = ("Etc/", "posix/", "right/", "SystemV/")


def zones() -> list[tuple[str, str]]:
    """By place, as people name theirs."""
    named = sorted(name for name in available_timezones() if "/" in name and not name.startswith(NO_PLACE))
    return [(name, name) for name in ("UTC", *named)]


class Clock(forms.TimeInput):
    def __init__(self) -> None:
        super().__init__(attrs={"type": "time"}, format="%H:%M")


class WindowForm(forms.Form):
    """A row of quiet hours; without days it counts for nothing."""

    days = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Quiet on"), choices=DAYS, coerce=int, required=False, widget=forms.CheckboxSelectMultiple
    )
    begins = forms.TimeField(label=gettext_lazy("From"), required=False, widget=Clock)
    ends = forms.TimeField(
        label=gettext_lazy("Until"), required=False, widget=Clock,
        help_text=gettext_lazy("Earlier than “From”: on the next morning. The same: a whole day."),
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("begins", "ends") if cleaned.get("days") else ():
            if cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, ValidationError(_("At what time?"), code="required"))
        return cleaned


if TYPE_CHECKING:
    WindowSetBase = forms.BaseFormSet[WindowForm]
else:
    WindowSetBase = forms.BaseFormSet


class WindowSet(WindowSetBase):
    @property
    def windows(self) -> tuple[Window, ...]:
        rows = [form.cleaned_data for form in self.forms if form.is_valid() and form.cleaned_data.get("days")]
        return tuple(Window(frozenset(row["days"]), row["begins"], row["ends"]) for row in rows)

    def clean(self) -> None:
        if not any(self.errors) and not is_ever_loud(self.windows, ZoneInfo("UTC"), timezone.now()):
            raise ValidationError(_("That is never loud: switch the channel off instead."))


Windows = forms.formset_factory(
    WindowForm, formset=WindowSet, extra=1, max_num=MOST_WINDOWS, absolute_max=MOST_WINDOWS + 1, validate_max=True
)


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """What every kind of channel has."""

    least_severity = forms.ChoiceField(label=gettext_lazy("Wakes for"), choices=SEVERITIES)
    clusters = forms.ModelMultipleChoiceField(
        label=gettext_lazy("Only these clusters"),
        queryset=Cluster.objects.all(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        choices=zones,
        help_text=gettext_lazy("Of the quiet hours, and of the times in its messages."),
    )

    class Meta:
        model = Channel
        fields = ["name", "least_severity", "is_for_all", "clusters", "is_active", "time_zone", "critical_breaks_through"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("is_for_all") and not cleaned.get("clusters"):
            raise ValidationError({"clusters": _("Choose at least one, or all clusters.")})
        return cleaned


class ChannelForms:
    """All that is asked of a channel, together. data: what was sent; fields of the kind begin with "own-", rows with "quiet-"."""

    def __init__(self, channel: Channel, data: Mapping[str, Any] | None = None) -> None:
        self.kind = CHANNELS[channel.kind]
        is_new = channel.pk is None
        self.form = ChannelForm(data, instance=channel)
        self.own = self.kind.form(
            data, initial=None if is_new else self.kind.typed(channel.settings), stored=None if is_new else channel.settings,
            prefix="own",
        )  # fmt: skip
        # what was sent stands for itself: a row like one that is stored already would count as untouched, and be left out
        rows = [vars(window) for window in windows_of(channel.quiet_hours)] if data is None else None
        self.quiet = cast(WindowSet, Windows(data, initial=rows, prefix="quiet"))

    def is_valid(self) -> bool:
        """Each of them, so that all errors are said at once."""
        found = [self.form.is_valid(), self.own.is_valid(), self.quiet.is_valid()]
        if all(found):
            self.form.instance.quiet_hours = [window.stored for window in self.quiet.windows]
        return all(found)
