"""One call to a service of messages, by the guard of all outgoing requests; what went wrong is said without what is secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from monitor.channels.contract import NotSent
from pgpanel.outgoing.addresses import AddressRefused, check_url, destination
from pgpanel.outgoing.posting import post
from pgpanel.redaction import Redactor
from remote.command import Secret

USER_AGENT = "pgpanel-alerts/1"
SHOWN_OF_ANSWER = 160


def validate_url(url: str) -> None:
    """For forms: a URL that the panel may post to."""
    try:
        check_url(url)
    except AddressRefused as error:
        raise ValidationError(str(error)) from None


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def call_json(url: str, body: Mapping[str, Any], secrets: Iterable[str], headers: Mapping[str, str] | None = None) -> None:
    call(url, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}, secrets)


def call(url: str, body: bytes, headers: Mapping[str, str], secrets: Iterable[str]) -> None:
    """`NotSent` unless it was taken (2xx). secrets: what neither an answer nor an error may bring back."""
    parts = urlsplit(url)
    hidden = Redactor(Secret("<hidden>", secret) for secret in {*secrets, url, parts.path, parts.query} if len(secret) > 1)
    try:
        answer = post(destination(url), body, {"User-Agent": USER_AGENT, "Accept": "*/*", **headers})
    except AddressRefused as error:
        raise NotSent(hidden.text(str(error))) from None
    if answer.is_taken:
        return
    if answer.status is None:
        raise NotSent(hidden.text(f"{parts.hostname}: {answer.error}"))
    if 300 <= answer.status < 400:
        raise NotSent(_("%(host)s redirects (%(status)s), which is not followed: enter the address itself") % {
            "host": parts.hostname, "status": answer.status})  # fmt: skip
    said = hidden.text(" ".join(answer.text.split()))[:SHOWN_OF_ANSWER]
    raise NotSent(f"{parts.hostname}: HTTP {answer.status}{f' “{said}”' if said else ''}")
