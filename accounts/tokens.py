"""API tokens: made, told apart, checked, revoked.

A token is `pgp_<id>_<secret><checksum>`: the prefix and the CRC-32 let secret scanners recognise it without asking anybody, the id
finds its row, the secret is 43 random characters of 62 (256 bits). So much randomness needs no slow hash: sha256 is kept, compared
in constant time (docs/decisions/0020).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import ApiToken, Role, User

PREFIX = "pgp_"
PATTERN = re.compile(r"pgp_(?P<id>[a-z0-9]{10})_(?P<secret>[0-9A-Za-z]{43})(?P<checksum>[0-9A-Za-z]{6})")
LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
DAYS, MOST_DAYS = 90, 366
USED_EVERY = timedelta(minutes=1)


class TokenRefused(Exception):
    """Not a token that counts now, and why: for the audit trail. Whoever sent it is told no more than that it does not."""


def token_make(
    user: User,
    name: str,
    role: str,
    *,
    by: User | None,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
    is_scoped: bool = False,
) -> tuple[ApiToken, str]:
    """The token and, this once, its text. ValidationError by field."""
    now = timezone.now()
    until = expires_at or now + timedelta(days=DAYS)
    if not now < until <= now + timedelta(days=MOST_DAYS):
        raise ValidationError({"expires_at": _("Within a year from now.")})
    if role not in Role.values:
        raise ValidationError({"role": _("No such role.")})
    public_id = _random(10, string.ascii_lowercase + string.digits)
    text = _with_checksum(f"{PREFIX}{public_id}_{_random(43, LETTERS)}")
    token = ApiToken(
        public_id=public_id, user=user, name=name.strip(), role=role, is_scoped=is_scoped, secret_hash=_hash(text),
        networks=networks_read(networks), created_by=by, expires_at=until,
    )  # fmt: skip
    token.full_clean(exclude=["networks", "last_used_at", "revoked_at"])
    token.save()
    audit.record("token.create", target=f"{user.username}: {token.name}", detail={
        "id": public_id, "role": role, "is_scoped": is_scoped, "expires_at": until.isoformat(timespec="seconds"),
        "networks": ", ".join(token.networks),
    })  # fmt: skip
    return token, text


def networks_read(texts: Sequence[str]) -> list[str]:
    """CIDR, as Python's ipaddress writes it; a single address is a network of one."""
    try:
        return [str(ip_network(text.strip(), strict=False)) for text in texts if text.strip()]
    except ValueError as error:
        raise ValidationError({"networks": _("%(error)s: write a network as 10.0.0.0/24.") % {"error": error}}) from None


def token_of(text: str, address: str) -> ApiToken:
    """The token that was sent from `address`, with its user; `TokenRefused` if it does not count."""
    read = PATTERN.fullmatch(text)
    if read is None or _with_checksum(text[:-6]) != text:
        raise TokenRefused("it is not a token of this panel")
    token = ApiToken.objects.select_related("user").filter(public_id=read["id"]).first()
    # the hash is computed and compared in any case, so that an unknown id takes as long as a wrong secret
    is_right = secrets.compare_digest(token.secret_hash if token else "0" * 64, _hash(text))
    if token is None or not is_right:
        raise TokenRefused("no such token")
    if why := why_not(token, address):
        raise TokenRefused(f"{token.user.username}: {token.name}: {why}")
    _used(token, address)
    return token


def why_not(token: ApiToken, address: str) -> str:
    """Why a token does not count now, from there; "" if it does. Asked again while a stream is open."""
    if token.revoked_at:
        return "it was revoked"
    if token.expires_at <= timezone.now():
        return "it has expired"
    if not token.user.is_active:
        return "its user is shut out"
    if token.networks and not _is_within(address, token.networks):
        return f"{address or 'an unknown address'} is none of its networks"
    return ""


def _is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ip_network(network) for network in networks)


def _used(token: ApiToken, address: str) -> None:
    """At most one write a minute."""
    late = timezone.now() - USED_EVERY
    if token.last_used_at is None or token.last_used_at < late or token.last_used_from != address:
        unwritten = ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=late), pk=token.pk)
        unwritten.update(last_used_at=timezone.now(), last_used_from=address[:45])


def token_revoke(token: ApiToken) -> None:
    """From now on it does not count; open streams end within seconds. Its row stays, for the trail."""
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record("token.revoke", target=f"{token.user.username}: {token.name}", detail={"id": token.public_id})


def _random(length: int, letters: str) -> str:
    return "".join(secrets.choice(letters) for _position in range(length))


def _with_checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _position in range(6):
        number, rest = divmod(number, len(LETTERS))
        digits = LETTERS[rest] + digits
    return text + digits


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
