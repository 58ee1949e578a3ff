"""A person's own account: how they sign in, where they are signed in, and the end of any of it."""

from __future__ import annotations

from typing import cast

from allauth.account.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from accounts.sessions import device_of, sessions_end, sessions_of


def person(request: HttpRequest) -> User:
    return cast(User, request.user)  # LoginRequiredMiddleware lets nobody else in


@login_not_required
@require_GET
def no_reset_by_mail(request: HttpRequest) -> HttpResponse:
    """Whoever reads the mail or the log would have the account; an administrator's link ends, and stands in the audit trail."""
    return render(request, "account/password_reset.html")


@require_GET
def you(request: HttpRequest) -> HttpResponse:
    user = person(request)
    factors = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    context = {
        "sessions": [(session, device_of(session.user_agent)) for session in sessions_of(user)],
        "has_password": user.has_usable_password(),
        "has_app": any(one.type == Authenticator.Type.TOTP for one in factors),
        "keys": [one for one in factors if one.type == Authenticator.Type.WEBAUTHN],
        "identities": list(SocialAccount.objects.filter(user=user)),
        "sign_on_label": settings.OIDC_LABEL if settings.OIDC_ISSUER else "",
        "token_count": user.tokens.filter(revoked_at=None, expires_at__gt=timezone.now()).count(),
        "grants": user.grants.select_related("cluster").order_by("cluster__name"),
    }
    return render(request, "accounts/you.html", context)


@require_POST
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    """One of one's own; another's does not exist here. This very one: signed out."""
    user = person(request)
    if any(session.pk == pk and session.is_current() for session in sessions_of(user)):
        get_adapter(request).logout(request)
        return redirect("account_login")
    if sessions_end(user, only=pk):
        messages.success(request, _("Signed out there."))
    return redirect("accounts:you")


@require_POST
def sessions_end_others(request: HttpRequest) -> HttpResponse:
    count = sessions_end(person(request), keep=request.session.session_key)
    text = ngettext("One other session was ended.", "%(count)d other sessions were ended.", count) % {"count": count}
    messages.success(request, text)
    return redirect("accounts:you")
