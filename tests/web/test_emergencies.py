"""What may not wait: a promotion that supersedes, a zombie's fence beside what runs, the fence command, evidence for the page."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from job_world import make_cluster
from small_kind import KIND

from clusters import fencing, observing, services
from clusters.evidence import Observation
from clusters.models import Credential, Evidence, Lineage, NodeState, Quarantine
from clusters.signals import quarantined_node_seen
from jobs import services as job_services
from jobs import superseding, tasks, zombies
from jobs.kinds import KINDS
from jobs.models import Job
from monitor import zombies as watch
from monitor.sight import Sight, Unseen
from monitor.watch import ClusterReport, NodeReport
from remote.facts import Control, Facts, Postgres

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_broker(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(tasks, "enqueue", lambda job_id: None)
    monkeypatch.setattr(tasks, "enqueue_planning", lambda job_id: None)


@pytest.fixture
def cluster():
    return make_cluster()


def job(cluster, status: str, kind: str = "small", **more) -> Job:
    return Job.objects.create(cluster=cluster, kind=kind, title=f"a {kind}", status=status, plan_hash="0" * 64, **more)


# -- superseding ---------------------------------------------------------------------------------------------------------------


def start(promotion: Job) -> Job:
    return job_services.job_start(promotion, promotion.plan_hash, None, "a test", supersede=True)


def test_a_promotion_waits_until_the_active_job_has_ended(cluster) -> None:
    active, promotion = job(cluster, "running", started_at=timezone.now()), job(cluster, "planned", "promote")
    assert start(promotion).status == "planned"
    active.refresh_from_db()
    assert active.cancel_requested_at is not None
    assert superseding.ready() == []
    Job.objects.filter(pk=active.pk).update(status="cancelled")
    assert superseding.ready() == [promotion.pk]
    promotion.refresh_from_db()
    assert (promotion.status, promotion.supersedes_id) == ("queued", active.pk)


def test_a_job_that_nobody_had_begun_is_gone_at_once(cluster) -> None:
    active, promotion = job(cluster, "queued"), job(cluster, "planned", "promote")
    assert start(promotion).status == "queued"
    active.refresh_from_db()
    assert active.status == "cancelled"
    assert "Superseded by job" in active.outcome


def test_a_worker_that_does_not_end_its_job_loses_it_after_some_seconds(cluster, monkeypatch) -> None:
    active, promotion = job(cluster, "running", started_at=timezone.now()), job(cluster, "planned", "promote")
    start(promotion)
    monkeypatch.setattr(superseding, "PATIENCE_SECONDS", 0)
    assert superseding.ready() == [promotion.pk]
    active.refresh_from_db()
    assert active.status == "cancelled"
    assert "could not wait" in active.outcome


def test_only_what_is_urgent_supersedes(cluster) -> None:
    job(cluster, "running", started_at=timezone.now())
    with pytest.raises(job_services.ClusterBusy):
        start(job(cluster, "planned", "small"))


def test_who_was_the_primary_is_written_into_a_promotion(cluster) -> None:
    NodeState.objects.filter(node__name="pg1").update(role="primary", timeline=3)
    Job.objects.all().delete()
    planned = job_services.job_plan(cluster, "promote", {"candidate": "pg2"}, None, "a test")
    assert planned.params["primary"] == "pg1"


# -- zombies -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def zombie(cluster):
    node = cluster.nodes.get(name="pg1")
    Quarantine.objects.create(node=node, reason="promoted away from")
    return node


def test_a_fence_runs_beside_another_active_job_but_only_one_of_it(cluster) -> None:
    job(cluster, "running")
    job(cluster, "running", "fence")
    for kind in ("fence", "small"):
        with pytest.raises(IntegrityError), transaction.atomic():
            job(cluster, "queued", kind)


def test_a_fence_is_wanted_only_under_quarantine_and_not_twice_in_a_moment(cluster, zombie) -> None:
    assert zombies.is_wanted(zombie.pk)
    assert not zombies.is_wanted(cluster.nodes.get(name="pg2").pk)
    fence = job(cluster, "failed", "fence", params={"node": "pg1"})
    assert not zombies.is_wanted(zombie.pk)
    Job.objects.filter(pk=fence.pk).update(created_at=timezone.now() - timedelta(seconds=zombies.AGAIN_SECONDS + 1))
    assert zombies.is_wanted(zombie.pk)
    Quarantine.objects.update(lifted_at=timezone.now())
    assert not zombies.is_wanted(zombie.pk)


def report(node_id: int, **given) -> ClusterReport:
    values = {"sight": None, "unseen": None, "is_fresh": True, "is_the_primary": False, "lag": None, "sender": None, "upstream": ""}
    node = NodeReport(node_id=node_id, name="pg1", tried_at=1.0, **(values | given))
    return ClusterReport(1, "registry", 1.0, (node,))


def sight(role: str) -> Sight:
    return Sight(at=1.0, way="tcp", round_trip_seconds=0.0, major="15", role=role, is_writable=role == "primary", timeline=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "is_told"),
    [
        ({"sight": sight("primary")}, True),
        ({"unseen": Unseen(1.0, "starting", "the database system is starting up")}, True),
        ({"sight": sight("standby")}, False),
        ({"sight": sight("primary"), "unseen": Unseen(1.0, "timeout", "silence")}, False),
        ({"sight": sight("primary"), "is_fresh": False}, False),
    ],
)
def test_the_watch_tells_of_a_quarantined_node_that_may_write(zombie, given, is_told, monkeypatch) -> None:
    heard = []
    monkeypatch.setattr(tasks, "enqueue_fence", heard.append)
    watch.watch([report(zombie.pk, **given)])
    assert heard == ([zombie.pk] if is_told else [])


def test_a_primary_that_is_not_under_quarantine_is_nobodys_concern(cluster) -> None:
    heard = []
    quarantined_node_seen.connect(lambda node_id, **_more: heard.append(node_id), weak=False, dispatch_uid="test")
    try:
        watch.watch([report(cluster.nodes.get(name="pg1").pk, sight=sight("primary"))])
    finally:
        quarantined_node_seen.disconnect(dispatch_uid="test")
    assert heard == []


# -- the fence command ---------------------------------------------------------------------------------------------------------


def test_a_fence_command_is_words_and_never_a_shells(cluster, tmp_path) -> None:
    node = cluster.nodes.get(name="pg1")
    fencing.fence_set(node, "/bin/echo off $HOME; true", "/bin/echo status", "geheim-42")
    assert fencing.fence(node).output == "off $HOME; true"
    for wrong in ("ipmitool off", "/bin/echo 'off"):
        with pytest.raises(ValidationError):
            fencing.fence_set(node, wrong, "")


def test_its_secret_reaches_it_as_environment_and_is_masked_in_what_it_says(cluster, tmp_path) -> None:
    node = cluster.nodes.get(name="pg1")
    fencing.fence_set(node, '/bin/sh -c "echo $PGPANEL_NODE $PGPANEL_FENCE $IPMI_PASSWORD; exit 3"', "/bin/echo fine", "geheim-42")
    done = fencing.fence(node)
    assert (done.works, done.output) == (False, "pg1 fence ********\n\nexit code 3")
    assert "geheim" not in fencing.fence_shown(node)
    assert "geheim" not in Credential.objects.get(kind="fence").sealed
    assert fencing.fence_test(node).works
    node.refresh_from_db()
    assert (node.fence_test_works, node.fence_test_output) == (True, "fine")
    fencing.fence_set(node, node.fence_command, "", "")
    assert not Credential.objects.filter(kind="fence").exists()


def test_a_fence_command_that_never_ends_is_ended_and_has_not_worked(cluster, monkeypatch) -> None:
    node = cluster.nodes.get(name="pg1")
    fencing.fence_set(node, "/bin/sleep 30", "")
    monkeypatch.setattr(fencing, "FENCE_SECONDS", 0.2)
    done = fencing.fence(node)
    assert not done.works
    assert "ended after" in done.output
    assert not fencing.fence_test(node).works


# -- evidence for the page -----------------------------------------------------------------------------------------------------


def remembered(cluster, name: str, **values) -> None:
    NodeState.objects.filter(node__cluster=cluster, node__name=name).update(seen_at=timezone.now(), is_reachable=True, **values)


def test_the_pages_evidence_is_judged_from_rows_and_grows_old(cluster) -> None:
    remembered(cluster, "pg1", role="primary", timeline=1, current_lsn=5_000_000)
    remembered(cluster, "pg2", role="standby", timeline=1, receive_lsn=4_000_000, replay_lsn=4_000_000)
    assert observing.evidence_of(cluster).verdict.kind == "cannot_tell"
    seen = [Observation("panel", "ssh", "stopped", time.time())]
    Evidence.objects.update_or_create(
        cluster=cluster, defaults={"primary": "pg1", "observations": [vars(one) for one in seen], "gathered_at": timezone.now()}
    )
    found = observing.evidence_of(cluster)
    assert (found.primary.name, found.verdict.kind) == ("pg1", "stopped_proven")
    assert [(one.name, one.loss_bytes_known, one.is_zero_after_salvage) for one in found.candidates] == [("pg2", 1_000_000, True)]
    old = [vars(Observation("panel", "ssh", "stopped", time.time() - 60))]
    Evidence.objects.update(observations=old)
    assert observing.evidence_of(cluster).verdict.kind == "cannot_tell"


def test_evidence_is_gathered_once_at_a_time(cluster, monkeypatch) -> None:
    begun = []
    monkeypatch.setattr("clusters.tasks.start_gathering", begun.append)
    assert observing.evidence_refresh(cluster)
    assert not observing.evidence_refresh(cluster)
    assert begun == [cluster]
    assert observing.evidence_of(cluster).is_asking


def test_a_look_at_a_stopped_primary_keeps_what_it_had_when_it_was_last_seen(cluster) -> None:
    node = cluster.nodes.get(name="pg1")
    remembered(cluster, "pg1", role="primary", timeline=4, current_lsn=5_000_000)
    control = Control("7302510413205872893", "in production", 4, 0, 0, "")
    stopped = Postgres("/var/lib/postgresql/15/main", "postgres", "15", control=control, role="primary")
    services.remember_facts(node, Facts(hostname="pg1", clusters=(stopped,)))
    state = NodeState.objects.get(node=node)
    assert (state.current_lsn, state.timeline, state.role, state.is_writable) == (5_000_000, 4, "primary", None)


def test_a_jobs_memory_has_positions_fences_and_timelines(cluster) -> None:
    remembered(cluster, "pg1", role="primary", timeline=1, current_lsn=5_000_000)
    node = cluster.nodes.get(name="pg1")
    fencing.fence_set(node, "/bin/true now", "")
    observing.fence_observed(node, "by a test")
    Lineage.objects.create(cluster=cluster, timeline=2, node="pg2")
    memory = observing.memory_of(cluster)
    assert memory.known["pg1"].lsn == 5_000_000
    assert memory.fences == {"pg1": "on the panel's machine: /bin/true now"}
    assert [one.by for one in memory.fenced["pg1"]] == ["fence"]
    assert "pg2" not in memory.fenced  # who was fenced says nothing of another
    assert memory.timelines == {2: "pg2"}
    with pytest.raises(IntegrityError):
        Lineage.objects.create(cluster=cluster, timeline=2, node="pg1")
