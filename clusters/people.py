"""People and what they may: for administrators over all clusters."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import services as accounts
from accounts.models import AuditEntry, User
from accounts.reauthentication import dangerous
from accounts.sessions import device_of, sessions_end, sessions_of
from clusters.forms import GrantForm, PersonForm
from clusters.granting import grant_give, grant_take
from clusters.models import Grant
from clusters.rights import require


@require_http_methods(["GET", "POST"])
@dangerous("person.change")
def people(request: HttpRequest) -> HttpResponse:
    require(request.user, "administrator", None)
    do = request.POST.get("do", "")
    person_form = PersonForm(request.POST if do == "person" else None, prefix="person")
    grant_form = GrantForm(request.POST if do == "grant" else None, prefix="grant")
    if do == "person" and person_form.is_valid():
        name, full_name = person_form.cleaned_data["username"], person_form.cleaned_data["full_name"]
        if person_form.cleaned_data["is_service"]:
            return redirect("clusters:person", accounts.service_create(name).pk)
        user = accounts.person_create(name, full_name=full_name)
        return _person_page(request, user, link=_link(request, user))
    if do == "grant" and grant_form.is_valid():
        given = grant_form.cleaned_data
        grant_give(given["user"], given["cluster"], given["role"])
        messages.success(request, _("Given."))
        return redirect("clusters:people")
    everybody = _everybody()
    context = {
        "people": everybody.filter(is_service=False), "programs": everybody.filter(is_service=True),
        "person_form": person_form, "grant_form": grant_form,
    }  # fmt: skip
    return render(request, "clusters/people.html", context)


def _everybody() -> QuerySet[User]:
    """With what each last did (`did`, `did_at`), second factors and single sign-on."""
    last = AuditEntry.objects.filter(who=OuterRef("username")).order_by("-number")
    found = User.objects.annotate(did=Subquery(last.values("action")[:1]), did_at=Subquery(last.values("at")[:1]))
    return found.prefetch_related("grants__cluster", "authenticator_set", "socialaccount_set").order_by("username")


@require_GET
def person(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "administrator", None)
    return _person_page(request, get_object_or_404(_everybody(), pk=pk))


def _person_page(request: HttpRequest, user: User, link: str = "") -> HttpResponse:
    """link: shown this once."""
    context: dict[str, Any] = {
        "person": _everybody().get(pk=user.pk), "link": link, "is_self": user.pk == request.user.pk,
        "sessions": [(session, device_of(session.user_agent)) for session in sessions_of(user)],
        "tokens": user.tokens.filter(revoked_at=None).count(),
    }  # fmt: skip
    page = render(request, "clusters/person.html", context)
    if link:
        page["Cache-Control"] = "no-store"
    return page


def _link(request: HttpRequest, user: User) -> str:
    return request.build_absolute_uri(accounts.sign_in_path(user))


def _other(request: HttpRequest, pk: int) -> User | None:
    """Whom something is done to; nobody does it to oneself here."""
    require(request.user, "administrator", None)
    user = get_object_or_404(User, pk=pk)
    if user.pk == request.user.pk:
        messages.error(request, _("You cannot do that to yourself here. Your own account has a page."))
        return None
    return user


@require_POST
@dangerous("person.change")
def person_link(request: HttpRequest, pk: int) -> HttpResponse:
    """A link by which somebody chooses a password. Not for a program."""
    user = _other(request, pk)
    if user is None or user.is_service or not user.is_active:
        return redirect("clusters:person", pk)
    return _person_page(request, user, link=_link(request, user))


@require_POST
@dangerous("person.change")
def person_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Let somebody in, or not any more."""
    if user := _other(request, pk):
        accounts.person_let_in(user, is_active=not user.is_active)
        text = _("%(name)s is let in.") if user.is_active else _("%(name)s is shut out, and signed out everywhere.")
        messages.success(request, text % {"name": user})
    return redirect("clusters:person", pk)


@require_POST
@dangerous("person.change")
def person_sign_out(request: HttpRequest, pk: int) -> HttpResponse:
    if user := _other(request, pk):
        sessions_end(user)
        messages.success(request, _("%(name)s is signed out everywhere.") % {"name": user})
    return redirect("clusters:person", pk)


@require_POST
@dangerous("person.change")
def person_forget_factors(request: HttpRequest, pk: int) -> HttpResponse:
    """For a lost phone or key."""
    if user := _other(request, pk):
        accounts.person_forget_factors(user)
        messages.success(request, _("%(name)s signs in without a second factor until a new one is set up.") % {"name": user})
    return redirect("clusters:person", pk)


@require_POST
@dangerous("person.change")
def grant_remove(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "administrator", None)
    grant = get_object_or_404(Grant, pk=pk)
    grant_take(grant)
    messages.success(request, _("Taken back."))
    return redirect("clusters:person", grant.user_id)
