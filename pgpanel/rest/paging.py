"""Lists by cursor: `?after=<cursor>&limit=<n>`; the answer's `next` is the cursor of the page behind it, null at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from ninja import Field, Query, Schema
from pydantic import AwareDatetime, BeforeValidator

from pgpanel.rest.problems import Fault, Problem

T = TypeVar("T")
M = TypeVar("M", bound=Model)

MOST = 500
Limit = Annotated[int, Query(100, ge=1, le=MOST, description="At most so many.")]
After = Annotated[str, Query("", max_length=200, description="The `next` of the page before.")]


def _iso(value: Any) -> Any:
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("Write it as 2026-11-23T04:00:00Z.")
    return value


When = Annotated[AwareDatetime, BeforeValidator(_iso)]
"""A moment with its zone; never a bare number, which would be taken for one."""


class Page(Schema, Generic[T]):
    items: list[T]
    next: str | None = Field(None, description="Cursor of what follows (`?after=`); null: this was the end.")


def paged(
    rows: QuerySet[M], after: str, limit: int, shown: Callable[[M], Any], *, key: str = "pk", newest_first: bool = False
) -> dict[str, Any]:
    """Rows in the order of a unique column; the cursor is its value in the last row."""
    if after:
        value: Any = after
        if key in ("pk", "id", "seq", "number"):
            value = _number(after)
        rows = rows.filter(**{f"{key}__{'lt' if newest_first else 'gt'}": value})
    found = list(rows.order_by(f"-{key}" if newest_first else key)[: limit + 1])
    following = str(getattr(found[limit - 1], key)) if len(found) > limit else None
    return {"items": [shown(row) for row in found[:limit]], "next": following}


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise Problem(422, "not-valid", "after: not a cursor of this list", [Fault("Not a cursor of this list.", "after")])
    return int(text)
