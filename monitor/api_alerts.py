"""The API of alerts: what is open and what was, taking one on, maintenance windows; and metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, cast

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import Role, cluster_or_404, clusters_for
from monitor import alerts as services
from monitor.alert_forms import MOST_MINUTES
from monitor.alert_words import WORDS, path_of, sentence
from monitor.metrics import exposition
from monitor.models import Alert, Maintenance
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.rules import Name, Number, Scope, needs, of_cluster, oneself

router = Router(tags=["Alerts"])
PRINTED = r"^[^\x00-\x1f\x7f]*$"


def _alert(user: User, role: Role, path: Mapping[str, Any]) -> Alert:
    known = Alert.objects.select_related("cluster").filter(cluster__in=clusters_for(user), rule__in=WORDS)
    found = known.filter(pk=path["alert"]).first()
    if found is None:
        raise Http404(_("No such alert."))
    cluster_or_404(user, found.cluster.name, role)
    return found


def _window(user: User, role: Role, path: Mapping[str, Any]) -> Maintenance:
    found = Maintenance.objects.select_related("cluster", "by").filter(pk=path["window"], cluster__in=clusters_for(user)).first()
    if found is None:
        raise Http404(_("No such maintenance."))
    cluster_or_404(user, found.cluster.name, role)
    return found


of_alert = Scope("alert", _alert, {"alert": Number})
of_window = Scope("maintenance", _window, {"window": Number})


class AlertOut(Schema):
    id: Number
    cluster: Name
    rule: str = Field(examples=["primary_down"])
    name: str
    about: str = Field(description="The node, or another thing of the cluster; empty: the cluster itself.")
    severity: str = Field(pattern="^(critical|warning)$")
    sentence: str
    action: str = Field(description="The one safe thing to do next.")
    path: str = Field(description="The page where that begins.")
    since: datetime
    fired_at: datetime
    over_at: datetime | None
    acknowledged_by: str
    acknowledged_at: datetime | None
    comment: str

    @staticmethod
    def of(alert: Alert) -> AlertOut:
        words = WORDS[alert.rule]
        return AlertOut(
            id=alert.pk, cluster=alert.cluster.name, rule=alert.rule, name=str(words.name), about=alert.about,
            severity=alert.severity, sentence=sentence(alert), action=str(words.do), path=path_of(alert), since=alert.since,
            fired_at=alert.fired_at, over_at=alert.over_at, acknowledged_by=alert.acknowledged_by,
            acknowledged_at=alert.acknowledged_at, comment=alert.comment,
        )  # fmt: skip


class AcknowledgeIn(Schema):
    comment: str = Field("", max_length=500, pattern=PRINTED)


Open = Annotated[bool | None, Query(None, description="true: only open ones; false: only those that are over.")]


@router.get("/alerts", response=Page[AlertOut], summary="Alerts of all clusters that you may see, newest first")
@needs(None, oneself)
def alert_list(user: User, open: Open = None, after: After = "", limit: Limit = 100) -> object:  # noqa: A002
    rows = Alert.objects.filter(cluster__in=clusters_for(user), rule__in=WORDS).select_related("cluster")
    if open is not None:
        rows = rows.filter(over_at__isnull=open)
    return paged(rows, after, limit, AlertOut.of, newest_first=True)


@router.post("/alerts/{alert}/acknowledge", response=AlertOut, summary="Take an alert on")
@needs("operator", of_alert)
def alert_acknowledge(request: HttpRequest, alert: Alert, body: AcknowledgeIn) -> HttpResponse:
    services.acknowledge(alert, cast(User, request.user), body.comment)
    alert.refresh_from_db()
    return answered(200, AlertOut.of(alert))


# -- maintenance -------------------------------------------------------------------------------------------------------------------


class MaintenanceOut(Schema):
    id: Number
    cluster: Name
    begins_at: datetime
    ends_at: datetime
    reason: str
    by: str

    @staticmethod
    def of(window: Maintenance) -> MaintenanceOut:
        return MaintenanceOut(
            id=window.pk, cluster=window.cluster.name, begins_at=window.begins_at, ends_at=window.ends_at, reason=window.reason,
            by=str(window.by or ""),
        )  # fmt: skip


class MaintenanceIn(Schema):
    minutes: int = Field(ge=1, le=MOST_MINUTES, examples=[60])
    reason: str = Field(min_length=1, max_length=200, pattern=PRINTED, examples=["new disks in pg2"])


@router.get("/clusters/{name}/maintenance", response=Page[MaintenanceOut], summary="Its maintenance windows, newest first")
@needs("viewer", of_cluster)
def maintenance_list(cluster: Cluster, after: After = "", limit: Limit = 100) -> object:
    rows = Maintenance.objects.filter(cluster=cluster).select_related("cluster", "by")
    return paged(rows, after, limit, MaintenanceOut.of, newest_first=True)


@router.post("/clusters/{name}/maintenance", response={201: MaintenanceOut}, summary="Wake nobody for so long")
@needs("operator", of_cluster)
def maintenance_begin(request: HttpRequest, cluster: Cluster, body: MaintenanceIn) -> HttpResponse:
    """Alerts that its work explains are held back; what still holds when the window ends is told then."""
    window = services.maintenance_begin(cluster, body.minutes, body.reason, cast(User, request.user))
    return answered(201, MaintenanceOut.of(window))


@router.delete("/maintenance/{window}", response={204: None}, summary="End a maintenance window now")
@needs("operator", of_window)
def maintenance_end(window: Maintenance) -> HttpResponse:
    if window.ends_at > timezone.now():
        services.maintenance_end(window)
    return HttpResponse(status=204)


# -- metrics -----------------------------------------------------------------------------------------------------------------------


@router.get("/metrics", response=None, summary="Metrics for Prometheus", openapi_extra={
    "responses": {200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
})  # fmt: skip
@needs(None, oneself)
def metrics(user: User) -> HttpResponse:
    """Of all clusters that the token may see. What is not known has no sample."""
    return HttpResponse(exposition(user), content_type="text/plain; version=0.0.4; charset=utf-8")
