"""`manage.py rotate_encryption`: every stored secret under the newest key. May be stopped and started again at any time."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from clusters import secrets
from clusters.factors import reseal_factors
from clusters.models import Credential


class Command(BaseCommand):
    # it prints the key whose absence the checks refuse
    requires_system_checks = []
    help = "Encrypts every stored secret with the newest key. Put the new key first in PGPANEL_ENCRYPTION_KEYS before."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--print-key", action="store_true", help="print a new key and do nothing else")
        parser.add_argument(
            "--new-key", action="store_true", help="one machine: make a new key in the key file first, drop the old ones after"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["print_key"]:
            self.stdout.write(Fernet.generate_key().decode())
            return
        if options["new_key"]:
            if settings.ENCRYPTION_KEYS:
                raise CommandError(
                    "The keys stand in PGPANEL_ENCRYPTION_KEYS: put the new one first there (--print-key makes one)."
                )
            secrets.add_key_to_file()
        try:
            changed, total = rotate()
        except secrets.EncryptionKeyLost as error:
            raise CommandError(str(error)) from None
        if options["new_key"]:
            secrets.drop_old_keys_of_file()
        self.stdout.write(f"{changed} of {total} secrets encrypted anew; the others had the newest key already.")
        if not options["new_key"]:
            self.stdout.write("The older keys may now be taken out of PGPANEL_ENCRYPTION_KEYS, and all processes restarted.")


def rotate() -> tuple[int, int]:
    """(changed, all). A secret that somebody changes meanwhile is left to them: it has the newest key anyway."""
    changed = 0
    rows = list(Credential.objects.values_list("pk", "sealed"))
    for pk, sealed in rows:
        if not secrets.is_sealed_with_newest(sealed):
            changed += Credential.objects.filter(pk=pk, sealed=sealed).update(sealed=secrets.resealed(sealed))
    factors_changed, factors = reseal_factors()
    return changed + factors_changed, len(rows) + factors
