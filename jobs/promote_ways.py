"""The ways to promote by the evidence as it stands, the safest first: for the promote page and the API. Reads rows only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from clusters.evidence import Candidate, Verdict, without_salvage
from clusters.models import Cluster, Node
from clusters.observing import ClusterEvidence
from jobs.kinds import KINDS

KIND = "promote"


@dataclass(frozen=True)
class Way:
    """One way to promote `candidate`: the words on its button, the parameters that they stand for, and why a name is typed.

    typed_for: what typing the old primary's name states; empty = one click is enough. asks: when one would take it, where it is
    not the first.
    """

    name: str
    candidate: Candidate
    text: str
    params: dict[str, Any]
    typed_for: tuple[str, ...] = ()
    asks: str = ""


def ways(primary: Node, found: Verdict, candidate: Candidate, best: Candidate | None) -> list[Way]:
    """The safest first; none where nothing may be promoted now."""
    is_able = candidate.is_best or not candidate.why_not or (candidate.lsn > 0 and best is not None)
    if not found.way or KIND not in KINDS or not is_able:
        return []
    old, new = primary.name, candidate.name
    fetch = best.name if best and candidate.why_not and found.way != "salvage" else ""
    first = _("Fetch what %(best)s has more, then promote %(new)s") if fetch else _("Promote %(new)s")
    names = {"old": old, "new": new, "best": fetch}
    if found.way == "salvage":
        text = _("Fetch the last WAL of %(old)s, then promote %(new)s") if found.kind == "stopped_proven" else _(
            "Stop %(old)s for good, fetch its last WAL, then promote %(new)s")  # fmt: skip
        bare = without_salvage(candidate)
        without = _way("unsalvaged", bare, _("Promote %(new)s without it") % names, old, salvage=False)
        return [_way("salvage", candidate, text % names, old), replace(without, asks=_("Its last WAL cannot be had?"))]
    if found.kind == "stopped_proven":
        return [_way("fenced", candidate, first % names, old, fetch_from=fetch)]
    text = _("%(old)s is off: promote %(new)s") % names
    attested = _way("attested", candidate, text, old, attested=old, fetch_from=fetch)
    if not primary.fence_command:
        return [attested]
    text = _("Fence %(old)s, then promote %(new)s") % names
    fence = _way("fence", candidate, text, old, use_fence=True, fetch_from=fetch)
    return [fence, replace(attested, asks=_("The fence does not answer?"))]


def _way(name: str, candidate: Candidate, text: str, old: str, **params: Any) -> Way:
    is_lossless = candidate.is_proven_zero or candidate.is_zero_after_salvage
    states = []
    if params.get("attested"):
        states.append(_("You have made sure that %(old)s is off and stays off. Recorded with your name.") % {"old": old})
    if not is_lossless:
        states.append(_("What %(new)s lacks may be lost: %(loss)s") % {"new": candidate.name, "loss": candidate.sentence})
    given = {"candidate": candidate.name, "primary": old, "accept_loss": not is_lossless}
    return Way(name, candidate, text, given | {key: value for key, value in params.items() if value != ""}, tuple(states))


@dataclass(frozen=True)
class Choice:
    """A candidate with its ways, and what is at stake as a page says it."""

    candidate: Candidate
    node: Node
    ways: tuple[Way, ...]

    @property
    def way(self) -> Way | None:
        return self.ways[0] if self.ways else None

    @property
    def others(self) -> tuple[Way, ...]:
        return self.ways[1:]

    @property
    def loss_tone(self) -> str:
        return "ok" if self.is_lossless else "warn"

    @property
    def is_lossless(self) -> bool:
        return self.candidate.is_proven_zero or self.candidate.is_zero_after_salvage


def choices_of(cluster: Cluster, found: ClusterEvidence) -> list[Choice]:
    nodes = {node.name: node for node in cluster.nodes.select_related("state")}
    primary, best = found.primary, next((one for one in found.candidates if one.is_best), None)
    return [
        Choice(one, nodes[one.name], tuple(ways(primary, found.verdict, one, best)) if primary else ())
        for one in found.candidates if one.name in nodes
    ]  # fmt: skip
