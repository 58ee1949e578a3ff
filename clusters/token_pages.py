"""API tokens as a page: one's own, and service accounts' for administrators over all. A token's text is shown this once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import Role, User
from accounts.reauthentication import dangerous
from accounts.tokens import DAYS, MOST_DAYS, networks_read, token_revoke
from clusters import tokens
from clusters.models import Cluster
from clusters.rights import clusters_for, may

PLAIN = {"autocomplete": "off", "spellcheck": "false"}


class TokenForm(forms.Form):
    user = forms.ModelChoiceField(label=gettext_lazy("Whose"), queryset=User.objects.none())
    name = forms.CharField(label=gettext_lazy("What it is for"), max_length=80, widget=forms.TextInput(PLAIN))
    role = forms.ChoiceField(
        label=gettext_lazy("It may at most"), choices=Role.choices, initial=Role.VIEWER,
        help_text=gettext_lazy("Never more than its user may at that moment."),
    )  # fmt: skip
    clusters = forms.ModelMultipleChoiceField(
        label=gettext_lazy("Only on these clusters"), queryset=Cluster.objects.none(), required=False,
        widget=forms.CheckboxSelectMultiple, help_text=gettext_lazy("None chosen: wherever its user may."),
    )  # fmt: skip
    networks = forms.CharField(
        label=gettext_lazy("Only from these networks"), required=False, max_length=500, widget=forms.TextInput(PLAIN),
        help_text=gettext_lazy("Separated by commas, as 10.0.0.0/24. Empty: from everywhere."),
    )  # fmt: skip
    days = forms.IntegerField(label=gettext_lazy("Days until it ends"), min_value=1, max_value=MOST_DAYS - 1, initial=DAYS)

    def __init__(self, *arguments: Any, by: User, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.by = by
        whose = User.objects.filter(pk=by.pk)
        if may(by, "administrator", None):
            whose |= User.objects.filter(is_service=True, is_active=True)
        cast(Any, self.fields["user"]).queryset = whose.order_by("is_service", "username")
        self.fields["user"].initial = by.pk
        cast(Any, self.fields["clusters"]).queryset = clusters_for(by)
        if whose.count() == 1:
            self.fields["user"].required = False
            self.fields["user"].widget = forms.HiddenInput()

    def clean_networks(self) -> list[str]:
        try:
            return networks_read(self.cleaned_data["networks"].split(","))
        except ValidationError as error:
            raise ValidationError(error.messages) from None

    def made(self) -> str:
        """The new token's text."""
        given = self.cleaned_data
        return tokens.token_create(
            self.by, given["user"] or self.by, given["name"], given["role"], networks=given["networks"],
            expires_at=timezone.now() + timedelta(days=given["days"]), clusters=given["clusters"] or None,
        )[1]  # fmt: skip


@never_cache
@require_http_methods(["GET", "POST"])
@dangerous("token.make")
def token_list(request: HttpRequest) -> HttpResponse:
    user = cast(User, request.user)
    form, secret = TokenForm(request.POST or None, by=user), ""
    if request.method == "POST" and form.is_valid():
        secret = form.made()
        form = TokenForm(by=user)
    context = {
        "form": form, "secret": secret, "rows": tokens.tokens_for(user), "now": timezone.now(),
        "is_over_all": may(user, "administrator", None), "url": request.build_absolute_uri("/api/v1/"),
    }  # fmt: skip
    return render(request, "clusters/tokens.html", context)


@require_POST
def token_end(request: HttpRequest, public_id: str) -> HttpResponse:
    token = get_object_or_404(tokens.tokens_for(cast(User, request.user)), public_id=public_id)
    token_revoke(token)
    messages.success(request, _("“%(name)s” counts no more.") % {"name": token.name})
    return redirect("clusters:tokens")
