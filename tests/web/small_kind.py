"""A small real kind for the engine's tests: makes a directory, writes a file with a secret in it, runs a slow copy, proves it.

Its steps work on real hosts and on FakeHost alike. The slow copy appends a line to `started` whenever it is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.recipe import Brief, Check, ParamsError, Step, World
from remote.command import Command, Detached, Secret, WriteFile, script
from remote.facts import FactsRequest

PASSWORD = Secret("small password", "s3cret-Kaffee/tasse+42")

COPY = """
echo started >>"$1/started"
i=0
while [ $i -lt "$2" ]; do i=$((i+1)); echo "copied $i of $2"; sleep "$3"; done
if [ -e "$1/break" ]; then echo "no space left on device" >&2; exit 3; fi
printf %s "$4" >"$1/copied.new" && mv "$1/copied.new" "$1/copied"
"""


@dataclass(frozen=True)
class SmallParams:
    nodes: tuple[str, ...]
    directory: str
    lines: int = 3
    pause: str = "0.05"
    refuse: bool = False


@dataclass(frozen=True)
class SmallKind:
    name: str = "small"
    label: str = "A small job"

    def params(self, data: Mapping[str, Any]) -> SmallParams:
        if not data.get("directory"):
            raise ParamsError("directory", "is missing", "name one")
        return SmallParams(**{**data, "nodes": tuple(data["nodes"])})

    def title(self, params: SmallParams) -> str:
        return f"Small job on {', '.join(params.nodes)}"

    def nodes(self, params: SmallParams, brief: Brief) -> tuple[str, ...]:
        return params.nodes

    def requests(self, params: SmallParams, brief: Brief) -> Mapping[str, FactsRequest]:
        return {node: FactsRequest(paths=self._paths(params, node), sections=frozenset({"host", "paths"})) for node in params.nodes}

    def checks(self, params: SmallParams, brief: Brief, world: World) -> Sequence[Check]:
        found = []
        for node in params.nodes:
            facts = world.nodes[node]
            refusal = () if facts.is_reachable else (facts.message, facts.mend)
            found.append(Check("host", node, "The host answers", "refused" if refusal else "ok", *refusal))
        if params.refuse:
            found.append(Check("mood", params.nodes[0], "The mood is good", "refused", "it is not", "smile", "echo :-)"))
        return found

    def steps(self, params: SmallParams, brief: Brief, world: World) -> Sequence[Step]:
        return [step for node in params.nodes for step in self._node_steps(params, brief, node)]

    def _paths(self, params: SmallParams, node: str) -> tuple[str, ...]:
        base = f"{params.directory}/{node}"
        return (base, f"{base}/motd", f"{base}/copied", f"{base}/foreign")

    def _node_steps(self, params: SmallParams, brief: Brief, node: str) -> list[Step]:
        base = f"{params.directory}/{node}"
        text = ("password is ", PASSWORD, "\n")

        def kind_of(world: World, path: str) -> str:
            known = world.facts(node).paths.get(path)
            return known.kind if known else "missing"

        def text_of(world: World, path: str) -> str:
            known = world.facts(node).paths.get(path)
            return (known.text or "") if known else ""

        def make(world: World) -> Sequence[Command]:
            note = " beside something foreign" if kind_of(world, f"{base}/foreign") != "missing" else ""
            return [script(f'mkdir -p "$1" # {node}{note}', base), script('echo "the secret is $(cat)"', stdin=PASSWORD)]

        copy = script(COPY, base, str(params.lines), params.pause, brief.job, timeout_seconds=600)
        return [
            Step(f"directory.make#{node}", node, "Make the directory", lambda world: kind_of(world, base) == "directory", make,
                 note=f"made:{node}"),
            Step(f"motd.write#{node}", node, "Write the file", lambda world: text_of(world, f"{base}/motd").startswith("password"),
                 lambda _world: [WriteFile(f"{base}/motd", text, owner="root")]),
            Step(f"copy.run#{node}", node, "Copy slowly", lambda world: text_of(world, f"{base}/copied") == brief.job,
                 lambda _world: [script('echo before >>"$1/before"', base), Detached(copy)], within_seconds=2,
                 destroys=f"{base}/copied"),
            Step(f"copy.prove#{node}", node, "Prove the copy", lambda world: text_of(world, f"{base}/copied") == brief.job,
                 forecast=lambda _world: True, within_seconds=2, is_proof=True),
        ]  # fmt: skip

    def summary(self, params: SmallParams, brief: Brief, world: World) -> Sequence[str]:
        return ("Nothing restarts.",)


KIND = SmallKind()
