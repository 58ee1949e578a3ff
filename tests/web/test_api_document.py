"""The OpenAPI document: current, complete, and every endpoint with its rule."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command

from pgpanel.api import api
from pgpanel.rest.rules import Rule

OPERATIONS = [
    (operation.methods[0], path, operation)
    for bound in api._get_bound_routers()
    for path, view in bound.path_operations.items()
    for operation in view.operations
]


def test_the_committed_document_is_what_the_api_is():
    call_command("openapi", check=True)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=lambda each: str(each) if isinstance(each, str) else "")
def test_every_endpoint_declares_its_rule_and_is_told_in_the_document(method, path, operation):
    rule = operation.view_func.rule
    assert isinstance(rule, Rule)
    assert (rule.role is None) == (rule.scope in ("oneself", "signed in", "token"))
    told = json.loads(json.dumps(api.get_openapi_schema()))["paths"][f"/api/v1{path}"][method.lower()]
    assert told["x-required-role"] == rule.role
    assert {"401", "403", "422", "429"} <= set(told["responses"])
    assert told["summary"] != operation.view_func.__name__.title().replace("_", " "), "say what it does"


def test_it_is_openapi_3_1_with_bearer_tokens():
    told = api.get_openapi_schema()
    assert told["openapi"] == "3.1.0"
    assert told["components"]["securitySchemes"]["Token"]["scheme"] == "bearer"
