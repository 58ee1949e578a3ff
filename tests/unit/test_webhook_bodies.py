"""The signature of Standard Webhooks, by its own vector, and the bodies, by their own schema."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from webhooks.catalog import ALL, EVENTS, example, schema
from webhooks.signing import secret_make, signature, signed_headers

DOCS = Path(__file__).resolve().parents[2] / "docs"
# published with the specification (https://www.standardwebhooks.com)
SECRET, MESSAGE, AT, BODY = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1614265330,
    b'{"test": 2432232314}',
)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_vector_is_signed_as_it_says():
    assert signature(SECRET, MESSAGE, AT, BODY) == SIGNATURE


@pytest.mark.parametrize(
    "other",
    [
        (secret_make(), MESSAGE, AT, BODY),
        (SECRET, "msg_x", AT, BODY),
        (SECRET, MESSAGE, 1, BODY),
        (SECRET, MESSAGE, AT, b"{}"),
    ],
    ids=["secret", "id", "time", "body"],
)
def test_another_secret_id_time_or_body_has_another_signature(other):
    assert signature(*other) != SIGNATURE


def test_two_secrets_sign_side_by_side():
    older = secret_make()
    headers = signed_headers([older, SECRET], MESSAGE, AT, BODY)
    assert headers["webhook-signature"].split() == [signature(older, MESSAGE, AT, BODY), SIGNATURE]
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (MESSAGE, "1614265330")


def test_secrets_are_long_and_never_the_same():
    made = {secret_make() for _count in range(50)}
    assert len(made) == 50
    assert all(one.startswith("whsec_") and len(one) > 45 for one in made)


def test_the_schema_in_the_docs_is_the_catalogs():
    assert json.loads((DOCS / "webhooks.schema.json").read_text()) == schema(), "run `manage.py webhook_schema`"


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.name)
def test_every_example_is_as_the_schema_says(event):
    validator = jsonschema_rs.Draft202012Validator(schema(), validate_formats=True)
    validator.validate(example(event))
    for missing in event.fields:
        lacking = example(event)
        del lacking["data"][missing]
        assert not validator.is_valid(lacking), f"{missing} is promised"


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_stands_in_the_docs(name):
    assert f"`{name}`" in (DOCS / "webhooks.md").read_text()
