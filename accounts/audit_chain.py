"""Is the audit trail whole? Every hash taken anew, every entry bound to the one before, the end where the head (and an anchor) say.

An anchor is the newest number and hash, kept where the panel's database cannot reach: it also finds a trail that was cut off at the
end, or written anew as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit import HEAD, head_locked
from accounts.trail import GENESIS, AuditEntry, AuditHead, digest

CHUNK = 2000
ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True)
class Anchor:
    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Of "1204:3fa9…", the last one where a file holds several lines. ValueError for a text without any."""
        found = ANCHOR.findall(text)
        if not found:
            raise ValueError(_("An anchor is a number, a colon and 64 hexadecimal digits."))
        number, hash_ = found[-1]
        return cls(int(number), hash_)


@dataclass(frozen=True)
class Verdict:
    """count: entries as they were written, from the first on. number: of the first broken one. why: "" where it is whole."""

    count: int
    number: int = 0
    why: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.why


def anchor() -> Anchor:
    """Where the chain ends now."""
    with transaction.atomic():
        head = head_locked()
    return Anchor(head.number, head.hash)


def verify(*anchors: Anchor) -> Verdict:
    """The trail in the database. What is appended meanwhile is left to the next time."""
    with transaction.atomic():
        head = head_locked()
        last = AuditEntry.objects.values_list("number", flat=True).first() or 0
    if last > head.number:
        return Verdict(0, head.number + 1, _("There are entries behind the head of the chain: they were not written by the panel."))
    return verify_told(_stored(head.number), Anchor(head.number, head.hash), *anchors)


def verify_told(entries: Iterable[dict[str, Any]], *anchors: Anchor, number: int = 0, previous: str = GENESIS) -> Verdict:
    """Entries as `AuditEntry.told` gives them (an export, say), in order. number, previous: of the entry before the first."""
    begin = number
    awaited: dict[int, set[str]] = {}
    for anchor in anchors:
        awaited.setdefault(anchor.number, set()).add(anchor.hash)
    for told in entries:
        why = _broken(told, number + 1, previous, awaited.get(number + 1, set()))
        if why:
            return Verdict(number - begin, number + 1, why)
        number, previous = told["number"], told["hash"]
    missing = [anchor for anchor in anchors if anchor.number > number]
    if missing:
        text = _("Cut off: entry %(number)d is the last one, but there were %(known)d.")
        return Verdict(number - begin, number + 1, text % {"number": number, "known": max(one.number for one in missing)})
    return Verdict(number - begin)


def _broken(told: dict[str, Any], number: int, previous: str, anchored: set[str]) -> str:
    """Why this is not the entry that stood at `number`; "" if it is."""
    if told["number"] != number:
        return _("Entry %(number)d is missing.") % {"number": number}
    if digest(told) != told["hash"]:
        return _("Entry %(number)d was changed.") % {"number": number}
    if told["previous"] != previous:
        return _("Entry %(number)d does not follow the one before it: one of the two was written anew.") % {"number": number}
    if anchored - {told["hash"]}:
        return _("Entry %(number)d is not the one that the anchor knows: the trail was written anew.") % {"number": number}
    return ""


def _stored(until: int) -> Iterator[dict[str, Any]]:
    entries = AuditEntry.objects.filter(number__lte=until).order_by("number")
    for entry in entries.iterator(chunk_size=CHUNK):
        yield entry.told()


def verify_and_keep() -> Verdict:
    """For the audit page: what was found, and when."""
    verdict = verify()
    AuditHead.objects.filter(pk=HEAD).update(
        verified_at=timezone.now(), verified_count=verdict.count, finding=verdict.why
    )  # fmt: skip
    return verdict
