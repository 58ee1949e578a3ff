"""Who asks: a token (`Authorization: Bearer pgp_…`), or the browser's session for the interactive docs, then with CSRF.

A token that does not count is slowed by address and stands in the audit trail. Calls are counted per token (or person) and per
address; the counts are each process's own, the failures' are the whole panel's (the database).
"""

from __future__ import annotations

import math
from typing import Any

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest
from django.urls import reverse
from ninja.errors import Throttled
from ninja.security import HttpBearer, SessionAuth
from ninja.throttling import SimpleRateThrottle

from accounts import acting, audit, tokens
from accounts.acting import address_of
from accounts.models import ApiToken, User
from accounts.reauthentication import is_confirmed
from clusters.tokens import limits_of, user_of
from pgpanel.rest.problems import Fault, Problem, not_authenticated, problem_of


class PerCaller(SimpleRateThrottle):
    """Made anew for every call: ninja's throttles keep in themselves what they count, which threads must not share."""

    rate_setting, cache_name = "API_RATE", "process"

    def __init__(self) -> None:
        super().__init__(getattr(settings, self.rate_setting))

    @property
    def cache(self) -> BaseCache:  # type: ignore[override]
        return caches[self.cache_name]

    def get_cache_key(self, request: HttpRequest) -> str | None:
        token: ApiToken | None = getattr(request, "api_token", None)
        return f"api-token-{token.public_id}" if token else f"api-person-{request.user.pk}"


class PerAddress(PerCaller):
    rate_setting = "API_RATE_PER_ADDRESS"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        return f"api-address-{address_of(request)}"


class Failures(PerAddress):
    """Of tokens that do not count. A good token from the same address is never held up by them."""

    rate_setting, cache_name = "API_FAILURES_PER_ADDRESS", "default"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        return f"api-failures-{address_of(request)}"


def counted(request: HttpRequest) -> None:
    """Nobody sends more than is his, nor oftener: asked of whoever is known, before the body is read."""
    length = request.headers.get("Content-Length", "")
    if "Transfer-Encoding" in request.headers and not length:
        raise problem_of(411, "Say how long the body is.")
    if length.isdecimal() and int(length) > settings.API_BODY_BYTES:
        raise problem_of(413, f"At most {settings.API_BODY_BYTES} bytes.")
    for throttle in (PerAddress(), PerCaller()):
        if not throttle.allow_request(request):
            raise Throttled(_seconds(throttle))


def _seconds(throttle: PerCaller) -> int:
    return math.ceil(throttle.wait() or 1)


class Token(HttpBearer):
    """`request.user` is the token's user, narrowed by its limits; `request.api_token` the token."""

    openapi_bearerFormat = "pgp_<id>_<secret>"  # noqa: N815 — OpenAPI's own name
    openapi_description = "A token of your account (Your account → API tokens) or of a service account."

    def authenticate(self, request: HttpRequest, token: str) -> User:
        try:
            request.api_token, user = user_of(token, address_of(request))  # type: ignore[attr-defined]
        except tokens.TokenRefused as refused:
            failures = Failures()
            if not failures.allow_request(request):
                raise Throttled(_seconds(failures)) from None
            with acting.as_(acting.Actor(address=address_of(request), door="api")):
                audit.record("token.refused", result="refused", detail={"why": str(refused)})
            raise not_authenticated("This token does not count: wrong, expired, revoked, or not from this network.") from None
        request.user = user
        counted(request)
        return user


class Session(SessionAuth):
    """Asked only where no Authorization header came. A call that changes something needs the CSRF token, too."""

    openapi_description = "The browser's session, with X-CSRFToken on calls that change something: the interactive docs use it."

    def __call__(self, request: HttpRequest) -> Any | None:
        if request.headers.get("Authorization"):
            raise not_authenticated()  # another scheme than Bearer: never fall back to the cookie
        if not request.user.is_authenticated:
            return None
        try:
            found = super().__call__(request)
        except Exception:
            raise problem_of(403, "The CSRF token is missing or wrong.") from None
        if request.method not in ("GET", "HEAD", "OPTIONS") and not is_confirmed(request):
            raise Problem(403, "confirm-first", "It is a while since you signed in: confirm that it is you, then call again.", [
                Fault("Not confirmed lately.", mend=f"Open {reverse('account_reauthenticate')} in this browser."),
            ])  # fmt: skip
        counted(request)
        return found


LOGINS = [Token(), Session()]


def asked_afresh(request: HttpRequest) -> User | None:
    """Whoever a long stream serves, asked anew: the token may have been revoked since it began. None: nobody any more."""
    token: ApiToken | None = getattr(request, "api_token", None)
    if token is None:
        return None
    found = ApiToken.objects.select_related("user").filter(pk=token.pk).first()
    if found is None or tokens.why_not(found, address_of(request)):
        return None
    found.user.limits = limits_of(found)
    return found.user
