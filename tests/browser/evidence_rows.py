"""What observers say of registry-prod's primary, as rows: one function a story."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.utils import timezone

from clusters.evidence import PANEL, Observation
from tests.browser import registry

SILENT = (
    Observation(PANEL, "ssh", "no-answer", 0, "pg1: no route to host"),
    Observation(PANEL, "tcp", "no-answer", 0, "10.20.0.11:5432: timed out"),
    Observation(PANEL, "sql", "no-answer", 0, "no answer within 4 s"),
    Observation("pg2", "tcp", "no-answer", 0, "10.20.0.11:5432: no answer"),
    Observation("pg2", "sql", "no-answer", 0, "no answer within 3 s"),
    Observation("pg2", "receiver", "alive", 0, "its WAL receiver says “streaming”"),
    Observation("pg3", "tcp", "no-answer", 0, "10.20.0.11:5432: no answer"),
    Observation("pg3", "sql", "no-answer", 0, "no answer within 3 s"),
)
STOPPED = (
    Observation(PANEL, "ssh", "stopped", 0, "the host answers: no postmaster, no backend; its control file says “in production”"),
    Observation(PANEL, "tcp", "stopped", 0, "10.20.0.11:5432: refused"),
    Observation("pg2", "tcp", "stopped", 0, "10.20.0.11:5432: refused"),
    Observation("pg3", "tcp", "stopped", 0, "10.20.0.11:5432: refused"),
)
BLIND = (
    *SILENT[:3],
    Observation("pg2", "tcp", "alive", 0, "10.20.0.11:5432: open"),
    Observation("pg2", "sql", "alive", 0, "it says timeline 7"),
    Observation("pg3", "tcp", "alive", 0, "10.20.0.11:5432: open"),
    Observation("pg3", "sql", "alive", 0, "it says timeline 7"),
)
ALIVE = (
    Observation(PANEL, "ssh", "alive", 0, "postmaster 811 runs"),
    Observation(PANEL, "sql", "alive", 0, "it asks for a password"),
    Observation("pg2", "sql", "alive", 0, "it says timeline 7"),
)


def gone(cluster: Any, *, is_synchronous: bool = True, seconds: int = 112, fence_command: str = "") -> Any:
    """pg1 has not been heard for a while; its standbys have noticed."""
    pg1, heard = cluster.nodes.get(name="pg1"), timezone.now() - timedelta(seconds=seconds)
    pg1.fence_command = fence_command
    pg1.save()
    registry.seen(pg1, is_reachable=False, seen_at=heard, error="pg1: no route to host",
                  sample={"state": "unreachable", "is_the_primary": True})  # fmt: skip
    for name in ("pg2", "pg3"):
        if node := cluster.nodes.filter(name=name).first():
            lost = {"state": "disconnected", "reason": "no-receiver", "replay_bytes": None, "replay_seconds": None}
            sync = "sync" if is_synchronous and name == "pg2" else "async"
            registry.seen(node, sample=registry.sample(name) | lost | {"sync_state": sync})
    return cluster


def observed(cluster: Any, observations: tuple[Observation, ...], *, primary: str = "pg1", seconds_ago: float = 1.0) -> Any:
    from clusters.models import Evidence

    at = time.time() - seconds_ago
    kept = [asdict(one) | {"at": at} for one in observations]
    values = {"primary": primary, "observations": kept, "gathered_at": timezone.now() - timedelta(seconds=seconds_ago)}
    return Evidence.objects.update_or_create(cluster=cluster, defaults=values)[0]


def planned(cluster: Any, by: Any, status: str = "planned", **params: Any) -> Any:
    """The plan that the promote page leads to."""
    from jobs.models import Job
    from jobs.recipe import Check, Plan, PlannedStep
    from jobs.stored import plan_to_json

    steps = [
        PlannedStep("primary.fence", "pg1", "Fence pg1: its host is switched off", "It may still serve somebody.", True,
                    ("ipmitool -I lanplus -H 10.0.9.1 -U admin -E chassis power off",), (), accounts=("",)),
        PlannedStep("candidate.promote", "pg2", "Promote pg2", "", True, ("pg_ctl promote -D /var/lib/postgresql/15/main",), (),
                    accounts=("postgres",)),
        PlannedStep("candidate.prove", "pg2", "pg2 takes writes on a new timeline", "", True, (), ()),
    ]  # fmt: skip
    warned = Check("primary.evidence", "pg1", "Is pg1 dead?", "warning", "pg1 is unreachable from everywhere.", "Fence pg1.")
    summary = (
        "pg1 is unreachable from everywhere.", "Nothing acknowledged is lost: replication to it was synchronous.",
        "pg1 goes under quarantine: it is stopped as soon as it is seen writable. Rebuild it when it is back.",
    )  # fmt: skip
    plan = Plan("promote", "Promote pg2, in place of pg1", (warned,), tuple(steps), {"pg1": {"reachable": "no"}}, summary, 8.0)
    return Job.objects.create(
        cluster=cluster, kind="promote", title=plan.title, status=status, planned_by=by, started_from="10.1.2.3",
        params={"candidate": "pg2", "primary": "pg1", "accept_loss": False} | params,
        plan={} if status == "planning" else plan_to_json(plan), plan_hash="" if status == "planning" else plan.hash,
        planned_at=timezone.now(),
    )  # fmt: skip
