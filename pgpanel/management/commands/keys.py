"""`manage.py keys make | rotate | check`: the keys that seal what the panel keeps (docs/keys.md).

keys make      prints a new key: put it first in PGPANEL_ENCRYPTION_KEYS, restart, then
keys rotate    encrypts everything that is sealed with the newest key; the older ones may be taken out afterwards
keys check     says what no key at hand opens, and what to do about each; exit code 1 if there is something
"""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.audit import record
from pgpanel import keyring
from pgpanel.keyring import Kept


class Command(BaseCommand):
    # it prints the key whose absence the checks refuse
    requires_system_checks = []
    help = "The keys that seal credentials and second factors: make one, re-encrypt with the newest, find what is lost."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("make", help="print a new key and do nothing else")
        rotate = verbs.add_parser("rotate", help="encrypt everything with the newest key; may be stopped and started again")
        rotate.add_argument(
            "--new-key", action="store_true", help="one machine: make a new key in the key file first, drop the old ones after"
        )
        verbs.add_parser("check", help="what does no key open?")

    def handle(self, *_arguments: Any, verb: str, **options: Any) -> None:
        try:
            getattr(self, f"do_{verb}")(**options)
        except keyring.EncryptionKeyLost as error:
            raise CommandError(str(error)) from None

    def do_make(self, **_options: Any) -> None:
        self.stdout.write(Fernet.generate_key().decode())

    def do_rotate(self, *, new_key: bool, **_options: Any) -> None:
        if new_key:
            if settings.ENCRYPTION_KEYS:
                raise CommandError(
                    "The keys stand in PGPANEL_ENCRYPTION_KEYS: put the new one first there (`keys make` prints one)."
                )
            keyring.add_key_to_file()
        done = keyring.rotate()
        result = "incomplete" if done.lost else "succeeded"
        record("key.rotate", result=result, detail={"sealed": done.sealed, "lost": len(done.lost)})
        self.stdout.write(f"{done.sealed} encrypted anew, {done.had} had the newest key already.")
        if done.lost:
            self._say_lost(done.lost)
            raise CommandError(f"{len(done.lost)} left as they are. The older keys are still there: keep them.")
        if new_key:
            keyring.drop_old_keys_of_file()
        else:
            self.stdout.write("The older keys may now be taken out of PGPANEL_ENCRYPTION_KEYS, and all processes restarted.")

    def do_check(self, **_options: Any) -> None:
        everything = list(keyring.everything())
        gone = [kept for kept in everything if keyring.is_sealed(kept.sealed) and not keyring.opens(kept.sealed)]
        self._say_lost(gone)
        if gone:
            raise CommandError(f"{len(gone)} of {len(everything)} sealed values are lost, unless their key is put back.")
        self.stdout.write(f"{len(everything)} sealed values: every one opens.")

    def _say_lost(self, lost: Any) -> None:
        for kept in lost:
            assert isinstance(kept, Kept)
            self.stdout.write(f"no key opens {kept.name}. {kept.mend}")
