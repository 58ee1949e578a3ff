"""Pages of clusters and nodes. `clusters.rights` decides; live pieces are pulled in by URL from `monitor` and `jobs`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.reauthentication import dangerous
from clusters import connections, dangers, secrets, services, tasks
from clusters import credentials as keeping
from clusters.condition import WORST_FIRST, facts_of, is_bare, is_primary_in_trouble, seen_of, state_of, worst_of
from clusters.drafts import DONE
from clusters.findings import disks_of
from clusters.forms import ClusterForm, CredentialForm, NodeForm, RemoveForm
from clusters.models import Cluster, Credential, Draft, Node, Quarantine
from clusters.offers import offers_of
from clusters.promises import promise_of
from clusters.rights import cluster_or_404, clusters_for, may, node_or_404
from clusters.wizard import person
from pgpanel.templatetags.show import bytes_shown
from remote.config import setting_bytes
from remote.errors import OTHER_HOST_KEY
from remote.facts import Setting

ACTIVE_JOB = ("queued", "running")
SET_BY_SOMEBODY = ("configuration file", "command line", "database", "user", "database user", "environment variable")


@require_GET
def fleet(request: HttpRequest) -> HttpResponse:
    """All clusters that this person may see, the ones in trouble first; drafts to take up again."""
    nodes = Prefetch("nodes", Node.objects.select_related("state", "cluster"))
    cards = [_card(cluster) for cluster in clusters_for(request.user).prefetch_related(nodes)]
    context = {
        "cards": sorted(cards, key=lambda card: (card["rank"], card["cluster"].name)),
        "drafts": Draft.objects.filter(user=person(request)).exclude(data={}).exclude(page=DONE).select_related("cluster"),
        "may_create": may(request.user, "administrator", None),
    }
    return render(request, "clusters/fleet.html", context)


def _card(cluster: Cluster) -> dict[str, Any]:
    nodes = list(cluster.nodes.all())
    word, problem = worst_of(nodes)
    return {
        "cluster": cluster,
        "nodes": nodes,
        "word": word,
        "problem": problem,
        "is_primary_in_trouble": is_primary_in_trouble(nodes),
        "rank": WORST_FIRST.index(word),
    }


@require_GET
def detail(request: HttpRequest, name: str) -> HttpResponse:
    cluster = cluster_or_404(request.user, name)
    nodes = list(cluster.nodes.select_related("state", "cluster"))
    word, problem = worst_of(nodes)
    primary = next((node for node in nodes if (state := state_of(node)) and state.role == "primary"), None)
    context = {
        "cluster": cluster, "nodes": nodes, "word": word, "problem": problem, "primary": primary,
        "connections": connections.strings(nodes, primary), "dangers": _dangers(nodes),
        "bare": [node for node in nodes if is_bare(node)], "busy": _busy(cluster),
        "is_primary_in_trouble": is_primary_in_trouble(nodes), "waiting": _waiting(nodes), **_offers(cluster, nodes),
        "mend_url": _setup_url(primary, nodes) if primary and may(request.user, "operator", cluster) else "",
    }  # fmt: skip
    return render(request, "clusters/detail.html", context | _rights(request, cluster))


def _waiting(nodes: list[Node]) -> str:
    """What no look shows: nodes that were promoted away from."""
    found = Quarantine.objects.filter(node__in=nodes, lifted_at=None).values_list("node__name", flat=True)
    return _("%(names)s is under quarantine until it is rebuilt.") % {"names": ", ".join(found)} if found else ""


def _offers(cluster: Cluster, nodes: list[Node]) -> dict[str, Any]:
    """What the cluster's page offers: what mends something, what is done every day, what is of the cluster as a whole."""
    found = offers_of(cluster, nodes)
    now = [offer for offer in found if offer.weight == "now"]
    usual = [offer for offer in found if offer.weight == "usual"]
    return {"now": now, "usual": usual, "of_cluster": [offer for offer in found if offer.weight == "rare" and not offer.node]}


def _dangers(nodes: list[Node]) -> list[dangers.Group]:
    """Of a replication that runs; what is still to be set up has none yet."""
    is_replicating = any((state := state_of(node)) and state.role == "standby" for node in nodes)
    return dangers.grouped(dangers.dangers(seen_of(nodes))) if is_replicating else []


def _setup_url(primary: Node, nodes: list[Node]) -> str:
    """The setup job over all nodes: its plan shows only what is missing."""
    query = [("cluster", primary.cluster.name), ("primary", primary.name)]
    query += [("standbys", node.name) for node in nodes if node.pk != primary.pk]
    return f"{reverse('jobs:new', args=['setup'])}?{urlencode(query)}"


def _rights(request: HttpRequest, cluster: Cluster) -> dict[str, bool]:
    return {"may_operate": may(request.user, "operator", cluster), "may_administer": may(request.user, "administrator", cluster)}


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, name: str) -> HttpResponse:
    cluster = cluster_or_404(request.user, name, "administrator")
    form = ClusterForm(request.POST or None, instance=cluster)
    if request.method == "POST" and form.is_valid():
        services.cluster_save(form.save(commit=False), form.changed_data)
        messages.success(request, _("Saved."))
        return redirect("clusters:detail", cluster.name)
    context = {
        "cluster": Cluster.objects.get(pk=cluster.pk),
        "form": form,
        "may_switch_off": may(request.user, "administrator", None),
    }
    return render(request, "clusters/edit.html", context)


@require_http_methods(["GET", "POST"])
@dangerous("cluster.remove")
def remove(request: HttpRequest, name: str) -> HttpResponse:
    """Forget a cluster; says what stays on the hosts and asks for the name."""
    cluster = cluster_or_404(request.user, name, "administrator")
    form = RemoveForm(request.POST or None, expected=cluster.name)
    is_busy = _is_busy(cluster)
    if request.method == "POST" and form.is_valid() and not is_busy:
        services.cluster_remove(cluster)
        messages.success(request, _("%(name)s is forgotten. Its servers run on as they are.") % {"name": name})
        return redirect("clusters:fleet")
    context = {"cluster": cluster, "nodes": cluster.nodes.all(), "form": form, "is_busy": is_busy, "what": cluster.name}
    return render(request, "clusters/remove.html", context)


def _is_busy(cluster: Cluster) -> bool:
    return cluster.jobs.filter(status__in=ACTIVE_JOB).exists()


def _busy(cluster: Cluster) -> Any:
    """The job that runs on it, if one does: so that the second of two people is told whose."""
    return cluster.jobs.filter(status__in=ACTIVE_JOB).select_related("started_by").defer("plan").first()


# -- credentials ------------------------------------------------------------------------------------------------------------------


@require_GET
def credentials(request: HttpRequest, name: str) -> HttpResponse:
    """What is stored, never the secrets: label, fingerprint, dates."""
    cluster = cluster_or_404(request.user, name, "administrator")
    rows = [
        {
            "credential": credential,
            "fingerprint": keeping.fingerprint(credential.public_part),
            "nodes": list(credential.nodes.all()),
            "is_lost": not secrets.opens(credential.sealed),
            "mend": keeping.mend_of(credential),
        }
        for credential in cluster.credentials.prefetch_related("nodes").order_by("kind", "label")
    ]
    context = {"cluster": cluster, "rows": rows, "is_any_lost": any(row["is_lost"] for row in rows)}
    return render(request, "clusters/credentials.html", context)


@require_http_methods(["GET", "POST"])
@dangerous("credential.replace", secrets=("key_text", "password"))
def credential_replace(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    """A new secret in place of the stored one, for all nodes that use it."""
    cluster = cluster_or_404(request.user, name, "administrator")
    credential = cluster.credentials.filter(pk=pk).first()
    # what only the server or the hosts know otherwise is typed or made anew only when it is lost
    if credential is None or (credential.purpose != "login" and secrets.opens(credential.sealed)):
        raise Http404(_("No such credential."))
    if keeping.is_made_by_panel(credential):
        return _renewed(request, cluster, credential)
    form = CredentialForm(request.POST or None, credential=credential)
    if request.method == "POST" and form.is_valid() and _replaced(credential, form):
        messages.success(request, _("Stored. The old secret is gone from the panel."))
        return redirect("clusters:credentials", cluster.name)
    return render(request, "clusters/credential_replace.html", {"cluster": cluster, "credential": credential, "form": form})


def _renewed(request: HttpRequest, cluster: Cluster, credential: Credential) -> HttpResponse:
    if request.method == "POST":
        keeping.key_renew(credential)
        messages.success(request, _("Made. Complete the set-up now: it brings the new key to the hosts."))
        return redirect("clusters:detail", cluster.name)
    return render(request, "clusters/credential_replace.html", {"cluster": cluster, "credential": credential, "form": None})


def _replaced(credential: Credential, form: CredentialForm) -> bool:
    key_text, password = form.cleaned_data.get("key_text", ""), form.cleaned_data["password"]
    if bool(key_text) == bool(password):
        form.add_error(None, _("Give either a private key or a password."))
        return False
    try:
        keeping.secret_replace(credential, key_text=key_text, password=password)
    except keeping.KeyUnreadable as error:
        form.add_error("key_text", str(error))
        return False
    return True


# -- nodes ------------------------------------------------------------------------------------------------------------------------


@require_GET
def node(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    """The node's facts. With `?part=facts` only these (pulled again while a look is under way)."""
    found = node_or_404(request.user, name, node_name)
    facts, state = facts_of(found), state_of(found)
    paths = services.paths_of(found)
    postgres = facts.postgres(paths.data_directory) if facts else None
    asked = request.GET.get("after", "")
    context = {
        "cluster": found.cluster, "node": found, "state": state, "facts": facts, "postgres": postgres, "paths": paths,
        "asked": asked,
        "is_waiting": bool(asked) and not (state and state.tried_at and state.tried_at.isoformat() > asked),
        "settings": _settings_shown(postgres.settings, paths.config_directory) if postgres else [],
        "disks": disks_of(facts) if facts else [],
        "mount": facts.mount_of(paths.data_directory) if facts else None,
        "offers": [offer for offer in offers_of(found.cluster, list(found.cluster.nodes.select_related("state", "cluster")))
                   if offer.node == node_name],
        "is_other_key": bool(state and OTHER_HOST_KEY in state.error),
        "busy": _busy(found.cluster), "promise": promise_of(found),
        "quarantine": found.quarantines.filter(lifted_at=None).first(),
        "fingerprint": keeping.fingerprint(found.host_key), "login_fingerprint": keeping.fingerprint(found.credential.public_part),
    }  # fmt: skip
    if request.GET.get("part") and not context["is_waiting"]:
        # the look is done: the whole page anew, its heading says the same
        return HttpResponse(headers={"HX-Redirect": reverse("clusters:node", args=[name, node_name])})
    template = "clusters/node.html#facts" if request.GET.get("part") else "clusters/node.html"
    return render(request, template, context | _rights(request, found.cluster))


@dataclass(frozen=True)
class SettingShown:
    """value: with its unit, in bytes where it is a size. place: the file and line, without the node's own directory."""

    name: str
    value: str
    place: str
    pending_restart: bool


def _settings_shown(settings: Mapping[str, Setting], directory: str) -> list[SettingShown]:
    """Settings that somebody set, those that wait for a restart first."""
    told = [(name, setting) for name, setting in settings.items() if setting.pending_restart or setting.source in SET_BY_SOMEBODY]
    shown = [SettingShown(name, _value_shown(each), _place_shown(each, directory), each.pending_restart) for name, each in told]
    return sorted(shown, key=lambda each: (not each.pending_restart, each.name))


def _value_shown(setting: Setting) -> str:
    if setting.unit.endswith("B") and setting.value.isdecimal():
        with suppress(ValueError):  # a host may say anything
            return bytes_shown(setting_bytes(setting.value, setting.unit))
    return f"{setting.value} {setting.unit}".rstrip() or "''"


def _place_shown(setting: Setting, directory: str) -> str:
    if not setting.source_file:
        return setting.source
    return f"{setting.source_file.removeprefix(directory.rstrip('/') + '/')}:{setting.source_line}"


@require_POST
def node_look(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    found = node_or_404(request.user, name, node_name, "operator")
    before = found.state.tried_at.isoformat() if state_of(found) and found.state.tried_at else "0"
    tasks.start_look_at_node(found)
    return redirect(f"{reverse('clusters:node', args=[name, node_name])}?after={before.replace('+', '%2B')}")


@require_POST
def node_rekey(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    """Forget the pinned host key of a host that was reinstalled and have the new one shown: nothing is trusted by this."""
    found = node_or_404(request.user, name, node_name, "administrator")
    if _is_busy(found.cluster):
        raise PermissionDenied(_("A job runs on this cluster: wait for its end."))
    services.forget_host_key(found)
    return node_look(request, name, node_name)


@require_POST
def node_accept(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    """Pin the host key that the host showed, by the fingerprint that the person read; then look."""
    found = node_or_404(request.user, name, node_name, "administrator")
    try:
        services.accept_offered_key(found, request.POST.get("fingerprint", ""))
    except services.OtherKeyOffered as error:
        messages.error(request, str(error))
        return redirect("clusters:node", name, node_name)
    return node_look(request, name, node_name)


@require_http_methods(["GET", "POST"])
def node_edit(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    found = node_or_404(request.user, name, node_name, "administrator")
    if request.method == "POST" and _is_busy(found.cluster):
        raise PermissionDenied(_("A job runs on this cluster: wait for its end."))
    form = NodeForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        saved = form.save(commit=False)
        services.node_save(saved, form.changed_data, form.cleaned_data.get("password", ""))
        messages.success(request, _("Saved."))
        return redirect("clusters:node", name, saved.name)
    return render(
        request, "clusters/node_edit.html", {"cluster": found.cluster, "node": Node.objects.get(pk=found.pk), "form": form}
    )


@require_http_methods(["GET", "POST"])
@dangerous("node.remove")
def node_remove(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    found = node_or_404(request.user, name, node_name, "administrator")
    form = RemoveForm(request.POST or None, expected=found.name)
    is_busy = _is_busy(found.cluster)
    if request.method == "POST" and form.is_valid() and not is_busy:
        services.node_remove(found)
        messages.success(request, _("%(name)s is forgotten. It runs on as it is.") % {"name": node_name})
        return redirect("clusters:detail", name)
    context = {"cluster": found.cluster, "node": found, "nodes": [found], "form": form, "is_busy": is_busy, "what": found.name}
    return render(request, "clusters/remove.html", context)
