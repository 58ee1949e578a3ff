"""Second factors at rest: what an authenticator app shares with the panel, and the seed of recovery codes, sealed like any secret.

Whoever has the database alone can compute neither. A passkey's public key is no secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from clusters import secrets
from pgpanel.keyring import Kept, is_sealed

SEALED = ("secret", "seed")
"""The fields of `Authenticator.data` that hold a token."""
NAME = "second factor"


class FactorUnreadable(ValidationError):
    """A form says it; a template shows nothing in its place."""

    silent_variable_failure = True


class SealedFactors(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return secrets.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """What was stored before factors were sealed is read as it is."""
        if not is_sealed(encrypted_text):
            return encrypted_text
        try:
            return secrets.open_sealed(encrypted_text, NAME).value
        except secrets.EncryptionKeyLost:
            text = _("The panel has lost the key to your second factor. On its machine: manage.py person forget-factors <name>")
            raise FactorUnreadable(text) from None


def kept() -> Iterator[Kept]:
    """For `manage.py keys`; what was stored before factors were sealed too."""
    for factor in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).select_related("user"):
        mend = _("On the panel's machine: manage.py person forget-factors %(name)s; then the person sets it up anew.")
        for field in SEALED:
            if sealed := factor.data.get(field):
                name = f"second factor ({factor.type}) of {factor.user}"
                yield Kept(name, sealed, mend % {"name": factor.user}, partial(_swap, factor.pk, field, sealed))


@transaction.atomic
def _swap(pk: int, field: str, before: str, sealed: str) -> bool:
    """Under a lock: a code that is used meanwhile is noted beside it."""
    factor = Authenticator.objects.select_for_update().filter(pk=pk).first()
    if factor is None or factor.data.get(field) != before:
        return False
    factor.data[field] = sealed
    factor.save(update_fields=["data"])
    return True
