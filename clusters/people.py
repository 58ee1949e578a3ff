"""People and what they may: for administrators over all clusters."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import services as accounts
from accounts.models import User
from accounts.reauthentication import dangerous
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
        user = accounts.person_create(**person_form.cleaned_data)
        messages.success(request, _("%(name)s may log in now, and sees nothing until a role is given.") % {"name": user})
        return redirect("clusters:people")
    if do == "grant" and grant_form.is_valid():
        given = grant_form.cleaned_data
        grant_give(given["user"], given["cluster"], given["role"])
        messages.success(request, _("Given."))
        return redirect("clusters:people")
    users = User.objects.prefetch_related("grants__cluster").order_by("username")
    return render(request, "clusters/people.html", {"people": users, "person_form": person_form, "grant_form": grant_form})


@require_POST
@dangerous("person.change")
def person_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Let somebody in, or not any more; nobody can shut himself out."""
    require(request.user, "administrator", None)
    user = get_object_or_404(User, pk=pk)
    if user.pk == request.user.pk:
        messages.error(request, _("You cannot shut yourself out."))
    else:
        accounts.person_let_in(user, is_active=not user.is_active)
    return redirect("clusters:people")


@require_POST
@dangerous("person.change")
def grant_remove(request: HttpRequest, pk: int) -> HttpResponse:
    require(request.user, "administrator", None)
    grant_take(get_object_or_404(Grant, pk=pk))
    messages.success(request, _("Taken back."))
    return redirect("clusters:people")
