"""`manage.py panel backup FILE | restore FILE`: the panel itself, to be kept elsewhere and to rise again from (docs/backup.md)."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit_chain
from accounts.audit import record
from accounts.models import AuditEntry
from pgpanel import backup, keyring


class Command(BaseCommand):
    help = "Backs the panel itself up, and restores it: inventory, people, sealed secrets, jobs with their logs, the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        saving = verbs.add_parser("backup", help="write a backup; the panel runs on")
        saving.add_argument("file", type=Path)
        restoring = verbs.add_parser("restore", help="into an empty, migrated database; no process of the panel may run")
        restoring.add_argument("file", type=Path)
        restoring.add_argument("--replace", action="store_true", help="delete what is here first, the audit trail too")

    def handle(self, *_arguments: Any, verb: str, **options: Any) -> None:
        try:
            getattr(self, f"do_{verb}")(**options)
        except (backup.Unfit, OSError) as error:
            raise CommandError(str(error)) from None

    def do_backup(self, file: Path, **_options: Any) -> None:
        rows = sum(backup.backup(file).values())
        record("panel.backup", str(file), detail={"rows": rows})
        size = file.stat()
        self.stdout.write(f"{file}: {rows} rows, {size.st_size} bytes, mode {stat.S_IMODE(size.st_mode):o}.")
        self.stdout.write("The encryption keys are NOT in it: keep them too, elsewhere. Without them its secrets cannot be read.")

    def do_restore(self, file: Path, *, replace: bool, **_options: Any) -> None:
        before = AuditEntry.objects.first()
        rows = sum(backup.restore(file, replace=replace).values())
        verdict = audit_chain.verify()
        gone = {"replaced": f"{before.number}:{before.hash}"} if before else {}
        record("panel.restore", str(file), result=verdict.why or "whole", detail={"rows": rows, **gone})
        self.stdout.write(f"{rows} rows restored. Jobs that were under way are marked as lost; nothing starts by itself.")
        lost = [kept for kept in keyring.everything() if keyring.is_sealed(kept.sealed) and not keyring.opens(kept.sealed)]
        if lost:
            self.stdout.write(
                f"NO KEY AT HAND OPENS {len(lost)} of the stored secrets: set PGPANEL_ENCRYPTION_KEYS as on the panel that was "
                "backed up, or see `keys check` for what to enter again."
            )
        if not verdict.is_whole:
            raise CommandError(f"The audit trail in the backup is BROKEN at entry {verdict.number}: {verdict.why}")
        self.stdout.write(f"The audit trail is whole: {verdict.count} entries.")
