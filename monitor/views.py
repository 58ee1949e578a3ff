"""Pieces of the cluster's and the fleet's pages: drawing, numbers, chart. Everything stands on what the collector stored."""

from __future__ import annotations

from typing import cast

from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.models import User
from clusters.models import Cluster, Node
from clusters.rights import cluster_or_404, clusters_for, node_or_404
from monitor import log_tail
from monitor.loss import losses_of
from monitor.models import LogTail
from monitor.series import series_of
from monitor.sparks import sparks_of
from monitor.standing import standing_of
from monitor.stores import stores_of
from monitor.topology import tall, wide

RANGES = {"1m": 60, "1h": 3600, "1d": 86_400, "30d": 30 * 86_400, "1y": 365 * 86_400}


def _cluster(request: HttpRequest, name: str) -> Cluster:
    return cluster_or_404(request.user, name)


@require_GET
def topology(request: HttpRequest, cluster: str) -> HttpResponse:
    standing = standing_of(_cluster(request, cluster))
    drawings = [("wide", wide(standing.nodes)), ("tall", tall(standing.nodes))]
    return render(request, "monitor/topology.html", {"standing": standing, "cluster": standing.cluster, "drawings": drawings})


@require_GET
def nodes(request: HttpRequest, cluster: str) -> HttpResponse:
    standing = standing_of(_cluster(request, cluster))
    return render(request, "monitor/nodes.html", {"standing": standing, "cluster": standing.cluster})


@require_GET
def stores(request: HttpRequest, cluster: str) -> HttpResponse:
    found = _cluster(request, cluster)
    seen = stores_of(found)
    context = {"cluster": found, "stores": seen, "has_slots": any(node.slots for node in seen)}
    return render(request, "monitor/stores.html", context)


@require_GET
def if_died(request: HttpRequest, cluster: str) -> HttpResponse:
    standing = standing_of(_cluster(request, cluster))
    context = {"standing": standing, "cluster": standing.cluster, "losses": losses_of(standing)}
    return render(request, "monitor/if_died.html", context)


@require_GET
def card(request: HttpRequest, cluster: str) -> HttpResponse:
    standing = standing_of(_cluster(request, cluster))
    context = {"standing": standing, "cluster": standing.cluster, "spark": sparks_of([standing.cluster.pk])[standing.cluster.pk]}
    return render(request, "monitor/card.html", context)


@require_GET
def cards(request: HttpRequest) -> HttpResponse:
    """All cards of the fleet that this person may see, in one answer and a constant number of questions to the database."""
    found = clusters_for(cast(User, request.user)).prefetch_related(Prefetch("nodes", Node.objects.select_related("state")))
    standings = [standing_of(cluster, list(cluster.nodes.all())) for cluster in found]
    sparks = sparks_of(standing.cluster.pk for standing in standings)
    shown = [(standing, sparks[standing.cluster.pk]) for standing in standings]
    return render(request, "monitor/cards.html", {"shown": shown})


@require_GET
def lag_chart(request: HttpRequest, cluster: str) -> HttpResponse:
    return render(request, "monitor/lag_chart.html", {"cluster": _cluster(request, cluster)})


@require_GET
def lag_data(request: HttpRequest, cluster: str) -> HttpResponse:
    """?seconds=60 or ?range=1m|1h|1d|30d|1y."""
    found = _cluster(request, cluster)
    asked = request.GET.get("seconds", "")
    seconds = int(asked) if asked.isdecimal() and len(asked) < 8 else RANGES.get(request.GET.get("range", ""), 60)
    return JsonResponse(series_of(found, seconds))


@require_http_methods(["GET", "POST"])
def node_log(request: HttpRequest, cluster: str, node: str) -> HttpResponse:
    """The end of its server log, as it was last read; POST has it read anew. With `?part=tail` only that."""
    found = node_or_404(request.user, cluster, node, "operator")
    if request.method == "POST":
        log_tail.ask(found)
        return redirect("monitor:node_log", cluster, node)
    tail = LogTail.objects.filter(node=found).first()
    context = {
        "cluster": found.cluster, "node": found, "tail": tail, "is_asking": log_tail.is_asking(tail), "most": log_tail.LINES,
    }  # fmt: skip
    return render(request, f"monitor/log_tail.html{'#tail' if request.GET.get('part') else ''}", context)
