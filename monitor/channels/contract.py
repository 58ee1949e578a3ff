"""What a way to wake somebody is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from django import forms
from django.utils.functional import Promise

from monitor.models import Channel, Notice


class NotSent(Exception):
    """Why; it is tried again later."""


class ChannelKind(Protocol):
    """form: what a person says of it; its cleaned data become `Channel.settings`."""

    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str | Promise: ...
    @property
    def form(self) -> type[forms.Form]: ...

    def shown(self, settings: Mapping[str, Any]) -> str:
        """Where it goes, in a few words."""

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """As a person typed them: what the form begins with."""

    def send(self, channel: Channel, notices: Sequence[Notice]) -> None:
        """One message about all of them. No notices: a test."""
