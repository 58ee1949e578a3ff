"""By e-mail, through the panel's own mail settings (`EMAIL_URL`). The same Message-ID in every attempt: mailboxes drop doubles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from smtplib import SMTPException
from typing import Any

from django import forms
from django.conf import settings as panel
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.validators import validate_email
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitor.channels.contract import KindForm, NotSent
from monitor.letters import Letter

SPEAKS = "django.core.mail.backends.smtp.EmailBackend"
PRINTS = "django.core.mail.backends.console.EmailBackend"
SECONDS = 20
"""For each word of the mail server; less than a worker's claim on the channel."""


class EmailForm(KindForm):
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


LABEL = gettext_lazy("E-mail")


@dataclass(frozen=True)
class Email:
    kind: str = "email"
    label: str | Promise = LABEL
    form: type[KindForm] = EmailForm

    def shown(self, settings: Mapping[str, Any]) -> str:
        return ", ".join(settings["addresses"])

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"addresses": self.shown(settings)}

    def send(self, settings: Mapping[str, Any], _secrets: Mapping[str, str], letter: Letter) -> None:
        if panel.EMAIL_BACKEND == PRINTS or (panel.EMAIL_BACKEND == SPEAKS and not panel.EMAIL_HOST):
            raise NotSent(_("The panel has no mail server: set EMAIL_URL."))
        headers = {"Message-ID": f"<{letter.id}@pgpanel>", "Auto-Submitted": "auto-generated"}
        if letter.tone == "critical":
            headers |= {"Importance": "high", "X-Priority": "1"}
        mail = EmailMessage(f"[pgpanel] {letter.title}", letter.text, to=list(settings["addresses"]), headers=headers)
        try:
            mail.connection = get_connection(timeout=getattr(panel, "EMAIL_TIMEOUT", None) or SECONDS)
            mail.send()
        except (SMTPException, OSError) as error:
            raise NotSent(f"{type(error).__name__}: {error}") from error


CHANNEL = Email()
