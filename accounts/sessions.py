"""How long a session lives, who ends it, and when its person was last seen. Open sessions are rows of allauth.usersessions.

A session ends after `SESSION_IDLE_SECONDS` in which its person did nothing, and `SESSION_COOKIE_AGE` after it began, whatever
happens in between. What a page asks for by itself (its live stream, the parts that htmx pulls in) is no sign of a person.
"""

from __future__ import annotations

import time
from typing import Any

from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.models import User

SIGNED_IN_AT = "signed_in_at"
BEGUN_AT, SEEN_AT, TRACKED_AS = "begun_at", "seen_at", "tracked_as"
SEEN_SECONDS = 60
"""No more often is it written down that somebody is still there."""


def begin(sender: Any, request: HttpRequest | None, **_arguments: Any) -> None:  # noqa: ARG001
    """Django's `user_logged_in`, by whatever door. Epoch seconds."""
    if request is not None:
        request.session[SIGNED_IN_AT] = request.session[BEGUN_AT] = request.session[SEEN_AT] = time.time()


def is_over(session: SessionBase) -> bool:
    now = time.time()
    begun_at, seen_at = session.get(BEGUN_AT, now), session.get(SEEN_AT, now)
    return bool(now - seen_at > settings.SESSION_IDLE_SECONDS or now - begun_at > settings.SESSION_COOKIE_AGE)


def is_of_a_person(request: HttpRequest) -> bool:
    return request.method == "POST" or not (request.headers.get("HX-Request") or request.path.startswith("/live/"))


class SessionLife(MiddlewareMixin):
    """Ends what is over, and notes who is still there."""

    def process_request(self, request: HttpRequest) -> None:
        if not request.user.is_authenticated:
            return
        if is_over(request.session):
            UserSession.objects.filter(session_key=request.session.session_key).delete()
            logout(request)
            messages.info(request, _("Your session is over. Sign in again."))
        elif is_of_a_person(request):
            self._note(request)

    def _note(self, request: HttpRequest) -> None:
        session, now = request.session, time.time()
        is_tracked = session.get(TRACKED_AS) == session.session_key
        if not is_tracked or now - session.get(SEEN_AT, 0) > SEEN_SECONDS:
            UserSession.objects.create_from_request(request)
            session.setdefault(BEGUN_AT, now)
            session[SEEN_AT], session[TRACKED_AS] = now, session.session_key


def sessions_of(user: User) -> list[UserSession]:
    """The open ones, last seen first; those that are over are forgotten."""
    found = UserSession.objects.purge_and_list(user)
    return sorted(found, key=lambda session: session.last_seen_at, reverse=True)


def sessions_end(user: User, *, keep: str | None = "", only: int | None = None) -> int:
    """Sign `user` out everywhere, but for the session under the key `keep`; or of the one row `only`. How many were ended."""
    found = UserSession.objects.filter(user=user).exclude(session_key=keep or "")
    ended = list(found if only is None else found.filter(pk=only))
    get_adapter().end_sessions(ended)
    if ended:
        record("session.end", user.get_username(), detail={"sessions": len(ended)})
    return len(ended)


BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari", "curl": "curl"}
SYSTEMS = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"}
"""The word in a user agent that tells it, the most telling first."""


def device_of(user_agent: str) -> str:
    """“Firefox, Linux”: enough to know one's own devices apart; what is neither known is shown as it is."""
    words = [next((name for mark, name in table.items() if mark in user_agent), "") for table in (BROWSERS, SYSTEMS)]
    return ", ".join(filter(None, words)) or user_agent or _("unknown")
