"""Who may call an endpoint, declared once: `@needs("operator", of_cluster)` finds what the path names, refuses whoever may not, and
says so in the OpenAPI document (`x-required-role`). Declared is enforced; a test refuses an endpoint without a rule.

The endpoint gets what was found; the names in the path become parameters of the operation by themselves. It takes `request` only
where it has a use for it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast, get_type_hints

from django.http import HttpRequest
from ninja import Field
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from accounts import acting
from accounts.models import User
from clusters.models import Cluster, Node
from clusters.rights import Role, cluster_or_404, node_or_404, require
from pgpanel.rest.once import once
from pgpanel.rest.topology import unmoved

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}$", examples=["registry"])]
Number = Annotated[int, Field(ge=1, le=2**63 - 1, examples=[42])]
SAFE = ("GET", "HEAD", "OPTIONS")
ALWAYS = (401, 403, 422, 429)
"""Problems that every operation may answer."""


@dataclass(frozen=True)
class Scope:
    """What a path names, and how it is found. find(user, role, path) raises Http404 or PermissionDenied.

    path: its parameters, with their types. cluster: whose what was found is; its topology is what `If-Match` is held against.
    gives: is there something for the endpoint?
    """

    name: str
    find: Callable[[User, Role, Mapping[str, Any]], Any]
    path: Mapping[str, Any]
    cluster: Callable[[Any], Cluster | None] = lambda _found: None
    gives: bool = True


@dataclass(frozen=True)
class Rule:
    """role: at least; scope: on what ("cluster", "node", "job", "all", "oneself"). Read by the table of rights."""

    role: Role | None
    scope: str


of_cluster = Scope(
    "cluster", lambda user, role, path: cluster_or_404(user, path["name"], role), {"name": Name}, lambda found: cast(Cluster, found)
)
of_node = Scope(
    "node", lambda user, role, path: node_or_404(user, path["name"], path["node"], role), {"name": Name, "node": Name},
    lambda found: cast(Node, found).cluster,
)  # fmt: skip


def _node_over_all(user: User, role: Role, path: Mapping[str, Any]) -> Node:
    node = of_node.find(user, "viewer", path)
    require(user, role, None)
    return cast(Node, node)


over_node = Scope("all, of a node", _node_over_all, of_node.path, of_node.cluster)
"""A node, by whoever has the role over all clusters."""
over_all = Scope("all", lambda user, role, _path: require(user, role, None), {}, gives=False)
oneself = Scope("oneself", lambda user, _role, _path: user, {})
"""Whoever is signed in; the answer holds only what is theirs to see."""
signed_in = Scope("signed in", lambda _user, _role, _path: None, {}, gives=False)
"""Whoever is signed in; the answer is the same for all."""


def needs(role: Role | None, scope: Scope, *problems: int) -> Callable[[Endpoint], Endpoint]:
    """problems: statuses that this endpoint answers besides those that follow from its method and path."""

    def declared(view: Endpoint) -> Endpoint:
        takes_request = "request" in inspect.signature(view).parameters

        @functools.wraps(view)
        def endpoint(request: HttpRequest, **values: Any) -> Any:
            path = {name: values.pop(name) for name in scope.path}
            user = cast(User, request.user)
            token = getattr(request, "api_token", None)
            where = acting.address_of(request)
            with acting.as_(acting.Actor(user=user, token=token.name if token else "", address=where, door="api")):
                found = scope.find(user, role or "viewer", path)
                cluster = scope.cluster(found)
                if cluster is not None and request.method not in SAFE:
                    unmoved(request, cluster)
                given = [request] * takes_request + [found] * scope.gives
                act = functools.partial(view, *given, **values)
                return once(request, act) if request.method == "POST" else act()

        endpoint.__signature__ = _signature(view, scope)  # type: ignore[attr-defined]
        endpoint.rule = Rule(role, scope.name)  # type: ignore[attr-defined]
        contribute_operation_callback(endpoint, functools.partial(_tell, scope=scope, problems=problems))
        return cast(Endpoint, endpoint)

    return declared


def _signature(view: Callable[..., Any], scope: Scope) -> inspect.Signature:
    """As ninja reads it: the request, what the path names, and the endpoint's own parameters."""
    hints = get_type_hints(view, include_extras=True)
    own = [one for one in inspect.signature(view).parameters.values() if one.name != "request"]
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HttpRequest)
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in scope.path.items()]
    named += [
        one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY) for one in own[1 if scope.gives else 0 :]
    ]
    return inspect.Signature([request, *named])


# -- the document -----------------------------------------------------------------------------------------------------------------

IDEMPOTENCY_KEY = {
    "in": "header", "name": "Idempotency-Key", "required": False, "schema": {"type": "string", "maxLength": 255},
    "description": "The same key within a day: the same answer, and nothing is done twice.",
}  # fmt: skip
IF_MATCH = {
    "in": "header", "name": "If-Match", "required": False, "schema": {"type": "string", "maxLength": 200},
    "description": "The ETag that you read: 409 where the topology has moved since.",
}  # fmt: skip


def _tell(operation: Operation, scope: Scope, problems: tuple[int, ...]) -> None:
    """Rule, headers and problems of an operation, into its part of the OpenAPI document."""
    method = operation.methods[0]
    rule: Rule = operation.view_func.rule  # type: ignore[attr-defined]
    found = {*ALWAYS, *problems} | ({404} if scope.path else set())
    headers = []
    if method == "POST":
        headers.append(IDEMPOTENCY_KEY)
        found |= {400, 409, 413}
    if method not in SAFE:
        found |= {400, 413}
        if scope.path:
            headers.append(IF_MATCH)
            found.add(409)
    extra = operation.openapi_extra or {}
    extra.setdefault("responses", {}).update({status: {"$ref": f"#/components/responses/Problem{status}"} for status in found})
    extra["x-required-role"], extra["x-scope"] = rule.role, rule.scope
    if headers:
        extra["parameters"] = [*extra.get("parameters", []), *headers]
    operation.openapi_extra = extra
