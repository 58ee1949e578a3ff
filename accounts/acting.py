"""Who acts, from where, and through which door: one answer for whatever a service is asked to do.

The middleware says it for every request and `manage.py` for every command; a token's request refines it. Without anybody it is the
panel itself: a worker, which acts on behalf of whoever started the job (`as_`).
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

if TYPE_CHECKING:
    from accounts.models import User

Door = Literal["page", "api", "command", "panel"]


# compared by identity: asgiref compares what stands in a ContextVar, and a request's user is a query that nobody made yet
@dataclass(frozen=True, eq=False)
class Actor:
    """user: the person or service account, if it is one. name: who, where there is no such user: the account of the operating
    system that runs a command. token: the name of the API token. address: the client's, or the name of the command's machine.
    """

    user: User | None = None
    token: str = ""
    address: str = ""
    door: Door = "panel"
    name: str = ""

    @property
    def who(self) -> str:
        """A command that says for whom it acts proves nothing: both names."""
        if self.user is None:
            return self.name
        return f"{self.user.get_username()} by {self.name}" if self.door == "command" else self.user.get_username()


PANEL = Actor()
_acting: ContextVar[Actor | HttpRequest] = ContextVar("acting", default=PANEL)


def now() -> Actor:
    """Who acts now. In a request whoever is signed in at this moment: the login itself changes the answer."""
    found = _acting.get()
    return found if isinstance(found, Actor) else _of_request(found)


@contextmanager
def as_(actor: Actor | HttpRequest) -> Iterator[None]:
    before = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(before)


def refine(**fields: Any) -> Actor:
    """Until the end of the request or command: the same actor, known better (user, token, door)."""
    actor = replace(now(), **fields)
    _acting.set(actor)
    return actor


def _of_request(request: HttpRequest) -> Actor:
    user = getattr(request, "user", None)
    return Actor(user=user if user is not None and user.is_authenticated else None, address=address_of(request), door="page")


def by_command() -> Actor:
    """Whoever runs `manage.py`; behind sudo, both names."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without an entry, as containers have
        name = f"uid {os.getuid()}"
    caller = os.environ.get("SUDO_USER", "")
    return Actor(name=f"{caller} as {name}" if caller and caller != name else name, address=socket.gethostname(), door="command")


def address_of(request: HttpRequest) -> str:
    """The client's address as the rate limits see it: by as many proxies as are trusted (`ALLAUTH_TRUSTED_PROXY_COUNT`)."""
    from allauth.account.adapter import get_adapter  # noqa: PLC0415 — manage.py imports this module before there are settings

    try:
        return str(get_adapter().get_client_ip(request))
    except (PermissionDenied, ImproperlyConfigured):  # behind a socket file, or fewer proxies than are said to stand there
        return str(request.META.get("REMOTE_ADDR", ""))


Respond = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def middleware(get_response: Respond) -> Respond:
    """After the one that says who is signed in."""
    if iscoroutinefunction(get_response):

        async def respond_later(request: HttpRequest) -> HttpResponseBase:
            with as_(request):
                return await cast(Awaitable[HttpResponseBase], get_response(request))

        return respond_later

    def respond(request: HttpRequest) -> HttpResponseBase:
        with as_(request):
            return cast(HttpResponseBase, get_response(request))

    return respond
