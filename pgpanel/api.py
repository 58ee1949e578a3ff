"""The REST API, `/api/v1/`: joins the rooms' routers. Interactive docs at `/api/v1/docs`; `docs/openapi.json` is the document."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern
from ninja import NinjaAPI, Swagger
from ninja.openapi.schema import OpenAPISchema

import clusters.api
import jobs.api
import monitor.api
import webhooks.api
from pgpanel.rest import problems
from pgpanel.rest.login import LOGINS

DESCRIPTION = """\
Everything that a page of pgpanel can do. Changes go in two steps: `POST …/plans` makes a plan, `POST …/jobs` starts it by its hash.
Errors are RFC 9457 problems; `Idempotency-Key` makes a POST count once; lists go by cursor. See docs/api.md."""


class PanelAPI(NinjaAPI):
    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        components = schema["components"]
        components["schemas"].update(_schemas_of_problems())
        content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
        components["responses"] = {
            f"Problem{status}": {"description": kind.replace("-", " ").capitalize(), "content": content}
            for status, kind in problems.KINDS.items()
        }
        return schema

    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)


def _schemas_of_problems() -> dict[str, Any]:
    schema = problems.ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), "ProblemOut": schema}


api = PanelAPI(
    title="pgpanel", version="1", description=DESCRIPTION, urls_namespace="api-v1", auth=LOGINS,
    docs=Swagger({"persistAuthorization": False, "displayRequestDuration": True, "docExpansion": "list", "validatorUrl": None}),
    servers=[{"url": "/", "description": "This panel"}],
)  # fmt: skip
for room in (clusters.api, jobs.api, monitor.api, webhooks.api):
    for router in room.ROUTERS:
        api.add_router("", router)
problems.tell(api, jobs.api.PROBLEMS)

patterns = [pattern for pattern in api.urls[0] if isinstance(pattern, URLPattern)]
for pattern in patterns:
    if pattern.name not in ("openapi-view",):  # the docs are a page, for people who are signed in
        login_not_required(pattern.callback)
urls = (patterns, *api.urls[1:])
