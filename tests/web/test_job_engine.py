"""The engine over hosts that are directories of this machine: real processes, no SSH."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from job_world import log_text, make_cluster, make_hosts, plan, run, start, statuses
from small_kind import KIND, PASSWORD

from accounts.models import User
from clusters.signals import job_finished
from jobs import claim, engine, planning, services
from jobs.brief import job_name
from jobs.kinds import KINDS
from jobs.log import Line, store
from jobs.models import Job
from jobs.recipe import ParamsError
from remote.command import Command

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_kind_without_a_broker(settings, monkeypatch):
    settings.HEARTBEAT_SECONDS = 0.1
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "small", KIND)
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: None)


@pytest.fixture
def cluster():
    return make_cluster()


@pytest.fixture
def hosts(cluster, tmp_path, monkeypatch):
    found = make_hosts(tmp_path)
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: found[node.name])
    return found


@pytest.fixture
def ana(db) -> User:
    return User.objects.create_user("ana")


class InAThread:
    """A worker of its own for one job."""

    def __init__(self, job: Job, **more) -> None:
        self.result = None
        self._thread = threading.Thread(target=self._run, args=(job.pk,), kwargs=more)
        self._thread.start()

    def _run(self, job_id: int, **more) -> None:
        from django.db import connection

        try:
            self.result = engine.run_job(job_id, **more)
        finally:
            connection.close()

    def ended(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.result


def wait_for(true, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def has_line(job: Job, text: str) -> bool:
    return job.lines.filter(text__contains=text).exists()


# -- from plan to proof ------------------------------------------------------------------------------------------------------------


def test_a_job_runs_from_plan_to_proof(cluster, hosts, tmp_path, heard):
    job = run(start(plan(cluster, tmp_path)))
    assert heard == ["succeeded"]
    assert (job.status, job.outcome) == ("succeeded", "Done: Small job on pg1, pg2")
    assert statuses(job) == ["done"] * 8
    assert "copied 3 of 3" in log_text(job)
    assert (tmp_path / "pg2/copied").read_text() == job_name(job)


def test_a_second_run_changes_nothing(cluster, hosts, tmp_path, monkeypatch):
    first = run(start(plan(cluster, tmp_path)))
    known = uuid.uuid4()
    monkeypatch.setattr(Job._meta.get_field("uuid"), "_get_default", lambda: known)
    for node in ("pg1", "pg2"):
        (tmp_path / node / "copied").write_text(job_name(Job(pk=first.pk + 1, uuid=known)))
    for host in hosts.values():
        host.ran.clear()
    second = run(start(plan(cluster, tmp_path)))
    assert second.status == "succeeded"
    assert statuses(second) == ["already", "already", "already", "done"] * 2
    assert [host.ran for host in hosts.values()] == [["true"], ["true"]]


def test_no_secret_reaches_plan_log_or_notes(cluster, hosts, tmp_path):
    job = run(start(plan(cluster, tmp_path)))
    kept = f"{job.plan} {job.notes} {job.outcome} {log_text(job)}"
    assert "the secret is <small password>" in kept
    assert PASSWORD.value not in kept


def test_an_old_password_in_a_file_that_is_replaced_is_not_shown_in_the_difference(cluster, hosts, tmp_path):
    (tmp_path / "pg1").mkdir()
    (tmp_path / "pg1/motd").write_text("primary_conninfo = 'host=pg2 password=oldsecret user=r'\n")
    job = plan(cluster, tmp_path)
    assert "-primary_conninfo = 'host=pg2 password=<hidden> user=r'" in str(job.plan)
    assert "oldsecret" not in str(job.plan)
    assert run(start(job)).status == "succeeded"


def test_lines_are_numbered_without_a_gap(cluster, hosts, tmp_path):
    job = run(start(plan(cluster, tmp_path, lines=30, pause="0")))
    assert list(job.lines.values_list("seq", flat=True)) == list(range(1, job.last_seq + 1))


def test_facts_are_read_only_where_something_was_touched(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path, nodes=["pg1"]))
    before = hosts["pg1"].reads
    run(job)
    # at the start, after each of three steps (the copy may need a second look), for the proof, and at the end
    assert hosts["pg1"].reads - before <= 8


def test_an_unreachable_host_refuses_the_plan_with_reason_and_mend(cluster, hosts, tmp_path):
    hosts["pg2"].is_cut = True
    job = plan(cluster, tmp_path)
    refused = [check for check in job.plan["checks"] if check["level"] == "refused"]
    assert job.status == "refused"
    assert (refused[0]["node"], refused[0]["reason"], refused[0]["mend"]) == ("pg2", "pg2 does not answer", "plug it in")


def test_wrong_parameters_are_refused_before_there_is_a_job(cluster):
    with pytest.raises(ParamsError, match="directory: is missing"):
        services.job_plan(cluster, "small", {"nodes": ["pg1"]}, None, "a test", plan_now=True)
    assert not Job.objects.exists()


def test_a_newer_plan_of_the_same_person_withdraws_the_older(cluster, hosts, tmp_path, ana):
    first, other = plan(cluster, tmp_path, by=ana), plan(cluster, tmp_path)
    plan(cluster, tmp_path, by=ana)
    first.refresh_from_db()
    other.refresh_from_db()
    assert (first.status, other.status) == ("withdrawn", "planned")


# -- starting ----------------------------------------------------------------------------------------------------------------------


def test_of_two_starts_one_wins_and_the_other_hears_whose_job_it_is(cluster, hosts, tmp_path, ana):
    first, second = plan(cluster, tmp_path), plan(cluster, tmp_path, by=ana)
    start(first, by=ana)
    with pytest.raises(services.ClusterBusy, match=rf"job {first.pk}, “Small job on pg1, pg2”, started by ana, is queued"):
        start(second)


def test_another_hash_than_the_plans_does_not_start(cluster, hosts, tmp_path):
    job = plan(cluster, tmp_path)
    with pytest.raises(services.PlanMoved):
        services.job_start(job, "0" * 64, None, "a test")
    start(job)
    with pytest.raises(services.NotPlanned):
        start(job)


def test_a_message_delivered_twice_runs_the_job_once(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path, lines=10))
    worker = InAThread(job)
    wait_for(lambda: has_line(job, "copied 1 of"))
    assert engine.run_job(job.pk) is None
    assert worker.ended() == "succeeded"
    assert (tmp_path / "pg1/started").read_text() == "started\n"


def test_drift_stops_the_job_before_any_change(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path))
    (tmp_path / "pg1").mkdir()
    (tmp_path / "pg1/foreign").write_text("somebody else's")
    run(job)
    assert job.status == "failed"
    assert "pg1: “Make the directory” has nothing left to do" in job.outcome
    assert "Nothing was changed on any host." in job.outcome
    assert [host.ran for host in hosts.values()] == [[], []]


def test_drift_after_an_upgrade_of_the_panel_says_so(cluster, hosts, tmp_path, monkeypatch):
    job = start(plan(cluster, tmp_path))
    monkeypatch.setattr(engine, "edition", lambda: "another")
    (tmp_path / "pg1").mkdir()
    run(job)
    assert "The panel was upgraded after this plan was made" in job.outcome
    assert "Make a new plan" in job.outcome
    assert [host.ran for host in hosts.values()] == [[], []]


def test_another_machine_under_the_same_address_is_drift(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path))
    hosts["pg2"].machine_id = "swapped"
    run(job)
    assert "pg2: machine was machine-pg2, is now swapped" in job.outcome
    assert hosts["pg1"].ran == []


def test_a_step_that_was_to_have_nothing_to_do_but_has_is_drift(cluster, hosts, tmp_path, monkeypatch):
    class Forgetful(type(KIND)):
        def steps(self, params, brief, world):
            first, *others = super().steps(params, brief, world)
            return [first, replace(others[0], forecast=lambda _world: False), *others[1:]]

    monkeypatch.setitem(KINDS, "small", Forgetful())
    job = run(start(plan(cluster, tmp_path, nodes=["pg1"])))
    assert "“Write the file” has something to do now, the plan said that it had nothing" in job.outcome
    assert not (tmp_path / "pg1/motd").exists()


# -- failing and going on ----------------------------------------------------------------------------------------------------------


def test_a_failed_step_says_where_why_what_stands_and_what_next_and_resumes_there(cluster, hosts, tmp_path):
    (tmp_path / "pg1").mkdir()
    (tmp_path / "pg1/break").touch()
    job = run(start(plan(cluster, tmp_path)))
    assert job.status == "failed"
    assert "Step 3 of 8, “Copy slowly” on pg1, failed:" in job.outcome
    assert "exit code 3. It said last:" in job.outcome
    assert "no space left on device" in job.outcome
    assert "Changed and kept: pg1: Write the file." in job.outcome
    assert "resume" in job.outcome
    (tmp_path / "pg1/break").unlink()
    hosts["pg1"].ran.clear()
    services.job_resume(job, None)
    run(job)
    assert (job.status, statuses(job)) == ("succeeded", ["already"] + ["done"] * 7)
    assert not any("mkdir" in text for text in hosts["pg1"].ran)
    assert (tmp_path / "pg1/started").read_text() == "started\nstarted\n"


def test_resuming_on_another_machine_is_refused(cluster, hosts, tmp_path):
    (tmp_path / "pg1").mkdir()
    (tmp_path / "pg1/break").touch()
    job = run(start(plan(cluster, tmp_path)))
    hosts["pg1"].machine_id = "swapped"
    hosts["pg1"].ran.clear()
    run(services.job_resume(job, None))
    assert "pg1: machine was machine-pg1, is now swapped" in job.outcome
    assert hosts["pg1"].ran == []


def test_a_host_that_does_not_answer_any_more_fails_the_job_with_its_mend_before_any_change(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path))
    hosts["pg2"].is_cut = True
    run(job)
    assert job.status == "failed"
    assert job.outcome.startswith("pg2: pg2 does not answer\n\nNothing was changed on any host.\n\nplug it in")
    assert hosts["pg1"].ran == []
    hosts["pg2"].is_cut = False
    assert run(services.job_resume(job, None)).status == "succeeded"


def test_a_step_whose_commands_succeed_but_that_is_not_done_has_failed(cluster, hosts, tmp_path, monkeypatch):
    class Blind(type(KIND)):
        def steps(self, params, brief, world):
            first, *others = super().steps(params, brief, world)
            return [replace(first, done=lambda _world: False, within_seconds=0.2), *others]

    monkeypatch.setitem(KINDS, "small", Blind())
    job = run(start(plan(cluster, tmp_path, nodes=["pg1"])))
    assert "Its commands ran, but “Make the directory” did not become true within 0.2 s." in job.outcome


def test_a_fault_of_the_panel_is_errored_with_its_traceback_redacted(cluster, hosts, tmp_path, monkeypatch):
    job = start(plan(cluster, tmp_path, nodes=["pg1"]))

    def broken(action):
        raise RuntimeError(f"bad luck with {PASSWORD.value}")

    monkeypatch.setattr(hosts["pg1"], "write", broken)
    run(job)
    assert job.status == "errored"
    assert "RuntimeError: bad luck with <small password>" in job.outcome
    assert "Traceback" in log_text(job)
    assert PASSWORD.value not in log_text(job)


def test_a_lost_network_during_a_copy_is_waited_for(cluster, hosts, tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.act.RETRY_SECONDS", 0.1)
    job = start(plan(cluster, tmp_path, nodes=["pg1"], lines=20))
    worker = InAThread(job)
    wait_for(lambda: has_line(job, "copied 2 of"))
    hosts["pg1"].is_cut = True
    wait_for(lambda: has_line(job, "connection lost"))
    hosts["pg1"].is_cut = False
    assert worker.ended() == "succeeded"
    assert [text for text in log_text(job).splitlines() if text.startswith("copied")] == [f"copied {n} of 20" for n in range(1, 21)]


# -- cancelling --------------------------------------------------------------------------------------------------------------------


def test_cancelling_a_copy_proves_its_end_and_says_what_remains(cluster, hosts, tmp_path, ana):
    job = start(plan(cluster, tmp_path, lines=600))
    worker = InAThread(job)
    wait_for(lambda: has_line(job, "copied 1 of"))
    services.job_cancel(job, ana)
    assert worker.ended() == "cancelled"
    job.refresh_from_db()
    assert "Cancelled by ana." in job.outcome
    assert "Not done: pg1: Copy slowly; " in job.outcome
    assert has_line(job, "no process of it is left on pg1")
    assert hosts["pg1"].detached_state(f"{job_name(job)}/copy.run#pg1", "").status == "died"
    assert statuses(job)[2] == "cancelled"


def test_a_copy_whose_end_cannot_be_proven_is_not_called_cancelled(cluster, hosts, tmp_path, monkeypatch):
    job = start(plan(cluster, tmp_path, lines=20))
    monkeypatch.setattr(hosts["pg1"], "end_detached", lambda name, user: False)
    worker = InAThread(job)
    wait_for(lambda: has_line(job, "copied 1 of"))
    services.job_cancel(job, None)
    assert worker.ended() == "failed"
    job.refresh_from_db()
    assert "it could not be proven that this has ended: job-" in job.outcome


def test_a_cancelled_job_resumes_with_a_new_copy(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path, nodes=["pg1"], lines=8))
    worker = InAThread(job)
    wait_for(lambda: has_line(job, "copied 1 of"))
    services.job_cancel(job, None)
    assert worker.ended() == "cancelled"
    run(services.job_resume(job, None))
    assert job.status == "succeeded", job.outcome
    assert (tmp_path / "pg1/started").read_text() == "started\nstarted\n"


def test_a_queued_job_is_cancelled_at_once(cluster, hosts, tmp_path, ana):
    job = services.job_cancel(start(plan(cluster, tmp_path)), ana)
    assert (job.status, job.outcome) == ("cancelled", "Cancelled by ana before it began.")
    assert engine.run_job(job.pk) is None


# -- handing on --------------------------------------------------------------------------------------------------------------------


def test_a_worker_told_to_stop_hands_over_and_the_next_follows_the_same_copy(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path, nodes=["pg1"], lines=20))
    is_stopping = threading.Event()
    worker = InAThread(job, is_stopping=is_stopping.is_set)
    wait_for(lambda: has_line(job, "copied 2 of"))
    is_stopping.set()
    assert worker.ended() == "queued"
    run(job)
    assert (job.status, job.handovers) == ("succeeded", 1)
    assert (tmp_path / "pg1/started").read_text() == "started\n"
    assert (tmp_path / "pg1/before").read_text() == "before\n"
    assert [text for text in log_text(job).splitlines() if text.startswith("copied")] == [f"copied {n} of 20" for n in range(1, 21)]


def test_what_was_asked_while_nobody_ran_the_job_counts_before_its_next_command(cluster, hosts, tmp_path, ana):
    job = start(plan(cluster, tmp_path, nodes=["pg1"], lines=600))
    worker = InAThread(job, is_stopping=lambda: has_line(job, "copied 1 of"))
    assert worker.ended() == "queued"
    services.job_cancel(job, ana)
    hosts["pg1"].ran.clear()
    run(job)
    assert (job.status, hosts["pg1"].ran) == ("cancelled", [])
    assert hosts["pg1"].detached_state(f"{job_name(job)}/copy.run#pg1", "").status == "died"


def test_a_copy_that_ended_while_nobody_watched_is_not_started_again(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path, nodes=["pg1"], lines=5))
    worker = InAThread(job, is_stopping=lambda: has_line(job, "copied 1 of"))
    assert worker.ended() == "queued"
    wait_for((tmp_path / "pg1/copied").exists)
    run(job)
    assert (job.status, (tmp_path / "pg1/started").read_text()) == ("succeeded", "started\n")


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The statuses that other rooms were told of."""
    told: list[str] = []

    def listener(status: str, **_arguments) -> None:
        told.append(status)
        raise RuntimeError("a listener's own fault")

    job_finished.connect(listener)
    yield told
    job_finished.disconnect(listener)


def silent(job: Job) -> claim.Claim:
    """A worker that has claimed the job and is heard no more."""
    mine = claim.claim_job(job.pk, "sleeper")
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    return mine


def test_a_silent_workers_job_goes_to_the_next_and_the_sleeper_can_write_nothing(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path))
    sleeper = silent(job)
    assert claim.take_from_the_silent() == []
    run(job)
    assert job.status == "succeeded", job.outcome
    for write in (
        lambda: sleeper.update(status="failed"),
        lambda: sleeper.update_step("copy.run#pg1", status="failed"),
        lambda: store(sleeper, [Line(timezone.now(), "", "", "note", "too late")], []),
        sleeper.confirm,
    ):
        sleeper.is_lost.clear()
        with pytest.raises(claim.Superseded):
            write()
    job.refresh_from_db()
    assert (job.status, statuses(job)) == ("succeeded", ["done"] * 8)
    assert not has_line(job, "too late")
    cluster.refresh_from_db()
    assert (sleeper.epoch, job.epoch, cluster.epoch) == (1, 2, 2)


def test_a_worker_that_slept_asks_before_its_next_command(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path))
    sleeper = silent(job)
    claim.take_from_the_silent()
    sleeper.confirmed_at -= 60
    with pytest.raises(claim.Superseded):
        sleeper.require()


def test_a_job_that_ten_workers_dropped_is_lost_and_can_be_resumed(cluster, hosts, tmp_path, heard):
    job = start(plan(cluster, tmp_path))
    for _number in range(10):
        silent(job)
        services.tasks.sweep_lost_jobs()
    silent(job)
    services.tasks.sweep_lost_jobs()
    job.refresh_from_db()
    assert (job.status, job.handovers) == ("lost", 10)
    assert heard == ["lost"]
    assert "10 workers in a row" in job.outcome
    assert run(services.job_resume(job, None)).status == "succeeded"


def test_a_broker_that_is_away_is_said_at_once_and_the_job_stays_queued(cluster, hosts, tmp_path, monkeypatch):
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: services.tasks._send(services.tasks.run_job, job_id))
    monkeypatch.setattr(services.tasks.run_job.app.conf, "broker_url", "redis://127.0.0.1:1/0")
    job = plan(cluster, tmp_path)
    begun = time.monotonic()
    with pytest.raises(services.BrokerAway, match="It begins by itself when Redis is back"):
        start(job)
    assert time.monotonic() - begun < 1
    job.refresh_from_db()
    assert job.status == "queued"


def test_a_job_whose_message_was_lost_is_given_to_the_broker_again(cluster, hosts, tmp_path):
    job = start(plan(cluster, tmp_path))
    assert claim.forgotten_by_the_broker() == [job.pk]
    Job.objects.update(enqueued_at=timezone.now())
    assert claim.forgotten_by_the_broker() == []
    Job.objects.update(enqueued_at=timezone.now() - timedelta(seconds=11))
    assert claim.forgotten_by_the_broker() == [job.pk]


def test_a_step_that_fails_asks_the_host_why(cluster, hosts, tmp_path, monkeypatch):
    (tmp_path / "server.log").write_text('FATAL:  could not bind: "10.0.0.9"\n')
    steps = type(KIND).steps

    def with_diagnosis(kind, params, brief, world):
        asked = (Command(("cat", str(tmp_path / "server.log"))), Command(("cat", str(tmp_path / "absent.log"))))
        return [
            replace(step, diagnosis=asked) if step.key.startswith("copy.run") else step
            for step in steps(kind, params, brief, world)
        ]

    monkeypatch.setattr(type(KIND), "steps", with_diagnosis)
    (tmp_path / "pg1").mkdir()
    (tmp_path / "pg1/break").touch()
    job = run(start(plan(cluster, tmp_path, nodes=["pg1"])))
    assert job.status == "failed"
    assert 'FATAL:  could not bind: "10.0.0.9"' in log_text(job)
    assert "exit code 3" in job.outcome


def test_two_panels_with_the_same_number_name_their_jobs_differently(cluster):
    assert job_name(Job(pk=1)) != job_name(Job(pk=1))
