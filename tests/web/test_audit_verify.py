"""Verifying the trail: whatever is changed, removed, cut off or written anew is found, and where."""

from __future__ import annotations

import io
import json

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection

from accounts import audit, audit_chain, guards
from accounts.audit_chain import Anchor
from accounts.tasks import verify_audit
from accounts.trail import AuditEntry, AuditHead, digest

pytestmark = pytest.mark.django_db


@pytest.fixture
def five():
    return [audit.record("cluster.add", f"c{number}", detail={"number": number}) for number in range(1, 6)]


def by_force(statement: str, *values) -> None:
    """As somebody does who owns the database."""
    with guards.lifted(connection), connection.cursor() as cursor:
        cursor.execute(statement, values)


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("audit", *words, stdout=out)
    return out.getvalue()


def refused(*words: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        said(*words)
    return caught.value


def rewritten_from(number: int) -> None:
    """What a careful forger does: a changed entry and every hash after it, the head too."""
    previous = AuditEntry.objects.get(number=number).previous
    for entry in AuditEntry.objects.filter(number__gte=number).order_by("number"):
        told = entry.told() | {"who": "eve", "previous": previous}
        previous = digest(told)
        by_force("UPDATE accounts_auditentry SET who = %s, previous = %s, hash = %s WHERE number = %s",
                 "eve", told["previous"], previous, entry.number)  # fmt: skip
    AuditHead.objects.update(hash=previous)


def test_a_trail_as_it_was_written_is_whole(five):
    assert said("verify") == "whole: 5 entries\n"


def test_an_empty_trail_is_whole():
    assert said("verify") == "whole: 0 entries\n"


@pytest.mark.parametrize("column", ["who", "action", "target", "cluster", "plan_hash", "result", "address", "token", "door"])
def test_every_changed_field_is_found(five, column):
    by_force(f"UPDATE accounts_auditentry SET {column} = 'x' WHERE number = 3")
    verdict = audit_chain.verify()
    assert (verdict.number, verdict.count) == (3, 2)
    assert "Entry 3 was changed" in str(refused("verify"))


def test_a_changed_detail_or_time_is_found(five):
    by_force("UPDATE accounts_auditentry SET detail = %s WHERE number = 2", json.dumps({"number": 9}))
    by_force("UPDATE accounts_auditentry SET at = '2001-01-01 00:00:00' WHERE number = 1")
    assert audit_chain.verify().number == 1
    by_force("UPDATE accounts_auditentry SET at = %s WHERE number = 1", five[0].at)
    assert audit_chain.verify().number == 2


def test_an_entry_removed_from_the_middle_is_missed(five):
    by_force("DELETE FROM accounts_auditentry WHERE number = 3")
    assert "Entry 3 is missing" in str(refused("verify"))


def test_what_was_cut_off_at_the_end_is_missed_by_the_head(five):
    by_force("DELETE FROM accounts_auditentry WHERE number > 3")
    text = str(refused("verify"))
    assert "BROKEN at entry 4" in text
    assert "there were 5" in text


def test_who_cuts_the_head_as_well_is_found_by_an_anchor(five, tmp_path):
    anchors = tmp_path / "anchors"
    printed = said("anchor", "--file", str(anchors)).strip()
    by_force("DELETE FROM accounts_auditentry WHERE number > 3")
    AuditHead.objects.update(number=3, hash=five[2].hash)
    assert said("verify") == "whole: 3 entries\n"
    assert "there were 5" in str(refused("verify", "--anchor", printed))
    assert "there were 5" in str(refused("verify", "--anchor-file", str(anchors)))


def test_one_entry_with_a_new_hash_does_not_fit_the_next(five):
    told = five[2].told() | {"who": "eve"}
    by_force("UPDATE accounts_auditentry SET who = 'eve', hash = %s WHERE number = 3", digest(told))
    assert audit_chain.verify().number == 4


def test_a_trail_written_anew_as_a_whole_is_found_by_an_anchor(five):
    anchor = audit_chain.anchor()
    rewritten_from(2)
    assert audit_chain.verify().is_whole
    assert "written anew" in audit_chain.verify(anchor).why


def test_entries_behind_the_head_are_found(five):
    AuditHead.objects.update(number=4, hash=five[3].hash)
    assert audit_chain.verify().number == 5


def test_a_head_that_somebody_changed_is_found(five):
    AuditHead.objects.update(hash="0" * 64)
    assert not audit_chain.verify(Anchor(5, five[4].hash)).is_whole


def test_a_broken_trail_ends_with_exit_code_1_and_a_wrong_word_with_2(five, tmp_path):
    by_force("UPDATE accounts_auditentry SET who = 'x' WHERE number = 1")
    assert refused("verify").returncode == 1
    assert refused("verify", "--anchor", "nonsense").returncode == 2
    assert refused("verify", "--anchor-file", str(tmp_path / "none")).returncode == 2


def test_an_anchor_can_be_mailed(five):
    said("anchor", "--mail", "ana@example.net")
    assert str(audit_chain.anchor()) in mail.outbox[0].body


def test_an_export_is_verified_by_itself_also_a_part_of_the_trail(five, tmp_path):
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    whole.write_text(said("export"))
    assert said("verify", "--file", str(whole), "--anchor", str(audit_chain.anchor())) == "whole: 5 entries, 1 anchors hold\n"
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[2:]))
    assert said("verify", "--file", str(part)) == "whole: 3 entries\n"
    part.write_text(part.read_text().replace('"c4"', '"c9"'))
    assert "Entry 4 was changed" in str(refused("verify", "--file", str(part)))
    part.write_text("hello\n")
    assert refused("verify", "--file", str(part)).returncode == 2


def test_an_export_takes_a_period_and_a_cluster(five):
    audit.record("node.add", "pg1", cluster="shop")
    assert [json.loads(line)["target"] for line in said("export", "--cluster", "shop").splitlines()] == ["pg1"]
    assert said("export", "--since", "2999-01-01") == ""
    assert len(said("export", "--until", "2999-01-01").splitlines()) == 6
    assert said("export", "--format", "csv").splitlines()[1].startswith("1,")


def test_a_worker_verifies_and_the_page_can_say_when(five, caplog):
    verify_audit()
    head = AuditHead.objects.get()
    assert (head.verified_count, head.finding) == (5, "")
    assert head.verified_at is not None
    by_force("UPDATE accounts_auditentry SET who = 'x' WHERE number = 3")
    verify_audit()
    assert "Entry 3 was changed" in AuditHead.objects.get().finding
    assert "ALARM" in caplog.text
