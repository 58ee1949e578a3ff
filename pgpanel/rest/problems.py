"""Errors as RFC 9457 has them (`application/problem+json`): what is wrong, at which field or host, and what mends it."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as Invalid
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from ninja import Field, NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from pgpanel.keyring import EncryptionKeyLost

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
URN = "urn:pgpanel:problem:"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. field: of the body or the query, dotted; host: a node's name; "" where it is neither."""

    message: str
    field: str = ""
    host: str = ""
    mend: str = ""


class Problem(Exception):
    """Raised by an endpoint, answered as problem+json. kind: the last word of `type`, which programs may rely on."""

    def __init__(
        self, status: int, kind: str, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.faults, self.headers = tuple(faults), dict(headers or {})

    @property
    def response(self) -> HttpResponse:
        title = self.kind.replace("-", " ").capitalize()
        body = {
            "type": URN + self.kind, "title": title, "status": self.status, "detail": self.detail,
            "errors": [asdict(fault) for fault in self.faults],
        }  # fmt: skip
        return HttpResponse(json.dumps(body), status=self.status, content_type=CONTENT_TYPE, headers=self.headers)


class FaultOut(Schema):
    field: str = Field("", description="Which field of the body or the query, dotted; empty where it is none.")
    host: str = Field("", description="Which node; empty where it is none.")
    message: str
    mend: str = Field("", description="What to do about it.")


class ProblemOut(Schema):
    """RFC 9457. `type` is stable and may be relied on, texts may change."""

    type: str = Field(examples=["urn:pgpanel:problem:cluster-busy"])
    title: str = Field(examples=["Cluster busy"])
    status: int = Field(examples=[409])
    detail: str
    errors: list[FaultOut]


KINDS = {
    400: "bad-request", 401: "not-authenticated", 403: "not-allowed", 404: "not-found", 405: "method-not-allowed",
    409: "conflict", 411: "length-required", 413: "too-large", 415: "unsupported-media-type", 422: "not-valid",
    429: "too-many-requests",
}  # fmt: skip
"""What a problem is called where nothing more is known than its status."""


def problem_of(status: int, detail: str = "") -> Problem:
    return Problem(status, KINDS.get(status, "failed"), detail or HTTPStatus(status).phrase)


def invalid(error: Invalid) -> Problem:
    """Of Django's own validation: models, forms and services raise it."""
    named = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    faults = [Fault(text, "" if name == "__all__" else name) for name, texts in named.items() for text in texts]
    return Problem(422, "not-valid", " ".join(fault.message for fault in faults), faults)


def form_invalid(errors: Mapping[str, Sequence[Any]], names: Mapping[str, str] | None = None) -> Problem:
    """Of a Django form (`form.errors`). names: what the API calls a field that the form calls otherwise."""
    faults = [
        Fault(str(text), "" if field == "__all__" else (names or {}).get(field, field))
        for field, texts in errors.items() for text in texts
    ]  # fmt: skip
    return Problem(422, "not-valid", " ".join(fault.message for fault in faults), faults)


def _unread(error: ValidationError) -> Problem:
    """Of ninja's reading of path, query, headers and body; `loc` is ("body", "<argument>", field…)."""
    faults = [_fault(one) for one in error.errors]
    return Problem(422, "not-valid", "; ".join(f"{fault.field}: {fault.message}".lstrip(": ") for fault in faults), faults)


def _fault(error: Mapping[str, Any]) -> Fault:
    place = [str(part) for part in error.get("loc", ())]
    field = place[2:] if place[:1] == ["body"] else place[1:]
    return Fault(str(error.get("msg", "")), ".".join(field) or (place[-1] if place else ""))


def _http(error: HttpError) -> Problem:
    # ninja says 400 of a body that is no JSON; its text quotes the parser
    return problem_of(error.status_code, str(error))


def _throttled(error: Throttled) -> Problem:
    problem = problem_of(429, "Too many calls. Wait, then call again.")
    problem.headers["Retry-After"] = str(max(1, error.wait or 1))
    return problem


def _unexpected(error: Exception) -> Problem:
    logger.error("an endpoint failed", exc_info=error)
    return Problem(500, "failed", "This is a fault of the panel; its log says more.")


TOLD: dict[type[Exception], Any] = {
    Problem: lambda error: error,
    ValidationError: _unread,
    Invalid: invalid,
    PermissionDenied: lambda error: problem_of(403, str(error)),
    Http404: lambda error: problem_of(404, str(error)),
    AuthenticationError: lambda _error: not_authenticated(),
    Throttled: _throttled,
    HttpError: _http,
    EncryptionKeyLost: lambda error: Problem(409, "keys-lost", str(error), [Fault(str(error))]),
    Exception: _unexpected,
}


def not_authenticated(detail: str = "Send a token: Authorization: Bearer pgp_…") -> Problem:
    problem = problem_of(401, detail)
    problem.headers["WWW-Authenticate"] = 'Bearer realm="pgpanel"'
    return problem


def tell(api: NinjaAPI, more: Mapping[type[Exception], Any]) -> None:
    """Have the API answer exceptions as problems. more: a room's own, each with the function that makes the `Problem` of it."""
    for kind, made in (TOLD | dict(more)).items():
        api.add_exception_handler(kind, _handler(made))


def _handler(made: Any) -> Any:
    def handled(_request: HttpRequest, error: Exception) -> HttpResponse:
        return made(error).response  # type: ignore[no-any-return]

    return handled


Respond = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]
ROOT = "/api/v1/"


@sync_and_async_middleware
def middleware(get_response: Respond) -> Respond:
    """What Django itself answers below the API (no such path, another method, a wrong host), as a problem instead of a page."""
    if iscoroutinefunction(get_response):

        async def respond_later(request: HttpRequest) -> HttpResponseBase:
            return _as_problem(request, await cast(Awaitable[HttpResponseBase], get_response(request)))

        return respond_later

    def respond(request: HttpRequest) -> HttpResponseBase:
        return _as_problem(request, cast(HttpResponseBase, get_response(request)))

    return respond


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if response.status_code < 400 or not is_page or not request.path.startswith(ROOT):
        return response
    problem = problem_of(response.status_code)
    problem.headers |= {name: response[name] for name in ("Allow",) if name in response}
    return problem.response
