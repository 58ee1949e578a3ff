"""Plans and steps as rows for a page. Pure but for the rows that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from clusters.models import Cluster
from jobs.incident import report_of
from jobs.models import Job, JobStep
from jobs.operation_forms import last_proven
from jobs.recipe import Check, Plan, PlannedStep

TICKS = {"done": "✓", "already": "✓", "running": "●", "failed": "✗", "cancelled": "◆", "todo": "○"}
AT_ONCE_SECONDS = 0.005
PROVEN_FOR = timedelta(days=90)
DIFF_CLASSES = {"+": "add", "-": "del", "@": "hunk"}


@dataclass(frozen=True)
class DiffLine:
    kind: str
    text: str


@dataclass(frozen=True)
class StepRow:
    """A step with how long it took or has been running."""

    step: JobStep
    tick: str
    seconds: float | None
    since: datetime | None

    @property
    def is_at_once(self) -> bool:
        """Too short to be a number that says something."""
        return self.since is None and self.seconds is not None and self.seconds < AT_ONCE_SECONDS

    @property
    def first_words(self) -> str:
        """Of its error; the outcome says all."""
        return self.step.error.partition("\n")[0]


def troubles(plan: Plan) -> list[Check]:
    """What is refused, then what is warned of."""
    return sorted((check for check in plan.checks if check.level != "ok"), key=lambda check: check.level)


def passed(plan: Plan) -> dict[str, list[Check]]:
    """What was found in order, per host."""
    found: dict[str, list[Check]] = {}
    for check in plan.checks:
        if check.level == "ok":
            found.setdefault(check.node, []).append(check)
    return found


def planned_steps(plan: Plan) -> list[tuple[PlannedStep, list[tuple[str, list[DiffLine]]]]]:
    """Each step with its diffs as classed lines."""
    return [(step, [(path, diff_lines(text)) for path, text in step.diffs if text]) for step in plan.steps]


def diff_lines(text: str) -> list[DiffLine]:
    lines = text.splitlines()
    return [DiffLine("file" if line.startswith(("--- ", "+++ ")) else DIFF_CLASSES.get(line[:1], ""), line) for line in lines]


def proven_of(cluster: Cluster) -> dict[str, Any]:
    """The last switchover that was seen through, how long writes were away, and whether that is too long ago to rely on."""
    job = last_proven(cluster)
    is_fresh = job is not None and job.ended_at is not None and timezone.now() - job.ended_at < PROVEN_FOR
    gap_ms = report_of(job).get("gap_ms") if job else None
    rehearsed = Job.objects.filter(cluster=cluster, kind="rehearse", status=Job.Status.SUCCEEDED).defer("plan").first()
    return {
        "rehearsed": rehearsed,
        "expected_gap_ms": report_of(rehearsed).get("expected_gap_ms") if rehearsed else None,
        "proven": job,
        "proven_gap_ms": None if gap_ms is None else round(gap_ms),
        "proven_tone": "streaming" if is_fresh else "catching",
    }


def step_rows(job: Job) -> list[StepRow]:
    return [_row(step) for step in job.steps.all()]


def _row(step: JobStep) -> StepRow:
    is_running = step.status == JobStep.Status.RUNNING
    until = timezone.now() if is_running else step.ended_at
    seconds = (until - step.started_at).total_seconds() if until and step.started_at else None
    return StepRow(step, TICKS[step.status], seconds, step.started_at if is_running else None)
