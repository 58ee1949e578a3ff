"""Drafts that go on by themselves, for programs (`clusters.adding` begins them): a host key is accepted where it is the expected
one, and the cluster is made as soon as nothing is in the way. Pages ask a person at each of these places.

What was asked for stands in `draft.data["unattended"]`: {"finish": bool, "primary": name, "error": what came of it, "since": when a
task began to work on it, epoch seconds; 0 = none does}.
"""

from __future__ import annotations

import time

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from clusters import drafts
from clusters.models import Cluster, Draft, DraftHost

WORKING_SECONDS = 120
ROUNDS = 3
"""Look, accept, look again; a jump host's key comes before its host's."""


def go_on(draft: Draft) -> None:
    """After a look, from its task: accept what is as expected, look again, and leave the draft if it may be left. Speaks SSH."""
    if "unattended" not in draft.data:
        return
    try:
        for _round in range(ROUNDS):
            accepted = [host for host in draft.hosts.filter(status=DraftHost.Status.HOST_KEY) if _accepted(host)]
            if not accepted:
                break
            drafts.hosts_asking(draft, accepted)
            drafts.draft_look(draft)
        if draft.data["unattended"]["finish"]:
            finish(draft)
    finally:
        if draft.page != drafts.DONE:
            note(draft, since=0)


def note(draft: Draft, **told: str | float) -> None:
    """Into what is kept of it; other parts of the draft may have been changed meanwhile."""
    draft.refresh_from_db(fields=["data"])
    draft.data = {**draft.data, "unattended": {**draft.data["unattended"], **told}}
    draft.save(update_fields=["data"])


def is_working(draft: Draft) -> bool:
    """Is a task at it? Between two looks a host may seem to wait for a person."""
    since: float = draft.data.get("unattended", {}).get("since", 0)
    return time.time() - since < WORKING_SECONDS


def _accepted(host: DraftHost) -> bool:
    """The expected key is pinned; another one is a refusal that says what was shown; without an expectation a person is asked."""
    expected = host.expected_jump_fingerprint if host.offered_by_jump else host.expected_fingerprint
    if not expected:
        return False
    if expected == host.offered_fingerprint:
        drafts.draft_accept(host, expected)
        return True
    names = {"host": host.jump_host if host.offered_by_jump else host.ssh_host, "shown": host.offered_fingerprint}
    host.status = DraftHost.Status.REFUSED
    host.error = _("%(host)s shows the host key %(shown)s, expected was %(expected)s.") % {**names, "expected": expected}
    host.mend = _(
        "Compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub. Another machine may have its address."
    )
    host.save(update_fields=["status", "error", "mend"])
    return False


def finish(draft: Draft, *, is_asked: bool = False) -> Cluster | None:
    """The cluster, if nothing is in the way; else why not stands in the draft. is_asked: somebody waits for it, so it is raised."""
    asked = draft.data["unattended"]
    try:
        if asked["primary"] and draft.kind != Draft.Kind.ADD_NODE:
            draft.hosts.update(is_primary=False)
            if not draft.hosts.filter(name=asked["primary"]).update(is_primary=True):
                raise drafts.DraftNotReady(_("No host is called %(name)s.") % {"name": asked["primary"]})
        if not is_asked and (peers := drafts.peers_of(draft)):
            addresses = ", ".join(peer.address for peer in peers)
            raise drafts.DraftNotReady(_("The servers name others that are not in the draft: %(names)s.") % {"names": addresses})
        return drafts.draft_finish(draft, draft.data["hosts_form"]["cluster_name"])[0]
    except (drafts.DraftNotReady, ValidationError) as error:
        if is_asked:
            raise
        note(draft, error=" ".join(error.messages) if isinstance(error, ValidationError) else str(error))
        return None
