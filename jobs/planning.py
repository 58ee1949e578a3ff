"""planning → planned, refused or errored: look at every node, ask the kind, keep the plan with its hash. Only reads."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from clusters import services as clusters
from clusters.credentials import lost_in, mend_of
from clusters.models import Cluster, Credential, Node
from jobs.brief import brief_of
from jobs.dangers import is_grave
from jobs.edition import edition
from jobs.ended import note, tell_moved
from jobs.kinds import KINDS
from jobs.models import Job, JobStep
from jobs.recipe import Brief, Check, Kind, NodeUnreachable, Plan, World, identities_of, plan_of
from jobs.sight import Hosts, OpenHost, Sight
from jobs.stored import plan_to_json
from pgpanel import live
from pgpanel.redaction import Redactor
from remote.host import Host, Lock

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 30
GIVE_UP_SECONDS = 300


def opener(job: Job, lock: Lock | None) -> OpenHost:
    """How the nodes of a job's cluster are reached; with `lock` where hosts are changed."""
    nodes = {node.name: node for node in job.cluster.nodes.select_related("credential")}

    def open_host(name: str) -> Host:
        return clusters.host_of(nodes[name], lock=lock)

    return open_host


def make_plan(job: Job, open_host: OpenHost | None = None) -> None:
    """Does nothing for a job that is not planning (any more)."""
    if job.status != Job.Status.PLANNING:
        return
    hosts = Hosts(open_host or opener(job, None))
    redact = Redactor()
    try:
        if lost := lost_in(job.cluster):
            _keep(job, _refused_for(job, lost))
            return
        brief = brief_of(job)
        redact.add(brief.secrets.values())
        kind = KINDS[job.kind]
        params = kind.params(job.params)
        sight = Sight(hosts, kind.requests(params, brief))
        plan = plan_from(kind, params, brief, sight.look(kind.nodes(params, brief)))
        _keep(job, plan)
        remember(job, sight.world)
    except Exception as error:
        logger.error("job %s: planning failed\n%s", job.pk, redact.text(traceback.format_exc()))
        outcome = redact.text(f"The plan could not be made: {type(error).__name__}: {error}")
        planning = Job.objects.filter(pk=job.pk, status=Job.Status.PLANNING)
        if planning.update(status=Job.Status.ERRORED, outcome=outcome, ended_at=timezone.now()):
            note("job.planned", job, Job.Status.ERRORED)
    finally:
        hosts.close()
    status = Job.objects.values_list("status", flat=True).get(pk=job.pk)
    live.publish(f"job:{job.pk}", "status", {"status": status})
    tell_moved(job.pk, status)


def _refused_for(job: Job, lost: Sequence[Credential]) -> Plan:
    """No host can be asked while what reaches it cannot be read: which, for which host, and what to do."""
    checks = tuple(
        Check(
            key="key.opens", node=node, title="The panel's key opens what it stored", level="refused",
            reason=f"no key at hand opens “{credential.label}”", mend=mend_of(credential),
        )
        for credential in lost for node in [each.name for each in credential.nodes.all()] or [job.cluster.name]
    )  # fmt: skip
    kind = KINDS[job.kind]
    return Plan(kind=kind.name, title=kind.title(kind.params(job.params)), checks=checks, steps=(), identities={})


def plan_from(kind: Kind, params: Any, brief: Brief, world: World) -> Plan:
    """The plan as it may be shown; a node that a step cannot be planned without is a refusal, not an error."""
    try:
        return redacted(plan_of(kind, params, brief, world), Redactor(brief.secrets.values()))
    except NodeUnreachable as error:
        refusal = Check(
            key="host.reachable", node=error.node, title="The host answers", level="refused",
            reason=error.unreachable.message, mend=error.unreachable.mend,
        )  # fmt: skip
        return Plan(
            kind=kind.name, title=kind.title(params), checks=(refusal,), steps=(),
            identities=identities_of(brief, world, kind.nodes(params, brief)),
        )  # fmt: skip


def redacted(plan: Plan, redactor: Redactor) -> Plan:
    """Without what a file on a host may hold that nobody declared secret: the password of an older conninfo, say."""
    steps = []
    for step in plan.steps:
        diffs = tuple((path, redactor.text(diff)) for path, diff in step.diffs)
        steps.append(replace(step, shown=tuple(redactor.text(text) for text in step.shown), diffs=diffs))
    return replace(plan, steps=tuple(steps))


def forgotten() -> list[int]:
    """Jobs whose planning no worker finished: asked for again (their ids), given up after `GIVE_UP_SECONDS`."""
    now = timezone.now()
    planning = Job.objects.filter(status=Job.Status.PLANNING)
    planning.filter(created_at__lt=now - timedelta(seconds=GIVE_UP_SECONDS)).update(
        status=Job.Status.ERRORED,
        ended_at=now,
        outcome="No worker made the plan. Do the workers for the queue “plans” run? Then plan again.",
    )
    again = list(planning.filter(enqueued_at__lt=now - timedelta(seconds=ASK_AGAIN_SECONDS)).values_list("pk", flat=True))
    planning.filter(pk__in=again).update(enqueued_at=now)
    return again


@transaction.atomic
def _keep(job: Job, plan: Plan) -> None:
    status = Job.Status.REFUSED if plan.is_refused else Job.Status.PLANNED
    cluster = Cluster.objects.select_for_update().get(pk=job.cluster_id)  # its setting must not change in between
    grave = is_grave(job, plan)
    kept = Job.objects.filter(pk=job.pk, status=Job.Status.PLANNING).update(
        status=status,
        plan=plan_to_json(plan) | {"edition": edition()},
        plan_hash=plan.hash,
        title=plan.title[:200],
        is_grave=grave,
        needs_second_person=grave and cluster.needs_second_person,
        planned_at=timezone.now(),
    )
    if kept:
        JobStep.objects.bulk_create(
            JobStep(job=job, position=position, key=step.key, node=step.node, title=step.title[:200])
            for position, step in enumerate(plan.steps, start=1)
        )
        job.title, job.plan_hash = plan.title[:200], plan.hash
        note("job.planned", job, status)


def remember(job: Job, world: World) -> None:
    """The nodes' pages show what a job saw."""
    for node in Node.objects.filter(cluster=job.cluster_id, name__in=list(world.nodes)):
        clusters.remember_facts(node, world.nodes[node.name])
