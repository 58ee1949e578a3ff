"""allauth, with the front door closed: people are made by an administrator or come by single sign-on, not by signing up."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.reauthentication import is_confirmed


class ClosedSignupAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """allauth's own, and the single sign-on: nobody without a password is asked for one."""
        from accounts.single_sign_on import identity_of  # noqa: PLC0415 — allauth loads this module before its own are there

        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        if isinstance(user, User) and identity_of(user):
            text = _("Sign in with %(label)s again") % {"label": settings.OIDC_LABEL}
            url = reverse("accounts:confirm_by_single_sign_on")
            methods.append({"id": "single_sign_on", "description": text, "url": url})
        return methods

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """allauth takes an account without password and factors as confirmed always; here it is asked by the single sign-on."""
        is_required: bool = super().is_reauthentication_required(app=app, **kwargs)
        request = context.request
        if is_required and not super().get_reauthentication_methods(request.user) and not is_confirmed(request):
            raise ReauthenticationRequired
        return is_required

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:  # more tries than the rate limits allow
            from accounts.audit_signals import login_slowed  # noqa: PLC0415 — as above

            login_slowed(request, credentials.get("username", ""))
            raise
