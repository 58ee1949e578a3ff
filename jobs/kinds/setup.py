"""Kind `setup`: one primary and its standbys, the source page by version. `add_standby`: the same for a running cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.blocks import checks
from jobs.blocks.configuration import pending_names, reset_step, restart_step, write_step
from jobs.blocks.copying import Copy, compressions_of, copy_steps, method_of, slot_steps, stop_empty_step, swap_step
from jobs.blocks.guard import guard_checks, guard_steps
from jobs.blocks.keys import prepare_steps
from jobs.blocks.params import SetupParams, setup_params
from jobs.blocks.primary_checks import primary_checks
from jobs.blocks.proof import proof_steps
from jobs.blocks.roles import role_step
from jobs.blocks.scene import Scene, is_new, request_of, scene_of
from jobs.blocks.settings import has_slots, kept_megabytes
from jobs.blocks.standby import has_recovery_file, standby_steps
from jobs.blocks.standby_checks import standby_checks
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote.facts import FactsRequest


@dataclass(frozen=True)
class Setup:
    """See docs/kinds/setup.md."""

    name: str = "setup"
    label: str = "Set up replication"

    def params(self, data: Mapping[str, Any]) -> SetupParams:
        return setup_params(data)

    def title(self, params: SetupParams) -> str:
        return f"{self.label}: {params.primary} → {', '.join(params.standbys)}"

    def nodes(self, params: SetupParams, brief: Brief) -> tuple[str, ...]:
        for field_name, names in (("primary", (params.primary,)), ("standbys", params.standbys)):
            for name in names:
                if name not in brief.nodes:
                    raise ParamsError(field_name, f"{name} is no node of this cluster")
        return tuple(brief.nodes)

    def requests(self, params: SetupParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return {
            name: request_of(brief, brief.nodes[name], tuple(params.tablespaces.values())) for name in self.nodes(params, brief)
        }

    def checks(self, params: SetupParams, brief: Brief, world: World) -> Sequence[Check]:
        bystanders = set(brief.nodes) - {params.primary, *params.standbys}
        found = checks.host_checks(brief, world, self.nodes(params, brief), bystanders)
        if any(check.key.startswith("host.reachable") for check in found):
            return found
        found.append(checks.source_check(brief.nodes[params.primary], brief, world))
        if found[-1].level == "refused":
            return found
        scene = self._scene(params, brief, world)
        found += [check for check in (checks.absent_check(scene, world, name) for name in sorted(bystanders)) if check]
        found += primary_checks(scene, params, world)
        for spec in scene.standbys:
            found += standby_checks(scene, world, spec, params.replace_empty_cluster, params.tablespaces)
        needed = (["ssh"] if params.archive else []) + (["rsync"] if params.method == "rsync" else [])
        for spec in scene.members:
            found.append(checks.tools_check(spec, world, needed))
            found += [check for check in (checks.places_check(spec, world),) if check]
            found += [check for check in (checks.host_key_check(spec),) if check and params.archive]
            found += [check for check in (checks.config_check(spec, world),) if check]
        found += guard_checks(scene, params, world)
        return [*found, *checks.reach_checks(scene, world, with_ssh=params.archive)]

    def steps(self, params: SetupParams, brief: Brief, world: World) -> Sequence[Step]:
        scene = self._scene(params, brief, world)
        steps = [*prepare_steps(scene, params), role_step(scene, params)]
        for spec in (scene.primary, *scene.others):
            if scene.version.has_auto_conf:
                steps.append(reset_step(scene, params, spec))
        steps.append(write_step(scene, params, scene.primary))
        for spec in scene.others:  # before the primary: what it raises, they must have
            steps += standby_steps(scene, params, world, spec)
        steps.append(restart_step(scene, params, world, scene.primary))
        steps += slot_steps(scene, params)
        for spec in scene.standbys:
            steps += copy_steps(scene, self._copy(scene, params, world, spec.name))
            steps += [stop_empty_step(scene, spec), swap_step(scene, spec)]
            if scene.version.has_auto_conf:
                steps.append(reset_step(scene, params, spec))
            steps += standby_steps(scene, params, world, spec)
        return [*steps, *guard_steps(scene, params, world), *proof_steps(scene, params, world)]

    def summary(self, params: SetupParams, brief: Brief, world: World) -> Sequence[str]:
        scene = self._scene(params, brief, world)
        lines = []
        for spec in scene.standbys:
            if is_new(scene, world, spec):
                method, why = method_of(scene, params, world, scene.primary, spec)
                compression = compressions_of(scene, method, params.link_megabits)[0]
                sent = f", compressed on its way by {compression}" if compression != "none" else ""
                lines.append(f"{spec.name} becomes a standby of {scene.primary.name}, copied by {method}{sent}: {why}.")
            else:
                lines.append(f"{spec.name} is a standby of {scene.primary.name} already and is not copied again.")
        lines += [f"{spec.name} follows already; it gets the same lines as the others." for spec in scene.others]
        lines += [f"{spec.name} does not answer: what it needs to follow on stays as it is." for spec in scene.absent]
        for spec in scene.followers:
            if names := self._standby_pending(scene, params, world, spec):
                lines.append(f"{spec.name}, a standby, is restarted, for {', '.join(names)}.")
        names = pending_names(scene, params, world, scene.primary)
        if names:
            lines.append(f"{scene.primary.name}, the primary, is restarted once, for {', '.join(names)}.")
        else:
            lines.append(f"{scene.primary.name}, the primary, is not restarted.")
        kept = "a replication slot keeps" if has_slots(scene, params) else "the primary always keeps"
        lines.append(f"For a standby that is away, {kept} at most {kept_megabytes(scene, params, world):,} MB of WAL.")
        return lines

    @staticmethod
    def _standby_pending(scene: Scene, params: SetupParams, world: World, spec: NodeSpec) -> tuple[str, ...]:
        if is_new(scene, world, spec):
            return ()
        return (
            *pending_names(scene, params, world, spec),
            *(() if has_recovery_file(scene, params, world, spec) else ("recovery.conf",)),
        )

    @staticmethod
    def _scene(params: SetupParams, brief: Brief, world: World) -> Scene:
        return scene_of(params.primary, params.standbys, brief, world)

    @staticmethod
    def _copy(scene: Scene, params: SetupParams, world: World, name: str) -> Copy:
        target = scene.brief.nodes[name]
        method, _why = method_of(scene, params, world, scene.primary, target)
        return Copy(
            source=scene.primary, target=target, directory=scene.new_directory(target), method=method,
            slot=scene.slot(target) if has_slots(scene, params) else "",
            compressions=compressions_of(scene, method, params.link_megabits),
            verify=params.verify, role=params.replication_role, is_trusted=params.trust, tablespaces=params.tablespaces,
        )  # fmt: skip


KIND = Setup()
ADD_STANDBY = Setup("add_standby", "Add a standby")
