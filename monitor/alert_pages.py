"""Pages of alerts: what is open and what was, maintenance windows, and whom alerts wake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from clusters.rights import cluster_or_404, clusters_for, may, require
from monitor import alerts as services
from monitor import channel_services
from monitor.alert_forms import AcknowledgeForm, ChannelForm, MaintenanceForm
from monitor.alert_words import WORDS, path_of, sentence
from monitor.channels import CHANNELS, NotSent
from monitor.models import Alert, Channel, Maintenance

SHOWN_FOR = timedelta(days=7)
MOST_SHOWN = 200


@dataclass(frozen=True)
class Shown:
    """An alert in words. href: where to go on."""

    alert: Alert
    name: str
    sentence: str
    do: str
    href: str
    may_acknowledge: bool

    @classmethod
    def all_of(cls, found: Iterable[Alert], user: User) -> list[Shown]:
        operated = set(clusters_for(user, "operator").values_list("pk", flat=True))
        shown = []
        for alert in found:
            if words := WORDS.get(alert.rule):
                mine = alert.cluster_id in operated
                shown.append(cls(alert, str(words.name), sentence(alert), str(words.do), path_of(alert), mine))
        return shown


def _person(request: HttpRequest) -> User:
    return cast(User, request.user)


@require_GET
def alerts(request: HttpRequest) -> HttpResponse:
    user, now = _person(request), timezone.now()
    mine = Alert.objects.filter(cluster__in=clusters_for(user)).select_related("cluster")
    over = mine.filter(over_at__gt=now - SHOWN_FOR).order_by("-over_at")[:MOST_SHOWN]
    windows = Maintenance.objects.filter(cluster__in=clusters_for(user), ends_at__gt=now).select_related("cluster", "by")
    context = {
        "open": Shown.all_of(mine.filter(over_at=None), user), "over": Shown.all_of(over, user), "windows": windows,
        "operated": set(clusters_for(user, "operator").values_list("pk", flat=True)),
        "form": MaintenanceForm(user=user), "acknowledge_form": AcknowledgeForm(),
        "may_change_channels": may(user, "administrator", None), "has_channels": Channel.objects.filter(is_active=True).exists(),
    }  # fmt: skip
    part = "#open" if request.headers.get("HX-Request") else ""
    return render(request, f"monitor/alerts.html{part}", context)


@require_GET
def open_alerts(request: HttpRequest, cluster: str) -> HttpResponse:
    """Of one cluster, for its page to pull in."""
    found = cluster_or_404(request.user, cluster)
    shown = Shown.all_of(Alert.objects.filter(cluster=found, over_at=None).select_related("cluster"), _person(request))
    window = Maintenance.objects.filter(cluster=found, begins_at__lte=timezone.now(), ends_at__gt=timezone.now()).first()
    return render(request, "monitor/open_alerts.html", {"open": shown, "window": window, "cluster": found})


@require_POST
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    alert = Alert.objects.select_related("cluster").filter(pk=pk, cluster__in=clusters_for(_person(request))).first()
    if alert is None:
        raise Http404(_("No such alert."))
    cluster_or_404(request.user, alert.cluster.name, "operator")
    form = AcknowledgeForm(request.POST)
    if form.is_valid():
        services.acknowledge(alert, _person(request), form.cleaned_data["comment"])
        messages.success(request, _("You have taken it on. It stays open until its reason is gone."))
    return redirect("monitor:alerts")


@require_POST
def maintenance_begin(request: HttpRequest) -> HttpResponse:
    form = MaintenanceForm(request.POST, user=_person(request))
    if not form.is_valid():
        messages.error(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
        return redirect("monitor:alerts")
    cluster = form.cleaned_data["cluster"]
    services.maintenance_begin(cluster, form.cleaned_data["minutes"], form.cleaned_data["reason"], _person(request))
    said = _("%(cluster)s wakes nobody for now. What still holds when the window ends, is told then.")
    messages.success(request, said % {"cluster": cluster})
    return redirect("monitor:alerts")


@require_POST
def maintenance_end(request: HttpRequest, pk: int) -> HttpResponse:
    window = Maintenance.objects.select_related("cluster").filter(pk=pk, cluster__in=clusters_for(_person(request))).first()
    if window is None:
        raise Http404(_("No such maintenance."))
    cluster_or_404(request.user, window.cluster.name, "operator")
    services.maintenance_end(window)
    messages.success(request, _("Ended: alerts of %(cluster)s are told again.") % {"cluster": window.cluster})
    return redirect("monitor:alerts")


# -- whom they wake, for administrators over all clusters --------------------------------------------------------------------------


@require_GET
def channels(request: HttpRequest) -> HttpResponse:
    require(request.user, "administrator", None)
    found = [(channel, CHANNELS[channel.kind], channel.notices.order_by("-pk").first()) for channel in Channel.objects.all()]
    shown = [(channel, kind.label, kind.shown(channel.settings), last) for channel, kind, last in found]
    return render(request, "monitor/channels.html", {"channels": shown, "kinds": CHANNELS.values()})


@require_http_methods(["GET", "POST"])
def channel_new(request: HttpRequest, kind: str) -> HttpResponse:
    require(request.user, "administrator", None)
    if kind not in CHANNELS:
        raise Http404(_("There is no such kind of channel."))
    return _channel_form(request, Channel(kind=kind))


@require_http_methods(["GET", "POST"])
def channel_edit(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "administrator", None)
    return _channel_form(request, get_object_or_404(Channel, pk=pk))


def _channel_form(request: HttpRequest, channel: Channel) -> HttpResponse:
    kind = CHANNELS[channel.kind]
    given = request.POST if request.method == "POST" else None
    form = ChannelForm(given, instance=channel)
    own = kind.form(given, initial=kind.typed(channel.settings) if channel.pk else {}, prefix="own")
    if request.method == "POST" and form.is_valid() and own.is_valid():
        channel_services.channel_save(form, own.cleaned_data)
        messages.success(request, _("Saved."))
        return redirect("monitor:channels")
    status = 422 if form.errors or own.errors else 200
    return render(request, "monitor/channel_edit.html", {"form": form, "own": own, "kind": kind, "channel": channel}, status=status)


@require_POST
def channel_test(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "administrator", None)
    channel = get_object_or_404(Channel, pk=pk)
    try:
        CHANNELS[channel.kind].send(channel, [])
    except NotSent as error:
        messages.error(request, _("The test was not sent: %(why)s") % {"why": error})
    else:
        messages.success(request, _("A test was sent to %(name)s. Did it arrive?") % {"name": channel})
    return redirect("monitor:channels")


@require_POST
def channel_remove(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "administrator", None)
    channel_services.channel_remove(get_object_or_404(Channel, pk=pk))
    messages.success(request, _("Removed."))
    return redirect("monitor:channels")
