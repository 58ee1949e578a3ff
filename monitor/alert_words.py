"""What an alert says to a person: its name, the sentence, the one safe thing to do next, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitor.models import Alert
from pgpanel.templatetags.show import bytes_shown, seconds_shown

Values = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """says: from what it is about and its values. do: the one safe thing to do next; on_promote_page: it begins there."""

    name: str | Promise
    says: Callable[[str, Values], str]
    do: str | Promise
    on_promote_page: bool = False


def _behind(values: Values) -> str:
    shown = {"seconds": seconds_shown, "bytes": bytes_shown}
    return ", ".join(show(values[unit]) for unit, show in shown.items() if unit in values)


def _since(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC") if epoch else _("the server began")


WORDS = {
    "two_writers": Words(
        gettext_lazy("More than one primary"),
        lambda _about, v: _("More than one server takes writes: %(names)s. What is written to one is missing on the other.") % v,
        gettext_lazy("Stop the one that the applications do not use, now; then rebuild it as a standby."), on_promote_page=True,
    ),
    "primary_down": Words(
        gettext_lazy("Primary does not answer"),
        lambda about, v: _("The primary %(node)s does not answer: %(why)s") % {"node": about, "why": v.get("why") or "–"},
        gettext_lazy("The promote page says what is proven and what is safe. Unreachable is not dead."), on_promote_page=True,
    ),
    "standby_disconnected": Words(
        gettext_lazy("Standby disconnected"),
        lambda about, _v: _("%(node)s receives nothing: its replication is cut.") % {"node": about},
        gettext_lazy("“Diagnose and repair” finds the mildest cure."),
    ),
    "node_not_seen": Words(
        gettext_lazy("Node does not answer"),
        lambda about, v: _("%(node)s does not answer: %(why)s") % {"node": about, "why": v.get("why") or "–"},
        gettext_lazy("Is its host up, and does its PostgreSQL run? Its page says what was seen last."),
    ),
    "other_timeline": Words(
        gettext_lazy("Standby on another timeline"),
        lambda about, _v: _("%(node)s is on another timeline than the primary: it does not follow it any more.") % {"node": about},
        gettext_lazy("Rebuild it as a standby; what only it has is kept aside."),
    ),
    "lag_hard": Words(
        gettext_lazy("Far behind"),
        lambda about, v: _("%(node)s is far behind: %(behind)s.") % {"node": about, "behind": _behind(v)},
        gettext_lazy("Look at what holds it up before it is needed: its page says whether replay is paused or the link is slow."),
    ),
    "lag_soft": Words(
        gettext_lazy("Behind, and not catching up"),
        lambda about, v: _("%(node)s is %(behind)s behind and does not catch up.") % {"node": about, "behind": _behind(v)},
        gettext_lazy("Is its replay paused, or held up by a long query there? Its page says so."),
    ),
    "archiving_fails": Words(
        gettext_lazy("Archiving fails"),
        lambda about, v: _("Archiving on %(node)s fails at %(wal)s: nothing since %(since)s. WAL piles up on its disk.")
        % {"node": about, "wal": v["wal"], "since": _since(v["since"])},
        gettext_lazy("The server's log says what failed. Is the node that receives the archive up, and its disk not full?"),
    ),
    "slot_loses_wal": Words(
        gettext_lazy("A slot loses WAL"),
        lambda about, v: _("The slot %(slot)s on %(node)s is “%(status)s”: WAL that its standby needs is gone, or about to go.")
        % {"slot": about, "node": v["node"], "status": v["status"]},
        gettext_lazy("“Diagnose and repair” for its standby: the WAL may still be in an archive."),
    ),
}  # fmt: skip


def sentence(alert: Alert) -> str:
    return WORDS[alert.rule].says(alert.about, alert.values)


def path_of(alert: Alert) -> str:
    """Where to go on: the promote page, or the cluster's."""
    page = "operations:promote" if WORDS[alert.rule].on_promote_page else "clusters:detail"
    return reverse(page, args=[alert.cluster.name])
