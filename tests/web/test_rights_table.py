"""Every URL × every role × method: what is expected follows from one rule per URL, and a URL without a rule fails.

A cluster that one may not see does not exist: 404, never 403, by whatever id it is asked for.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from url_rules import (
    ADMINISTER,
    ANY,
    API_DOCUMENTS,
    BY_ALLAUTH,
    OPEN,
    OPEN_OF_ALLAUTH,
    OPERATE,
    OVER_ALL,
    OWN,
    RULES,
    SEE,
    SEE_THEN_OVER_ALL,
    SOME_CLUSTER,
)

from accounts import tokens
from clusters import drafts
from clusters.models import Cluster, Grant
from clusters.tokens import token_create
from jobs.models import Job
from monitor.models import Alert, Channel, Maintenance, Message, Notice
from monitor.rules import RULES as ALERT_RULES
from pgpanel.api import api
from webhooks import services
from webhooks.models import Delivery, Event

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RANK = (SEE, OPERATE, ADMINISTER)
ROLES = ("nobody", "no grant", "viewer", "operator", "administrator", "elsewhere", "over all")
"""elsewhere: administrator of another cluster."""


@dataclass(frozen=True, eq=False)
class Page:
    """One URL. rules: by method; where_from: the view, for its own declaration."""

    name: str
    route: str
    rules: dict[str, str] = field(default_factory=dict)

    @property
    def is_api(self) -> bool:
        return self.name.startswith("api-v1:")


def walked(resolver: Any, namespace: str = "", before: str = "") -> Iterator[tuple[str, str, Any]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from walked(pattern, inner, before + str(pattern.pattern))
        else:
            assert isinstance(pattern, URLPattern)
            yield namespace + (pattern.name or ""), before + str(pattern.pattern), pattern.callback


def api_rules() -> dict[str, dict[str, str]]:
    """By route: what each endpoint declares of itself, which is what is enforced."""
    scopes = {"all": OVER_ALL, "oneself": ANY, "signed in": ANY, "draft": OWN, "token": OWN, "some cluster": SOME_CLUSTER}
    scopes["all, of a node"] = SEE_THEN_OVER_ALL
    found: dict[str, dict[str, str]] = {}
    for _prefix, router in api._routers:
        for path, view in router.path_operations.items():
            route = "api/v1" + re.sub(r"{(?:\w+:)?(\w+)}", r"<\1>", path)
            for operation in view.operations:
                rule = operation.view_func.rule
                need = scopes.get(rule.scope, rule.role)
                if need == OVER_ALL and "<name>" in route:
                    need = SEE_THEN_OVER_ALL
                found.setdefault(route, {}).update(dict.fromkeys(operation.methods, need))
    return found


def pages() -> list[Page]:
    found, of_api = [], api_rules()
    for name, route, _callback in walked(get_resolver()):
        if name.startswith(BY_ALLAUTH) or not name:
            continue
        if name in API_DOCUMENTS:
            rules = {"GET": API_DOCUMENTS[name]}
        elif name.startswith("api-v1:"):
            rules = of_api.get(route, {})
        else:
            rules = RULES.get(name, {})
        found.append(Page(name, route, rules))
    return found


PAGES = pages()


def test_every_url_has_a_rule_and_every_rule_a_url():
    assert [page.name for page in PAGES if not page.rules] == []
    assert set(RULES) - {page.name for page in PAGES} == set()


def test_pages_without_a_name_are_redirects_and_allauths_only():
    """Nothing hides behind a URL that the table cannot name."""
    own = [route for name, route, callback in walked(get_resolver()) if not name and not route.startswith("accounts/")]
    assert own == []


# -- the world ---------------------------------------------------------------------------------------------------------------------


@dataclass
class World:
    cluster: Cluster
    values: dict[str, dict[str, Any]]
    people: dict[str, Any]

    def url(self, page: Page, **other: Any) -> str:
        own = self.values.get(page.name, {}) | other

        def put(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            return str(own[name] if name in own else self.values[""][name])

        route = (
            re.sub(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)", put, page.route).replace("^", "").replace("$", "").replace("\\.", ".")
        )
        query = {"live": f"?topic=job:{self.values['']['job']}", "jobs:new": f"?cluster={self.cluster.name}"}.get(page.name, "")
        return f"/{route}{query}"


def make_job(cluster: Cluster) -> Job:
    now = timezone.now()
    return Job.objects.create(
        cluster=cluster, kind="switchover", title="Switch over to pg2", status="failed", ending="rolled_back", plan_hash="ab",
        plan={"kind": "switchover", "title": "x"}, queued_at=now, started_at=now, ended_at=now,
    )  # fmt: skip


@pytest.fixture
def world(settings) -> World:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    cluster, _pg1, _pg2 = cluster_of_two()
    other = Cluster.objects.create(name="elsewhere")
    people = {
        "no grant": person("no-grant"), "viewer": person("viewer", SEE, cluster), "operator": person("operator", OPERATE, cluster),
        "administrator": person("administrator", ADMINISTER, cluster), "elsewhere": person("elsewhere", ADMINISTER, other),
        "over all": person("over-all", ADMINISTER),
    }  # fmt: skip
    job, grant = make_job(cluster), Grant.objects.get(user=people["viewer"])
    credential = cluster.credentials.get()
    draft = drafts.draft_start(people["over all"], "setup")
    over_all, now = people["over all"], timezone.now()
    hook, _secret = services.subscribe(over_all, name="pager", url="https://1.1.1.1/")
    event = Event.objects.create(key="ping", type="ping", at=now, body="{}")
    delivery = Delivery.objects.create(subscription=hook, event=event, due_at=now)
    alert = Alert.objects.create(
        cluster=cluster, rule=next(iter(ALERT_RULES)), values={"names": "pg1"}, severity="warning", since=now, fired_at=now
    )
    window = Maintenance.objects.create(cluster=cluster, begins_at=now, ends_at=now + timedelta(hours=1), reason="work")
    channel = Channel.objects.create(kind="email", name="mail", settings={"addresses": ["a@example.net"]})
    message = Message.objects.create(channel=channel, due_at=now, status="sent", title="x")
    Notice.objects.create(alert=alert, channel=channel, message=message, what="fired", status="sent", due_at=now, sent_at=now)
    token, _text = tokens.token_make(over_all, "its own", "viewer", by=over_all)
    values: dict[str, dict[str, Any]] = {
        "": {
            "name": cluster.name, "cluster_name": cluster.name, "cluster": cluster.name, "node_name": "pg1", "node": "pg1",
            "job_id": job.pk, "job": job.pk, "kind_name": "setup", "page": "hosts", "draft_uuid": draft.uuid, "format": "csv",
            "uuid": hook.uuid, "webhook": hook.uuid, "draft": draft.uuid, "delivery": delivery.pk, "kind": "email",
            "alert": alert.pk, "window": window.pk, "channel": channel.pk, "message": message.pk,
        },
        "accounts:session_end": {"pk": 999_999}, "webhooks:replay": {"pk": delivery.pk}, "monitor:acknowledge": {"pk": alert.pk},
        "monitor:maintenance_end": {"pk": window.pk}, "clusters:credential_replace": {"pk": credential.pk},
        "clusters:grant_remove": {"pk": grant.pk}, "clusters:token_end": {"public_id": token.public_id},
        "api-v1:credential_replace": {"id": credential.pk},
        "api-v1:grant_remove": {"id": grant.pk},
    }  # fmt: skip
    verbs = ("", "_active", "_link", "_sign_out", "_forget_factors")
    values |= {f"clusters:person{verb}": {"pk": people["viewer"].pk} for verb in verbs}
    values |= {
        f"monitor:channel_{verb}": {"pk": channel.pk, "kind": "email"} for verb in ("new", "edit", "test", "remove", "messages")
    }
    values |= {"monitor:message_replay": {"pk": channel.pk, "message": message.pk}}
    values |= {f"api-v1:person_{verb}": {"id": people["viewer"].pk} for verb in ("read", "edit", "link")}
    values |= {f"api-v1:token_{verb}": {"id": token.public_id} for verb in ("read", "end")}
    return World(cluster, values, people)


@cache
def the_document() -> Any:
    return json.loads(json.dumps(api.get_openapi_schema(), default=str))


@cache
def body_of(page: Page, method: str) -> bytes:
    """The least that the OpenAPI document lets pass, so that it is the right that decides and not the form of what was sent."""
    document = the_document()
    path = next(path for path in document["paths"] if re.sub(r"{(\w+)}", r"<\1>", path) == "/" + page.route)
    content = document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return json.dumps(least(schema, document)).encode() if schema else b"{}"


def least(schema: dict[str, Any], document: Any) -> Any:  # noqa: PLR0911 (a table)
    if "$ref" in schema:
        return least(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for given in ("default", "const"):
        if given in schema:
            return schema[given]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return least(schema[several][0], document)
    if schema.get("type") == "object":
        return {name: least(schema["properties"][name], document) for name in schema.get("required", ())}
    if schema.get("type") == "array":
        return [least(schema["items"], document)] * schema.get("minItems", 0)
    formats = {"date-time": "2026-01-01T00:00:00Z", "uuid": "00000000-0000-0000-0000-000000000000", "uri": "https://1.1.1.1/"}
    plain = {"integer": schema.get("minimum", 1), "number": 1.0, "boolean": False, "null": None}
    return plain.get(schema.get("type", ""), formats.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1))))


FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def asked(client: Client, method: str, page: Page, world: World, **more: Any) -> str:
    """In a savepoint that is taken back: what one call does, the next does not see."""
    session = client.cookies["sessionid"].value if "sessionid" in client.cookies else ""
    body = b"" if method == "GET" else body_of(page, method) if page.is_api and method in page.rules else b"a=b"
    try:
        with transaction.atomic():
            answer = client.generic(method, world.url(page), body, content_type=JSON if page.is_api else FORM, **more)
            transaction.set_rollback(True)
    finally:
        if session:
            client.cookies["sessionid"] = session
    return word_of(answer, page)


def word_of(answer: Any, page: Page) -> str:
    status = answer.status_code
    if status == 401 or (status == 302 and answer["Location"].startswith("/accounts/login/")):
        return "login"
    is_answer = status == 503 and page.name.startswith(("api-v1:cluster_", "api-v1:node_is_"))  # "nobody is", to a load balancer
    return "in" if status < 400 or status in (400, 409, 415, 422) or is_answer else str(status)


def is_streamed(page: Page) -> bool:
    """Seen by a real server in test_streams_withdrawn.py."""
    return page.name in ("live", "api-v1:job_events", "api-v1:cluster_events", "api-v1:api-root")


def expected(need: str, role: str) -> str:  # noqa: PLR0911 (a table)
    if need == OPEN:
        return "in"
    if role == "nobody":
        return "login"
    if need == ANY or role == "over all":
        return "in"
    if need == OWN:  # made by whoever is over all
        return "404"
    if need == OVER_ALL:
        return "403"
    if need == SOME_CLUSTER:
        return "in" if role in ("administrator", "elsewhere") else "403"
    if role in ("no grant", "elsewhere"):
        return "404"
    if need == SEE_THEN_OVER_ALL:
        return "403"
    return "in" if RANK.index(role) >= RANK.index(need) else "403"


@pytest.mark.parametrize("role", ROLES)
def test_every_url_answers_every_role_as_its_rule_says(world, role):
    client = Client(raise_request_exception=True)
    if role != "nobody":
        client.force_login(world.people[role])
    found, wanted = {}, {}
    for page in PAGES:
        for method, need in page.rules.items():
            if is_streamed(page):
                continue
            key = f"{method} {page.name}"
            wanted[key] = expected(need, role)
            found[key] = asked(client, method, page, world)
    assert {key: f"{value}, not {wanted[key]}" for key, value in found.items() if value != wanted[key]} == {}


def test_a_method_that_no_rule_names_is_refused(world):
    client = Client()
    client.force_login(world.people["over all"])
    wrong = {}
    for page in PAGES:
        # (the confirmation sends whoever has a password elsewhere before it looks at the method)
        if page.name in API_DOCUMENTS or is_streamed(page) or page.name == "accounts:confirm_by_single_sign_on":
            continue
        for method in METHODS:
            if method not in page.rules and (got := asked(client, method, page, world)) != "405":
                wrong[f"{method} {page.name}"] = got
    assert wrong == {}


def test_whatever_changes_something_is_refused_without_a_csrf_token(world):
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.people["over all"])
    answers = {
        f"{method} {page.name}": asked(client, method, page, world) for page in PAGES for method in page.rules if method != "GET"
    }
    assert len(answers) > 40
    assert {key: got for key, got in answers.items() if got != "403"} == {}


@pytest.mark.parametrize(("limit", "is_scoped"), [("viewer", False), ("operator", False), ("administrator", True)])
def test_a_service_token_does_not_more_than_its_limits_say(world, limit, is_scoped):
    """Of an account that is administrator over all, narrowed to a role, or to another cluster."""
    over_all = world.people["over all"]
    clusters = [Cluster.objects.get(name="elsewhere")] if is_scoped else None
    _token, text = token_create(over_all, over_all, f"{limit} {is_scoped}", limit, clusters=clusters)
    wrong = {}
    for page in [page for page in PAGES if page.is_api and page.name not in API_DOCUMENTS and not is_streamed(page)]:
        for method, need in page.rules.items():
            role = "elsewhere" if is_scoped else limit
            is_draft = need == OWN and "draft" in page.route  # a new cluster's: administrators over all
            makes_token = page.route.endswith("/tokens") and method == "POST"  # by a token nobody makes another of the same user
            want = "403" if need == OVER_ALL or is_draft or makes_token else "in" if need in (ANY, OWN) else expected(need, role)
            got = asked(Client(), method, page, world, headers={"Authorization": f"Bearer {text}"})
            if got != want:
                wrong[f"{method} {page.name}"] = (got, want)
    assert wrong == {}


def test_a_token_opens_no_page(world):
    _token, text = tokens.token_make(world.people["over all"], "by a test", "administrator", by=world.people["over all"])
    for page in PAGES:
        if not page.is_api and "GET" in page.rules and not is_streamed(page):
            assert asked(Client(), "GET", page, world, headers={"Authorization": f"Bearer {text}"}) == "login", page.name


def test_allauths_pages_are_closed_to_strangers_but_those_that_let_one_in(world):
    wrong = {}
    values = {"key": "abc", "uidb36": "1", "provider_id": "sso", "pk": 1}
    for name, route, _callback in walked(get_resolver()):
        if name.startswith(BY_ALLAUTH):
            url = "/" + re.sub(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)", lambda found: str(values[found[1] or found[2]]), route)
            url = url.replace("^", "").replace("$", "")
            got = word_of(Client().get(url), Page(name, route))
            if not (got == "login" or (name in OPEN_OF_ALLAUTH and got in ("in", "404", "405")) or got == "405"):
                wrong[name] = got
    assert wrong == {}


# -- ids ---------------------------------------------------------------------------------------------------------------------------


def test_what_is_not_ones_own_and_what_is_not_there_cannot_be_told_apart(world):
    """By id, the same answer: a number tells nobody that there is such a job."""
    client = Client()
    client.force_login(world.people["elsewhere"])
    wrong = {}
    for page in PAGES:
        if "job" not in page.route or "<" not in page.route or "GET" not in page.rules or is_streamed(page):
            continue
        there, nowhere = world.url(page), world.url(page, job=999_999, job_id=999_999)
        if there == nowhere:
            continue
        answers = [client.get(url) for url in (there, nowhere)]
        bodies = [
            re.sub(r'(CSRFToken": |csrfmiddlewaretoken" value=)"\w+"|/999999/|/\d+/', "", answer.content.decode())
            for answer in answers
        ]
        if answers[0].status_code != 404 or bodies[0] != bodies[1]:
            wrong[page.name] = [answers[0].status_code, *bodies]
    assert wrong == {}


def test_a_foreign_id_under_ones_own_cluster_does_not_exist(world):
    other = Cluster.objects.get(name="elsewhere")
    own, foreign = make_job(other), world.values[""]["job"]
    client = Client()
    client.force_login(world.people["elsewhere"])
    credential = world.cluster.credentials.get()
    assert client.get(f"/c/elsewhere/credentials/{credential.pk}/").status_code == 404
    assert client.get("/c/elsewhere/n/pg1/").status_code == 404
    assert client.get(f"/jobs/{own.pk}/").status_code == 200
    assert client.get(f"/jobs/{foreign}/").status_code == 404
    assert f"/jobs/{foreign}" not in client.get(f"/c/elsewhere/promote?job={foreign}").content.decode()
    page = client.get(f"/jobs/new/switchover/?cluster=elsewhere&job={foreign}")
    assert page.status_code == 200
    body = {"plan": foreign, "hash": "ab"}
    assert client.post("/api/v1/clusters/elsewhere/jobs", body, content_type="application/json").status_code == 422
    assert client.get("/live/", {"topic": f"job:{foreign}"}).status_code == 404
    assert client.get("/live/", {"topic": [f"job:{own.pk}", f"cluster:{world.cluster.pk}"]}).status_code == 404
    assert client.get(f"/new/{uuid.uuid4()}/hosts/").status_code == 404


# -- what comes in the address bar -------------------------------------------------------------------------------------------------

ODD = ["9" * 5000, "-1", "²", "1e9", "", "\0", "a\nb", "<script>", "../..", "%00", "2" * 30]
NAMES = (
    "after",
    "job",
    "part",
    "seconds",
    "range",
    "row",
    "before",
    "page",
    "cluster",
    "limit",
    "text",
    "since",
    "next",
    "kind",
    "standbys",
    "topic",
)


def test_no_query_of_whatever_form_is_an_error_of_the_panel(world):
    client = Client(raise_request_exception=False)
    client.force_login(world.people["over all"])
    wrong = {}
    for page in PAGES:
        if "GET" in page.rules and not is_streamed(page):
            for odd in ODD:
                url = world.url(page).partition("?")[0]
                query = dict.fromkeys(NAMES, odd) | ({"cluster": world.cluster.name} if page.name == "jobs:new" else {})
                answer = client.get(url, query)
                if answer.status_code >= 500 and word_of(answer, page) != "in":
                    wrong[f"{page.name} {odd[:8]!r}"] = answer.status_code
    assert wrong == {}
