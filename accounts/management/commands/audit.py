"""`manage.py audit verify | anchor | export`: is the trail whole, where does it end, and all of it as a file.

audit anchor --file /mnt/elsewhere/anchors      appends a line; from cron, to a place that the panel cannot write to later
audit verify --anchor-file /mnt/elsewhere/anchors      exit code 1 where something was changed, removed or cut off
audit export --since 2026-01-01 >trail.jsonl      then: audit verify --file trail.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts import audit_chain
from accounts.audit_chain import Anchor
from accounts.audit_search import FORMATS, Search
from accounts.trail import AuditEntry


class Command(BaseCommand):
    help = "The audit trail: verify it, print an anchor of its end, export it. Nothing here changes it."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verify = verbs.add_parser("verify", help="is it whole? exit code 1 if not")
        verify.add_argument("--anchor", action="append", default=[], metavar="NUMBER:HASH", help="as `audit anchor` printed it")
        verify.add_argument("--anchor-file", type=Path, help="every line of it")
        verify.add_argument("--file", type=Path, help="verify this export (JSON lines) instead of the database")
        anchor = verbs.add_parser("anchor", help="the newest number and hash, to be kept elsewhere")
        anchor.add_argument("--file", type=Path, help="append it there, with the time")
        anchor.add_argument("--mail", metavar="ADDRESS", help="send it there")
        export = verbs.add_parser("export", help="print entries, oldest first")
        export.add_argument("--since", type=_moment, metavar="DATE", help="2026-01-31, or with a time")
        export.add_argument("--until", type=_moment, metavar="DATE", help="not included")
        export.add_argument("--cluster", default="")
        export.add_argument("--format", choices=sorted(FORMATS), default="jsonl")

    def handle(self, *_arguments: Any, verb: str, **options: Any) -> None:
        getattr(self, f"do_{verb}")(**options)

    def do_verify(self, anchor: list[str], anchor_file: Path | None, file: Path | None, **_options: Any) -> None:
        try:
            anchors = [Anchor.parse(text) for text in anchor]
            lines = anchor_file.read_text().splitlines() if anchor_file else []
            anchors += [Anchor.parse(line) for line in lines if line.strip()]
            verdict = _verdict_of(file, anchors) if file else audit_chain.verify(*anchors)
        except (OSError, ValueError) as error:
            raise CommandError(str(error), returncode=2) from None
        if not verdict.is_whole:
            raise CommandError(f"BROKEN at entry {verdict.number}: {verdict.why} {verdict.count} before it are whole.")
        self.stdout.write(f"whole: {verdict.count} entries" + (f", {len(anchors)} anchors hold" if anchors else ""))

    def do_anchor(self, file: Path | None, mail: str | None, **_options: Any) -> None:
        line = f"{timezone.now():%Y-%m-%dT%H:%M:%SZ} {audit_chain.anchor()}"
        if file:
            with file.open("a") as out:
                out.write(line + "\n")
        if mail:
            text = (
                f"{line}\n\nKeep this: `manage.py audit verify --anchor` proves by it that nothing before was changed or removed."
            )
            send_mail("pgpanel: anchor of the audit trail", text, settings.DEFAULT_FROM_EMAIL, [mail])
        self.stdout.write(line.split()[1])

    def do_export(self, since: datetime | None, until: datetime | None, cluster: str, format: str, **_options: Any) -> None:  # noqa: A002
        _type, told = FORMATS[format]
        for line in told(Search(cluster=cluster, since=since, until=until).of(AuditEntry.objects.all())):
            self.stdout.write(line, ending="")


def _verdict_of(file: Path, anchors: list[Anchor]) -> audit_chain.Verdict:
    """An export of a part of the trail begins with what its first entry says of the one before."""
    entries = _entries_of(file)
    first = next(entries, None)
    if first is None:
        raise ValueError(f"{file} holds no entry")

    def all_of_them() -> Iterator[dict[str, Any]]:
        yield first
        yield from entries

    within = [anchor for anchor in anchors if anchor.number >= first["number"]]
    return audit_chain.verify_told(all_of_them(), *within, number=first["number"] - 1, previous=first["previous"])


def _entries_of(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        for count, line in enumerate(lines, start=1):
            told = json.loads(line) if line.strip().startswith("{") else None
            if not isinstance(told, dict) or not {"number", "previous", "hash"} <= told.keys():
                raise ValueError(f"{file}, line {count}: no entry of an audit trail")
            yield told


def _moment(text: str) -> datetime:
    day = parse_date(text) if len(text) == 10 else None
    found = datetime(day.year, day.month, day.day) if day else parse_datetime(text)
    if found is None:
        raise ValueError(text)
    return found if timezone.is_aware(found) else timezone.make_aware(found)
