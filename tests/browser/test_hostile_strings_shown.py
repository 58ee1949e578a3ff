"""Markup in every stored text that a person, a host or a stranger brings: every page shows it as it is, and nothing of it runs.

A page that let one of them through would say so thrice: the script sets `owned`, the policy's refusal stands in the console, and
the element stands in the document.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.utils import timezone

from tests.browser import evidence_rows, registry
from tests.browser.conftest import Panel, Visitor

MARKUP = (
    '<img src=x onerror="window.owned=1"><script>window.owned=2</script><svg onload="window.owned=3">'
    '\'"></title></textarea></script><a href="javascript:window.owned=4">x</a>{{ 7*7 }}&lt;i&gt;'
)
NEVER = ("sessions.Session", "contenttypes.ContentType", "auth.Permission", "mfa.Authenticator", "accounts.AuditEntry",
         "accounts.AuditHead", "accounts.CacheEntry", "monitor.Lease")  # fmt: skip
"""Not shown, or not to be changed: the trail gets an entry of its own."""
IDENTITIES = {
    "Cluster.name", "Node.name", "Node.layout", "DraftHost.layout", "DraftHost.name", "Node.postgres_major",
    "Cluster.system_identifier", "User.password", "User.username", "Job.kind", "Job.ending", "Job.plan_hash", "Alert.rule",
    "Alert.severity", "Channel.kind", "Channel.least_severity", "Credential.purpose", "Credential.sealed", "Event.type",
    "Event.key", "Draft.page", "ApiToken.public_id", "ApiToken.digest", "Subscription.url", "Evidence.primary",
    "JobStep.key",
}  # fmt: skip
"""Texts of a few signs, by validators or from a list, that addresses and code are made of."""
WORDS = {
    "role", "state", "sync_state", "level", "status", "says", "by", "kind", "node", "key", "primary", "candidate",
    "upstream", "observer", "severity", "version", "major", "data_directory", "edition", "standbys", "name", "value", "unit",
    "at",
}  # fmt: skip
"""Keys of JSON whose values are words of the code, checked where a host says them (tests/unit/test_hostile_host.py)."""


def poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    return value + MARKUP if isinstance(value, str) and key not in WORDS else value


def poison_every_row() -> set[str]:
    """The fields that now hold markup."""
    reached: set[str] = set()
    for model in apps.get_models():
        if model._meta.label in NEVER:
            continue
        texts = [field for field in model._meta.concrete_fields if is_free(model, field)]
        for row in model._base_manager.all():
            now = {field.attname: poisoned(getattr(row, field.attname)) for field in texts}
            reached |= {f"{model.__name__}.{name}" for name, value in now.items() if value != getattr(row, name)}
            model._base_manager.filter(pk=row.pk).update(**now)
    return reached


def is_free(model: Any, field: Any) -> bool:
    is_text = isinstance(field, models.CharField | models.TextField | models.JSONField) and not field.primary_key
    return is_text and not field.choices and f"{model.__name__}.{field.name}" not in IDENTITIES


@pytest.fixture
def world(ana: Visitor, panel: Panel, settings: Any) -> dict[str, Any]:
    """A row of everything that pages show."""
    settings.ENCRYPTION_KEY_FILE = panel.database.with_name("encryption.key")
    from accounts import acting, audit, tokens
    from accounts.models import User
    from clusters import drafts
    from clusters.models import Credential, DraftHost, Quarantine
    from monitor.models import Alert, Channel, Maintenance, Watcher
    from monitor.rules import RULES
    from webhooks.models import Attempt, Delivery, Event, Subscription

    now, ana_p = timezone.now(), User.objects.get(username="ana")
    cluster = evidence_rows.gone(registry.cluster(), fence_command="/usr/bin/fence it")
    evidence_rows.observed(cluster, evidence_rows.SILENT)
    jobs = {status: registry.job(cluster, status, ana_p) for status in ("refused", "planned", "failed", "running")}
    jobs["switched"] = registry.switched(cluster, "cleanup_pending", ana_p)
    Quarantine.objects.create(node=cluster.nodes.get(name="pg3"), reason="was promoted away from")
    values = {"names": "pg1, pg2", "why": "no route", "wal": "0001", "since": 0.0, "slot": "s", "status": "lost", "node": "pg1",
              "seconds": 75.0, "state": "stalled"}  # fmt: skip
    for rule in ("two_writers", "primary_down", "standby_disconnected", "archiving_fails", "slot_loses_wal", "lag_soft"):
        Alert.objects.create(cluster=cluster, rule=rule, about="pg2", severity=RULES[rule].severity, values=values, since=now,
                             fired_at=now, acknowledged_at=now, acknowledged_by="bob", comment="long report")  # fmt: skip
    window = Maintenance.objects.create(cluster=cluster, begins_at=now, ends_at=now + timedelta(hours=1), reason="work", by=ana_p)
    channel = Channel.objects.create(kind="email", name="on call", settings={"addresses": ["a@example.net"]})
    Watcher.objects.create(holder="w1", began_at=now, said_at=now, capacity=5, last_error="none", last_error_at=now)
    secret = Credential.objects.create(kind="webhook", label="its secret", sealed="-", purpose="webhook")
    hook = Subscription.objects.create(name="pager", url="https://1.1.1.1/", secret=secret, created_by=ana_p)
    event = Event.objects.create(key="ping", type="ping", at=now, body="{}")
    delivery = Delivery.objects.create(subscription=hook, event=event, due_at=now)
    Attempt.objects.create(delivery=delivery, at=now, seconds=0.1, error="refused", answer="no")
    token, _text = tokens.token_make(ana_p, "nightly", "viewer", by=ana_p)
    draft = drafts.draft_start(ana_p, "setup")
    DraftHost.objects.create(draft=draft, name="pg9", ssh_host="10.0.0.9", status="refused", error="no", mend="look")
    with acting.as_(acting.Actor(name=MARKUP, address="203.0.113.9", door="page", token=MARKUP)):
        audit.record("login.failed", MARKUP, result=MARKUP, cluster=cluster.name, detail={"why": MARKUP})
    return {"cluster": cluster, "jobs": jobs, "window": window, "channel": channel, "hook": hook, "delivery": delivery,
            "token": token, "draft": draft, "ana": ana_p}  # fmt: skip


def pages(world: dict[str, Any]) -> list[str]:
    """Every page that can be opened, by the table of rights; each job's for every job."""
    from test_rights_table import PAGES, World, is_streamed

    cluster, credential = world["cluster"], world["cluster"].credentials.get()
    shared = {
        "name": cluster.name, "cluster_name": cluster.name, "cluster": cluster.name, "node_name": "pg2", "node": "pg2",
        "kind_name": "setup", "page": "hosts", "kind": "email", "draft_uuid": world["draft"].uuid, "format": "csv",
        "uuid": world["hook"].uuid, "alert": 1, "pk": world["channel"].pk, "window": world["window"].pk,
    }  # fmt: skip
    own = {
        "clusters:credential_replace": {"pk": credential.pk}, "clusters:person": {"pk": world["ana"].pk},
        "monitor:channel_edit": {"pk": world["channel"].pk, "kind": "email"}, "webhooks:replay": {"pk": world["delivery"].pk},
    }  # fmt: skip
    found = []
    for job in world["jobs"].values():
        place = World(cluster, {"": shared | {"job_id": job.pk, "job": job.pk}} | own, {})
        for page in PAGES:
            if "GET" in page.rules and not page.is_api and page.name and not is_streamed(page):
                found.append(place.url(page))
    return sorted(set(found))


ELEMENTS = "document.querySelectorAll('img[src=x], [onerror], [onload], svg:empty[onload], [href^=\"javascript:\"]').length"
SCRIPTS = "[...document.scripts].filter(one => one.textContent.includes('owned') && one.type !== 'application/json').length"


def judged(ana: Visitor, path: str) -> str:
    """What is wrong with the page, and whether it is one: files that are downloaded are judged by their type."""
    answer = ana.page.request.get(ana.url + path, max_redirects=0)
    kind = answer.headers.get("content-type", "")
    if answer.status >= 500:
        return f"{answer.status}"
    if not kind.startswith("text/html"):
        is_told = answer.headers.get("x-content-type-options") == "nosniff"
        return "" if is_told else f"a {kind} that may be sniffed"
    ana.go(path)
    ana.page.wait_for_timeout(150)  # what the page pulls in
    found = ana.page.evaluate(f"[window.owned ?? 0, {ELEMENTS}, {SCRIPTS}]")
    return "" if found == [0, 0, 0] else f"owned, elements, scripts: {found}"


def test_markup_in_every_stored_text_is_shown_and_runs_nowhere(ana: Visitor, world: dict[str, Any]) -> None:
    dialogs: list[str] = []
    ana.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    ana.expected += ["status of 4"]  # what is not there for these rows
    reached = poison_every_row()
    assert len(reached) > 50, sorted(reached)
    opened = pages(world)
    assert len(opened) > 60
    wrong = {path: said for path in opened if (said := judged(ana, path))}
    assert wrong == {}
    assert dialogs == []
    assert not ana.complaints, "\n".join(ana.complaints)


SHOWN = {
    "/audit/": 3, "/jobs/": 1, "/monitor/alerts/": 5, "/monitor/channels/": 1, "/webhooks/": 1, "/people/": 1, "/tokens/": 1,
}  # fmt: skip


def test_it_is_shown_as_it_was_stored_by_pages_streams_and_drawings(ana: Visitor, world: dict[str, Any]) -> None:
    poison_every_row()
    jobs = world["jobs"]
    paths = [*SHOWN, *(f"/jobs/{jobs[name].pk}/" for name in ("running", "failed", "switched"))]
    paths += [f"/jobs/{jobs['planned'].pk}/plan/", f"/jobs/{jobs['switched'].pk}/incident/", f"/webhooks/{world['hook'].uuid}/"]
    paths += ["/c/registry-prod/", "/c/registry-prod/n/pg2/", "/c/registry-prod/promote", "/c/registry-prod/credentials/"]
    for path in paths:
        page = ana.go(path)
        page.wait_for_timeout(300)
        seen = page.locator("body").evaluate("body => body.textContent")
        assert seen.count('onerror="window.owned=1"') >= SHOWN.get(path, 1), path
        assert "{{ 7*7 }}&lt;i&gt;" in seen, path
    page = ana.go(f"/jobs/{jobs['running'].pk}/")
    page.locator("body[data-live=open]").wait_for()
    registry.line(jobs["running"], f"live {MARKUP}")
    page.get_by_text("live <img src=x").wait_for()
    assert page.evaluate(f"[window.owned ?? 0, {ELEMENTS}]") == [0, 0]


def test_what_a_page_hands_to_its_scripts_cannot_end_their_element(ana: Visitor, world: dict[str, Any]) -> None:
    """JSON inside <script type=application/json>: the texts in it are escaped."""
    poison_every_row()
    for path in ("/c/registry-prod/", "/c/registry-prod/n/pg2/", "/"):
        source = ana.page.request.get(ana.url + path).text()
        for block in re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", source, re.DOTALL):
            json.loads(block)
            assert "<" not in block
