"""Plans as data: facts of real hosts and parameters → exactly these checks, steps, commands and managed blocks.

A case is a file `<kind>/<case>.json`; its facts stand in `facts/`, captured from the lab (9.x: from what real servers answered).
`PLANS_WRITE=1 pytest tests/plans` writes what comes out into the cases: read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clusters.evidence import Known, Memory
from jobs.blocks.configuration import config_file, hba_file
from jobs.blocks.scene import SCRIPTS, scene_of
from jobs.blocks.standby import has_recovery_conf, recovery_file
from jobs.kinds import KINDS
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, World, plan_of
from remote import config, lsn
from remote.command import Action, Detached, PanelAction, Secret, WriteFile, text_shown
from remote.facts import Facts, Unreachable, facts_from_json
from remote.layouts import LAYOUTS

HERE = Path(__file__).parent
CASES = sorted(path for kind in KINDS for path in (HERE / kind).glob("*.json"))
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHost"


@cache
def script_names() -> dict[str, str]:
    found = {path.read_text(): path.name for path in SCRIPTS.glob("*.sh")}
    parts = ("fence_place.sh", "stop_for_good.sh")
    return found | {"".join((SCRIPTS / name).read_text() for name in parts): " + ".join(parts)}


def facts_named(name: str, changes: dict[str, Any]) -> Facts:
    """`changes`: a path into the JSON, its parts between `::`, such as "mounts::0::free_bytes", and what stands there instead."""
    data = json.loads((HERE / "facts" / f"{name}.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("::")
        found: Any = data
        for part in parents:
            found = found[int(part)] if isinstance(found, list) else found[part]
        if isinstance(found, list):
            found[int(last)] = value
        else:
            found[last] = value
    return facts_from_json(data)


def spec_of(name: str, case: dict[str, Any], facts: Facts, major: str) -> NodeSpec:
    layout, overrides, address = case["layouts"][name], case.get("overrides", {}).get(name, {}), facts.addresses[0]
    paths = asdict(LAYOUTS[layout].paths(major, overrides))
    return NodeSpec(name=name, ssh_host=address, address=address, port=5432, layout=layout, host_key=HOST_KEY, **paths)


def situation(case: dict[str, Any]) -> tuple[Brief, World]:
    facts = {name: facts_named(of, case.get("changes", {}).get(name, {})) for name, of in case["facts"].items()}
    major = next(cluster.major for seen in facts.values() for cluster in seen.clusters)
    secrets = {
        f"{purpose}_password": Secret(f"{purpose} password", f"secret-{purpose}") for purpose in ("replication", "monitoring")
    }
    if case["kind"] == "rotate_password":
        secrets |= {f"{one}.next_password": Secret(f"next {one} password", f"next-{one}") for one in ("replication", "monitoring")}
    for name in facts:
        secrets[f"archive_key:{name}"] = Secret(f"key of {name}", f"private-{name}")
        secrets[f"archive_public_key:{name}"] = Secret("public key", f"ssh-ed25519 AAAAkey{name} comment")
    nodes = {name: spec_of(name, case, seen, major) for name, seen in facts.items()}
    away = {name: Unreachable("timeout", f"{name} does not answer", f"start {name}") for name in case.get("away", [])}
    brief = Brief("job-7", "shop", case.get("cluster_identifier", ""), nodes, secrets, case.get("quarantined", {}), memory_of(case))
    return brief, World(facts | away)


def memory_of(case: dict[str, Any]) -> Memory:
    """What the panel remembers: `known` says of a node where its WAL stood and how many seconds ago that was seen."""
    known = {
        name: Known(
            name, lsn.parse(seen["lsn"]), seen["timeline"], time.time() - seen["age_seconds"], sync_state=seen.get("sync_state", "")
        )
        for name, seen in case.get("known", {}).items()
    }
    timelines = {int(number): node for number, node in case.get("timelines", {}).items()}
    return Memory(known=known, fences=case.get("fences", {}), timelines=timelines)


def told(action: Action) -> str:
    """A command as the plan shows it, but the text of our own scripts by its name."""
    command = action.command if isinstance(action, Detached) else action
    if isinstance(command, WriteFile | PanelAction):
        return action.shown
    user = f"{command.user}: "
    environment = "".join(f"{name}={value} " for name, value in command.environment if name == "PGPASSFILE")
    if command.argv[:2] == ("sh", "-c") and command.argv[2] in script_names():
        return user + environment + " ".join([script_names()[command.argv[2]], *(word or "''" for word in command.argv[4:])])
    stdin = f" <<< {text_shown(command.stdin).strip()}" if command.stdin else ""
    return user + " ".join(command.argv) + stdin


def line_of(check: Check) -> str:
    said = (check.level, check.node, check.title, check.reason, check.mend, check.mend_command)
    return " | ".join(filter(None, said))


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    kind = KINDS[case["kind"]]
    brief, world = situation(case)
    params = kind.params(case["params"])
    plan = plan_of(kind, params, brief, world)
    found: dict[str, Any] = {
        "title": plan.title,
        "checks": [line_of(check) for check in plan.checks if check.level != "ok"],
    }
    if plan.is_refused:
        return found
    steps = kind.steps(params, brief, world)
    found["summary"] = list(plan.summary)
    found["steps"] = [
        {
            name: value
            for name, value in (
                ("key", planned.key), ("needed", planned.is_needed), ("destroys", planned.destroys), ("restarts", planned.restarts),
                ("actions", [told(action) for action in step.runs(world)] if planned.is_needed else []),
            )
            if value not in ("", [])
        }
        for planned, step in zip(plan.steps, steps, strict=True)
    ]  # fmt: skip
    if case["kind"] in ("setup", "add_standby"):
        found["blocks"] = blocks(case, brief, world)
    return found


def blocks(case: dict[str, Any], brief: Brief, world: World) -> dict[str, dict[str, list[str]]]:
    params = KINDS[case["kind"]].params(case["params"])
    scene = scene_of(params.primary, params.standbys, brief, world)
    found: dict[str, dict[str, list[str]]] = {}
    for spec in scene.members:
        files = [hba_file(scene, params, world, spec), config_file(scene, params, world, spec)]
        if has_recovery_conf(scene) and spec != scene.primary:
            files.append(recovery_file(scene, params, world, spec))
        found[spec.name] = {}
        for file in files:
            text = text_shown(file.text)
            block = config.block_of(text)
            assert block is not None
            rest = text.splitlines()[block.last_line :] if file.path.endswith("recovery.conf") else []
            found[spec.name][file.path] = [*block.lines, *rest]
    return found


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_plan_is_exactly_this(path: Path) -> None:
    case = json.loads(path.read_text())
    found = outcome(case)
    if os.environ.get("PLANS_WRITE"):
        path.write_text(json.dumps(case | {"plan": found}, indent=1, ensure_ascii=False) + "\n")
    assert found == case.get("plan")


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_planning_again_gives_the_same_hash_and_no_secret_is_in_it(path: Path) -> None:
    case = json.loads(path.read_text())
    kind, (brief, world) = KINDS[case["kind"]], situation(case)
    first, again = (plan_of(kind, kind.params(case["params"]), brief, world) for _ in range(2))
    moved = World(
        {
            name: replace(facts, clock_skew_seconds=0.5, elapsed_ms=9) if isinstance(facts, Facts) else facts
            for name, facts in world.nodes.items()
        }
    )
    assert first.hash == again.hash == plan_of(kind, kind.params(case["params"]), brief, moved).hash
    for secret in brief.secrets.values():
        assert secret.name == "public key" or secret.value not in repr(first)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_plan_cases_and_a_how_to_page(kind: str) -> None:
    assert list((HERE / kind).glob("*.json"))
    assert (HERE.parent.parent / "docs" / "kinds" / f"{kind}.md").exists()


def test_a_setting_that_every_connection_says_for_itself_is_not_chosen_for_the_servers():
    with pytest.raises(ParamsError, match="application_name is not chosen here"):
        KINDS["set_parameter"].params({"name": "application_name", "value": "x"})
