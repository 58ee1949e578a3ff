"""A page that needs a secret which no key opens says so, whichever page it is: which secret, and what to do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin

from pgpanel.keyring import EncryptionKeyLost


class SaidPlainly(MiddlewareMixin):
    """(The API says it as a problem: `pgpanel.rest.problems`.)"""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, EncryptionKeyLost):
            return None
        return render(request, "keys_lost.html", {"why": str(exception)}, status=409)
