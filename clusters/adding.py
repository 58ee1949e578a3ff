"""Beginning a draft in one call, for programs: all that the wizard's first page asks, and whether it may go on by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from clusters import drafts, tasks, unattended
from clusters.models import Cluster, Credential, Draft, DraftHost


@transaction.atomic
def begin(
    user: User,
    kind: str,
    hosts: Sequence[Mapping[str, Any]],
    *,
    cluster: Cluster | None = None,
    name: str = "",
    access: str = Draft.Access.MADE_KEY,
    key_text: str = "",
    password: str = "",
    credential: Credential | None = None,
    finish: bool = True,
    primary: str = "",
) -> Draft:
    """A new draft whose hosts are being looked at. hosts: rows as `drafts.draft_hosts` takes them, with `host_key` and
    `jump_host_key`: the expected fingerprints. credential: one that the cluster has already. ValidationError, `KeyUnreadable`.
    """  # fmt: skip
    if not cluster:
        drafts.cluster_name_free(name)
    taken = drafts.names_taken(Draft(cluster=cluster)) & {row["name"] for row in hosts}
    if taken:
        raise ValidationError({"name": _("A node of the cluster has this name already.")})
    draft = drafts.draft_start(user, kind, cluster)
    if credential:
        is_key = credential.kind == Credential.Kind.SSH_KEY
        draft.typed, draft.access = credential, Draft.Access.PASTED_KEY if is_key else Draft.Access.PASSWORD_KEPT
    else:
        drafts.draft_access(draft, access, key_text=key_text, password=password)
        if drafts.needs_secret(draft):
            field = "private_key" if access == Draft.Access.PASTED_KEY else "password"
            raise ValidationError({field: _("This way to log in needs it.")})
    rows = [{name: value for name, value in row.items() if not name.endswith("host_key")} for row in hosts]
    draft.data = {
        "hosts_form": {"rows": rows, "cluster_name": name},
        "unattended": {"finish": finish, "primary": primary, "error": "", "since": 0},
    }
    draft.page = "found"
    draft.save()
    drafts.draft_hosts(draft, rows)
    for row in hosts:
        expected = {"expected_fingerprint": row.get("host_key", ""), "expected_jump_fingerprint": row.get("jump_host_key", "")}
        draft.hosts.filter(name=row["name"]).update(**expected)
    look(draft)
    return draft


def look(draft: Draft, hosts: Sequence[DraftHost] | None = None) -> None:
    """By a task, which then goes on by itself. hosts: None = all."""
    unattended.note(draft, since=time.time(), error="")
    drafts.hosts_asking(draft, hosts)
    tasks.start_look_at_draft(draft)


def peer_add(draft: Draft, address: str, expected: str) -> DraftHost:
    """A server that another one named joins; ValidationError where none did."""
    peer = next((peer for peer in drafts.peers_of(draft) if peer.address == address), None)
    if peer is None:
        raise ValidationError({"address": _("No server of the draft names such a peer.")})
    host = drafts.peer_add(draft, peer.address, peer.name)
    host.expected_fingerprint = expected
    host.save(update_fields=["expected_fingerprint"])
    look(draft, [host])
    return host
