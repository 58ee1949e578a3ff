"""Headers that every answer carries, besides Django's own (HSTS, nosniff, referrer, COOP, frames) and the CSP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

PERMISSIONS = (
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), fullscreen=(), geolocation=(),"
    " gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), screen-wake-lock=(), serial=(), usb=(),"
    " xr-spatial-tracking=(), clipboard-read=(self), clipboard-write=(self), publickey-credentials-create=(self),"
    " publickey-credentials-get=(self)"
)
"""Of all that a browser can do for a page, this panel uses copying and passkeys."""

Answer = Callable[[HttpRequest], HttpResponseBase]
AnswerLater = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def middleware(get_response: Answer | AnswerLater) -> Answer | AnswerLater:
    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponseBase:
            return _with_headers(await cast(AnswerLater, get_response)(request))

        return later

    def now(request: HttpRequest) -> HttpResponseBase:
        return _with_headers(cast(Answer, get_response)(request))

    return now


def _with_headers(response: HttpResponseBase) -> HttpResponseBase:
    response.setdefault("Permissions-Policy", PERMISSIONS)
    response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    # no copy of a page stays behind: not in a proxy, nor in the browser of somebody who has signed out (static files say otherwise)
    response.setdefault("Cache-Control", "private, no-store")
    return response
