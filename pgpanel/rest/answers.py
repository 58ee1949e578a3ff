"""Answers with headers: what a POST returns, so that it can be remembered whole."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Schema

JSON = "application/json; charset=utf-8"


def answered(status: int, body: Schema | None, *, location: str = "", etag: str = "") -> HttpResponse:
    content = body.model_dump_json() if body is not None else ""
    headers = {name: value for name, value in (("Location", location), ("ETag", etag)) if value}
    return HttpResponse(content, status=status, content_type=JSON, headers=headers)
