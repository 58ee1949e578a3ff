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
from remote.visible import visible

Values = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """says: from what it is about and its values. do: the one safe thing to do next; on_promote_page: it begins there."""

    name: str | Promise
    says: Callable[[str, Values], str]
    do: str | Promise
    on_promote_page: bool = False
    page: str = "clusters:detail"


def _behind(values: Values) -> str:
    shown = {"seconds": seconds_shown, "bytes": bytes_shown}
    return ", ".join(show(values[unit]) for unit, show in shown.items() if unit in values)


def _since(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC") if epoch else _("the server began")


def _left(values: Values) -> str:
    """How much a standby may still miss."""
    by = values.get("left_by")
    if by == "lost":
        return " " + _("The WAL that it needs is gone.")
    if by is None or "left_bytes" not in values:
        return ""
    if "left_seconds" in values:
        after = {"size": bytes_shown(values["left_bytes"]), "time": seconds_shown(values["left_seconds"])}
        return " " + _("After %(size)s more (%(time)s at this rate) it is lost.") % after
    return " " + _("After %(size)s more it is lost.") % {"size": bytes_shown(values["left_bytes"])}


def _slot_fills(about: str, values: Values) -> str:
    shown = {
        "slot": about, "node": values["node"], "rate": bytes_shown(values["rate"]), "time": seconds_shown(values["seconds"]),
    }  # fmt: skip
    if values["ends"] == "slot":
        return _("The slot %(slot)s on %(node)s is let go in %(time)s, and its standby is lost: it grows by %(rate)s/s.") % shown
    return _("The slot %(slot)s fills the disk of %(node)s in %(time)s: it grows by %(rate)s/s.") % shown


def _fork(about: str, values: Values) -> str:
    shown = {
        "node": about, "size": bytes_shown(values["bytes"]), "timeline": values["timeline"], "primary": values["primary"],
    }  # fmt: skip
    return _("%(node)s has %(size)s on timeline %(timeline)s that %(primary)s never had.") % shown


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
        lambda about, v: _("%(node)s receives nothing: its replication is cut.") % {"node": about} + _left(v),
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
    "zombie_back": Words(
        gettext_lazy("An old primary is back"),
        lambda about, _v: _("%(node)s is under quarantine, and answers as a primary again: it may take writes.") % {"node": about},
        gettext_lazy("Let no application reach it. Its start guard or fence stops it; then rebuild it as a standby."),
        on_promote_page=True,
    ),
    "fork": Words(
        gettext_lazy("A node has gone another way"),
        _fork,
        gettext_lazy("Rebuild it as a standby; what only it has is kept aside and can be read there."),
    ),
    "slot_fills_disk": Words(
        gettext_lazy("A slot fills the disk"), _slot_fills,
        gettext_lazy("Bring its standby back, or drop the slot and rebuild it later: with a full disk the primary stops."),
    ),
    "disk_low": Words(
        gettext_lazy("Disk nearly full"),
        lambda _about, v: _("On %(node)s %(free)s are free of %(size)s, where its %(what)s lies.") % {
            "node": v["node"], "free": bytes_shown(v["bytes"]), "size": bytes_shown(v["size"]),
            "what": _("WAL") if v["what"] == "wal" else _("data")},
        gettext_lazy("Find out what grows before anything is deleted. Never delete files of pg_wal by hand."),
    ),
    "drift": Words(
        gettext_lazy("Managed configuration was changed"),
        lambda about, v: _("On %(node)s the managed block of %(files)s is not as the last job left it.")
        % {"node": about, "files": v["files"]},
        gettext_lazy("Its page shows the file. “Set a parameter” or “Diagnose and repair” writes the block again."),
    ),
    "certificate_expires": Words(
        gettext_lazy("A certificate is about to expire"),
        lambda about, v: _("The server certificate of %(node)s is valid until %(until)s.")
        % {"node": about, "until": _since(v["until"])},
        gettext_lazy("Renew it and reload the server; streaming stops where certificates are checked."),
    ),
    "password_expires": Words(
        gettext_lazy("A password is about to expire"),
        lambda about, v: _("The role %(role)s can log in until %(until)s.") % {"role": about, "until": _since(v["until"])},
        gettext_lazy("“Rotate the password” gives it a new one, everywhere at once."),
    ),
    "job_failed": Words(
        gettext_lazy("A job failed"),
        lambda _about, v: _("Job %(job)s did not succeed (%(status)s).") % v,
        gettext_lazy("Its page says which step failed and how the hosts stand now. Go on with it from there, or undo."),
        page="jobs:detail",
    ),
    "job_lost": Words(
        gettext_lazy("A job was lost"),
        lambda _about, v: _("Job %(job)s was left by its worker and could not be taken up again.") % v,
        gettext_lazy("See that a worker runs, then go on with the job: it looks first what is done already."),
        page="jobs:detail",
    ),
    "collector_behind": Words(
        gettext_lazy("The collector is behind"),
        lambda _about, v: _("Nobody has looked at this cluster for %(age)s: what stands here is old, and no alert of it can fire.")
        % {"age": seconds_shown(v["seconds"])},
        gettext_lazy("Does a worker of the queue “observe” run, and has it room for this many nodes?"),
    ),
    "wrong_passwords": Words(
        gettext_lazy("Somebody guesses a password"),
        lambda about, v: _("%(count)s wrong passwords for %(who)s within ten minutes, on the panel's own login.")
        % {"count": v["count"], "who": about},
        gettext_lazy("The audit trail has the addresses. Ask the person; end the sessions where it was somebody else."),
    ),
}  # fmt: skip


def sentence(alert: Alert) -> str:
    """One visible line, whatever a host called its things."""
    return visible(WORDS[alert.rule].says(alert.about, alert.values))


def path_of(alert: Alert) -> str:
    """Where to go on: the promote page, a job's, or the cluster's."""
    words = WORDS[alert.rule]
    if words.page == "jobs:detail":
        return reverse(words.page, args=[alert.values["job"]])
    return reverse("operations:promote" if words.on_promote_page else words.page, args=[alert.cluster.name])
