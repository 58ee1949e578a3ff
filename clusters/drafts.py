"""The wizard's services: a draft is filled, its hosts are looked at, and it becomes a cluster. Pages and commands call the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.models import User
from clusters import condition, credentials, findings, services
from clusters.findings import Place, Seen
from clusters.looks import Look, Target, look_at_all
from clusters.models import Cluster, Credential, Draft, DraftHost, Node
from remote.facts import Facts, FactsRequest, Unreachable, facts_from_json, facts_to_json
from remote.layouts import LAYOUTS

DONE = "done"
"""The page of a draft that has become a cluster."""
ASKED_TOO_LONG = timedelta(seconds=60)
PASSWORD_KEPT_FOR = timedelta(days=1)
HOST_FIELDS = ("ssh_host", "ssh_port", "ssh_user", "node_address", "jump_host", "jump_port", "jump_user", "postgres_port")
REACH_FIELDS = ("ssh_host", "ssh_port", "jump_host", "jump_port")


class DraftNotReady(Exception):
    """Something is still in the way of leaving the draft; the text says what."""


# -- page 1: hosts and access -----------------------------------------------------------------------------------------------------


def draft_start(user: User | None, kind: str = Draft.Kind.SETUP, cluster: Cluster | None = None) -> Draft:
    """A new draft with a key of its own to paste; an untouched one of the same person and kind is taken up instead."""
    if user is not None:
        untouched = Draft.objects.filter(user=user, kind=kind, cluster=cluster, data={}).first()
        if untouched:
            return untouched
    draft = Draft(user=user, kind=kind, cluster=cluster)
    draft.made_key = credentials.key_make(f"login {draft.uuid.hex[:8]}")
    draft.save()
    return draft


def draft_discard(draft: Draft) -> None:
    """Forget it with the secrets typed into it, as far as no node uses them. A key already installed on hosts stays there."""
    secrets_of_it = [draft.made_key_id, draft.typed_id]
    draft.delete()
    Credential.objects.filter(pk__in=[pk for pk in secrets_of_it if pk], nodes=None).delete()


def draft_access(draft: Draft, access: str, *, key_text: str = "", password: str = "") -> None:
    """How the hosts are logged into. What was typed becomes a credential at once. `credentials.KeyUnreadable` for a bad key."""
    typed: Credential | None = None
    if access == Draft.Access.PASTED_KEY and key_text:
        typed = credentials.key_from_text(key_text, _("pasted key"))
    elif access in (Draft.Access.PASSWORD_ONCE, Draft.Access.PASSWORD_KEPT) and password:
        typed = credentials.password_keep(password, _("login password"), "")
    before = draft.typed
    if typed:
        draft.typed = typed
    elif before and (access == Draft.Access.MADE_KEY or _is_key(before) != (access == Draft.Access.PASTED_KEY)):
        draft.typed = None
    draft.access = access
    draft.save()
    if before and draft.typed_id != before.pk:
        before.delete()


def _is_key(credential: Credential) -> bool:
    return credential.kind == Credential.Kind.SSH_KEY


def needs_secret(draft: Draft) -> bool:
    """Has the chosen access no secret yet? (A forgotten password is not needed again where the key is installed.)"""
    if draft.access == Draft.Access.MADE_KEY or draft.typed:
        return False
    return not (draft.access == Draft.Access.PASSWORD_ONCE and _all_have_key(draft))


def _all_have_key(draft: Draft) -> bool:
    return draft.hosts.exists() and not draft.hosts.filter(key_installed=False).exists()


@transaction.atomic
def draft_hosts(draft: Draft, rows: Sequence[Mapping[str, Any]]) -> None:
    """The hosts as page 1 names them (validated). A host whose address stays keeps its accepted key and its choices."""
    by_name = {host.name: host for host in draft.hosts.all()}
    kept = []
    for position, row in enumerate(rows):
        host = by_name.get(row["name"]) or DraftHost(draft=draft, name=row["name"])
        if any(getattr(host, name) != row.get(name, getattr(host, name)) for name in REACH_FIELDS):
            host.host_key = host.jump_host_key = ""
            host.key_installed = False
        for name in HOST_FIELDS:
            setattr(host, name, row.get(name, getattr(host, name)))
        host.node_address = host.node_address or host.ssh_host
        host.position = position
        _check(host)
        host.save()
        kept.append(host.pk)
    draft.hosts.exclude(pk__in=kept).delete()


def _check(host: DraftHost) -> None:
    """ValidationError for what a person (or another server) named; the rest of the row is the panel's own."""
    host.clean_fields(exclude={field.name for field in DraftHost._meta.fields} - {"name", *HOST_FIELDS})


# -- looking ----------------------------------------------------------------------------------------------------------------------


def hosts_asking(draft: Draft, hosts: Iterable[DraftHost] | None = None) -> list[int]:
    """Mark these hosts (default: all) as being looked at; the task `look_at_draft` then does it."""
    chosen = draft.hosts.all() if hosts is None else draft.hosts.filter(pk__in=[host.pk for host in hosts])
    chosen.update(status=DraftHost.Status.ASKING, asked_at=timezone.now(), error="", mend="")
    return list(chosen.values_list("pk", flat=True))


def draft_look(draft: Draft) -> None:
    """Look at every host that is being asked for, all at once, and keep the answers. Speaks SSH: not for a web request."""
    hosts = list(draft.hosts.filter(status=DraftHost.Status.ASKING))
    looks = look_at_all([_target(draft, host) for host in hosts])
    for host, look in zip(hosts, looks, strict=True):
        _remember(host, look)
    if draft.access == Draft.Access.PASSWORD_ONCE and draft.typed and _all_have_key(draft):
        draft.typed.delete()
        draft.typed = None
    _propose(draft)
    if draft.kind == Draft.Kind.IMPORT:
        _look_closer(draft, hosts)


def _look_closer(draft: Draft, hosts: Sequence[DraftHost]) -> None:
    """An imported server's configuration files, whose place is known only now: who may read them?"""
    chosen = list(draft.hosts.filter(pk__in=[host.pk for host in hosts], status=DraftHost.Status.SEEN).exclude(data_directory=""))
    for host, look in zip(chosen, look_at_all([_target(draft, host) for host in chosen]), strict=True):
        if isinstance(look.facts, Facts):
            _remember(host, look)


def _target(draft: Draft, host: DraftHost) -> Target:
    access = services.access_to(host, credential_of(draft, host))
    facts = facts_of(host)
    postgres = facts.postgres(host.data_directory) if facts else None
    files = (postgres.config_file,) if postgres and postgres.config_file else ()
    request = FactsRequest(port=host.postgres_port, data_directory=host.data_directory, paths=files)
    target = Target(host.name, access, request)
    if draft.access == Draft.Access.PASSWORD_ONCE and not host.key_installed and draft.made_key:
        target = replace(target, install=credentials.secret_of(draft.made_key), install_line=draft.made_key.public_part)
    return target


def credential_of(draft: Draft, host: DraftHost) -> Credential | None:
    """What logs into the host now: a password used once only until the panel's key is there."""
    if draft.access == Draft.Access.PASSWORD_ONCE:
        return draft.made_key if host.key_installed else draft.typed
    return draft.made_key if draft.access == Draft.Access.MADE_KEY else draft.typed


def _remember(host: DraftHost, look: Look) -> None:
    host.key_installed = host.key_installed or look.has_installed_key
    if look.offered:
        host.status = DraftHost.Status.HOST_KEY
        services.remember_offer(host, look.offered, is_jump=look.is_jump)
    elif isinstance(look.facts, Facts):
        host.status, host.seen_at, host.facts = DraftHost.Status.SEEN, timezone.now(), facts_to_json(look.facts)
    elif isinstance(look.facts, Unreachable):
        host.status, host.error, host.mend = DraftHost.Status.REFUSED, look.facts.message, look.facts.mend
    # the person may have changed the row meanwhile: only what a look writes
    host.save(update_fields=["status", "key_installed", "error", "mend", "facts", "seen_at"])


def draft_accept(host: DraftHost, fingerprint: str) -> None:
    """Pin the offered key; `services.OtherKeyOffered` if it is not the one whose fingerprint the person read."""
    services.accept_offered_key(host, fingerprint)


def forget_typed_passwords() -> int:
    """Passwords to be used once, in drafts that nobody has touched for a day. The person can type it again."""
    left = Draft.objects.filter(access=Draft.Access.PASSWORD_ONCE, changed_at__lt=timezone.now() - PASSWORD_KEPT_FOR)
    return Credential.objects.filter(pk__in=left.exclude(typed=None).values("typed"), nodes=None).delete()[0]


# -- page 2: found ----------------------------------------------------------------------------------------------------------------


def facts_of(host: DraftHost) -> Facts | None:
    return facts_from_json(host.facts) if host.facts else None


def seen_of(draft: Draft) -> list[Seen]:
    """The hosts that answered, as the pure rules take them."""
    found = []
    for host in draft.hosts.all():
        facts = facts_of(host)
        if facts:
            found.append(Seen(host.name, facts, host.node_address, host.postgres_port, host.data_directory, host.is_primary))
    return found


def _propose(draft: Draft) -> None:
    """Preselect what a person would most likely choose, where nobody has chosen yet."""
    for host in draft.hosts.filter(status=DraftHost.Status.SEEN, is_chosen=False):
        facts = facts_of(host)
        postgres = findings.proposed_cluster(facts, host.postgres_port) if facts else None
        host.data_directory = postgres.data_directory if postgres else ""
        host.postgres_port = postgres.port if postgres and postgres.port else host.postgres_port
        host.save(update_fields=["data_directory", "postgres_port"])
    if not draft.hosts.filter(is_chosen=True).exists():
        primary = _primary_proposed(draft)
        draft.hosts.exclude(name=primary).update(is_primary=False)
        draft.hosts.filter(name=primary).update(is_primary=True)


def _primary_proposed(draft: Draft) -> str:
    return findings.proposed_primary(seen_of(draft)) if draft.kind != Draft.Kind.ADD_NODE else ""


@transaction.atomic
def draft_choose(draft: Draft, primary: str, choices: Mapping[str, Mapping[str, Any]]) -> None:
    """What a person chose on page 2, by host name: data_directory, layout, overrides, postgres_port."""
    for host in draft.hosts.all():
        choice = choices.get(host.name)
        if choice is None:
            continue
        host.data_directory = choice["data_directory"]
        host.layout = choice.get("layout", host.layout)
        host.overrides = {key: value for key, value in choice.get("overrides", {}).items() if value}
        host.postgres_port = choice.get("postgres_port") or host.postgres_port
        host.is_primary = host.name == primary
        host.is_chosen = True
        host.save()


def places_of(draft: Draft) -> dict[str, Place]:
    """Where each host's node will lie: as found, bare hosts like the primary; what a person typed wins."""
    seen = seen_of(draft)
    primary = _primary_place(draft, seen)
    by_name = {each.name: each for each in seen}
    places = {}
    for host in draft.hosts.all():
        if host.name in by_name:
            place = _place_of(host, by_name[host.name], primary)
            if place is not None:
                places[host.name] = place
    return places


def _place_of(host: DraftHost, seen: Seen, primary: Place | None) -> Place | None:
    wanted = host.layout if host.is_chosen else ""
    place = findings.place_of(seen, wanted) or (findings.place_of_bare(seen, primary) if primary else None)
    if place is None or not host.is_chosen:
        return place
    if wanted and wanted != place.layout:
        place = Place(wanted, place.major)
    return replace(place, overrides={**place.overrides, **host.overrides})


def _primary_place(draft: Draft, seen: Sequence[Seen]) -> Place | None:
    if draft.cluster:
        node = draft.cluster.nodes.exclude(postgres_major="").first()
        return Place(node.layout, node.postgres_major, node.overrides) if node else None
    return next((findings.place_of(each) for each in seen if each.is_primary), None)


def peers_of(draft: Draft) -> list[findings.Peer]:
    return findings.peers(seen_of(draft)) if draft.kind == Draft.Kind.IMPORT else []


def problems_of(draft: Draft) -> list[findings.Problem]:
    seen = seen_of(draft)
    if not draft.cluster:
        return findings.problems(seen, is_import=draft.kind == Draft.Kind.IMPORT)
    primary = [replace(each, is_primary=True) for each in condition.seen_of(list(draft.cluster.nodes.all())) if each.is_primary]
    own = {each.name for each in seen}
    return [problem for problem in findings.problems([*primary, *seen], is_import=False) if problem.name in own]


def names_taken(draft: Draft) -> set[str]:
    return set(draft.cluster.nodes.values_list("name", flat=True)) if draft.cluster else set()


def peer_add(draft: Draft, address: str, name: str) -> DraftHost:
    """A server that another one named joins the draft, reached like the first host; its key still has to be accepted."""
    first = draft.hosts.first()
    assert first is not None
    taken = set(draft.hosts.values_list("name", flat=True))
    host = DraftHost(
        draft=draft, name=_free_name(name, taken), ssh_host=address, node_address=address,
        ssh_port=first.ssh_port, ssh_user=first.ssh_user,
        jump_host=first.jump_host, jump_port=first.jump_port, jump_user=first.jump_user, jump_host_key=first.jump_host_key,
        postgres_port=first.postgres_port, position=len(taken),
    )  # fmt: skip
    _check(host)
    host.save()
    return host


def _free_name(wanted: str, taken: set[str]) -> str:
    """What the standby calls itself (application_name), if that can be a name; else the next free pgN."""
    candidates = [wanted] if re.fullmatch(r"[a-z][a-z0-9-]{0,38}", wanted) and wanted != "walreceiver" else []
    return next(name for name in (*candidates, *(f"pg{number}" for number in range(1, 100))) if name not in taken)


# -- leaving it -------------------------------------------------------------------------------------------------------------------


def draft_is_ready(draft: Draft) -> str:
    """What is still in the way, or ""."""
    waiting = draft.hosts.exclude(status=DraftHost.Status.SEEN).first()
    if waiting:
        return _("%(name)s: %(status)s.") % {"name": waiting.name, "status": waiting.get_status_display()}
    if not draft.hosts.exists():
        return _("No host is named yet.")
    refused = next((problem for problem in problems_of(draft) if problem.level == "refused"), None)
    return findings.said(refused.name, refused.reason, refused.mend) if refused else ""


@transaction.atomic
def draft_finish(draft: Draft, cluster_name: str) -> tuple[Cluster, list[Node]]:
    """Make the cluster and its nodes of the draft, remember what was seen, forget the draft. Nothing on the hosts changes."""
    in_the_way = draft_is_ready(draft)
    if in_the_way:
        raise DraftNotReady(in_the_way)
    primary = next((each.postgres for each in seen_of(draft) if each.is_primary), None)
    identifier = primary.system_identifier if primary else ""
    if draft.cluster:  # its row before the audit trail's: whoever makes a password of it takes them in this order
        Cluster.objects.select_for_update().get(pk=draft.cluster.pk)
    cluster = draft.cluster or services.cluster_create(cluster_name, system_identifier=identifier)
    places = places_of(draft)
    nodes = [_node_of(draft, cluster, host, places) for host in draft.hosts.all()]
    made_key = draft.made_key
    if made_key and made_key.nodes.exists():
        made_key.label = _("login key of %(cluster)s") % {"cluster": cluster.name}
        made_key.save(update_fields=["label"])
    _draft_done(draft, cluster)
    if draft.kind == Draft.Kind.IMPORT:
        record("cluster.import", cluster.name, cluster=cluster.name, detail={"nodes": ", ".join(node.name for node in nodes)})
    return cluster, nodes


def _draft_done(draft: Draft, cluster: Cluster) -> None:
    """A person's draft stays as a trace, so that Back in the browser leads to the cluster and not to nothing."""
    if draft.user is None:
        draft_discard(draft)
        return
    leftovers = [pk for pk in (draft.made_key_id, draft.typed_id) if pk]
    draft.hosts.all().delete()
    draft.made_key = draft.typed = None
    draft.page, draft.cluster, draft.data = DONE, cluster, {"name": cluster.name}
    draft.save()
    Credential.objects.filter(pk__in=leftovers, nodes=None).delete()


def _node_of(draft: Draft, cluster: Cluster, host: DraftHost, places: Mapping[str, Place]) -> Node:
    place = places.get(host.name)
    credential = credential_of(draft, host)
    facts = facts_of(host)
    if place is None or credential is None or facts is None:
        raise DraftNotReady(_("%(name)s was not looked at yet.") % {"name": host.name})
    fields = {name: getattr(host, name) for name in (*HOST_FIELDS, "host_key", "jump_host_key") if name != "ssh_host"}
    node = services.node_create(
        cluster, credential, host.name, host.ssh_host, **fields,
        layout=place.layout if place.layout in LAYOUTS else "custom", overrides=dict(place.overrides), postgres_major=place.major,
    )  # fmt: skip
    services.remember_facts(node, facts)
    return node


def cluster_name_free(name: str) -> None:
    """ValidationError for a name that is taken or is none."""
    if Cluster.objects.filter(name=name).exists():
        raise ValidationError(_("There is a cluster of this name already."))
