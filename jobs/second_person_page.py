"""Whether a cluster asks for two people: part of its edit page, because plans that wait change with it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.reauthentication import dangerous
from clusters.rights import cluster_or_404, require
from jobs.second_person import ask_for_two


@require_POST
@dangerous("cluster.second_person")
def second_person(request: HttpRequest, cluster_name: str) -> HttpResponse:
    """On by an administrator of the cluster; off by one over all: whoever may do that alone is seen in the audit trail."""
    is_asked = request.POST.get("is_asked") == "yes"
    cluster = cluster_or_404(request.user, cluster_name, "administrator")
    if not is_asked:
        require(request.user, "administrator", None)
    ask_for_two(cluster, is_asked)
    text = _("From now on two people are needed.") if is_asked else _("From now on one person is enough.")
    messages.success(request, text)
    return redirect("clusters:edit", cluster.name)
