"""What a change of roles leaves behind: the page and the text tell the same; a list does not call a promotion failed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from operation_world import three

from accounts.models import User
from clusters.models import Grant, Node, Quarantine
from jobs.models import Job, JobStep
from remote.errors import OTHER_HOST_KEY

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster(settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    return three()


@pytest.fixture
def ana(cluster, client) -> User:
    user = User.objects.create_user("ana")
    Grant.objects.create(user=user, cluster=cluster, role="administrator")
    client.force_login(user)
    return user


def ended(cluster, by, ending: str = "", **more) -> Job:
    began = timezone.now() - timedelta(minutes=1)
    report = {
        "gap_ms": 113.4, "timeline_before": 3, "timeline_after": 4, "loss": {"sentence": "Nothing acknowledged is lost."},
        "verdict": {"kind": "stopped_proven", "sentence": "pg1 is stopped, proven."},
        "evidence": [{"observer": "panel", "by": "ssh", "says": "stopped", "at": began.timestamp(), "detail": "no postmaster"}],
        "timeline": [{"at": (began + timedelta(milliseconds=61)).isoformat(), "node": "pg2", "what": "takes writes"}],
    }  # fmt: skip
    values = {
        "kind": "promote", "title": "Promote pg2, in place of pg1", "status": "succeeded", "ending": ending, "started_by": by,
        "started_from": "10.1.2.3", "queued_at": began, "started_at": began, "ended_at": began + timedelta(seconds=3),
        "plan_hash": "9f3c1a" * 10, "report": report, "params": {"candidate": "pg2", "attested": "pg1"},
    }  # fmt: skip
    job = Job.objects.create(cluster=cluster, **values | more)
    JobStep.objects.create(job=job, position=0, key="promote", node="pg2", title="Promote pg2", status="done", started_at=began)
    return job


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_page_and_text_tell_timeline_evidence_loss_and_who(client, cluster, ana):
    job = ended(cluster, ana, "done")
    page = text_of(client.get(f"/jobs/{job.pk}/incident/"))
    text = client.get(f"/jobs/{job.pk}/incident.txt").content.decode()
    for said in ("113 ms", "3 → 4", "Nothing acknowledged is lost.", "pg1 is stopped, proven.", "no postmaster", "takes writes",
                 "confirmed by ana", "9f3c1a9f3c1a"):  # fmt: skip
        assert said in page, said
        assert said in text, said
    assert "pg1 is off, by typing its name" in page


def test_what_was_taken_off_is_said_with_the_line_that_puts_it_back(client, cluster, ana):
    line = "ALTER SYSTEM SET synchronous_standby_names = 'pg3'; SELECT pg_reload_conf();"
    check = {
        "key": "candidate.synchronous#pg2", "node": "pg2", "title": "Nobody waits", "level": "warning",
        "reason": "synchronous_standby_names, “pg3”, is taken off", "mend": "set it again when its standbys are back",
        "mend_command": line,
    }  # fmt: skip
    job = ended(cluster, ana, "done", plan={"kind": "promote", "checks": [check]})
    assert line in client.get(f"/jobs/{job.pk}/incident.txt").content.decode()
    Job.objects.filter(pk=job.pk).update(report={})  # nothing was promoted
    assert line not in client.get(f"/jobs/{job.pk}/incident.txt").content.decode()


def test_what_is_pending_is_said(client, cluster, ana):
    job = ended(cluster, ana, "cleanup_pending", status="failed")
    JobStep.objects.create(job=job, position=1, key="follow", node="pg3", title="Let pg3 follow pg2", status="failed")
    Quarantine.objects.create(node=Node.objects.get(name="pg1"), reason="promoted away from")
    page = text_of(client.get(f"/jobs/{job.pk}/incident/"))
    assert "pg3: Let pg3 follow pg2" in page
    assert "pg1 is under quarantine: rebuild it as a standby" in page


def test_a_job_that_changed_no_roles_has_no_such_page(client, cluster, ana):
    job = ended(cluster, ana, kind="setup", report={})
    assert client.get(f"/jobs/{job.pk}/incident/").status_code == 404


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("rolled_back", "The old primary serves again, as before."),
        ("cleanup_pending", "Finish the clean-up"),
        ("unknown", "exactly one may take writes"),
        ("refused_by_host", "A host took no orders from this job"),
    ],
)
def test_each_ending_is_said_on_the_job_s_page_and_in_the_lists(client, cluster, ana, ending, said):
    job = ended(cluster, ana, ending, status="failed", outcome="Why it ended so.")
    assert said in text_of(client.get(f"/jobs/{job.pk}/"))
    assert "failed" not in text_of(client.get("/jobs/of/registry/"))


def test_a_refused_host_key_leads_to_where_the_new_one_is_compared(client, cluster, ana):
    job = ended(
        cluster, ana, kind="restart", status="failed", report={}, outcome=f"pg2 (10.0.0.2:22) {OTHER_HOST_KEY}: accepted a, shown b"
    )
    assert 'href="/c/registry/n/pg2/"' in client.get(f"/jobs/{job.pk}/").content.decode()
    state = cluster.nodes.get(name="pg2").state
    state.error, state.is_reachable = f"pg2 (10.0.0.2:22) {OTHER_HOST_KEY}: accepted a, shown b", False
    state.save()
    assert "pg2 was reinstalled: show its new key" in text_of(client.get("/c/registry/n/pg2/"))


def test_a_new_key_is_shown_and_nothing_is_trusted_by_asking_for_it(client, cluster, ana, monkeypatch):
    monkeypatch.setattr("clusters.tasks.start_look_at_node", lambda node: None)
    Node.objects.filter(name="pg2").update(host_key="ssh-ed25519 AAAA")
    client.post("/c/registry/n/pg2/rekey/")
    assert Node.objects.get(name="pg2").host_key == ""


def test_the_fleet_s_card_says_when_a_switchover_was_last_proven(client, cluster, ana):
    assert "No switchover proven yet" in text_of(client.get("/jobs/of/registry/?last=1", headers={"HX-Request": "true"}))
    ended(cluster, ana, "done", kind="switchover")
    Job.objects.create(
        cluster=cluster, kind="rehearse", status="succeeded", ended_at=timezone.now(), report={"expected_gap_ms": 120}
    )
    text = text_of(client.get("/jobs/of/registry/proven/"))
    assert "Switchover proven" in text
    assert "113 ms without writes" in text
    assert "about 120 ms expected" in text
