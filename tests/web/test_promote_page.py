"""The promote page over rows: which way is offered under which verdict, when a name is typed, who may, who is told what."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from operation_world import LSN, all_kinds, primary_gone, seen, three

from accounts.models import User
from clusters import observing
from clusters.evidence import PANEL, Observation
from clusters.models import Evidence, Grant
from jobs import promote_page, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)

SILENT = (
    Observation(PANEL, "ssh", "no-answer", 0, "no route to host"), Observation(PANEL, "sql", "no-answer", 0, "timed out"),
    Observation("pg2", "sql", "no-answer", 0, "timed out"), Observation("pg3", "sql", "no-answer", 0, "timed out"),
)  # fmt: skip
STOPPED = (Observation(PANEL, "ssh", "stopped", 0, "no postmaster, no backend"),)
HUNG = (Observation(PANEL, "ssh", "alive", 0, "postmaster 7 runs"), Observation("pg2", "sql", "no-answer", 0, "timed out"))
BLIND = (*SILENT[:2], Observation("pg2", "sql", "alive", 0, "it says timeline 3"))
PAGE = "/c/registry/promote"


@pytest.fixture(autouse=True)
def every_kind_without_a_broker(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    for name, kind in all_kinds().items():
        monkeypatch.setitem(KINDS, name, kind)
    monkeypatch.setattr(services.tasks, "enqueue", lambda *_: None)
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda *_: None)
    monkeypatch.setattr("clusters.tasks.start_gathering", lambda cluster: None)


@pytest.fixture
def cluster():
    found = three()
    primary_gone(found)
    seen(found, "pg3", receive_lsn=LSN - 4096, replay_lsn=LSN - 4096, sample={"state": "disconnected"})
    return found


@pytest.fixture
def ana(cluster, client) -> User:
    user = User.objects.create_user("ana")
    Grant.objects.create(user=user, cluster=cluster, role="operator")
    client.force_login(user)
    return user


def observed(cluster, observations, seconds_ago: float = 1.0) -> None:
    kept = [asdict(one) | {"at": time.time() - seconds_ago} for one in observations]
    at = timezone.now() - timedelta(seconds=seconds_ago)
    Evidence.objects.update_or_create(cluster=cluster, defaults={"primary": "pg1", "observations": kept, "gathered_at": at})


def ways(cluster) -> dict[str, list[str]]:
    found = promote_page.choices_of(cluster, observing.evidence_of(cluster))
    return {choice.node.name: [way.name for way in choice.ways] for choice in found}


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


# -- which way under which verdict -----------------------------------------------------------------------------------------------


def test_a_stopped_primary_s_wal_is_fetched_first_and_one_click_is_enough(cluster):
    observed(cluster, STOPPED)
    found = promote_page.choices_of(cluster, observing.evidence_of(cluster))
    assert found[0].way.text == "Fetch the last WAL of pg1, then promote pg2"
    assert found[0].way.typed_for == ()
    assert found[0].way.params == {"candidate": "pg2", "primary": "pg1", "accept_loss": False}


def test_without_its_wal_a_name_is_typed_that_says_what_may_be_lost(cluster):
    observed(cluster, STOPPED)
    without = promote_page.choices_of(cluster, observing.evidence_of(cluster))[0].others[0]
    assert without.params == {"candidate": "pg2", "primary": "pg1", "accept_loss": True, "salvage": False}
    assert "may be lost" in without.typed_for[0]


def test_a_primary_that_runs_but_answers_nobody_is_stopped_first(cluster):
    observed(cluster, HUNG)
    assert promote_page.choices_of(cluster, observing.evidence_of(cluster))[0].way.text == (
        "Stop pg1 for good, fetch its last WAL, then promote pg2"
    )


def test_an_unreachable_one_is_fenced_where_it_has_a_fence_and_attested_otherwise(cluster):
    observed(cluster, SILENT)
    assert ways(cluster) == {"pg2": ["attested"], "pg3": ["attested"]}
    cluster.nodes.filter(name="pg1").update(fence_command="/usr/bin/ipmitool chassis power off")
    assert ways(cluster) == {"pg2": ["fence", "attested"], "pg3": ["fence", "attested"]}


def test_a_fence_and_proven_synchronous_replication_need_no_name(cluster):
    cluster.nodes.filter(name="pg1").update(fence_command="/usr/bin/ipmitool chassis power off")
    seen(cluster, "pg2", sample={"state": "disconnected", "sync_state": "sync"})
    observed(cluster, SILENT)
    fence, attested = promote_page.choices_of(cluster, observing.evidence_of(cluster))[0].ways
    assert (fence.typed_for, fence.params["accept_loss"]) == ((), False)
    assert len(attested.typed_for) == 1


def test_who_is_behind_another_standby_takes_its_wal_first(cluster):
    observed(cluster, SILENT)
    behind = promote_page.choices_of(cluster, observing.evidence_of(cluster))[1]
    assert (behind.node.name, behind.way.params["fetch_from"]) == ("pg3", "pg2")


@pytest.mark.parametrize("observations", [BLIND, ()])
def test_nothing_is_offered_while_somebody_hears_it_or_nobody_has_asked(client, cluster, ana, observations):
    observed(cluster, observations)
    assert set(map(tuple, ways(cluster).values())) == {()}
    page = client.get(PAGE)
    assert "Wait and look again" in text_of(page)
    assert "/promote/plan" not in page.content.decode()


# -- the page --------------------------------------------------------------------------------------------------------------------


def test_opening_it_asks_everybody_when_what_is_known_is_old(client, cluster, ana):
    observed(cluster, SILENT, seconds_ago=60)
    assert "asking every host now" in text_of(client.get(PAGE))
    assert Evidence.objects.get().asked_at is not None


def test_opening_it_plans_nothing_by_itself(client, cluster, ana):
    observed(cluster, STOPPED)
    client.get(PAGE)
    assert not Job.objects.exists()


def test_it_looks_and_comes_again_without_scripts(client, cluster, ana):
    observed(cluster, SILENT, seconds_ago=60)
    html = client.get(PAGE).content.decode()
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in html
    assert not re.search(r"\sstyle=|\son[a-z]+=|<script>|javascript:", html)
    response = client.post(f"{PAGE}/look")
    assert response.url == PAGE


def test_a_typed_name_leads_to_the_plan_on_the_same_page(client, cluster, ana):
    observed(cluster, SILENT)
    wrong = client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "attested", "typed": "pg2"})
    assert wrong.status_code == 422
    assert "Type “pg1”." in text_of(wrong)
    right = client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "attested", "typed": "pg1"})
    job = Job.objects.get()
    assert right.url == f"{PAGE}?job={job.pk}"
    assert job.params == {"candidate": "pg2", "primary": "pg1", "accept_loss": True, "attested": "pg1"}
    assert "Looking at the hosts once more" in text_of(client.get(right.url))


def test_a_page_loaded_again_goes_to_the_plan_that_is_there(client, cluster, ana):
    observed(cluster, STOPPED)
    for _ in range(2):
        response = client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "salvage"})
    assert response.url == f"{PAGE}?job={Job.objects.get().pk}"


def test_the_plan_s_button_says_the_way_and_takes_the_hash(client, cluster, ana):
    observed(cluster, STOPPED)
    client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "salvage"})
    job = Job.objects.get()
    Job.objects.update(status="planned", plan_hash="ab" * 32)
    html = client.get(f"{PAGE}?job={job.pk}").content.decode()
    assert 'btn-big">Fetch the last WAL of pg1, then promote pg2</button>' in html
    assert client.post(f"/jobs/{job.pk}/start/", {"hash": "ab" * 32}).url == f"/jobs/{job.pk}/"
    assert Job.objects.get().status == "queued"


def test_a_plan_is_not_offered_any_more_when_somebody_hears_the_primary_again(client, cluster, ana):
    observed(cluster, STOPPED)
    client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "salvage"})
    Job.objects.update(status="planned", plan_hash="ab" * 32)
    observed(cluster, BLIND)
    page = client.get(f"{PAGE}?job={Job.objects.get().pk}")
    assert "What is known has changed since this plan was made" in text_of(page)
    assert "/start/" not in page.content.decode()


def test_what_is_known_may_change_between_reading_and_clicking(client, cluster, ana):
    observed(cluster, BLIND)
    response = client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "attested", "typed": "pg1"}, follow=True)
    assert "What is known has changed meanwhile: read it again." in text_of(response)
    assert not Job.objects.exists()


def test_a_job_that_runs_is_named_and_a_promotion_goes_before_it(client, cluster, ana):
    bo = User.objects.create_user("bo")
    running = Job.objects.create(cluster=cluster, kind="setup", title="Set up pg3", status="running", started_by=bo)
    observed(cluster, STOPPED)
    client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "salvage"})
    job = Job.objects.get(kind="promote")
    Job.objects.filter(pk=job.pk).update(status="planned", plan_hash="ab" * 32)
    page = client.get(f"{PAGE}?job={job.pk}")
    assert "First “Set up pg3”, started by bo, is asked to end" in text_of(page)
    client.post(f"/jobs/{job.pk}/start/", {"hash": "ab" * 32, "supersede": "yes"})
    job.refresh_from_db()
    running.refresh_from_db()
    assert (job.supersedes, running.cancel_requested_by) == (running, ana)
    assert "Waits until “Set up pg3” has ended" in text_of(client.get(f"/jobs/{job.pk}/"))


def test_a_viewer_reads_it_and_promotes_nothing(client, cluster, ana):
    Grant.objects.filter(user=ana).update(role="viewer")
    observed(cluster, STOPPED)
    assert "To promote, the role “operator” is needed on this cluster." in text_of(client.get(PAGE))
    assert client.post(f"{PAGE}/plan", {"candidate": "pg2", "way": "salvage"}).status_code == 403


def test_a_stranger_s_cluster_does_not_exist(client, cluster):
    client.force_login(User.objects.create_user("eve"))
    assert client.get(PAGE).status_code == 404


def test_by_hand_there_is_a_line_to_paste(client, cluster, ana):
    observed(cluster, SILENT)
    line = "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl promote -D /var/lib/postgresql/15/main"
    assert line in text_of(client.get(PAGE))
