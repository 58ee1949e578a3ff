"""A step whose output does not end: its beginning and its end are kept, and how much is between them."""

import pytest
from cryptography.fernet import Fernet
from job_world import make_cluster

from jobs import log as logs
from jobs.claim import claim_job
from jobs.models import Job, JobStep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def step(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr(logs, "MOST_LINES", 20)
    monkeypatch.setattr(logs, "LAST_LINES", 5)
    job = Job.objects.create(cluster=make_cluster(), kind="small", status="queued")
    return JobStep.objects.create(job=job, position=1, key="standby.copy", node="pg1", title="Copy")


def written(log, step, first, last):
    for number in range(first, last + 1):
        log.write("output", f"line {number}", "pg1", step.key)
        log.read_to(step.key, "job-1/standby.copy", number)


def texts(step):
    return list(step.job.lines.values_list("text", flat=True))


def test_the_beginning_and_the_end_are_kept_and_how_much_is_between(step):
    log = logs.JobLog(claim_job(step.job_id, "a worker"))
    written(log, step, 1, 100)
    log.write("error", "what it says at last is never left out", "pg1", step.key)
    log.flush()
    log.close()
    kept = texts(step)
    assert kept[:20] == [f"line {number}" for number in range(1, 21)]
    assert kept[20].startswith("more than 20 lines")
    assert kept[21] == "what it says at last is never left out"
    assert kept[22:] == ["… 75 lines left out, the last 5 follow", *(f"line {number}" for number in range(96, 101))]


def test_a_worker_that_takes_over_reads_again_what_was_held_back(step):
    log = logs.JobLog(claim_job(step.job_id, "a worker"))
    step.job.steps.update(detached={"job-1/standby.copy": {"offset": 0}})
    written(log, step, 1, 30)
    log._put(event := logs.threading.Event())  # as if it died now: nothing is let go
    assert event.wait(5)
    step.refresh_from_db()
    assert step.detached["job-1/standby.copy"]["offset"] == 20
    log.flush()
    step.refresh_from_db()
    assert step.detached["job-1/standby.copy"]["offset"] == 30
    log.close()


def test_the_lines_of_an_earlier_worker_count(step):
    claim = claim_job(step.job_id, "a worker")
    for first, last in ((1, 15), (16, 40)):
        log = logs.JobLog(claim)
        written(log, step, first, last)
        log.flush()
        log.close()
    assert "… 15 lines left out, the last 5 follow" in texts(step)
