"""The audit trail's page: who may read what of it, searching, turning pages, exports."""

from __future__ import annotations

import csv
import json

import pytest
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from django.test import AsyncClient

from accounts import acting, audit
from accounts.acting import Actor
from accounts.trail import AuditEntry, AuditHead
from clusters import audit_page, services
from clusters.rights import entries_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def keys(settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def boss(client):
    client.force_login(person("boss", "administrator"))


def text_of(client, path: str = "/audit/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def export_of(client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def test_an_administrator_over_all_reads_everything(client, boss):
    audit.record("cluster.add", "whois", cluster="whois", detail={"fields": "name"})
    page = text_of(client)
    assert "cluster.add" in page
    assert "fields: name" in page


@pytest.mark.parametrize("role", ["", "viewer", "operator"])
def test_who_administers_nothing_reads_nothing(client, role):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("vic", role, cluster))
    assert client.get("/audit/").status_code == 403
    assert client.get("/audit/export.csv").status_code == 403
    assert client.post("/audit/verify/").status_code == 403
    assert "/audit/" not in client.get("/").content.decode()


def test_the_administrator_of_a_cluster_reads_what_concerns_it_alone(client):
    cluster, *_nodes = cluster_of_two()
    audit.record("cluster.add", "whois", cluster="whois")
    audit.record("login.failed", "somebody")
    ada = person("ada", "administrator", cluster)
    client.force_login(ada)
    page = text_of(client)
    assert "node.add" in page
    assert "whois" not in page
    assert "somebody" not in page
    exported = export_of(client, "/audit/export.jsonl")
    assert {json.loads(line)["cluster"] for line in exported.splitlines()} == {"registry"}
    assert "whois" not in export_of(client, "/audit/export.csv?cluster=whois")


def test_a_cluster_that_takes_an_old_name_does_not_open_the_old_ones_entries():
    audit.record("node.add", "old", cluster="registry")
    services.cluster_create("registry")
    cluster = services.Cluster.objects.get()
    ada = person("ada", "administrator", cluster)
    assert "old" not in entries_for(ada).values_list("target", flat=True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("who=Ana", {"a1", "a2"}), ("action=job.start", {"a1"}), ("action=job", {"a1", "b1"}), ("cluster=shop", {"b1"}),
        ("text=geheimnis", {"a2"}), ("text=192.0.2", {"a1", "a2"}),
        ("since=2999-01-01", set()), ("until=2999-01-01", {"a1", "a2", "b1"}),
        ("who=ana&action=node", {"a2"}), ("until=2001-01-01", set()),
    ],
)  # fmt: skip
def test_searching(client, boss, query, found):
    with acting.as_(Actor(name="ana", address="192.0.2.7")):
        audit.record("job.start", "a1")
        audit.record("node.edit", "a2", detail={"fields": "geheimnis"})
    with acting.as_(Actor(name="bob")):
        audit.record("job.end", "b1", cluster="shop")
    told = export_of(client, f"/audit/export.jsonl?{query}").splitlines()
    assert {json.loads(line)["target"] for line in told} & {"a1", "a2", "b1"} == found
    page = text_of(client, f"/audit/?{query}")
    assert {name for name in ("a1", "a2", "b1") if f'">{name}' in page} == found


def test_a_day_that_is_none_is_said_and_nothing_is_shown(client, boss):
    assert "Enter a valid date" in text_of(client, "/audit/?since=nonsense")
    assert client.get("/audit/export.csv?since=nonsense").status_code == 400


def test_older_entries_stand_on_further_pages_none_twice_none_left_out(client, boss, monkeypatch):
    for number in range(250):
        audit.record("node.edit", f"n{number:03}")
    seen, path = [], "/audit/?action=node"
    while path:
        page = text_of(client, path)
        seen += [name for name in (f"n{number:03}" for number in range(249, -1, -1)) if f'">{name}' in page]
        path = f"/audit/?action=node&before={page.split('before=')[1].split(chr(34))[0]}" if "before=" in page else ""
    assert seen == [f"n{number:03}" for number in range(249, -1, -1)]


def test_a_cursor_that_is_none_shows_the_newest(client, boss):
    audit.record("node.edit", "n1")
    for cursor in ("x", "-1", "9" * 30):
        assert "n1" in text_of(client, f"/audit/?before={cursor}")


def test_a_cell_that_a_spreadsheet_would_calculate_is_defused_in_csv_and_exact_in_jsonl(client, boss):
    for name in ("=1+1", "+1", "-1", "@sum"):
        audit.record("login.failed", name)
    rows = list(csv.DictReader(export_of(client, "/audit/export.csv?action=login.failed").splitlines()))
    assert [row["target"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@sum"]
    lines = export_of(client, "/audit/export.jsonl?action=login.failed").splitlines()
    assert [json.loads(line)["target"] for line in lines] == ["=1+1", "+1", "-1", "@sum"]


def test_what_somebody_typed_is_text_on_the_page(client, boss):
    audit.record("login.failed", "<script>alert(1)</script>", detail={"<b>": "<i>"})
    page = text_of(client)
    assert "<script>alert" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert" in page


def test_an_export_is_itself_recorded(client, boss):
    export_of(client, "/audit/export.csv?who=bob")
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.who, entry.detail) == ("audit.export", "boss", {"format": "csv", "search": "who=bob"})


@pytest.mark.django_db(transaction=True)
async def test_an_export_comes_in_pieces_from_an_asynchronous_server(monkeypatch):
    from asgiref.sync import sync_to_async

    monkeypatch.setattr(audit_page, "LINES_AT_ONCE", 10)
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(person)("boss", "administrator"))
    for number in range(35):
        await sync_to_async(audit.record)("node.edit", f"n{number}")
    answer = await client.get("/audit/export.jsonl?action=node")
    pieces = [piece async for piece in answer.streaming_content]
    assert [len(piece.splitlines()) for piece in pieces] == [10, 10, 10, 5]


def test_the_page_says_how_the_trail_itself_is(client, boss, monkeypatch):
    assert "Nobody has verified it yet" in text_of(client)
    sent = []
    monkeypatch.setattr("accounts.tasks.verify_audit.delay", lambda: sent.append(1))
    assert client.post("/audit/verify/").status_code == 302
    assert sent
    from accounts.tasks import verify_audit

    verify_audit()
    assert "Whole: " in text_of(client)
    AuditHead.objects.update(finding="Entry 3 was changed.", verified_count=2)
    page = text_of(client)
    assert "The trail is broken" in page
    assert "Entry 3 was changed." in page


def test_a_clusters_page_leads_its_administrator_to_its_entries(client, boss):
    cluster_of_two()
    assert 'href="/audit/?cluster=registry"' in text_of(client, "/c/registry/")
