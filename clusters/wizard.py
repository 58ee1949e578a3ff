"""The wizard's first two pages: hosts and access, what was found. (Settings, plan and running are `jobs`' pages.)

Every button is a plain form submit, answered by a redirect: it works by keyboard and without JavaScript, Back loses nothing, and
what was typed stands in the draft as soon as any button was pressed. SSH happens in `clusters.tasks` only.
"""

from __future__ import annotations

import uuid
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from clusters import dangers, drafts, services, tasks
from clusters.credentials import KeyUnreadable, fingerprint
from clusters.findings import Place, Seen, disks_of
from clusters.forms import AccessForm, FoundForm, HostForm, Hosts
from clusters.looks import line_to_paste
from clusters.models import Cluster, Draft, DraftHost
from clusters.rights import cluster_or_404, require
from remote.layouts import LAYOUTS, OVERRIDABLE

FIRST_ROWS = {Draft.Kind.SETUP: 2, Draft.Kind.IMPORT: 1, Draft.Kind.ADD_NODE: 1}


def person(request: HttpRequest) -> User:
    return cast(User, request.user)


@require_GET
def wizard_new(request: HttpRequest) -> HttpResponse:
    """A new draft, or this person's untouched one."""
    return _start(request, Draft.Kind.SETUP)


@require_GET
def import_new(request: HttpRequest) -> HttpResponse:
    return _start(request, Draft.Kind.IMPORT)


@require_GET
def node_add(request: HttpRequest, name: str) -> HttpResponse:
    return _start(request, Draft.Kind.ADD_NODE, cluster_or_404(request.user, name, "administrator"))


def _start(request: HttpRequest, kind: str, cluster: Cluster | None = None) -> HttpResponse:
    require(request.user, "administrator", cluster)
    draft = drafts.draft_start(person(request), kind, cluster)
    return redirect("clusters:wizard", draft.uuid, "hosts")


@require_http_methods(["GET", "POST"])
def wizard(request: HttpRequest, draft_uuid: uuid.UUID, page: str) -> HttpResponse:
    draft = _draft_or_404(request, draft_uuid)
    if draft.page == drafts.DONE and draft.cluster:
        messages.info(
            request, _("These hosts are nodes of %(name)s now: change them on their own pages.") % {"name": draft.cluster}
        )
        return redirect("clusters:detail", draft.cluster.name)
    if page == "hosts":
        return _hosts_posted(request, draft) if request.method == "POST" else _hosts_page(request, draft)
    if page == "found":
        if not draft.hosts.exists():
            return redirect("clusters:wizard", draft.uuid, "hosts")
        return _found_posted(request, draft) if request.method == "POST" else _found_page(request, draft)
    raise Http404


@require_POST
def wizard_discard(request: HttpRequest, draft_uuid: uuid.UUID) -> HttpResponse:
    drafts.draft_discard(_draft_or_404(request, draft_uuid))
    messages.success(request, _("The draft is gone. Nothing was changed on the hosts."))
    return redirect("clusters:fleet")


def _draft_or_404(request: HttpRequest, draft_uuid: uuid.UUID) -> Draft:
    """A draft belongs to the person who began it."""
    draft = Draft.objects.filter(uuid=draft_uuid, user=person(request)).select_related("cluster", "made_key", "typed").first()
    if draft is None:
        raise Http404(_("No such draft."))
    require(request.user, "administrator", draft.cluster)
    return draft


# -- page 1: hosts and access -----------------------------------------------------------------------------------------------------


def _hosts_page(
    request: HttpRequest, draft: Draft, access: AccessForm | None = None, hosts: Any = None, status: int = 200
) -> HttpResponse:
    typed = draft.data.get("hosts_form", {})
    rows = typed.get("rows") or _first_rows(draft)
    own = {"cluster_name": typed.get("cluster_name", ""), "access": draft.access}
    made = draft.made_key
    context = {
        "draft": draft,
        "access": access or AccessForm(initial=own, draft=draft),
        "hosts": hosts or Hosts(initial=rows, prefix="hosts"),
        "line_to_paste": line_to_paste(made.public_part) if made else "",
        "made_fingerprint": fingerprint(made.public_part) if made else "",
        "typed_fingerprint": fingerprint(draft.typed.public_part) if draft.typed and draft.typed.public_part else "",
        "focus_row": request.GET.get("row", ""),
        "page": "hosts",
        "found_url": reverse("clusters:wizard", args=[draft.uuid, "found"]) if draft.hosts.exists() else "",
    }
    return render(request, "clusters/wizard_hosts.html", context, status=status)


def _first_rows(draft: Draft) -> list[dict[str, Any]]:
    count = FIRST_ROWS[Draft.Kind(draft.kind)]
    taken = drafts.names_taken(draft)
    names = [name for name in (f"pg{number}" for number in range(1, 100)) if name not in taken]
    return [_blank_row(name) for name in names[:count]]


def _blank_row(name: str) -> dict[str, Any]:
    return {"name": name, "ssh_port": "22", "ssh_user": "root", "postgres_port": "5432", "jump_port": "22"}


def _rows_typed(request: HttpRequest) -> list[dict[str, Any]]:
    """The rows as they were typed, valid or not."""
    try:
        count = min(int(request.POST.get("hosts-TOTAL_FORMS", "0")), 32)
    except ValueError:
        count = 0
    return [{name: request.POST.get(f"hosts-{row}-{name}", "")[:300] for name in HostForm.base_fields} for row in range(count)]


def _hosts_posted(request: HttpRequest, draft: Draft) -> HttpResponse:
    rows, do = _rows_typed(request), request.POST.get("do", "next")
    access = AccessForm(request.POST, draft=draft)
    if do == "add":
        names = {row["name"] for row in rows} | drafts.names_taken(draft)
        rows.append(_blank_row(next(name for name in (f"pg{number}" for number in range(1, 100)) if name not in names)))
    elif do.startswith("remove-") and do[7:].isdigit() and int(do[7:]) < len(rows):
        del rows[int(do[7:])]
    draft.data = {**draft.data, "hosts_form": {"rows": rows, "cluster_name": request.POST.get("cluster_name", "")[:60]}}
    draft.save()
    _keep_access(request, draft, access)
    if do != "next":
        return redirect(reverse("clusters:wizard", args=[draft.uuid, "hosts"]) + (f"?row={len(rows) - 1}" if do == "add" else ""))
    return _hosts_next(request, draft, access)


def _keep_access(request: HttpRequest, draft: Draft, access: AccessForm) -> None:
    """What was typed of secrets is a credential from now on; an unreadable key is an error on its field."""
    chosen = request.POST.get("access", "")
    if chosen not in Draft.Access.values:
        return
    try:
        drafts.draft_access(draft, chosen, key_text=request.POST.get("key_text", ""), password=request.POST.get("password", ""))
    except KeyUnreadable as error:
        access.add_error("key_text", str(error))


def _hosts_next(request: HttpRequest, draft: Draft, access: AccessForm) -> HttpResponse:
    hosts = Hosts(request.POST, prefix="hosts")
    is_valid = hosts.is_valid()
    for form in hosts.forms:
        if form.cleaned_data.get("name") in drafts.names_taken(draft):
            form.add_error("name", _("A node of the cluster has this name already."))
            is_valid = False
    if drafts.needs_secret(draft) and not access.errors.get("key_text"):
        field = "key_text" if draft.access == Draft.Access.PASTED_KEY else "password"
        access.add_error(field, _("Nothing is stored yet: paste or type it here."))
    if not access.is_valid() or not is_valid:
        return _hosts_page(request, draft, access, hosts, status=422)
    try:
        drafts.draft_hosts(draft, [form.cleaned_data for form in hosts.forms])
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("clusters:wizard", draft.uuid, "hosts")
    draft.page = "found"
    draft.save()
    drafts.hosts_asking(draft)
    tasks.start_look_at_draft(draft)
    return redirect("clusters:wizard", draft.uuid, "found")


# -- page 2: what was found -------------------------------------------------------------------------------------------------------


def _found_page(request: HttpRequest, draft: Draft, forms: dict[int, FoundForm] | None = None, status: int = 200) -> HttpResponse:
    hosts = list(draft.hosts.all())
    seen = {each.name: each for each in drafts.seen_of(draft)}
    places = drafts.places_of(draft)
    is_waiting = any(host.status == DraftHost.Status.ASKING and not _is_overdue(host) for host in hosts)
    rows = [
        {
            "host": host, "facts": seen[host.name].facts if host.name in seen else None,
            "form": (forms or {}).get(host.pk) or _found_form(host, seen.get(host.name), places.get(host.name)),
            "disks": disks_of(seen[host.name].facts) if host.name in seen else [],
            "is_overdue": _is_overdue(host), "line": line_to_paste(draft.made_key.public_part) if draft.made_key else "",
        }
        for host in hosts
    ]  # fmt: skip
    are_looked_at = not any(host.status in (DraftHost.Status.NEW, DraftHost.Status.HOST_KEY) for host in hosts)
    context = {
        "draft": draft, "rows": rows, "is_waiting": is_waiting, "page": "found", "places": places,
        "problems": drafts.problems_of(draft) if are_looked_at else [], "peers": drafts.peers_of(draft),
        "dangers": dangers.grouped(dangers.dangers(list(seen.values()))) if draft.kind == Draft.Kind.IMPORT else [],
        "in_the_way": drafts.draft_is_ready(draft),
        "cluster_name": draft.cluster.name if draft.cluster else draft.data.get("hosts_form", {}).get("cluster_name", ""),
        "hosts_url": reverse("clusters:wizard", args=[draft.uuid, "hosts"]),
        "offered": [host for host in hosts if host.status == DraftHost.Status.HOST_KEY],
    }  # fmt: skip
    template = "clusters/wizard_found.html#found" if request.GET.get("part") else "clusters/wizard_found.html"
    return render(request, template, context, status=status)


def _is_overdue(host: DraftHost) -> bool:
    is_asking = host.status == DraftHost.Status.ASKING
    return is_asking and (host.asked_at is None or timezone.now() - host.asked_at > drafts.ASKED_TOO_LONG)


def _found_form(host: DraftHost, seen: Seen | None, place: Place | None, data: Any = None) -> FoundForm | None:
    if seen is None:
        return None
    found = [
        (each.data_directory, f"PostgreSQL {each.version or each.major} · {each.data_directory}") for each in seen.facts.clusters
    ]
    layout = place.layout if place else host.layout
    own = LAYOUTS[layout].paths(place.major if place else "", place.overrides if place else {})
    initial = {"data_directory": host.data_directory or FoundForm.NONE, "layout": layout, "own_data_directory": own.data_directory}
    initial |= {name: getattr(own, name) for name in OVERRIDABLE if name != "data_directory"}
    return FoundForm(data, found=found, has_choice=bool(found), initial=initial, prefix=f"h{host.pk}")


def _found_posted(request: HttpRequest, draft: Draft) -> HttpResponse:
    do = request.POST.get("do", "next")
    here = redirect("clusters:wizard", draft.uuid, "found")
    try:
        if do.startswith("accept"):
            _accept(request, draft, do)
        elif do == "look":
            _ask(draft, list(draft.hosts.all()))
        elif do.startswith("peer-"):
            _add_peer(draft, do.removeprefix("peer-"))
        elif do.startswith("drop-"):
            _drop(draft, do.removeprefix("drop-"))
        else:
            return _found_next(request, draft, leave=do == "next")
    except (drafts.DraftNotReady, services.OtherKeyOffered) as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return here


def _accept(request: HttpRequest, draft: Draft, do: str) -> None:
    """`accept-<id>` for one host, `accept` for all that are shown; each with the fingerprint that the person saw."""
    wanted = do.removeprefix("accept").lstrip("-")
    offered = draft.hosts.filter(status=DraftHost.Status.HOST_KEY)
    hosts = list(offered.filter(pk=int(wanted)) if wanted.isdigit() else offered)
    for host in hosts:
        drafts.draft_accept(host, request.POST.get(f"fingerprint-{host.pk}", ""))
    _ask(draft, hosts)


def _ask(draft: Draft, hosts: list[DraftHost]) -> None:
    drafts.hosts_asking(draft, hosts)
    tasks.start_look_at_draft(draft)


def _add_peer(draft: Draft, address: str) -> None:
    peer = next((peer for peer in drafts.peers_of(draft) if peer.address == address), None)
    if peer is not None:
        _ask(draft, [drafts.peer_add(draft, peer.address, peer.name)])


def _drop(draft: Draft, wanted: str) -> None:
    if wanted.isdigit():
        host = draft.hosts.filter(pk=int(wanted)).first()
        if host:
            form = draft.data.get("hosts_form", {})
            form["rows"] = [row for row in form.get("rows", []) if row.get("name") != host.name]
            host.delete()
            draft.save()


def _found_next(request: HttpRequest, draft: Draft, *, leave: bool) -> HttpResponse:
    seen = {each.name: each for each in drafts.seen_of(draft)}
    places = drafts.places_of(draft)
    hosts = list(draft.hosts.all())
    forms = {
        host.pk: form
        for host in hosts
        if (form := _found_form(host, seen.get(host.name), places.get(host.name), request.POST)) is not None
    }
    are_valid = [form.is_valid() for form in forms.values()]  # every one, so that all errors show
    if not all(are_valid):
        return _found_page(request, draft, forms, status=422)
    drafts.draft_choose(
        draft,
        request.POST.get("primary", ""),
        {host.name: _choice(host, forms[host.pk], places, seen) for host in hosts if host.pk in forms},
    )
    if not leave:
        return redirect("clusters:wizard", draft.uuid, "found")
    primary = next((host.name for host in draft.hosts.all() if host.is_primary), "")
    name = draft.data.get("hosts_form", {}).get("cluster_name", "")
    kind = draft.kind
    cluster, nodes = drafts.draft_finish(draft, name)
    return _onward(kind, cluster, primary, [node.name for node in nodes])


def _choice(host: DraftHost, form: FoundForm, places: dict[str, Place], seen: dict[str, Seen]) -> dict[str, Any]:
    """What differs from the layout's own paths counts as typed; another database cluster than before brings its own paths."""
    chosen = form.chosen
    layout = form.cleaned_data["layout"]
    place = places.get(host.name)
    is_same = chosen == host.data_directory and place is not None and layout == place.layout
    own = LAYOUTS[layout].paths(place.major if place else "", {})
    typed = {key: value for key, value in form.overrides().items() if value and value != getattr(own, key)} if is_same else {}
    postgres = seen[host.name].facts.postgres(chosen) if chosen else None
    return {
        "data_directory": chosen, "layout": layout, "overrides": typed,
        "postgres_port": postgres.port if postgres and postgres.port else host.postgres_port,
    }  # fmt: skip


def _onward(kind: str, cluster: Cluster, primary: str, names: list[str]) -> HttpResponse:
    """To the cluster's page after an import; else to the setup job's settings, with who is who."""
    if kind == Draft.Kind.IMPORT:
        return redirect("clusters:detail", cluster.name)
    if not primary:  # a standby more: the primary is one of the nodes that were there before
        primary = cluster.nodes.filter(state__role="primary").values_list("name", flat=True).first() or ""
    query = [("cluster", cluster.name)] + ([("primary", primary)] if primary else [])
    query += [("standbys", name) for name in names if name != primary]
    return redirect(f"{reverse('jobs:new', args=['setup'])}?{urlencode(query)}")
