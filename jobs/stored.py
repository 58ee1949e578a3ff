"""A plan as JSON (kept in `Job.plan`) and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobs.recipe import Check, Plan, PlannedStep


def plan_to_json(plan: Plan) -> dict[str, Any]:
    return asdict(plan)


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """An empty mapping (a job that is still planning) gives an empty plan."""
    return Plan(
        kind=data.get("kind", ""),
        title=data.get("title", ""),
        checks=tuple(Check(**check) for check in data.get("checks", ())),
        steps=tuple(_step(step) for step in data.get("steps", ())),
        identities=data.get("identities", {}),
        summary=tuple(data.get("summary", ())),
        estimate_seconds=data.get("estimate_seconds"),
    )


def _step(data: Mapping[str, Any]) -> PlannedStep:
    diffs = tuple((path, diff) for path, diff in data["diffs"])
    words = {name: tuple(data.get(name, ())) for name in ("shown", "accounts", "nodes")}
    return PlannedStep(**{**data, **words, "diffs": diffs})


def moved(confirmed: Plan, now: Plan) -> list[str]:
    """What differs between the plan that was confirmed and the one made from what is true now, in plain sentences."""
    said = [f"{check.node}: {check.title}: {check.reason}" for check in now.checks if check.level == "refused"]
    said += identities_moved(confirmed.identities, now.identities)
    if now.is_refused:
        return said
    before, after = {step.key: step for step in confirmed.steps}, {step.key: step for step in now.steps}
    said += [f"{step.node}: “{step.title}” is no longer part of the plan" for key, step in before.items() if key not in after]
    said += [f"{step.node}: “{step.title}” is new in the plan" for key, step in after.items() if key not in before]
    said += [sentence for key, step in after.items() if key in before for sentence in _step_moved(before[key], step)]
    if not said and confirmed.hash != now.hash:
        said.append("the plan is worded or ordered differently (the panel may have been upgraded in between)")
    return said


def identities_moved(confirmed: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [
        f"{node}: {name.replace('_', ' ')} was {was or 'none'}, is now {now.get(node, {}).get(name) or 'none'}"
        for node, known in confirmed.items()
        for name, was in known.items()
        if now.get(node, {}).get(name, "") != was
    ]


def _step_moved(before: PlannedStep, after: PlannedStep) -> list[str]:
    about = f"{after.node}: “{after.title}”"
    if before.is_needed != after.is_needed:
        return [f"{about} {'now has something to do' if after.is_needed else 'has nothing left to do'}"]
    if before.commands != after.commands:
        return [f"{about} would run other commands"]
    if before.diffs != after.diffs:
        return [f"{about} would change its files differently: they were edited since"]
    return []
