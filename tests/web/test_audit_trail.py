"""The audit trail itself: who acted, how entries are bound, and that neither code nor database changes one."""

from __future__ import annotations

import threading

import pytest
from cluster_world import person
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from accounts import acting, audit
from accounts.acting import Actor
from accounts.trail import GENESIS, AppendOnly, AuditEntry, AuditHead, digest


@pytest.mark.django_db
def test_an_entry_says_who_from_where_what_and_with_which_plan():
    ana = person("ana")
    with acting.as_(Actor(ana, token="ci", address="10.9.8.7", door="api")):
        audit.record("job.start", "job 7", cluster="registry", plan_hash="ab" * 32, result="queued", detail={"job": 7, "new": True})
    entry = AuditEntry.objects.get()
    said = (
        entry.number,
        entry.who,
        entry.token,
        entry.address,
        entry.door,
        entry.action,
        entry.target,
        entry.cluster,
        entry.result,
    )
    assert said == (1, "ana", "ci", "10.9.8.7", "api", "job.start", "job 7", "registry", "queued")
    assert entry.detail == {"job": 7, "new": True}
    assert entry.plan_hash == "ab" * 32


@pytest.mark.django_db
def test_each_entry_is_bound_to_the_one_before_and_the_head_to_the_last():
    first, second = audit.record("cluster.add", "a"), audit.record("cluster.add", "b")
    assert (first.number, first.previous) == (1, GENESIS)
    assert (second.number, second.previous) == (2, first.hash)
    stored = AuditEntry.objects.get(number=2)
    assert digest(stored.told()) == stored.hash == AuditHead.objects.get().hash


@pytest.mark.django_db
def test_what_is_taken_back_leaves_no_entry_and_no_gap():
    audit.record("cluster.add", "a")
    with transaction.atomic():
        audit.record("cluster.add", "b")
        transaction.set_rollback(True)
    assert audit.record("cluster.add", "c").number == 2


@pytest.mark.django_db
def test_neither_an_entry_nor_a_set_of_them_can_be_changed_or_deleted_by_code():
    entry = audit.record("cluster.add", "a")
    entries = AuditEntry.objects.all()
    for change in (
        entry.save, entry.delete, entries.delete, lambda: entries.update(who="eve"),
        lambda: entries.bulk_create([]), lambda: entries.bulk_update([entry], ["who"]),
    ):  # fmt: skip
        with pytest.raises(AppendOnly):
            change()


@pytest.mark.django_db
@pytest.mark.parametrize("statement", ["UPDATE accounts_auditentry SET who = 'eve'", "DELETE FROM accounts_auditentry"])
def test_the_database_refuses_too(statement):
    audit.record("cluster.add", "a")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.get().who == ""


@pytest.mark.django_db(transaction=True)
def test_emptying_the_whole_panel_takes_the_guards_off_and_puts_them_on_again():
    audit.record("cluster.add", "a")
    call_command("flush", interactive=False, verbosity=0)
    assert audit.record("cluster.add", "b").number == 1
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_auditentry")


@pytest.mark.django_db(transaction=True)
def test_entries_of_many_at_once_make_one_chain():
    def write(name: str) -> None:
        try:
            with acting.as_(Actor(name=name)):
                for number in range(10):
                    audit.record("cluster.add", str(number))
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list(AuditEntry.objects.order_by("number"))
    assert [entry.number for entry in entries] == list(range(1, 61))
    assert [entry.previous for entry in entries] == [GENESIS, *(entry.hash for entry in entries[:-1])]


@pytest.mark.django_db
def test_who_is_deleted_keeps_what_he_did():
    ana = person("ana")
    with acting.as_(Actor(ana)):
        audit.record("cluster.add", "a")
    ana.delete()
    assert AuditEntry.objects.get().who == "ana"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("one\ntwo\x1b[31m\x00", "one ␊ two␛[31m␀"),
        ("password=geheim99", "password=<hidden>"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----", "<private key>"),
        ("postgres://ana:geheim99@pg1/x", "postgres://ana:<hidden>@pg1/x"),
        ("x" * 5000, "x" * 300),
        ("\ud800", "?"),
    ],
    ids=["control characters", "password", "private key", "address", "long", "half a character"],
)
def test_texts_are_redacted_cut_and_on_one_line(text, kept):
    entry = audit.record("login.failed", text, detail={"said": text})
    assert entry.target == kept
    assert str(entry.detail["said"]).startswith(kept)
    assert digest(AuditEntry.objects.get().told()) == entry.hash


# -- who acts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_in_a_request_whoever_is_signed_in_acts_by_the_page_and_nobody_after_it(settings):
    seen = []
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7")
    request.user = person("ana")
    acting.middleware(lambda request: seen.append(acting.now()) or HttpResponse())(request)
    assert (seen[0].who, seen[0].address, seen[0].door) == ("ana", "192.0.2.7", "page")
    assert acting.now() is acting.PANEL


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [(0, "198.51.100.1", "10.0.0.1"), (1, "198.51.100.1", "198.51.100.1"), (1, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
     (1, "nonsense", "10.0.0.1"), (2, "198.51.100.1", "10.0.0.1")],
)  # fmt: skip
def test_the_address_is_what_the_trusted_proxies_say_and_nothing_a_client_wrote(settings, proxies, forwarded, address):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert acting.address_of(request) == address


@pytest.mark.django_db
async def test_a_token_refines_who_acts_until_the_end_of_its_request():
    seen = []

    async def view(request):
        acting.refine(door="api", token="ci")
        seen.append(acting.now())
        return HttpResponse()

    request = AsyncRequestFactory().get("/")
    await acting.middleware(view)(request)
    assert (seen[0].door, seen[0].token) == ("api", "ci")
    assert acting.now() is acting.PANEL


def test_a_command_acts_as_the_account_that_runs_it_and_behind_sudo_as_both(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert (acting.by_command().who, acting.by_command().door) == ("root", "command")
    monkeypatch.setenv("SUDO_USER", "ana")
    assert acting.by_command().who == "ana as root"
