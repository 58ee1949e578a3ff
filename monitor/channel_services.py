"""Making, changing, testing and removing channels, and sending a message again: for pages and API alike."""

from __future__ import annotations

import json
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from clusters import secrets
from clusters.models import Credential
from clusters.secrets import EncryptionKeyLost
from monitor import dispatch, notices
from monitor.channel_forms import ChannelForms
from monitor.models import Channel, Message, Notice, Sending

Status = Message.Status


@transaction.atomic
def channel_save(forms: ChannelForms) -> Channel:
    """Validated. ValidationError where a secret is to be kept that no key opens."""
    form, own = forms.form, forms.own
    is_new = form.instance.pk is None
    before = form.instance.secret
    settings, entered = own.parts()
    form.instance.settings = settings
    form.instance.secret = _kept(form.instance, {**(_opened(form.instance) if own.keeps_secrets else {}), **entered})
    channel: Channel = form.save()
    if before is not None and channel.secret is None:
        before.delete()
    notices.look_again(channel)
    audit.record(
        "channel.create" if is_new else "channel.change", channel.name,
        detail={"kind": channel.kind, "active": channel.is_active, "secret": "entered" if entered else "as it was"},
    )  # fmt: skip
    return channel


def _opened(channel: Channel) -> dict[str, str]:
    try:
        return dispatch.secrets_of(channel)
    except EncryptionKeyLost as error:
        raise ValidationError(str(error)) from None


def _kept(channel: Channel, values: dict[str, str]) -> Credential | None:
    if not values:
        return None
    row = channel.secret or Credential(kind=Credential.Kind.CHANNEL, purpose="channel")
    row.label, row.sealed = f"channel {channel.name}"[:80], secrets.seal(json.dumps(values))
    row.save()
    return row


@transaction.atomic
def channel_remove(channel: Channel) -> None:
    """It, what it was told, and its secret are gone."""
    audit.record("channel.remove", channel.name, detail={"kind": channel.kind})
    secret = channel.secret
    channel.delete()
    if secret is not None:
        secret.delete()


def channel_test(channel: Channel) -> Sending:
    """Now and once, the way that alerts go; the attempt says what came of it."""
    message = Message.objects.create(channel=channel, is_test=True, due_at=timezone.now() + timedelta(days=1))
    sending = dispatch.attempt(message, [])
    Message.objects.filter(pk=message.pk).update(status=Status.SENT if sending.is_taken else Status.GIVEN_UP, tries=1)
    audit.record("channel.test", channel.name, result=sending.error or "taken")
    return sending


class NothingToReplay(ValueError):
    """What it was about is gone, or the channel is switched off; the text says which."""


@transaction.atomic
def message_replay(message: Message) -> None:
    """Once more from the beginning, under the same id."""
    if not message.channel.is_active:
        raise NothingToReplay(_("The channel is switched off."))
    told = Notice.objects.filter(message=message)
    if message.is_test or not told.exists():
        raise NothingToReplay(_("A test is sent by its own button.") if message.is_test else _("Its cluster is gone."))
    told.update(status=Notice.Status.WAITING)
    Message.objects.filter(pk=message.pk).update(status=Status.WAITING, due_at=timezone.now(), tries=0)
    audit.record("channel.replay", message.channel.name, detail={"message": str(message.uuid)})
