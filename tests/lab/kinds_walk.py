"""What the lab tests of job kinds share: a brief of lab hosts, and a small synchronous walk of a plan, strict as the engine is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jobs.cues import LiveCues
from jobs.kinds import KINDS
from jobs.recipe import Brief, NodeSpec, NodeUnreachable, Plan, Section, Step, World, plan_of, planned
from lab import Host as LabHost
from lab import Lab
from remote.command import Command, Detached, Secret, WriteFile, shown_lines
from remote.facts import Facts
from remote.host import Access, Host, Lock
from remote.hostkeys import generate_key
from remote.layouts import LAYOUTS

PASSWORD = "Sesame-Replication-91b7f2"
WATCHING = "Sesame-Monitoring-3c55aa"
LAYOUT_OF = {"debian": "debian", "cocca": "cocca", "custom": "custom"}


class Refused(AssertionError):
    """The plan may not run."""


@dataclass
class Room:
    """Lab hosts as nodes of one cluster, and what was seen while jobs ran."""

    lab: Lab
    hosts: Mapping[str, LabHost]
    keys: dict[str, tuple[Secret, str]] = field(default_factory=dict)
    walked: list[tuple[str, str]] = field(default_factory=list)
    resumes: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    during: Callable[[str], None] = lambda _key: None
    user: str = "root"
    said: list[str] = field(default_factory=list)
    host_keys: dict[str, str] = field(default_factory=dict)

    def spec(self, name: str) -> NodeSpec:
        host = self.hosts[name]
        overrides = {"bin_directory": host.bin_directory, "data_directory": host.data_directory}
        overrides["log_file"] = host.record.log_file
        if host.layout == "debian":
            overrides.pop("log_file")
        paths = LAYOUTS[LAYOUT_OF[host.layout]].paths(str(host.postgres_major), overrides)
        return NodeSpec(
            name=name, ssh_host=host.ip, address=host.ip, port=host.pg_port, layout=LAYOUT_OF[host.layout],
            ssh_port=host.ssh_port, host_key=self.host_key(name), **asdict(paths),
        )  # fmt: skip

    def host_key(self, name: str) -> str:
        """As accepted at the first contact: a host that is dead now had one."""
        if name not in self.host_keys:
            words = self.hosts[name].run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()
            self.host_keys[name] = " ".join(words[:2])
        return self.host_keys[name]

    def brief(self, job: str, names: Sequence[str]) -> Brief:
        secrets = {"replication_password": Secret("replication password", PASSWORD)}
        secrets["monitoring_password"] = Secret("monitoring password", WATCHING)
        for name in names:
            private, public = self.keys.setdefault(name, generate_key(f"archive {name}"))
            secrets |= {f"archive_key:{name}": private, f"archive_public_key:{name}": Secret("public key", public)}
        return Brief(
            job=job, cluster="shop", cluster_identifier="", nodes={name: self.spec(name) for name in names}, secrets=secrets
        )

    def open(self, name: str, lock: Lock | None = None) -> Host:
        host = self.hosts[name]
        key = Secret("lab key", self.lab.key_path.read_text())
        return Host(Access(host.ip, host.ssh_port, self.user, private_key=key, host_key=self.host_key(name)), name, lock=lock)

    def plan(self, kind: str, params: Mapping[str, Any], names: Sequence[str], job: str = "job-1") -> tuple[Plan, World]:
        recipe, brief = KINDS[kind], self.brief(job, names)
        given = recipe.params(params)
        world = World({name: self.open(name).facts(request) for name, request in recipe.requests(given, brief).items()})
        return plan_of(recipe, given, brief, world), world

    def run(self, kind: str, params: Mapping[str, Any], names: Sequence[str], job: str = "job-1") -> Plan:
        """Plan, then walk exactly what was planned: other commands, or a need that was not announced, fail."""
        plan, world = self.plan(kind, params, names, job)
        if plan.is_refused:
            raise Refused(
                [(check.node, check.title, check.reason, check.mend) for check in plan.checks if check.level == "refused"]
            )
        recipe, brief = KINDS[kind], self.brief(job, names)
        given = recipe.params(params)
        requests = recipe.requests(given, brief)
        hosts = {name: self.open(name, Lock("shop", 1)) for name in names}
        notes: dict[str, str] = {}
        self.walked, self.seconds = [], {}

        def look(*nodes: str) -> World:
            seen = dict(world.nodes) | {name: hosts[name].facts(replace(requests[name], reach=())) for name in nodes}
            return World({name: _with_reach(world, name, facts) for name, facts in seen.items()}, notes)

        world = look(*names)
        for confirmed, step in zip(plan.steps, recipe.steps(given, brief, world), strict=True):
            began = time.monotonic()
            world = look(step.node, *step.reads)
            if step.done(world):
                self.walked.append((step.key, "already"))
                continue
            assert confirmed.is_needed, (
                f"{step.key} has something to do that the plan did not announce: {planned(step, world).shown}"
            )
            actions = step.runs(world)
            assert shown_lines(actions) == confirmed.shown, f"{step.key}: {shown_lines(actions)} is not {confirmed.shown}"
            output = "" if step.section else self._act(hosts[step.node], step, brief, actions)
            if step.section:
                self._conduct(step.section, hosts)
            if step.note:
                notes[step.note] = output.strip()
            world = self._verified(step, look)
            self.walked.append((step.key, "done"))
            self.seconds[step.key] = round(time.monotonic() - began, 2)
            if self.resumes:
                self._could_be_resumed(plan, list(recipe.steps(given, brief, look(*names))), look(*names))
        for host in hosts.values():
            host.close()
        return plan

    @staticmethod
    def _could_be_resumed(plan: Plan, steps: Sequence[Step], world: World) -> None:
        """A worker that takes over here finds the same steps, and the same commands for what is not done (`Walk` asks so)."""
        assert [step.key for step in steps] == [step.key for step in plan.steps]
        for confirmed, step in zip(plan.steps, steps, strict=True):
            if not _is_done(step, world):
                now = planned(step, world)
                same = not (confirmed.is_needed and now.shown) or now.shown == confirmed.shown
                assert same, f"{step.key} would run other commands: {now.shown} instead of {confirmed.shown}"

    def _conduct(self, section: Section, hosts: Mapping[str, Host]) -> None:
        cues = LiveCues(section, lambda part, _is_afresh: hosts[part.node].open(part.command))
        try:
            cues.open_all()
            section.conduct(cues)
        finally:
            cues.close()
            self.said += [line.told for line in cues.spoken]

    def _act(self, host: Host, step: Step, brief: Brief, actions: Sequence[Any]) -> str:
        output = ""
        for action in actions:
            self.said.append(action.shown)
            if isinstance(action, WriteFile):
                host.write(action)
            elif isinstance(action, Command):
                output = host.run(action, on_output=lambda _voice, line: self.said.append(line)).stdout
            elif isinstance(action, Detached):
                self._follow(host, f"{brief.job}/{step.key}", action, step.key)
        return output

    def _follow(self, host: Host, name: str, action: Detached, key: str) -> None:
        host.start_detached(name, action)
        offset, log = 0, b""
        while True:
            self.during(key)
            chunk, state = host.follow(name, action.command.user, offset, 0.2)
            offset, log = offset + len(chunk), log + chunk
            if state.status != "running" and offset >= state.log_bytes:
                self.said += log.decode().splitlines()
                assert state.exit_code == 0, f"{key} ended with {state}: {log.decode()[-2000:]}"
                return

    @staticmethod
    def _verified(step: Step, look: Callable[..., World]) -> World:
        deadline = time.monotonic() + min(step.within_seconds, 40)
        while True:
            world = look(step.node, *step.reads)
            if step.done(world):
                return world
            assert time.monotonic() < deadline, f"{step.key} did not become done"
            time.sleep(0.1)

    def acted(self) -> list[str]:
        return [key for key, how in self.walked if how == "done"]


def _is_done(step: Step, world: World) -> bool:
    try:
        return step.done(world)
    except NodeUnreachable:
        return False


def _with_reach(before: World, name: str, facts: Any) -> Any:
    known = before.nodes[name]
    return replace(facts, reach=known.reach) if isinstance(facts, Facts) and isinstance(known, Facts) else facts
