"""Pages of alerts: what is open and what was, and maintenance windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from clusters.rights import cluster_or_404, clusters_for, may
from monitor import alerts as services
from monitor.alert_forms import AcknowledgeForm, MaintenanceForm
from monitor.alert_words import WORDS, path_of, sentence
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
