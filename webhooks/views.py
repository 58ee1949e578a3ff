"""Pages of webhooks, for administrators over all clusters: who is told, what was sent, what was answered."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from clusters.forms import RemoveForm
from clusters.rights import require
from clusters.secrets import EncryptionKeyLost
from webhooks import services
from webhooks.catalog import OFFERED
from webhooks.forms import ReplayForm, SubscriptionForm
from webhooks.models import Delivery, Subscription

DELIVERIES_SHOWN = 50


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    require(request.user, "administrator", None)
    taken = Max("deliveries__attempts__at", filter=Q(deliveries__attempts__status_code__range=(200, 299)))
    return render(request, "webhooks/index.html", {"subscriptions": Subscription.objects.annotate(taken_at=taken)})


@require_http_methods(["GET", "POST"])
@never_cache
def new(request: HttpRequest) -> HttpResponse:
    """The secret stands in the answer to this POST and nowhere else."""
    require(request.user, "administrator", None)
    form = SubscriptionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made, secret = services.subscribe(_person(request), **form.wanted)
        except EncryptionKeyLost as error:
            form.add_error(None, str(error))
        else:
            return _shown_once(request, made, secret)
    return render(request, "webhooks/edit.html", {"form": form, "catalog": OFFERED})


@require_GET
def detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    return _detail(request, _found(request, uuid), ReplayForm())


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = _found(request, uuid)
    form = SubscriptionForm(request.POST or None, subscription=found)
    if request.method == "POST" and form.is_valid():
        services.change(found, **form.wanted, is_active=form.cleaned_data["is_active"])
        messages.success(request, _("Saved."))
        return redirect("webhooks:detail", found.uuid)
    return render(request, "webhooks/edit.html", {"form": form, "subscription": found, "catalog": OFFERED})


@require_POST
@never_cache
def rotate(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = _found(request, uuid)
    try:
        return _shown_once(request, found, services.secret_rotate(found))
    except EncryptionKeyLost as error:
        messages.error(request, str(error))
        return redirect("webhooks:detail", found.uuid)


@require_POST
def test(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = _found(request, uuid)
    if found.is_active:
        services.test(found, _person(request))
        messages.success(request, _("A test is on its way. What was answered stands below in a moment."))
    else:
        messages.error(request, _("It is not active: switch it on first."))
    return redirect("webhooks:detail", found.uuid)


@require_POST
def replay(request: HttpRequest, uuid: UUID, pk: int) -> HttpResponse:
    found = _found(request, uuid)
    services.replay(get_object_or_404(Delivery.objects.select_related("event", "subscription"), pk=pk, subscription=found))
    messages.success(request, _("It is sent once more."))
    return redirect("webhooks:detail", found.uuid)


@require_POST
def replay_since(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = _found(request, uuid)
    form = ReplayForm(request.POST)
    if not form.is_valid():
        return _detail(request, found, form)
    try:
        count = services.replay_since(found, form.cleaned_data["since"])
    except services.TooLongAgo as error:
        form.add_error("since", str(error))
        return _detail(request, found, form)
    text = ngettext("%(count)s event is sent once more.", "%(count)s events are sent once more.", count)
    messages.success(request, text % {"count": count})
    return redirect("webhooks:detail", found.uuid)


@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    found = _found(request, uuid)
    form = RemoveForm(request.POST or None, expected=found.name)
    if request.method == "POST" and form.is_valid():
        services.unsubscribe(found)
        messages.success(request, _("%(name)s is told nothing any more.") % {"name": found.name})
        return redirect("webhooks:index")
    return render(request, "webhooks/remove.html", {"subscription": found, "form": form})


def _found(request: HttpRequest, uuid: UUID) -> Subscription:
    require(request.user, "administrator", None)
    return get_object_or_404(Subscription.objects.select_related("secret", "previous_secret"), uuid=uuid)


def _detail(request: HttpRequest, found: Subscription, replay_form: ReplayForm) -> HttpResponse:
    deliveries = found.deliveries.select_related("event__cluster").prefetch_related("attempts")
    page = Paginator(deliveries, DELIVERIES_SHOWN).get_page(request.GET.get("page"))
    context = {"subscription": found, "page": page, "replay_form": replay_form}
    return render(request, "webhooks/detail.html", context, status=400 if replay_form.is_bound else 200)


def _shown_once(request: HttpRequest, subscription: Subscription, secret: str) -> HttpResponse:
    return render(request, "webhooks/secret.html", {"subscription": subscription, "secret": secret})


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User), "require() has let nobody else through"
    return request.user
