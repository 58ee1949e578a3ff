"""What a step has the panel itself do, on no host: run a node's fence command, put a node under quarantine."""

from __future__ import annotations

from collections.abc import Callable

from accounts.audit import record
from clusters.fencing import fence
from clusters.models import Node, Quarantine
from clusters.observing import fence_observed
from jobs.models import Job
from remote.command import PanelAction

Say = Callable[[str], None]


class NotDone(Exception):
    """It did not succeed. mend: what a person does about it."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


def act(action: PanelAction, job_id: int, job_name: str, say: Say) -> str:
    """What it printed."""
    node = Node.objects.select_related("cluster", "fence_secret").get(
        cluster=Job.objects.values_list("cluster_id", flat=True).get(pk=job_id), name=action.node
    )
    return ACTIONS[action.verb](node, job_name, say)


def _fence(node: Node, job_name: str, say: Say) -> str:
    done = fence(node)
    for line in done.output.splitlines():
        say(line)
    result = "succeeded" if done.works else "failed"
    record("fence.run", node.name, cluster=node.cluster.name, result=result, detail={"job": job_name})
    if not done.works:
        raise NotDone(
            f"The fence command of {node.name} did not succeed: it may still serve somebody, and nothing was promoted.",
            f"Switch {node.name} off by hand and plan again with your word for it, or mend its fence command and resume.",
        )
    fence_observed(node, f"by {job_name}")
    return f"fenced {node.name}"


def _quarantine(node: Node, job_name: str, say: Say) -> str:
    reason = f"{job_name} promoted another node while this one could not be proven stopped"
    _row, is_new = Quarantine.objects.get_or_create(node=node, lifted_at=None, defaults={"reason": reason})
    if is_new:
        record("node.quarantine", node.name, cluster=node.cluster.name, detail={"job": job_name})
    say(f"{node.name} is under quarantine: it is stopped as soon as it is seen writable" + ("" if is_new else " (it was before)"))
    return f"quarantined {node.name}"


ACTIONS: dict[str, Callable[[Node, str, Say], str]] = {"fence": _fence, "quarantine": _quarantine}
