"""The table of words: which operation makes sense for which node, and what stands on its button.

A kind that is not in the registry is not offered; a new kind is one more row. Every button leads to a plan, never to a deed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster, Node
from clusters.offers import Offer, Weight
from jobs.forms import FORMS
from jobs.kinds import KINDS
from jobs.models import Job
from jobs.picture import Member, Picture, picture_of

BROKEN = ("disconnected", "stalled", "stopped", "paused")

When = Callable[[Picture, Member], bool]
Given = Callable[[Picture, Member], Mapping[str, str]]
Words = str | Promise


@dataclass(frozen=True)
class Row:
    """text and why may name %(node)s, %(primary)s and what `given` gives. is_asking: a page asks first; has_settings: it may."""

    kind: str
    when: When
    text: Words
    why: Words
    weight: Weight = "usual"
    given: Given = lambda _picture, member: {"node": member.name}
    is_asking: bool = False
    has_settings: bool = False
    is_of_cluster: bool = False


def _can_take_over(picture: Picture, member: Member) -> bool:
    return member in picture.successors and picture.primary is not None and picture.primary.is_running


def _best(picture: Picture, member: Member) -> bool:
    return _can_take_over(picture, member) and picture.successors[0] == member


def _another(picture: Picture, member: Member) -> bool:
    return _can_take_over(picture, member) and picture.successors[0] != member


def _is_lost_primary(picture: Picture, member: Member) -> bool:
    """Was a primary and is not any more: it comes back as a standby. A start guard may hold it as one that follows nobody."""
    if picture.primary in (None, member) or member.is_bare or not member.is_reachable:
        return False
    return member.is_quarantined or member.role != "standby"


def _is_standby(picture: Picture, member: Member) -> bool:
    return member.role == "standby" and picture.primary not in (None, member) and not member.is_quarantined


def _is_broken(picture: Picture, member: Member) -> bool:
    return _is_standby(picture, member) and member.is_reachable and member.state in BROKEN


def _is_silent(_picture: Picture, member: Member) -> bool:
    return member.state == "stopped" and not member.is_quarantined and not member.is_bare


def _is_running(_picture: Picture, member: Member) -> bool:
    return member.is_running and member.role in ("primary", "standby")


def _can_follow_another(picture: Picture, member: Member) -> bool:
    return _is_standby(picture, member) and len(picture.members) > 2


def _is_primary(picture: Picture, member: Member) -> bool:
    return picture.primary == member and member.is_running


def _has_kept(_picture: Picture, member: Member) -> bool:
    return member.has_kept and not _is_primary(_picture, member)


def _takes_over(_picture: Picture, member: Member) -> Mapping[str, str]:
    return {"candidate": member.name}


def _purpose(purpose: str) -> Given:
    return lambda _picture, _member: {"purpose": purpose}


def _nothing(_picture: Picture, _member: Member) -> Mapping[str, str]:
    return {}


SWITCH = _("Switch over: %(node)s becomes primary, %(primary)s becomes its standby")
SWITCH_WHY = _("Planned, without a lost row: %(primary)s stops, %(node)s proves that it has everything and takes over.")
REBUILD = _("Rebuild %(node)s as a standby of %(primary)s")
ROWS: tuple[Row, ...] = (
    Row("rebuild", _is_lost_primary, REBUILD,
        _("It was a primary. What only it has stays readable: its data directory is kept aside."), "now", has_settings=True),
    Row("start", _is_silent, _("Start PostgreSQL on %(node)s"), _("It does not run."), "now"),
    Row("repair", _is_broken, _("Find out what is wrong with %(node)s and mend it"),
        _("Looks at its log and its WAL, and takes the mildest cure that works."), "now", has_settings=True),
    Row("switchover", _best, SWITCH, SWITCH_WHY, given=_takes_over, has_settings=True),
    Row("rehearse", _best, _("Rehearse the switchover to %(node)s"),
        _("Everything up to the stop, as far as is safe: every check, and how long writes would be away."), given=_takes_over),
    Row("switchover", _another, SWITCH, SWITCH_WHY, "rare", _takes_over, has_settings=True),
    Row("rehearse", _another, _("Rehearse the switchover to %(node)s"),
        _("Everything up to the stop, as far as is safe."), "rare", _takes_over),
    Row("repoint", _can_follow_another, _("Let %(node)s follow another node"),
        _("The primary, or another standby: a cascade."), "rare", is_asking=True),
    Row("rebuild", _is_standby, REBUILD, _("A new copy of its data; the old one is kept aside until a day of your choice."), "rare",
        has_settings=True),
    Row("undo_rebuild", _has_kept, _("Undo the rebuild of %(node)s"), _("Its old data directory is put back, stopped."), "rare"),
    Row("forget_old", _has_kept, _("Delete the old data directory of %(node)s"),
        _("Rows that only it has are gone then; its name is typed."), "rare", is_asking=True),
    Row("restart", _is_running, _("Restart PostgreSQL on %(node)s"), _("Its sessions end; it is away for some seconds."), "rare"),
    Row("reload", _is_running, _("Reload the configuration of %(node)s"), _("Nothing is interrupted."), "rare"),
    Row("stop", _is_running, _("Stop PostgreSQL on %(node)s"), _("Until somebody starts it again."), "rare"),
    Row("remove_standby", _is_standby, _("Take %(node)s out of the replication"),
        _("Its slot, its archive target and its lines in pg_hba.conf go, so that nothing waits for it."), "rare"),
    Row("set_parameter", _is_primary, _("Change a setting on all nodes"),
        _("In the order that standbys need; the plan says what restarts."), "rare", _nothing, is_asking=True, is_of_cluster=True),
    Row("rotate_password", _is_primary, _("Give the replication role a new password"),
        _("On every node, without interrupting the streaming."), "rare", _purpose("replication"), is_of_cluster=True),
    Row("rotate_password", _is_primary, _("Give the monitoring role a new password"),
        _("The panel goes on looking with the new one."), "rare", _purpose("monitoring"), is_of_cluster=True),
)  # fmt: skip


def words_of(job: Job) -> str:
    """The operation of a job as its button says it, by the roles that its plan found; its title where the table has none."""
    known = job.plan.get("identities", {})
    primary = next((name for name, found in known.items() if found.get("role") == "primary"), "")
    node = str(job.params.get("candidate") or job.params.get("node") or "")
    row = next((row for row in ROWS if row.kind == job.kind and not row.is_asking), None)
    if row is None or row.is_of_cluster or not node or ("%(primary)s" in str(row.text) and not primary):
        return job.title
    return str(row.text) % {"node": node, "primary": primary}


def offers(cluster: Cluster, nodes: Sequence[Node]) -> list[Offer]:
    """As `clusters.offers` shows them."""
    return list(_offers(cluster, picture_of(cluster, nodes)))


def _offers(cluster: Cluster, picture: Picture) -> Iterator[Offer]:
    for row in ROWS:
        if row.kind in KINDS and row.kind in FORMS:
            yield from (_offer(cluster, row, picture, member) for member in picture.members if row.when(picture, member))


def _offer(cluster: Cluster, row: Row, picture: Picture, member: Member) -> Offer:
    given = row.given(picture, member)
    names = {"node": member.name, "primary": picture.primary.name if picture.primary else "", **given}
    page = reverse("jobs:new", args=[row.kind])
    settings = f"{page}?{urlencode({'cluster': cluster.name, **given})}"
    text, why = str(row.text) % names, str(row.why) % names
    node = "" if row.is_of_cluster else member.name
    if row.is_asking:
        return Offer(row.kind, node, text, why, row.weight, settings)
    url = f"{page}?{urlencode({'cluster': cluster.name})}"
    fields = (("unasked", "yes"), *given.items())
    return Offer(row.kind, node, text, why, row.weight, url, fields, settings if row.has_settings else "")
