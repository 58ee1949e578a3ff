"""schemathesis over the whole document, with a token of each role: no 500, no answer beside the schema, no right exceeded.

Each example is one call in a savepoint, so that no example sees what another did. `-s` prints the counts.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
import schemathesis
from api_world import token_of, user
from cluster_world import cluster_of_two, facts_of, postgres
from cryptography.fernet import Fernet
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from clusters import services
from jobs.models import Job, LogLine
from pgpanel.api import api

CHECKS = [  # the first not of a probe: its 503 is an answer
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection,
]  # fmt: skip
ROLES = ("viewer", "operator", "administrator", "root")
RANK = {"viewer": 0, "operator": 1, "administrator": 2}
EXAMPLES = 6
COUNTS: Counter[str] = Counter()

schema = schemathesis.openapi.from_dict(json.loads(json.dumps(api.get_openapi_schema())))
schema.app = get_wsgi_application()


@pytest.fixture
def world(db, settings):
    """Names and numbers of the document's examples are there, so that calls do not all end as 404."""
    for signal in (request_started, request_finished):  # as Django's own test client does: the transaction is the test's
        signal.disconnect(close_old_connections)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    settings.API_RATE = settings.API_RATE_PER_ADDRESS = "100000/m"
    cluster, first, _second = cluster_of_two("registry")
    services.remember_facts(first, facts_of("h1", postgres()))
    job = Job.objects.create(pk=42, cluster=cluster, kind="reload", title="Reload", params={"node": "pg1"}, status="failed")
    LogLine.objects.create(job=job, seq=1, at=job.created_at, text="a line")
    people = {role: user(role, role, cluster) for role in ROLES[:-1]} | {"root": user("root", is_superuser=True)}
    yield {role: token_of(person) for role, person in people.items()}
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.exclude(path_regex="/events$").parametrize()  # they do not end: tests/web/test_api_events.py
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_every_operation_keeps_its_word(case, world):
    declared = case.operation.definition.raw
    is_probe = "Who is primary?" in declared["tags"]  # its codes are an answer, in plain text
    # what is derived from the schema in great number is asked by one role after another, the rest by all of them
    is_derived = case.meta is not None and case.meta.phase.name == TestPhase.COVERAGE
    roles = [ROLES[COUNTS["calls"] % len(ROLES)]] if is_derived else ROLES
    for role in roles:
        before = transaction.savepoint()
        try:
            response = case.call(headers={"Authorization": f"Bearer {world[role]}"})
            case.validate_response(response, checks=CHECKS[is_probe:])
        finally:
            transaction.savepoint_rollback(before)
        COUNTS["calls"] += 1
        COUNTS[f"{role} {response.status_code}"] += 1
        if response.status_code >= 400 and not is_probe:
            assert response.headers["content-type"] == ["application/problem+json"]
        assert is_able(role, declared) or response.status_code >= 400, f"{role} went too far"


def is_able(role: str, declared: dict) -> bool:
    return role == "root" or (
        not declared["x-scope"].startswith("all") and RANK[role] >= RANK[declared["x-required-role"] or "viewer"]
    )


def test_every_role_was_asked_and_got_somewhere(capsys):
    calls = COUNTS.pop("calls", 0)
    if not calls:
        pytest.skip("counts what the other test called")
    with capsys.disabled():
        print(f"\nschemathesis: {calls} calls;", ", ".join(f"{key}: {n}" for key, n in sorted(COUNTS.items())))
    assert {role for role in ROLES if not COUNTS[f"{role} 200"]} == set()
    assert COUNTS["root 201"] > COUNTS["viewer 201"]
