"""A cluster's condition in one word and its worst problem in one sentence, from what was last seen of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters import services
from clusters.findings import Seen
from clusters.models import Node, NodeState
from remote.facts import Facts, facts_from_json

WORST_FIRST = ("broken", "stopped", "disconnected", "stalled", "stale", "catching-up", "paused", "idle", "streaming")
UNWATCHED = timedelta(seconds=60)
TROUBLES = {
    "stopped": gettext_lazy("PostgreSQL does not run on %(names)s."),
    "disconnected": gettext_lazy("%(names)s does not receive: its WAL receiver hears nobody."),
    "stalled": gettext_lazy("%(names)s is stalled."),
    "catching-up": gettext_lazy("%(names)s is catching up."),
    "paused": gettext_lazy("Replay is paused on %(names)s."),
}
"""What the collector (`monitor`) may say of a standby in `NodeState.sample["state"]`, worst first."""


def worst_of(nodes: Sequence[Node]) -> tuple[str, str]:
    """(word, sentence); ("streaming", "") where nothing is wrong."""
    return next(_problems([(node.name, _of_this_cluster(node)) for node in nodes]), ("streaming", ""))


def is_primary_in_trouble(nodes: Sequence[Node]) -> bool:
    """Does no node take writes, as far as is seen, in a cluster that replicates?"""
    states = [(node, state) for node in nodes if (state := _of_this_cluster(node))]
    serving = [state for _node, state in states if state.role == "primary" and state.is_reachable]
    is_served = any(state.sample.get("cause") != "stopped" for state in serving)
    return not is_served and any(state.role == "standby" for _node, state in states)


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


def state_of(node: Node) -> NodeState | None:
    return getattr(node, "state", None)


def facts_of(node: Node) -> Facts | None:
    """The node's last facts."""
    state = state_of(node)
    return facts_from_json(state.facts) if state and state.facts else None


def seen_of(nodes: Sequence[Node]) -> list[Seen]:
    """The nodes' last facts, as the pure rules (`dangers`, `findings`) take them."""
    found = []
    for node in nodes:
        facts, state = facts_of(node), state_of(node)
        if facts and state:
            directory = services.paths_of(node).data_directory
            found.append(Seen(node.name, facts, node.node_address, node.postgres_port, directory, state.role == "primary"))
    return found


def _of_this_cluster(node: Node) -> NodeState | None:
    """The node's state, with the role of a foreign database cluster left out."""
    state = state_of(node)
    if state is not None and is_foreign(node):
        state.role = "unknown"
    return state


States = Sequence[tuple[str, NodeState | None]]


def _problems(nodes: States) -> Iterator[tuple[str, str]]:
    """Worst first; each is only made if the ones before it do not hold."""
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
    yield from _troubles(nodes)
    yield from _unwatched(nodes)
    if len(nodes) == 1:
        yield "idle", _("There is no standby yet.")
    bare = [name for name, state in nodes if state and state.role == "unknown"]
    if bare:
        yield "idle", _("No replication on %(names)s yet.") % {"names": ", ".join(bare)}


def _troubles(nodes: States) -> Iterator[tuple[str, str]]:
    for word, sentence in TROUBLES.items():
        names = [name for name, state in nodes if state and state.role == "standby" and state.sample.get("state") == word]
        if names:
            yield word, str(sentence) % {"names": ", ".join(names)}


def _unwatched(nodes: States) -> Iterator[tuple[str, str]]:
    """Nobody looks any more: whatever stands here is old."""
    tried = [state.tried_at for _name, state in nodes if state and state.tried_at]
    if tried and timezone.now() - max(tried) > UNWATCHED:
        yield "stale", _("Nobody has looked for a minute or longer: is the collector running?")
