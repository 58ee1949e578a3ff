"""What a way to wake somebody is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from monitor.letters import Letter

Parts = tuple[dict[str, Any], dict[str, str]]


class NotSent(Exception):
    """Why, without any secret; it is tried again later."""


class KindForm(forms.Form):
    """What a person says of a channel of this kind. What stands in `secret_fields` is sealed and never shown again.

    stored: the channel's settings (None: a new one). A secret that is left empty stays as it is, unless one of `decides_where` has
    changed: what was entered for one server is not handed to another.
    """

    secret_fields: tuple[str, ...] = ()
    decides_where: tuple[str, ...] = ()

    def __init__(self, *args: Any, stored: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stored = stored
        self._needed = [name for name in self.secret_fields if self.fields[name].required]
        for name in self.secret_fields:
            field = self.fields[name]
            field.widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}
            if stored is not None:
                field.required = False
                field.help_text = _("Kept, and not shown. Enter it only to replace it.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in self._needed:
            if not cleaned.get(name) and not self.keeps_secrets and name not in self.errors:
                self.add_error(name, ValidationError(_("Enter it: what was kept is for another server."), code="required"))
        return cleaned

    @property
    def keeps_secrets(self) -> bool:
        stored = self.stored
        return stored is not None and all(self.cleaned_data.get(name) == stored.get(name) for name in self.decides_where)

    def parts(self) -> Parts:
        """What may be shown, and what is sealed (of that only what was entered)."""
        cleaned = self.cleaned_data
        settings = {name: value for name, value in cleaned.items() if name not in self.secret_fields}
        return settings, {name: cleaned[name] for name in self.secret_fields if cleaned.get(name)}


class ChannelKind(Protocol):
    """form: what a person says of it; `form.parts()` become `Channel.settings` and what is sealed."""

    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str | Promise: ...
    @property
    def form(self) -> type[KindForm]: ...

    def shown(self, settings: Mapping[str, Any]) -> str:
        """Where it goes, in a few words."""

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """As a person typed them: what the form begins with."""

    def send(self, settings: Mapping[str, Any], secrets: Mapping[str, str], letter: Letter) -> None:
        """Returns when the other side has taken it; else `NotSent`."""
