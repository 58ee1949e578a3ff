"""A job kind for the bench alone: a detached command that prints the time, again and again.

    python -m bench.chatter CLUSTER NODE LINES

Runs one such job by the panel's engine, in a process of its own, so that the panel itself never knows the kind. Prints the job's
number before it begins.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402

from clusters.models import Cluster  # noqa: E402
from jobs import engine, services  # noqa: E402
from jobs.kinds import KINDS  # noqa: E402
from jobs.models import Job  # noqa: E402
from jobs.recipe import Brief, Check, Step, World  # noqa: E402
from remote.command import Detached, script  # noqa: E402
from remote.facts import FactsRequest  # noqa: E402

PRINTS = 'i=0; while [ $i -lt "$1" ]; do date +%s.%N; sleep 0.05; i=$((i+1)); done; : > "$HOME/chatter.done"'


@dataclass(frozen=True)
class Params:
    node: str
    lines: int


class Chatter:
    name = "chatter"
    label = "Chatter"

    def params(self, data: Mapping[str, Any]) -> Params:
        return Params(**data)

    def title(self, params: Params) -> str:
        return f"Print {params.lines} lines on {params.node}"

    def nodes(self, params: Params, brief: Brief) -> tuple[str, ...]:  # noqa: ARG002
        return (params.node,)

    def requests(self, params: Params, brief: Brief) -> Mapping[str, FactsRequest]:
        return {params.node: FactsRequest(paths=(self._done(params, brief),))}

    def checks(self, params: Params, brief: Brief, world: World) -> Sequence[Check]:  # noqa: ARG002
        return ()

    def steps(self, params: Params, brief: Brief, world: World) -> Sequence[Step]:  # noqa: ARG002
        done = self._done(params, brief)
        return [
            Step(
                key="host.print", node=params.node, title="Print the time",
                done=lambda seen: done in seen.facts(params.node).paths and seen.facts(params.node).paths[done].kind == "file",
                actions=lambda _seen: [Detached(script(PRINTS, str(params.lines), user=brief.nodes[params.node].owner))],
            )
        ]  # fmt: skip

    def summary(self, params: Params, brief: Brief, world: World) -> Sequence[str]:  # noqa: ARG002
        return ()

    @staticmethod
    def _done(params: Params, brief: Brief) -> str:
        return "/var/lib/postgresql/chatter.done" if brief.nodes[params.node].owner == "postgres" else "/root/chatter.done"


def main(cluster: str, node: str, lines: str) -> None:
    KINDS["chatter"] = Chatter()
    params = {"node": node, "lines": int(lines)}
    job = services.job_plan(Cluster.objects.get(name=cluster), "chatter", params, None, "bench", plan_now=True)
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(status=Job.Status.QUEUED, queued_at=now, enqueued_at=now)
    print(job.pk, flush=True)
    sys.stdin.readline()  # until the listener listens
    print(engine.run_job(job.pk), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
