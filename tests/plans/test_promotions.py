"""A promotion that goes on under another worker, when the lost primary's host answers again meanwhile."""

from __future__ import annotations

import json

from test_plans import HERE, situation

from jobs.kinds import KINDS
from jobs.recipe import World


def test_a_promotion_that_went_without_the_old_host_keeps_its_steps_when_that_answers_again() -> None:
    """The world of a plan case, as the next worker finds it: pg1 is back, the quarantine is noted."""
    case = json.loads((HERE / "promote" / "attested-15.json").read_text())
    kind = KINDS["promote"]
    params = kind.params(case["params"])
    brief, away = situation(case)
    back = World(situation(case | {"away": []})[1].nodes, {"quarantined": "quarantined pg1"})
    planned = [step.key for step in kind.steps(params, brief, away)]
    assert [step.key for step in kind.steps(params, brief, back)] == planned
    assert [step.key for step in kind.steps(params, brief, World(back.nodes))] != planned
