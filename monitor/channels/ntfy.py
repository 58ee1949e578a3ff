"""To a phone by ntfy (https://docs.ntfy.sh/publish/#publish-as-json), the public server or one's own.

The message's id is its `sequence_id`: a server that knows it (2.16) puts a second attempt in the place of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitor.channels.calling import call_json, host_of, validate_url
from monitor.channels.contract import KindForm
from monitor.letters import Letter

PRIORITIES = {"critical": 5, "warning": 3, "over": 2}
TAGS = {"critical": "rotating_light", "warning": "warning", "over": "white_check_mark"}
LONGEST = 3500
"""A longer message would become an attached file (from 4,096 bytes on)."""


class NtfyForm(KindForm):
    secret_fields, decides_where = ("topic", "token"), ("server",)

    server = forms.CharField(
        label=gettext_lazy("Server"), max_length=200, initial="https://ntfy.sh", validators=[validate_url],
        widget=forms.TextInput(attrs={"inputmode": "url", "spellcheck": "false"}),
    )  # fmt: skip
    topic = forms.CharField(
        label=gettext_lazy("Topic"), max_length=64, widget=forms.PasswordInput,
        validators=[RegexValidator(r"^[-_A-Za-z0-9]{1,64}\Z", gettext_lazy("Letters, digits, “-” and “_”, at most 64."))],
        help_text=gettext_lazy("Who knows it reads along on a public server: choose a long one. It is kept sealed."),
    )  # fmt: skip
    token = forms.CharField(
        label=gettext_lazy("Access token"), max_length=200, required=False, widget=forms.PasswordInput,
        validators=[RegexValidator(r"^[\x21-\x7e]+\Z", gettext_lazy("A token of printed characters, without spaces."))],
        help_text=gettext_lazy("tk_…, for a protected topic."),
    )  # fmt: skip

    def clean_server(self) -> str:
        return str(self.cleaned_data["server"]).rstrip("/")


LABEL = gettext_lazy("Phone by ntfy")


@dataclass(frozen=True)
class Ntfy:
    kind: str = "ntfy"
    label: str | Promise = LABEL
    form: type[KindForm] = NtfyForm

    def shown(self, settings: Mapping[str, Any]) -> str:
        return host_of(settings["server"])

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"server": settings["server"]}

    def send(self, settings: Mapping[str, Any], secrets: Mapping[str, str], letter: Letter) -> None:
        text = "\n\n".join(letter.lines).encode()[:LONGEST].decode(errors="ignore")
        body = {
            "topic": secrets["topic"], "title": letter.title, "message": text, "priority": PRIORITIES[letter.tone],
            "tags": [TAGS[letter.tone]], "sequence_id": letter.id,
        }  # fmt: skip
        if letter.url:
            body |= {"click": letter.url, "actions": [{"action": "view", "label": _("Open the page"), "url": letter.url}]}
        headers = {"Authorization": f"Bearer {secrets['token']}"} if secrets.get("token") else {}
        call_json(settings["server"], body, secrets.values(), headers)


CHANNEL = Ntfy()
