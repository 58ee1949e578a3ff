"""To a phone by Pushover (https://pushover.net/api). It tells no doubles apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.validators import RegexValidator
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitor.channels.calling import call
from monitor.channels.contract import KindForm
from monitor.letters import Letter

URL = "https://api.pushover.net/1/messages.json"
PRIORITIES = {"critical": 1, "warning": 0, "over": -1}
EMERGENCY: Mapping[str, int] = {"priority": 2, "retry": 60, "expire": 1800}
"""Repeated each minute for half an hour, until somebody confirms it on a phone."""
LONGEST_TITLE, LONGEST_TEXT, LONGEST_URL = 250, 1024, 512
is_key = RegexValidator(r"^[A-Za-z0-9]{30}\Z", gettext_lazy("30 letters and digits."))


class PushoverForm(KindForm):
    secret_fields = ("user_key", "app_token")

    user_key = forms.CharField(
        label=gettext_lazy("User or group key"), max_length=30, widget=forms.PasswordInput, validators=[is_key]
    )
    app_token = forms.CharField(
        label=gettext_lazy("Application token"), max_length=30, widget=forms.PasswordInput, validators=[is_key]
    )
    repeats = forms.BooleanField(
        label=gettext_lazy("Repeat critical alerts each minute until somebody confirms on the phone"), required=False, initial=True
    )


LABEL = gettext_lazy("Phone by Pushover")


@dataclass(frozen=True)
class Pushover:
    kind: str = "pushover"
    label: str | Promise = LABEL
    form: type[KindForm] = PushoverForm

    def shown(self, settings: Mapping[str, Any]) -> str:
        return _("repeated until confirmed") if settings.get("repeats") else "api.pushover.net"

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"repeats": bool(settings.get("repeats"))}

    def send(self, settings: Mapping[str, Any], secrets: Mapping[str, str], letter: Letter) -> None:
        fields: dict[str, Any] = {
            "token": secrets["app_token"], "user": secrets["user_key"], "title": letter.title[:LONGEST_TITLE],
            "message": "\n\n".join(letter.lines)[:LONGEST_TEXT], "priority": PRIORITIES[letter.tone],
        }  # fmt: skip
        if letter.url and len(letter.url) <= LONGEST_URL:
            fields |= {"url": letter.url, "url_title": _("Open the page")}
        if letter.tone == "critical" and settings.get("repeats"):
            fields |= EMERGENCY
        call(URL, urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"}, secrets.values())


CHANNEL = Pushover()
