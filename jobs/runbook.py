"""A plan as a shell runbook, for the day when the panel itself is down: read it, then run it line by line.

It is the plan's commands as shown, so it holds no secret: where one is needed it stands as <its name>, and a person puts it there.
"""

from __future__ import annotations

import re
import shlex

from clusters.models import Node
from jobs.models import Job
from jobs.recipe import PlannedStep
from jobs.stored import plan_from_json

HEADER = """#!/bin/sh
# {title}
# Runbook of job {id}, cluster {cluster}, planned {at:%Y-%m-%d %H:%M:%S} UTC. Plan {hash}.
#
# Read every step before you run it: these are the commands of the plan as it was made then, and the hosts may have changed since.
# Each block is for the host that its comment names. <words in angle brackets> are secrets that you put in, and files whose
# text stands as a difference are edited by hand. Nothing here checks what the panel checks before and after each step.
exit 1  # not to be run as a whole
"""


def runbook(job: Job) -> str:
    plan = plan_from_json(job.plan)
    nodes = {node.name: node for node in job.cluster.nodes.all()}
    header = HEADER.format(
        title=_comment(job.title), id=job.pk, cluster=job.cluster.name, at=job.planned_at or job.created_at, hash=job.plan_hash
    )
    blocks = [_step(number, step, nodes.get(step.node)) for number, step in enumerate(plan.steps, start=1)]
    return "\n".join([header, *blocks])


def _step(number: int, step: PlannedStep, node: Node | None) -> str:
    said = [f"# -- {number}. {step.node}: {_comment(step.title)}"]
    said += [f"#    {_comment(text)}" for text in (step.why, step.destroys and f"destroys: {step.destroys}",
                                                  step.restarts and f"restarts: {step.restarts}") if text]  # fmt: skip
    if not step.is_needed:
        return "\n".join([*said, "#    nothing to do when the plan was made", ""])
    if not step.shown:
        return "\n".join([*said, "#    nothing to run: wait until this holds", ""])
    if node:
        said.append(f"#    ssh -p {node.ssh_port} {shlex.quote(f'{node.ssh_user}@{node.ssh_host}')}")
    diffs = dict(step.diffs)
    for account, text in step.commands:
        written = re.fullmatch(r"write (\S.*) \([^()]*\)", text)
        said += [f"#    as {account}"] if account else []
        said.append(_commented(f"{text}\n{diffs.get(written[1], '')}") if written else text)
    return "\n".join([*said, ""])


def _commented(text: str) -> str:
    return "\n".join(f"#    {line}" for line in text.rstrip().splitlines())


def _comment(text: str) -> str:
    """A title cannot end its comment."""
    return " ".join(text.split())
