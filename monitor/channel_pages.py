"""Pages of whom alerts wake, for administrators over all clusters: channels, a test, what was sent, sending it again."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clusters.rights import require
from clusters.secrets import EncryptionKeyLost
from monitor import channel_services as services
from monitor.channel_forms import ChannelForms
from monitor.channels import CHANNELS
from monitor.models import Channel, Message

MESSAGES_SHOWN = 50


@require_GET
def channels(request: HttpRequest) -> HttpResponse:
    require(request.user, "administrator", None)
    every = [(channel, CHANNELS[channel.kind]) for channel in Channel.objects.prefetch_related("clusters")]
    shown = [(channel, kind.label, kind.shown(channel.settings), channel.messages.first()) for channel, kind in every]
    context = {"channels": shown, "kinds": CHANNELS.values(), "knows_itself": bool(settings.PANEL_URL)}
    return render(request, "monitor/channels.html", context)


@require_http_methods(["GET", "POST"])
def channel_new(request: HttpRequest, kind: str) -> HttpResponse:
    require(request.user, "administrator", None)
    if kind not in CHANNELS:
        raise Http404(_("There is no such kind of channel."))
    return _edited(request, Channel(kind=kind, time_zone=settings.TIME_ZONE))


@require_http_methods(["GET", "POST"])
def channel_edit(request: HttpRequest, pk: int) -> HttpResponse:
    return _edited(request, _found(request, pk))


def _edited(request: HttpRequest, channel: Channel) -> HttpResponse:
    forms = ChannelForms(channel, request.POST if request.method == "POST" else None)
    if request.method == "POST" and forms.is_valid():
        try:
            saved = services.channel_save(forms)
        except (ValidationError, EncryptionKeyLost) as error:
            forms.own.add_error(None, error if isinstance(error, ValidationError) else str(error))
        else:
            messages.success(request, _("Saved. Send a test: only that shows that it arrives."))
            return redirect("monitor:channel_messages", saved.pk)
    status = 422 if request.method == "POST" else 200
    name = Channel.objects.values_list("name", flat=True).filter(pk=channel.pk).first()
    return render(request, "monitor/channel_edit.html", {"forms": forms, "channel": channel, "name": name}, status=status)


@require_GET
def channel_messages(request: HttpRequest, pk: int) -> HttpResponse:
    """What was sent, and what came of it."""
    channel = _found(request, pk)
    rows = channel.messages.select_related("cluster").prefetch_related("sendings", "notices")
    kind = CHANNELS[channel.kind]
    context = {
        "channel": channel, "label": kind.label, "shown": kind.shown(channel.settings),
        "page": Paginator(rows, MESSAGES_SHOWN).get_page(request.GET.get("page")),
    }  # fmt: skip
    return render(request, "monitor/channel_messages.html", context)


@require_POST
def channel_test(request: HttpRequest, pk: int) -> HttpResponse:
    channel = _found(request, pk)
    sending = services.channel_test(channel)
    if sending.is_taken:
        messages.success(request, _("%(name)s has taken the test. Did it arrive?") % {"name": channel})
    else:
        messages.error(request, _("The test was not sent: %(why)s") % {"why": sending.error})
    return redirect("monitor:channel_messages", channel.pk)


@require_POST
def message_replay(request: HttpRequest, pk: int, message: int) -> HttpResponse:
    channel = _found(request, pk)
    found = get_object_or_404(Message.objects.select_related("channel"), pk=message, channel=channel)
    try:
        services.message_replay(found)
    except services.NothingToReplay as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("It is sent once more, within some seconds."))
    return redirect("monitor:channel_messages", channel.pk)


@require_POST
def channel_remove(request: HttpRequest, pk: int) -> HttpResponse:
    services.channel_remove(_found(request, pk))
    messages.success(request, _("Removed."))
    return redirect("monitor:channels")


def _found(request: HttpRequest, pk: int) -> Channel:
    require(request.user, "administrator", None)
    return get_object_or_404(Channel.objects.select_related("secret"), pk=pk)
