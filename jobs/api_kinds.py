"""The JSON schema of a kind's parameters, from the dataclass that the kind itself reads them into."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from jobs.kinds import KINDS


@cache
def schema_of(kind_name: str) -> dict[str, Any]:
    wanted = get_type_hints(KINDS[kind_name].params)["return"]
    schema = TypeAdapter(wanted).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "description": inspect.getdoc(wanted) or ""}
