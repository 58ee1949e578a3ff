"""How a cluster stands, for pages: the stored last looks with words, tones and ages, never fresher than they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from clusters.models import Cluster, Node, NodeState
from pgpanel.templatetags.show import age_shown, bytes_shown, lsn_shown, seconds_shown

UNWATCHED_SECONDS = 6.0
"""When the collector itself has not tried for so long (or six intervals), every value is stale."""

WORDS = {
    "primary": pgettext_lazy("node", "primary"),
    "streaming": pgettext_lazy("lag", "streaming"),
    "idle": pgettext_lazy("lag", "caught up, idle"),
    "catching-up": pgettext_lazy("lag", "catching up"),
    "stalled": pgettext_lazy("lag", "stalled"),
    "disconnected": pgettext_lazy("lag", "disconnected"),
    "paused": pgettext_lazy("lag", "replay paused"),
    "stale": pgettext_lazy("lag", "stale sample"),
    "unreachable": pgettext_lazy("node", "unreachable"),
    "stopped": pgettext_lazy("node", "not running"),
    "bare": pgettext_lazy("node", "no replication yet"),
    "second-primary": pgettext_lazy("node", "a second primary"),
    "unknown": pgettext_lazy("lag", "not known yet"),
}
TONES = {
    "primary": "now", "streaming": "streaming", "idle": "idle", "catching-up": "catching", "paused": "catching",
    "stalled": "stalled", "disconnected": "broken",
    "unreachable": "broken", "stopped": "broken", "second-primary": "broken", "stale": "stalled",
    "bare": "unknown", "unknown": "unknown",
}  # fmt: skip
REASONS = {
    "never-seen": gettext_lazy("No look at it has ever succeeded."),
    "not-seen": gettext_lazy("The panel does not see it at present; the numbers are those of the last look."),
    "primary-unknown": gettext_lazy("No primary has ever been seen, so there is nothing to compare with."),
    "primary-unseen": gettext_lazy("The panel does not see the primary at present."),
    "no-receiver": gettext_lazy("Its WAL receiver is not connected to anybody."),
    "link-silent": gettext_lazy("The primary wrote, and nothing arrives, whatever either end says."),
    "other-timeline": gettext_lazy("It is on another timeline than the primary: positions cannot be compared."),
    "falling-behind": gettext_lazy("It replays more slowly than the primary writes."),
    "not-watched": gettext_lazy("The collector has not looked lately."),
}
WORST_FIRST = (
    "second-primary", "unreachable", "stopped", "disconnected", "stalled", "stale", "paused", "catching-up", "unknown", "bare",
)  # fmt: skip


@dataclass(frozen=True)
class NodeStanding:
    """state: a key of WORDS. Numbers are None where they are not known. seen_at: the last look that succeeded."""

    name: str
    node_id: int
    address: str
    role: str
    state: str
    reason: str
    is_the_primary: bool
    is_writable: bool
    timeline: int
    lsn: int
    upstream: str
    follows: str
    error: str
    seen_at: datetime | None
    tried_at: datetime | None
    sample: dict[str, Any]

    @property
    def word(self) -> str:
        return str(WORDS[self.state])

    @property
    def tone(self) -> str:
        return TONES[self.state]

    @property
    def why(self) -> str:
        return str(REASONS.get(self.reason, ""))

    @property
    def number(self) -> Numbers:
        return Numbers(self.sample)

    @property
    def sync_state(self) -> str:
        return str(self.sample.get("sync_state") or "")

    @property
    def is_standby(self) -> bool:
        return not self.is_the_primary and self.role != "primary"

    @property
    def is_flowing(self) -> bool:
        return self.state in ("streaming", "idle", "catching-up", "paused")

    @property
    def short_name(self) -> str:
        return self.name if len(self.name) <= 18 else f"{self.name[:17]}…"

    @property
    def role_words(self) -> str:
        """PRIMARY · writable, or STANDBY · streaming."""
        if self.role == "unknown":
            return self.word
        if self.role == "primary":
            return f"{_('PRIMARY')} · {_('writable') if self.state == 'primary' and self.is_writable else self.word}"
        return f"{_('STANDBY')} · {self.word}"

    @property
    def place(self) -> str:
        return f"{self.address} · {self.sync_state}" if self.sync_state and self.is_flowing else self.address

    @property
    def position(self) -> str:
        if not self.lsn:
            return ""
        where = lsn_shown(self.lsn) if self.role == "primary" else _("replay %(lsn)s") % {"lsn": lsn_shown(self.lsn)}
        return " · ".join([where, _("timeline %(timeline)s") % {"timeline": self.timeline}]) if self.timeline else where

    @property
    def pill(self) -> str:
        """What stands on the wire to it; bytes and seconds, "–" for what is not known. Never empty for a standby."""
        if self.is_the_primary or self.role == "primary" or self.state == "bare":
            return ""
        return f"{bytes_shown(self.number.replay_bytes)} · {seconds_shown(self.number.replay_seconds)}"

    @property
    def age_words(self) -> str:
        return age_shown(self.seen_at) if self.seen_at else _("never seen")

    @property
    def sentence(self) -> str:
        """For those who do not see the drawing."""
        if self.state == "primary":
            return _("%(name)s is the primary.") % {"name": self.name}
        if not self.pill:
            return _("%(name)s: %(state)s.") % {"name": self.name, "state": self.word}
        lag = _("%(bytes)s and %(seconds)s behind") % {
            "bytes": bytes_shown(self.number.replay_bytes), "seconds": seconds_shown(self.number.replay_seconds)}  # fmt: skip
        if not self.upstream:
            return _("%(name)s: %(state)s, %(lag)s.") % {"name": self.name, "state": self.word, "lag": lag}
        return _("%(name)s follows %(upstream)s: %(state)s, %(lag)s.") % {
            "name": self.name, "upstream": self.upstream, "state": self.word, "lag": lag}  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """The lag's numbers out of the stored sample."""

    sample: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.sample.get(name)


@dataclass(frozen=True)
class Standing:
    cluster: Cluster
    nodes: tuple[NodeStanding, ...]

    @property
    def primary(self) -> NodeStanding | None:
        return next((node for node in self.nodes if node.is_the_primary), None)

    @property
    def standbys(self) -> tuple[NodeStanding, ...]:
        return tuple(node for node in self.nodes if node.role == "standby")

    @property
    def is_ever_seen(self) -> bool:
        return any(node.tried_at for node in self.nodes)

    @property
    def worst(self) -> NodeStanding | None:
        """The node in the worst state; None when nothing is wrong."""
        bad = [node for node in self.nodes if node.state in WORST_FIRST]
        return min(bad, key=lambda node: WORST_FIRST.index(node.state), default=None)


def standing_of(cluster: Cluster, nodes: Sequence[Node] | None = None) -> Standing:
    """nodes: with their `state` already loaded, else one query."""
    found = list(nodes if nodes is not None else cluster.nodes.select_related("state"))
    now = timezone.now()
    states = [(node, getattr(node, "state", None)) for node in found]
    primary = next((node.name for node, state in states if state and state.sample.get("is_the_primary")), "")
    limit = max(UNWATCHED_SECONDS, 6 * cluster.sample_interval_seconds)
    return Standing(cluster, tuple(_node(node, state, primary, limit, now) for node, state in states))


def _node(node: Node, state: NodeState | None, primary: str, limit: float, now: datetime) -> NodeStanding:
    state = state or NodeState(node=node)
    sample = state.sample or {}
    word, reason = _state_of(state, sample, limit, now)
    is_standby = state.role == "standby"
    return NodeStanding(
        name=node.name, node_id=node.pk, address=f"{node.node_address}:{node.postgres_port}",
        role=state.role, state=word, reason=reason,
        is_the_primary=node.name == primary, is_writable=bool(state.is_writable), timeline=state.timeline,
        lsn=state.replay_lsn if is_standby else state.current_lsn,
        # a standby that follows nobody hangs, broken, on the primary that it should follow
        upstream=(sample.get("upstream") or (primary if primary != node.name else "")) if is_standby else "",
        follows=state.follows, error=state.error, seen_at=state.seen_at, tried_at=state.tried_at, sample=sample,
    )  # fmt: skip


def _state_of(state: NodeState, sample: dict[str, Any], limit: float, now: datetime) -> tuple[str, str]:
    if state.role == "unknown":
        return ("bare", "") if state.tried_at and state.is_reachable else ("unknown", "never-seen")
    if state.tried_at is None or (now - state.tried_at).total_seconds() > limit:
        return "stale", "not-watched"
    word = str(sample.get("state") or "unknown")
    if sample.get("cause") in ("stopped", "starting") and word in ("stale", "unreachable", "unknown"):
        return "stopped", ""
    if word == "primary" and not sample.get("is_the_primary"):
        return "second-primary", ""
    return (word if word in WORDS else "unknown"), str(sample.get("reason") or "")
