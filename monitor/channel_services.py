"""Making, changing and removing channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts import audit
from monitor.alert_forms import ChannelForm
from monitor.models import Channel


@transaction.atomic
def channel_save(form: ChannelForm, settings: Mapping[str, Any]) -> Channel:
    """settings: the kind's own, validated by its form."""
    is_new = form.instance.pk is None
    form.instance.settings = dict(settings)
    channel: Channel = form.save()
    audit.record(
        "channel.create" if is_new else "channel.change", channel.name, detail={"kind": channel.kind, "active": channel.is_active}
    )
    return channel


@transaction.atomic
def channel_remove(channel: Channel) -> None:
    audit.record("channel.remove", channel.name, detail={"kind": channel.kind})
    channel.delete()
