"""The audit trail's page and its exports: for administrators, of what they administer (`rights.entries_for`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime, time, timedelta
from itertools import islice

from asgiref.sync import sync_to_async
from django import forms
from django.contrib import messages
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from accounts.audit import record
from accounts.audit_search import FORMATS, Search, page_of
from accounts.tasks import start_verifying
from accounts.trail import AuditEntry, AuditHead
from clusters.rights import entries_for, may, require

LINES_AT_ONCE = 500
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
DAY = forms.DateInput({"type": "date"})


class SearchForm(forms.Form):
    text = forms.CharField(label=gettext_lazy("Text"), max_length=200, required=False, widget=forms.TextInput(PLAIN))
    who = forms.CharField(label=gettext_lazy("Who"), max_length=150, required=False, widget=forms.TextInput(PLAIN))
    action = forms.CharField(label=gettext_lazy("Action"), max_length=60, required=False, widget=forms.TextInput(PLAIN))
    cluster = forms.CharField(label=gettext_lazy("Cluster"), max_length=39, required=False, widget=forms.TextInput(PLAIN))
    since = forms.DateField(label=gettext_lazy("From"), required=False, widget=DAY)
    until = forms.DateField(label=gettext_lazy("To, inclusive"), required=False, widget=DAY)

    def search(self) -> Search:
        found = self.cleaned_data
        until = found["until"] + timedelta(days=1) if found["until"] else None
        words = {name: found[name].strip() for name in ("text", "who", "action", "cluster")}
        return Search(**words, since=_begin_of(found["since"]), until=_begin_of(until))


def _begin_of(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time())) if day else None


@require_GET
def audit(request: HttpRequest) -> HttpResponse:
    entries = entries_for(request.user)
    form = SearchForm(request.GET)
    before = request.GET.get("before", "")
    found: list[AuditEntry] = []
    following = None
    if form.is_valid():
        found, following = page_of(form.search().of(entries), int(before) if before.isdecimal() and len(before) < 19 else None)
    is_over_all = may(request.user, "administrator", None)
    context = {
        "form": form, "entries": found, "following": following, "is_first": not before,
        "asked": _asked(request), "is_searched": bool(_asked(request)),
        "head": AuditHead.objects.first() if is_over_all else None, "is_over_all": is_over_all,
        "formats": sorted(FORMATS),
    }  # fmt: skip
    return render(request, "clusters/audit.html", context)


def _asked(request: HttpRequest) -> str:
    """The search as it stands in the address, without the page."""
    query = request.GET.copy()
    for name in list(query):
        if name not in SearchForm.base_fields or not query[name]:
            del query[name]
    return query.urlencode()


@require_GET
def audit_export(request: HttpRequest, format: str) -> HttpResponseBase:  # noqa: A002
    """All that the search finds, oldest first, as it is read from the database."""
    entries = entries_for(request.user)
    form = SearchForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest(_("No such day."), content_type="text/plain; charset=utf-8")
    record("audit.export", detail={"format": format, "search": _asked(request)})
    content_type, told = FORMATS[format]
    response = StreamingHttpResponse(_streamed(request, told(form.search().of(entries))), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="audit-{timezone.now():%Y-%m-%d}.{format}"'
    return response


def _streamed(request: HttpRequest, lines: Iterator[str]) -> Iterator[str] | AsyncIterator[str]:
    """As the server wants it: an ASGI server would gather a plain iterator's lines in memory first."""
    return _later(lines) if isinstance(request, ASGIRequest) else lines


async def _later(lines: Iterator[str]) -> AsyncIterator[str]:
    def some() -> str:
        return "".join(islice(lines, LINES_AT_ONCE))

    while text := await sync_to_async(some)():
        yield text


@require_POST
def audit_verify(request: HttpRequest) -> HttpResponse:
    require(request.user, "administrator", None)
    if start_verifying():
        messages.success(request, _("A worker verifies the trail now: load this page again in a moment."))
    else:
        messages.error(
            request,
            _("The panel's queue (Redis) cannot be reached, so nobody verifies. On the panel's machine: manage.py audit verify"),
        )
    return redirect("clusters:audit")
