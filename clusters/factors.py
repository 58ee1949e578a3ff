"""Second factors at rest: what an authenticator app shares with the panel, and the seed of recovery codes, sealed like any secret.

Whoever has the database alone can compute neither. A passkey's public key is no secret.
"""

from __future__ import annotations

from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from clusters import secrets

SEALED = ("secret", "seed")
"""The fields of `Authenticator.data` that hold a token."""
TOKEN = "gAAAA"  # noqa: S105 — how every Fernet token begins; base32 and hexadecimal do not
NAME = "second factor"


class FactorUnreadable(ValidationError):
    """A form says it; a template shows nothing in its place."""

    silent_variable_failure = True


class SealedFactors(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return secrets.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """What was stored before factors were sealed is read as it is."""
        if not encrypted_text.startswith(TOKEN):
            return encrypted_text
        try:
            return secrets.open_sealed(encrypted_text, NAME).value
        except secrets.EncryptionKeyLost:
            text = _("The panel has lost the key to your second factor. On its machine: manage.py person forget-factors <name>")
            raise FactorUnreadable(text) from None


def reseal_factors() -> tuple[int, int]:
    """(changed, all): under the newest key; also what was not sealed yet. May be repeated at any time."""
    found = Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN)
    changed = sum(_reseal(pk) for pk in found.values_list("pk", flat=True))
    return changed, found.count()


@transaction.atomic
def _reseal(pk: int) -> bool:
    """Under a lock: a code that is used meanwhile is noted in the same field."""
    factor = Authenticator.objects.select_for_update().filter(pk=pk).first()
    if factor is None:
        return False
    fresh = {name: _fresh(value) if name in SEALED else value for name, value in factor.data.items()}
    if fresh == factor.data:
        return False
    factor.data = fresh
    factor.save(update_fields=["data"])
    return True


def _fresh(value: Any) -> Any:
    if not isinstance(value, str) or secrets.is_sealed_with_newest(value):
        return value
    return secrets.resealed(value) if value.startswith(TOKEN) else secrets.seal(value)
