"""Single sign-on by OpenID Connect: authorization code with PKCE, by allauth; only the environment configures it (`.env.example`).

Who comes for the first time gets an account of their own without any right. Nobody takes an account over that is there already: not
by an equal name, not by an e-mail address, verified or not (none is kept: it could set a password). Joining the two is done from
inside: sign in with the password, confirm it, connect. Identities are kept per issuer: a subject of another one is somebody else.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import get_next_redirect_url
from allauth.account.views import BaseReauthenticateView
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin
from allauth.socialaccount.providers.openid_connect.views import login as openid_connect_login
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.models import User

CLOCK_SKEW_SECONDS = 60
CONFIRMED = "confirmed_by_single_sign_on"


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> list[SocialApp]:
        """Those of the settings: a row in the database is no way in."""
        return [app for app in super().list_apps(request, provider, client_id) if app.pk is None]

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:  # noqa: ARG002
        return bool(settings.OIDC_NEW_ACCOUNTS)

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:  # noqa: ARG002
        return True

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        claims = sociallogin.account.extra_data
        subjects = {claims[part].get("sub") for part in ("id_token", "userinfo") if part in claims}
        if len(subjects) != 1:  # OpenID Connect Core 5.3.2: otherwise the userinfo must not be used
            raise PermissionDenied
        user: User = super().populate_user(request, sociallogin, data)
        user.email, sociallogin.email_addresses = "", []
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        asked = sociallogin.state.get("data") or {}
        if "confirms" in asked:
            _confirm(request, sociallogin, asked)


def provider_of(request: HttpRequest) -> Any:
    """The one that is configured; None."""
    return next(iter(get_adapter(request).list_providers(request)), None) if settings.OIDC_ISSUER else None


def identity_of(user: User) -> SocialAccount | None:
    """At the issuer that is configured now."""
    return SocialAccount.objects.filter(user=user, provider=settings.OIDC_ID).first() if settings.OIDC_ISSUER else None


# -- leaving for the issuer --------------------------------------------------------------------------------------------------------


@login_not_required
def leave(request: HttpRequest, provider_id: str) -> HttpResponse:
    """allauth's own, but for how it sends the browser away."""
    return _by_page(request, openid_connect_login(request, provider_id))


def _by_page(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A page that goes on by itself, not a redirect: `form-action 'self'` forbids forms that end elsewhere, over any redirect."""
    url = response.get("Location", "")
    if not url.startswith(("https://", "http://")):
        return response
    page = render(request, "accounts/leaving.html", {"url": url, "label": settings.OIDC_LABEL})
    page["Cache-Control"] = "no-store"
    return page


# -- confirming that it is you -----------------------------------------------------------------------------------------------------


class ConfirmBySingleSignOn(BaseReauthenticateView):
    """For whoever has no password: the issuer asks for the login again (`prompt=login`, `max_age=0`), then it goes on as always."""

    form_class = forms.Form
    template_name = "accounts/confirm_by_single_sign_on.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.session.pop(CONFIRMED, False):
            return super().form_valid(self.get_form())
        return super().get(request, *args, **kwargs)

    def form_valid(self, form: forms.Form) -> HttpResponse:  # noqa: ARG002
        here = reverse("accounts:confirm_by_single_sign_on")
        after = get_next_redirect_url(self.request)
        response = provider_of(self.request).redirect(
            self.request,
            process="redirect",
            next_url=f"{here}?{urlencode({'next': after})}" if after else here,
            data={"confirms": self.request.user.pk, "at": time.time()},
            auth_params={"prompt": "login", "max_age": "0"},
        )
        return _by_page(self.request, response)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"label": settings.OIDC_LABEL}


def _confirm(request: HttpRequest, sociallogin: SocialLogin, asked: dict[str, Any]) -> None:
    """The same person, and asked anew: the issuer says when it last saw them prove who they are (`auth_time`)."""
    user = request.user
    signed_in_at = sociallogin.account.extra_data.get("id_token", {}).get("auth_time")
    if not isinstance(user, User) or not sociallogin.is_existing or sociallogin.user != user or user.pk != asked["confirms"]:
        _not_confirmed(request, _("That was another account. Sign in there as the person that you are here."))
    if not isinstance(signed_in_at, int) or signed_in_at < asked["at"] - CLOCK_SKEW_SECONDS:
        _not_confirmed(
            request, _("%(label)s did not ask you to sign in again. Set up an authenticator app or a passkey to confirm by that.")
            % {"label": settings.OIDC_LABEL},
        )  # fmt: skip
    account = sociallogin.account
    record_authentication(request, user, "socialaccount", provider=account.provider, uid=account.uid, reauthenticated=True)
    request.session[CONFIRMED] = True


def _not_confirmed(request: HttpRequest, why: str) -> NoReturn:
    messages.error(request, why)
    raise ImmediateHttpResponse(redirect("accounts:you"))
