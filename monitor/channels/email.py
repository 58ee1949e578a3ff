"""By e-mail, through the panel's own mail settings (`EMAIL_URL`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from smtplib import SMTPException
from typing import Any

from django import forms
from django.conf import settings as panel
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from monitor.alert_words import WORDS, path_of, sentence
from monitor.channels.contract import NotSent
from monitor.models import Channel, Notice

LABEL = gettext_lazy("E-mail")


class EmailForm(forms.Form):
    addresses = forms.CharField(
        label=gettext_lazy("E-mail addresses"), max_length=500, help_text=gettext_lazy("Several with commas between them.")
    )

    def clean_addresses(self) -> list[str]:
        found = [address.strip() for address in self.cleaned_data["addresses"].split(",") if address.strip()]
        if not found:
            raise ValidationError(_("At least one address."))
        for address in found:
            validate_email(address)
        return found


@dataclass(frozen=True)
class Email:
    kind: str = "email"
    label: str | Promise = LABEL
    form: type[forms.Form] = EmailForm

    def shown(self, settings: Mapping[str, Any]) -> str:
        return ", ".join(settings["addresses"])

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"addresses": self.shown(settings)}

    def send(self, channel: Channel, notices: Sequence[Notice]) -> None:
        told = [
            {"notice": notice, "alert": notice.alert, "words": WORDS[notice.alert.rule], "sentence": sentence(notice.alert),
             "url": f"{panel.PANEL_URL}{path_of(notice.alert)}" if panel.PANEL_URL else path_of(notice.alert)}
            for notice in notices
        ]  # fmt: skip
        text = render_to_string("monitor/alert_mail.txt", {"told": told, "channel": channel})
        try:
            EmailMessage(_subject(notices), text, to=list(channel.settings["addresses"])).send()
        except (SMTPException, OSError) as error:
            raise NotSent(f"{type(error).__name__}: {error}") from error


def _subject(notices: Sequence[Notice]) -> str:
    if not notices:
        return _("[pgpanel] A test")
    first = notices[0]
    what = _("over") if first.what == "over" else first.alert.severity
    subject = f"[pgpanel] {first.alert.cluster.name}: {WORDS[first.alert.rule].name} {first.alert.about} ({what})"
    more = len(notices) - 1
    return subject + (" " + ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more} if more else "")


CHANNEL = Email()
