"""What the audit trail hears of the front door: logins and logouts, failed and slowed ones, passwords, second factors.

Connected by `accounts.apps`. All that is done by the panel's own services is recorded there.
"""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from django.contrib.auth import signals as auth
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts import acting
from accounts.audit import record
from accounts.models import User

SLOWED_SECONDS = 60
"""Somebody who is slowed down is recorded so often, however fast he tries."""


def connect() -> None:
    auth.user_logged_in.connect(_logged_in, dispatch_uid="audit-logged-in")
    auth.user_logged_out.connect(_logged_out, dispatch_uid="audit-logged-out")
    auth.user_login_failed.connect(_login_failed, dispatch_uid="audit-login-failed")
    mfa.authentication_failed.connect(_second_factor_failed, dispatch_uid="audit-second-factor-failed")
    mfa.authenticator_added.connect(_second_factor("second_factor.add"), weak=False, dispatch_uid="audit-factor-added")
    mfa.authenticator_removed.connect(_second_factor("second_factor.remove"), weak=False, dispatch_uid="audit-factor-removed")
    mfa.authenticator_reset.connect(_second_factor("second_factor.renew"), weak=False, dispatch_uid="audit-factor-reset")


def _logged_in(sender: Any, request: HttpRequest | None, user: User, **_more: Any) -> None:  # noqa: ARG001
    has_session = request is not None and hasattr(request, "session")
    ways = [record["method"] for record in get_authentication_records(request, user)] if request and has_session else []
    record("login.succeeded", user.get_username(), detail={"by": ", ".join(ways)} if ways else None)


def _logged_out(sender: Any, user: User | None, **_more: Any) -> None:  # noqa: ARG001
    if user is not None:
        record("logout", user.get_username())


def _login_failed(sender: Any, credentials: dict[str, Any], **_more: Any) -> None:  # noqa: ARG001
    record("login.failed", name_tried(credentials.get("username", "")), result="failed")


def _second_factor_failed(sender: Any, user: User, authenticator: Authenticator, **_more: Any) -> None:  # noqa: ARG001
    record("login.failed", user.get_username(), result="failed", detail={"by": authenticator.type})


def _second_factor(action: str) -> Any:
    def heard(sender: Any, user: User, authenticator: Authenticator, **_more: Any) -> None:  # noqa: ARG001
        record(action, user.get_username(), detail={"kind": authenticator.type})

    return heard


def name_tried(name: str) -> str:
    """The user name of a failed login; people type their password there too, so only what can be a name is kept."""
    try:
        UnicodeUsernameValidator()(name)
    except ValidationError:
        return "(no user name)"
    return name


def login_slowed(request: HttpRequest, name: str = "") -> None:
    """More tries than the rate limits allow. The trail must not grow with them."""
    if cache.add(f"audit:slowed:{acting.address_of(request)}", 1, SLOWED_SECONDS):
        record("login.slowed", name_tried(name) if name else request.path, result="refused")


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """allauth's answer to whoever is too fast (`handler429`)."""
    login_slowed(request)
    return render(request, "429.html", status=429)


class PasswordNoted:
    """Not a rule but the one place that hears of every new password, by page or by command: Django tells its validators."""

    def validate(self, password: str, user: User | None = None) -> None:
        pass

    def password_changed(self, password: str, user: User | None = None) -> None:  # noqa: ARG002
        if user is not None:
            record("password.set", user.get_username())

    def get_help_text(self) -> str:
        return ""
