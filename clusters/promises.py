"""What holds if an old primary comes back: read-only by its own start guard, or stopped by the panel within one look."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from clusters.condition import facts_of
from clusters.models import Node
from clusters.services import paths_of
from remote import guard

STOPPING_SECONDS = 2.0
"""From a look that sees it writable to its PostgreSQL stopped."""


@dataclass(frozen=True)
class Promise:
    """standing: what the guard on the host says; None = never looked for."""

    name: str
    standing: guard.Standing | None
    poll_seconds: float

    @property
    def is_guarded(self) -> bool:
        return self.standing is not None and self.standing.is_guarded

    @property
    def word(self) -> str:
        return _("start guard") if self.is_guarded else _("watched only")

    @property
    def sentence(self) -> str:
        names = {"name": self.name, "seconds": round(self.poll_seconds + STOPPING_SECONDS)}
        if self.is_guarded:
            return _("%(name)s has a start guard: if it boots again it stays read-only by itself, and you are told.") % names
        return _(
            "%(name)s has no start guard: if it boots again it may take writes until the panel sees and stops it, "
            "within about %(seconds)d s. You are told."
        ) % names  # fmt: skip

    @property
    def why_not(self) -> str:
        return self.standing.why_not if self.standing else _("Nobody has looked for it yet.")


def promise_of(node: Node) -> Promise:
    facts, paths = facts_of(node), paths_of(node)
    is_asked = facts is not None and guard.own_file(paths, "guard") in facts.paths
    standing = guard.standing(paths, facts) if facts is not None and is_asked else None
    return Promise(node.name, standing, node.cluster.sample_interval_seconds)
