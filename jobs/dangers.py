"""What is dangerous about a plan, in one table: what a person confirms anew before it starts, and what may need a second person.

Read from the plan as it is stored, so that it says the same for the page, the API, the command line and the engine.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.models import Job
from jobs.recipe import Plan
from jobs.stored import plan_from_json

Holds = Callable[[Job, Plan], bool]


def _destroys(_job: Job, plan: Plan) -> bool:
    return any(step.destroys for step in plan.steps)


def _may_lose(job: Job, _plan: Plan) -> bool:
    return bool(job.params.get("accept_loss"))


def _promotes(_job: Job, plan: Plan) -> bool:
    return any(step.is_point_of_no_return for step in plan.steps)


def _is_kind(*names: str) -> Holds:
    return lambda job, _plan: job.kind in names


DANGERS: tuple[tuple[Promise, Holds], ...] = (
    (_("It may lose what was written last."), _may_lose),
    (_("It destroys something, or moves it aside."), _destroys),
    (_("It makes another node the primary."), _promotes),
    (_("It fences a node."), _is_kind("fence")),
    (_("It replaces a password."), _is_kind("rotate_password")),
)
"""Why a job is not started without the person's confirmation that it is they."""

GRAVE: dict[str, Holds] = {
    "promote": _may_lose,
    "rebuild": _destroys,
    "undo_rebuild": _destroys,
    "base_backup": _destroys,
    "forget_old": _destroys,
}
"""By kind: when a plan may lose or destroys data that somebody had. `setup` only moves a package's empty cluster aside."""


def dangers_of(job: Job) -> list[Promise]:
    plan = plan_from_json(job.plan)
    return [words for words, holds in DANGERS if holds(job, plan)]


def is_grave(job: Job, plan: Plan) -> bool:
    """plan: as it was just made."""
    return job.kind in GRAVE and GRAVE[job.kind](job, plan)
