"""A cluster's condition in one word and its worst problem in one sentence, from what was last seen of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _

from clusters.models import Node, NodeState

WORST_FIRST = ("broken", "stale", "idle", "streaming")


def worst_of(nodes: Sequence[Node]) -> tuple[str, str]:
    """(word, sentence); ("streaming", "") where nothing is wrong."""
    return next(_problems([(node.name, _of_this_cluster(node)) for node in nodes]), ("streaming", ""))


def is_bare(node: Node) -> bool:
    """Has it no database cluster of this replication yet?"""
    state = state_of(node)
    return state is not None and state.seen_at is not None and (state.role == "unknown" or is_foreign(node))


def is_foreign(node: Node) -> bool:
    """Are its databases of another origin (the empty ones that a package makes, say)?"""
    state, own = state_of(node), node.cluster.system_identifier
    if state is None or not state.facts or not own:
        return False
    controls = [found.get("control") or {} for found in state.facts.get("clusters", [])]
    identifiers = {control.get("system_identifier", "") for control in controls} - {""}
    return bool(identifiers) and own not in identifiers


def _of_this_cluster(node: Node) -> NodeState | None:
    """The node's state, with the role of a foreign database cluster left out."""
    state = state_of(node)
    if state is not None and is_foreign(node):
        state.role = "unknown"
    return state


def state_of(node: Node) -> NodeState | None:
    return getattr(node, "state", None)


def _problems(nodes: Sequence[tuple[str, NodeState | None]]) -> Iterator[tuple[str, str]]:
    primaries = [name for name, state in nodes if state and state.role == "primary" and state.is_reachable]
    if len(primaries) > 1:
        yield "broken", _("%(names)s all run as primary.") % {"names": ", ".join(primaries)}
    unreachable = [name for name, state in nodes if state and state.tried_at and not state.is_reachable]
    if unreachable:
        yield "broken", _("The panel does not reach %(names)s.") % {"names": ", ".join(unreachable)}
    unseen = [name for name, state in nodes if state is None or state.seen_at is None]
    if unseen:
        yield "stale", _("%(names)s: never looked at.") % {"names": ", ".join(unseen)}
    if not primaries:
        yield "broken", _("No node runs as primary.")
    if len(nodes) == 1:
        yield "idle", _("There is no standby yet.")
    bare = [name for name, state in nodes if state and state.role == "unknown"]
    if bare:
        yield "idle", _("No replication on %(names)s yet.") % {"names": ", ".join(bare)}
