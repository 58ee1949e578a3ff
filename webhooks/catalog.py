"""What can be told, as data: each event with when it is sent, the fields of its `data` (JSON Schema 2020-12) and an example.

`docs/webhooks.schema.json` is made of this (`manage.py webhook_schema`). The rule of versions: within one `version` fields are only
ever added; a receiver ignores what it does not know. No event carries a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

VERSION = 1
Json = Mapping[str, Any]


def _object(fields: Json) -> dict[str, Any]:
    """All of them are there; further ones may come with later releases."""
    return {"type": "object", "properties": dict(fields), "required": list(fields)}


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer"}
MAYBE_NUMBER: Json = {"type": ["integer", "null"]}
TIME: Json = {"type": "string", "format": "date-time"}
MAYBE_TIME: Json = {"type": ["string", "null"], "format": "date-time"}
SERVER: Json = {"name": TEXT, "address": TEXT, "port": NUMBER}
SHAPE: Json = _object(
    {
        "primary": {"type": ["string", "null"], "description": "the name of the node"},
        "timeline": NUMBER,
        "nodes": {
            "type": "array",
            "items": _object({**SERVER, "role": {"enum": ["primary", "standby", "unknown"]}, "follows": TEXT}),
        },
    }
)
CLUSTER: Json = {"cluster": _object({"name": TEXT, "uuid": {"type": "string", "format": "uuid"}})}
NODE: Json = {**CLUSTER, "node": _object(SERVER)}
JOB: Json = {
    **CLUSTER,
    "job": _object(
        {
            "id": NUMBER, "kind": TEXT, "title": TEXT, "status": TEXT, "path": TEXT, "planned_by": TEXT, "started_by": TEXT,
            "plan_hash": TEXT, "started_at": MAYBE_TIME, "ended_at": MAYBE_TIME,
        }
    ),
}  # fmt: skip
ENDING: Json = {
    "ending": {"enum": ["done", "rolled_back", "cleanup_pending", "unknown", "refused_by_host"]},
    "gap_ms": {"type": ["number", "null"], "description": "for so long nobody could write"},
    "timeline_before": MAYBE_NUMBER, "timeline_after": MAYBE_NUMBER, "loss": TEXT,
}  # fmt: skip
ALERT: Json = {
    **CLUSTER,
    "alert": _object(
        {
            "id": NUMBER, "rule": TEXT, "name": TEXT, "severity": {"enum": ["critical", "warning"]}, "sentence": TEXT,
            "about": {"type": "string", "description": "the node, or another thing of the cluster; empty: the cluster itself"},
            "action": {"type": "string", "description": "the one safe thing to do next"},
            "path": {"type": "string", "description": "the page where that begins"},
            "since": TIME, "fired_at": TIME, "over_at": MAYBE_TIME, "acknowledged_at": MAYBE_TIME, "acknowledged_by": TEXT,
            "comment": TEXT,
        }
    ),
}  # fmt: skip
SUBSCRIPTION: Json = {"subscription": _object({"name": TEXT, "uuid": {"type": "string", "format": "uuid"}})}

A_CLUSTER: Json = {"cluster": {"name": "registry", "uuid": "4f6c1f9e-52a7-4a52-9f0c-0c8f6f1f2b11"}}
PG1: Json = {"name": "pg1", "address": "10.20.0.11", "port": 5432}
PG2: Json = {"name": "pg2", "address": "10.20.0.12", "port": 5432}
A_NODE: Json = {**A_CLUSTER, "node": PG1}
A_SUBSCRIPTION: Json = {"subscription": {"name": "ticket desk", "uuid": "0b0c6c0e-6c7e-4f0a-8c57-6a0f5d2a9a77"}}
AN_OUTCOME: Json = {"outcome": "Done: Switch over to pg2"}
BEFORE: Json = {"primary": "pg1", "timeline": 7, "nodes": [{**PG1, "role": "primary", "follows": ""},
                                                           {**PG2, "role": "standby", "follows": "pg1"}]}  # fmt: skip
AFTER: Json = {"primary": "pg2", "timeline": 8, "nodes": [{**PG1, "role": "standby", "follows": "pg2"},
                                                          {**PG2, "role": "primary", "follows": ""}]}  # fmt: skip


def _a_job(status: str, started: str | None = None, ended: str | None = None) -> Json:
    job = {
        "id": 42, "kind": "switchover", "title": "Switch over to pg2", "status": status, "path": "/jobs/42/", "planned_by": "admin",
        "started_by": "admin" if started else "", "plan_hash": "3fa9c0de" * 8, "started_at": started, "ended_at": ended,
    }  # fmt: skip
    return {**A_CLUSTER, "job": job}


def _an_alert(over: str | None = None, by: str = "") -> Json:
    alert = {
        "id": 7, "rule": "primary_down", "name": "Primary does not answer", "about": "pg1", "severity": "critical",
        "sentence": "The primary pg1 does not answer: no answer from 10.20.0.11:5432 within 2.5 s",
        "action": "The promote page says what is proven and what is safe. Unreachable is not dead.",
        "path": "/c/registry/promote", "since": "2026-11-23T03:00:01+00:00", "fired_at": "2026-11-23T03:00:06+00:00",
        "over_at": over, "acknowledged_at": "2026-11-23T03:01:10+00:00" if by else None, "acknowledged_by": by,
        "comment": "on my way" if by else "",
    }  # fmt: skip
    return {**A_CLUSTER, "alert": alert}


STARTED, ENDED = "2026-11-23T03:00:01.250000+00:00", "2026-11-23T03:00:04.650000+00:00"


@dataclass(frozen=True)
class EventType:
    """when: for people. fields: of the body's `data`, each with its schema."""

    name: str
    when: str | Promise
    fields: Json
    example: Json


ALL = (
    EventType("job.planned", _("A plan was made and can be read."), JOB, _a_job("planned")),
    EventType("job.refused", _("A plan was made that a check refuses."), JOB, _a_job("refused")),
    EventType(
        "job.started", _("A worker has begun with a job; once more when a person resumes it."), JOB, _a_job("running", STARTED)
    ),
    EventType(
        "job.finished", _("A job is over: succeeded, failed, errored, cancelled or lost."),
        {**JOB, "outcome": TEXT}, {**_a_job("succeeded", STARTED, ENDED), **AN_OUTCOME},
    ),
    EventType(
        "job.ended",
        _("A job that changes roles is over, and how: done, rolled back, clean-up pending, unknown, refused by a host."),
        {**JOB, "outcome": TEXT, **ENDING},
        {**_a_job("succeeded", STARTED, ENDED), **AN_OUTCOME, "ending": "done", "gap_ms": 113.4, "timeline_before": 7,
         "timeline_after": 8, "loss": "Nothing: pg2 had everything before it took over."},
    ),
    EventType(
        "cluster.changed", _("Another primary, another timeline, or somebody follows somebody else."),
        {**CLUSTER, "changed": {"type": "array", "items": {"enum": ["primary", "timeline", "topology"]}, "minItems": 1},
         "before": {"oneOf": [SHAPE, {"type": "null"}]}, "after": SHAPE},
        {**A_CLUSTER, "changed": ["primary", "timeline", "topology"], "before": BEFORE, "after": AFTER},
    ),
    EventType("alert.fired", _("Something is wrong, and has been for long enough to be told."), ALERT, _an_alert()),
    EventType("alert.acknowledged", _("Somebody has taken an alert on; it stays open."), ALERT, _an_alert(by="ana")),
    EventType("alert.resolved", _("What an alert was about is over."), ALERT, _an_alert("2026-11-23T03:09:30+00:00", "ana")),
    EventType("cluster.added", _("A cluster is known to the panel."), CLUSTER, A_CLUSTER),
    EventType("cluster.removed", _("A cluster was forgotten; its servers run on."), CLUSTER, A_CLUSTER),
    EventType("node.added", _("A node was added to a cluster."), NODE, A_NODE),
    EventType("node.removed", _("A node was forgotten; its server runs on."), NODE, A_NODE),
    EventType(
        "node.quarantined", _("A node must not become writable: another was promoted in its place."),
        {**NODE, "reason": TEXT}, {**A_NODE, "reason": "job 42 promoted pg2"},
    ),
    EventType("node.released", _("A node is out of quarantine: it follows the primary again."), NODE, A_NODE),
    EventType(
        "node.writable_unexpectedly",
        _("A node under quarantine takes writes, or is about to; again every five minutes while it lasts."),
        {**NODE, "reason": TEXT}, {**A_NODE, "reason": "it is under quarantine and answers as a primary"},
    ),
    EventType(
        "webhook.disabled", _("The panel has given up on a receiver: nothing was taken for days, or it said 410 Gone."),
        {**SUBSCRIPTION, "reason": TEXT}, {**A_SUBSCRIPTION, "reason": "nothing was taken for 3 days"},
    ),
    EventType(
        "webhook.test", _("Somebody pressed “Send a test”. Only to that one receiver, whatever it subscribed to."),
        {**SUBSCRIPTION, "by": TEXT}, {**A_SUBSCRIPTION, "by": "admin"},
    ),
)  # fmt: skip
EVENTS = {each.name: each for each in ALL}
UNASKED = ("webhook.test",)
"""Not subscribed to: sent to the one whom it is about."""
OFFERED = tuple(each for each in ALL if each.name not in UNASKED)


def schema() -> dict[str, Any]:
    """The JSON Schema of a body: the envelope, and per type its data."""
    fields = {
        "type": {"enum": list(EVENTS)},
        "version": {"const": VERSION},
        "id": TEXT,
        "timestamp": TIME,
        "data": {"type": "object"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A webhook of pgpanel, version {VERSION}",
        **_object({**fields, "data": {"type": "object"}}),
        "allOf": [
            {"if": {"properties": {"type": {"const": each.name}}}, "then": {"properties": {"data": _object(each.fields)}}}
            for each in ALL
        ],
        "examples": [example(each) for each in ALL],
    }


def example(event: EventType) -> dict[str, Any]:
    return {
        "type": event.name, "version": VERSION, "id": "evt_5f0c3f8f1ad15a2f9f2f6d8c1f0e7a21",
        "timestamp": "2026-11-23T03:00:04.700000+00:00", "data": dict(event.example),
    }  # fmt: skip
