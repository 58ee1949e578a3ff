"""A node's fence command: set by an administrator over all clusters (it runs on the panel's own machine), tested by a click."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from accounts.reauthentication import dangerous, is_secret_missing
from clusters import tasks
from clusters.fencing import fence_set, fence_words
from clusters.rights import may, node_or_404, require

PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none", "class": "font-monospace"}


class FenceForm(forms.Form):
    command = forms.CharField(
        label=gettext_lazy("Command that switches the host off"), max_length=500, required=False, widget=forms.TextInput(PLAIN),
        help_text=gettext_lazy("Exit code 0 means: the host is off. For instance /usr/bin/ipmitool -I lanplus -H 10.0.9.1 -U admin -E chassis power off"),  # noqa: E501
    )  # fmt: skip
    test_command = forms.CharField(
        label=gettext_lazy("Command that asks the same device and changes nothing"), max_length=500, required=False,
        widget=forms.TextInput(PLAIN),
        help_text=gettext_lazy("For instance the same with “chassis power status”: it proves address, account and password."),
    )  # fmt: skip
    secret = forms.CharField(
        label=gettext_lazy("Its password"), required=False, strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("Handed over as IPMI_PASSWORD and PGPANEL_FENCE_SECRET. Empty: the kept one stays."),
    )  # fmt: skip
    is_forgotten = forms.BooleanField(label=gettext_lazy("Forget the kept password"), required=False)

    def clean_command(self) -> str:
        return self._words("command")

    def clean_test_command(self) -> str:
        return self._words("test_command")

    def _words(self, name: str) -> str:
        given: str = self.cleaned_data[name].strip()
        fence_words(given)
        return given

    def clean(self) -> None:
        cleaned = super().clean() or {}
        if is_secret_missing(self.data):
            raise ValidationError(_("Type the password once more: it was not kept while you confirmed that it is you."))
        if cleaned.get("test_command") and not cleaned.get("command"):
            raise ValidationError(_("A test without the command that it tests."))

    @property
    def secret_given(self) -> str | None:
        """None: as it is; "": forgotten."""
        return "" if self.cleaned_data["is_forgotten"] else self.cleaned_data["secret"] or None


def _may_set(request: HttpRequest, *_where: str, **_named: str) -> bool:
    return may(request.user, "administrator", None)


@require_http_methods(["GET", "POST"])
@dangerous("fence.set", when=_may_set, secrets=("secret",))
def fence(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    found = node_or_404(request.user, name, node_name, "operator")
    may_set = _may_set(request)
    initial = {"command": found.fence_command, "test_command": found.fence_test_command}
    form = FenceForm(request.POST or None, initial=initial)
    if request.method == "POST":
        require(request.user, "administrator", None)
        if form.is_valid():
            fence_set(found, form.cleaned_data["command"], form.cleaned_data["test_command"], form.secret_given)
            messages.success(request, _("Saved. Test it now: on the day there is no time for that."))
            return redirect("clusters:node_fence", name, node_name)
    is_waiting = found.fence_asked_at is not None
    context = {"cluster": found.cluster, "node": found, "form": form, "may_set": may_set, "is_waiting": is_waiting}
    return render(request, "clusters/fence.html", context)


@require_POST
def fence_test(request: HttpRequest, name: str, node_name: str) -> HttpResponse:
    found = node_or_404(request.user, name, node_name, "operator")
    tasks.start_fence_test(found)
    return redirect("clusters:node_fence", name, node_name)
