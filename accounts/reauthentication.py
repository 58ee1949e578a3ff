"""Before something dangerous a person confirms that it is still they: by password, authenticator, passkey or single sign-on.

`DANGERS` says what is dangerous, `@dangerous` stands before each view that does it. Whoever signed in or confirmed less than
`ACCOUNT_REAUTHENTICATION_TIMEOUT` ago is not asked again. The request is not lost: allauth keeps the POST in the session and goes
on with it. Secrets are never kept there: a page that takes them asks before they are typed, and, should the time run out on it,
once more for the secret alone. An API token is no session: it is limited by its scope instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.sessions import SIGNED_IN_AT

DANGERS: dict[str, Promise] = {
    "job.start": _("Start a job that destroys something, may lose something, promotes, fences or replaces a password"),
    "job.resume": _("Resume such a job"),
    "job.approve": _("Approve somebody else's plan as the second person"),
    "cluster.remove": _("Remove a cluster from the panel"),
    "cluster.second_person": _("Change whether a second person is needed"),
    "node.remove": _("Remove a node from the panel"),
    "credential.replace": _("Replace a credential"),
    "fence.set": _("Set a fence command, which runs on the panel's own machine"),
    "person.change": _("Let somebody in or out, or give a role"),
    "token.make": _("Make an API token"),
}
"""What a person is about to do, by the key under which a view declares it."""
CONFIRMING = "confirming"
AGAIN = "secret_again"
"""In a POST that goes on after the confirmation: the secret that was typed with it was not kept."""

View = TypeVar("View", bound=Callable[..., HttpResponse])


def dangerous(what: str, *, when: Callable[..., bool] | None = None, secrets: Sequence[str] = ()) -> Callable[[View], View]:
    """what: a key of DANGERS. when(request, *the view's arguments): is it, this time? secrets: fields that the page takes."""
    assert what in DANGERS

    def decorator(view: View) -> View:
        @wraps(view)
        def confirmed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            is_asked = bool(secrets) or request.method == "POST"
            if is_asked and not is_confirmed(request) and (when is None or when(request, *args, **kwargs)):
                ask(request, what, secrets)
            return view(request, *args, **kwargs)

        confirmed.danger = what  # type: ignore[attr-defined]
        return cast(View, confirmed)

    return decorator


def is_confirmed(request: HttpRequest) -> bool:
    """Has this session's person signed in, or confirmed that it is they, a short while ago?"""
    user = request.user if isinstance(request.user, User) else None
    confirmed = [record["at"] for record in get_authentication_records(request, user) if record.get("reauthenticated")]
    last: float = max([request.session.get(SIGNED_IN_AT, 0.0), *confirmed])
    return time.time() - last < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def ask(request: HttpRequest, what: str, secrets: Sequence[str] = ()) -> None:
    """Leads to the page that asks, and back; the POST goes on from there, without its secrets."""
    if any(request.POST.get(name) for name in secrets):
        kept = request.POST.copy()
        for name in secrets:
            kept.pop(name, None)
        kept[AGAIN] = "yes"
        request.POST = kept  # type: ignore[assignment]
    request.session[CONFIRMING] = {"path": request.get_full_path(), "what": str(DANGERS[what])}
    raise ReauthenticationRequired


def is_secret_missing(data: Any) -> bool:
    """For a form's clean(): the confirmation came between, and what was secret has to be typed once more."""
    return bool(data.get(AGAIN))
