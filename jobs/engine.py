"""Running a job: claim it, walk its plan, say how it ended. Each ending is one row update by the worker that has it.

planned endings: succeeded; failed (drift, a step that did not become done, a host that refused); cancelled. Our own bugs: errored.
A worker that is told to stop hands the job over (queued again); one that lost its claim writes nothing and says nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import transaction
from django.utils import timezone

from clusters.secrets import EncryptionKeyLost
from jobs.act import Actor, CancelAsked, HandOver
from jobs.brief import brief_of, job_name, settle
from jobs.claim import Claim, Superseded, claim_job, hand_over, kept_alive
from jobs.edition import edition
from jobs.ended import note_end, tell_end, tell_status
from jobs.kinds import KINDS
from jobs.log import JobLog
from jobs.models import Job, JobStep
from jobs.planning import opener, remember
from jobs.recipe import Ended, NodeUnreachable
from jobs.sight import Hosts, OpenHost, Sight
from jobs.stored import plan_from_json
from jobs.walk import Drift, StepFailed, Walk, said
from remote.errors import EpochRefused, HostError
from remote.host import Lock

logger = logging.getLogger(__name__)

OpenFor = Callable[[Job, Lock], OpenHost]
Status = Job.Status


@dataclass(frozen=True)
class Ending:
    """word: `Job.ending`; None: nothing of this run tells it."""

    status: str
    outcome: str
    word: str | None = None


def lock_key(job: Job) -> str:
    """A fence must not wait for the command of another job: it has a lock of its own on the hosts (docs/decisions/0009)."""
    return f"{job.cluster.uuid}.fence" if job.kind == "fence" else str(job.cluster.uuid)


def worker_name() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{threading.get_ident()}"


def run_job(job_id: int, open_for: OpenFor = opener, is_stopping: Callable[[], bool] = lambda: False) -> str | None:
    """The status it ended with ("queued": handed over); None when the job was not this worker's to run, or is no longer."""
    claim = claim_job(job_id, worker_name())
    if claim is None:
        return None
    tell_status(job_id, Status.RUNNING)
    with kept_alive(claim):
        try:
            claim.confirm()  # it may have been cancelled while nobody ran it
            ending = _run(claim, open_for, is_stopping)
            if ending is None:
                return Status.QUEUED if hand_over(claim) else None
            with transaction.atomic():
                claim.update(status=ending.status, outcome=ending.outcome, ending=ending.word or "", ended_at=timezone.now())
                if ending.status == Status.SUCCEEDED:
                    settle(Job.objects.select_related("cluster").get(pk=job_id))
                note_end(job_id)
        except Superseded:
            logger.warning("job %s went to another worker: this one stops", job_id)
            return None
    tell_end(job_id)
    return ending.status


def _run(claim: Claim, open_for: OpenFor, is_stopping: Callable[[], bool]) -> Ending | None:
    """How it ended; None: to be handed over."""
    job = Job.objects.select_related("cluster").get(pk=claim.job_id)
    log = JobLog(claim)
    hosts = Hosts(open_for(job, Lock(lock_key(job), claim.epoch)))
    # a worker was lost in the middle of it, or could not say: until it is looked at again, that stays so
    is_open = job.ending == "unknown" or job.steps.filter(key__in=_turns(job), status=JobStep.Status.RUNNING).exists()
    if job.ending and not is_open:
        claim.update(ending="")
    try:
        ending = _walk(job, claim, log, hosts, is_stopping)
        if ending:
            ending = _told(job, ending, is_open)
            log.write("note" if ending.status == Status.SUCCEEDED else "error", ending.outcome)
        log.flush()
        return ending
    finally:
        log.close()
        hosts.close()


def _walk(  # noqa: PLR0911 (one return per ending reads best)
    job: Job, claim: Claim, log: JobLog, hosts: Hosts, is_stopping: Callable[[], bool]
) -> Ending | None:
    actor = Actor(claim, job_name(job), hosts, log, is_stopping)
    try:
        log.write("note", f"{job.title}: {'taken over' if job.handovers else 'begun'} by {claim.worker}, claim {claim.epoch}")
        brief = brief_of(job)
        log.redactor.add(brief.secrets.values())
        kind, plan = KINDS[job.kind], plan_from_json(job.plan)
        params = kind.params(job.params)
        sight = Sight(hosts, kind.requests(params, brief), job.notes)
        Walk(kind, params, brief, plan, sight=sight, actor=actor).go()
        remember(job, sight.world)
        job.refresh_from_db(fields=["report"])
        done = _paragraphs("Done: " + job.title, job.report.get("outcome", ""))
        return Ending(Status.SUCCEEDED, done, "done" if _turns(job) else "")
    except HandOver:
        log.write("note", "this worker was told to stop: the next one goes on from here")
        return None
    except CancelAsked:
        return _cancelled(job, actor)
    except Drift as drift:
        _give_up_running(job, claim)
        return _drifted(job, drift)
    except Ended as ended:
        if ended.ending == "rolled_back":
            claim.update(notes={})  # whoever resumes begins anew: what was noted is of the attempt that was taken back
        said = (log.redactor.text(text) for text in (ended.message, _on_the_hosts(job), ended.mend))
        return Ending(Status.FAILED, _paragraphs(*said), ended.ending)
    except StepFailed as failure:
        if isinstance(failure.cause, EpochRefused):
            claim.confirm()  # the host heard of a newer claim: raises Superseded when it is right
            return replace(_failed(job, failure, log), word="refused_by_host" if _turns(job) else None)
        return _failed(job, failure, log)
    except NodeUnreachable as error:
        return Ending(Status.FAILED, _paragraphs(str(error), _on_the_hosts(job), error.unreachable.mend, RESUME))
    except HostError as error:
        claim.confirm()
        return Ending(Status.FAILED, _paragraphs(error.message, _on_the_hosts(job), error.mend or RESUME))
    except EncryptionKeyLost as lost:
        return Ending(Status.FAILED, _paragraphs(str(lost), _on_the_hosts(job), RESUME))
    except Superseded:
        raise
    except Exception as error:
        return _errored(job, claim, log, error)


def _turns(job: Job) -> set[str]:
    """Keys of the steps behind which there is no way back."""
    return {step.key for step in plan_from_json(job.plan).steps if step.is_point_of_no_return}


# -- how it ended, in words --------------------------------------------------------------------------------------------------------

RESUME = "When that is mended, resume: the job goes on from the step that is not done."
PLAN_AGAIN = "Make a new plan, read what is different, and confirm that one."


WORDS = {
    "rolled_back": "Rolled back.",
    "cleanup_pending": "The roles have changed, and the new primary takes writes. What is left is clean-up: resume finishes it.",
    "unknown": "How it ended is not known.",
}


def _told(job: Job, ending: Ending, is_open: bool) -> Ending:
    """A job that fails behind the point of no return has not failed to change the roles: it has something left to do."""
    if ending.word is None and ending.status != Status.SUCCEEDED:
        has_turned = job.steps.filter(key__in=_turns(job), status=JobStep.Status.DONE).exists()
        ending = replace(ending, word="cleanup_pending" if has_turned else "unknown" if is_open else "")
    return replace(ending, outcome=_paragraphs(WORDS.get(ending.word or "", ""), ending.outcome))


def _paragraphs(*said: str) -> str:
    return "\n\n".join(text for text in said if text)


def _on_the_hosts(job: Job) -> str:
    """What state the hosts are in, as far as the steps tell."""
    rows = list(job.steps.all())
    done = [row for row in rows if row.status == JobStep.Status.DONE]
    left = [row for row in rows if row.status not in (JobStep.Status.DONE, JobStep.Status.ALREADY)]
    if not any(row.attempt for row in rows):
        return "Nothing was changed on any host."
    said = "Changed and kept: " + "; ".join(f"{row.node}: {row.title}" for row in done) + "." if done else "No step was finished."
    return said + ("\nNot done: " + "; ".join(f"{row.node}: {row.title}" for row in left) + "." if left else "")


def _failed(job: Job, failure: StepFailed, log: JobLog) -> Ending:
    row, total = failure.step, job.steps.count()
    where = f"Step {row.position} of {total}, “{row.title}” on {row.node}, failed:"
    why = log.redactor.text(said(failure.cause))
    return Ending(Status.FAILED, _paragraphs(f"{where}\n{why}", _on_the_hosts(job), failure.cause.mend, RESUME))


def _drifted(job: Job, drift: Drift) -> Ending:
    changes = "\n".join(f"– {change}" for change in drift.changes)
    what = "The hosts are not as the plan found them"
    if job.plan.get("edition", edition()) != edition():
        what = "The panel was upgraded after this plan was made, and now it would do other things, or the hosts have changed"
    return Ending(Status.FAILED, _paragraphs(f"{what}:\n{changes}", _on_the_hosts(job), PLAN_AGAIN))


def _give_up_running(job: Job, claim: Claim) -> None:
    for row in job.steps.filter(status=JobStep.Status.RUNNING):
        claim.update_step(row.key, status=JobStep.Status.FAILED, ended_at=timezone.now())


def _cancelled(job: Job, actor: Actor) -> Ending:
    """Cancelled only when nothing of the job is left running on a host, proven."""
    unproven = []
    for row in job.steps.all():
        unproven += [f"{name} on {row.node}" for name in actor.end_detached(row)]
        if row.status == JobStep.Status.RUNNING:
            actor.claim.update_step(row.key, status=JobStep.Status.CANCELLED, ended_at=timezone.now())
    if unproven:
        why = "It was to be cancelled, but it could not be proven that this has ended: " + ", ".join(unproven)
        return Ending(
            Status.FAILED, _paragraphs(why, _on_the_hosts(job), "Cancel again when the host answers: resume, then cancel.")
        )
    person = Job.objects.select_related("cancel_requested_by").get(pk=job.pk).cancel_requested_by
    return Ending(Status.CANCELLED, _paragraphs(f"Cancelled by {person or 'the command line'}.", _on_the_hosts(job), RESUME))


def _errored(job: Job, claim: Claim, log: JobLog, error: Exception) -> Ending:
    trace = log.redactor.text(traceback.format_exc())
    logger.error("job %s errored\n%s", job.pk, trace)
    log.write("error", trace)
    _give_up_running(job, claim)
    why = log.redactor.text(f"{type(error).__name__}: {error}")
    return Ending(Status.ERRORED, _paragraphs(f"A fault of the panel itself stopped it:\n{why}", _on_the_hosts(job), RESUME))
