"""How the collector itself is: behind, by how much, who watches what, the last error. The page, and its line under the fleet."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.models import User
from monitor.watchers import BEHIND_SECONDS, SILENT_SECONDS, health_of

MOST_NAMED = 200


@require_GET
def collector(request: HttpRequest) -> HttpResponse:
    """With ?line one line of it, for the foot of other pages."""
    health = health_of(cast(User, request.user))
    part = "#line" if "line" in request.GET else "#health" if request.headers.get("HX-Request") else ""
    context = {
        "health": health, "clusters": health.clusters[:MOST_NAMED], "more": max(0, len(health.clusters) - MOST_NAMED),
        "silent_seconds": SILENT_SECONDS, "behind_seconds": BEHIND_SECONDS,
    }  # fmt: skip
    return render(request, f"monitor/collector.html{part}", context)
