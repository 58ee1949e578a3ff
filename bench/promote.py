"""The primary's postmaster is killed: how long until somebody can write again, by the panel, by a bare promotion and by repmgr.

Counted from the click (the job begins; it first asks everybody, stops what is left and fetches the WAL that never arrived) and from
the decision (its step that promotes). The bare promotion asks nobody: what it loses is shown with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from bench import limit, repmgr
from bench.load import Load, pgbench_of
from bench.pair import Pair, Place
from bench.rows import Row, row
from bench.stage import CLUSTER, Stage
from bench.switchover import ensure_pair


@dataclass
class Times:
    from_click_ms: list[float] = field(default_factory=list)
    from_decision_ms: list[float] = field(default_factory=list)
    lost: int = 0


def first_write(stage: Stage) -> Sequence[Row]:
    panel, bare, peer = Times(), Times(), Times()
    turns = _panel(stage, panel)  # first: it takes what it finds on a host for the node's own
    script = Pair(stage.lab, "bare", 5435, stage.lab["h1"], stage.lab["h2"])
    limit.make(script)
    other = Pair(stage.lab, "again", 5436, stage.lab["h1"], stage.lab["h2"], repmgr.SETTINGS)
    version = repmgr.make(other)
    for _round in range(max(5, stage.runs) if stage.runs > 1 else 1):
        turns()
        _by_hand(stage, script, bare, limit)
        _by_hand(stage, other, peer, repmgr)
        last = [each.from_decision_ms[-1] for each in (panel, bare, peer)]
        print("  from the decision: {:.0f} ms, bare {:.0f}, repmgr {:.0f}".format(*last), flush=True)
    name = f"{version} (rows lost: {peer.lost}; by the bare promotion: {bare.lost})"
    return [
        row("promote: from the decision to the first acknowledged write", "ms", panel.from_decision_ms, bare.from_decision_ms,
            peer=peer.from_decision_ms, peer_name=name, lost=panel.lost),
        row("promote: from the click, evidence, fence and salvage too", "ms", panel.from_click_ms, lost=panel.lost),
    ]  # fmt: skip


def _panel(stage: Stage, times: Times) -> Callable[[], None]:
    hosts = ensure_pair(stage)
    places = [Place(host.ip, host.pg_port) for host in hosts]
    load = Load(stage.lab, pgbench_of(hosts[0]), places)
    load.prepare(places[0])
    turns = itertools.cycle([(0, 1), (1, 0)])

    def run() -> None:
        old, new = next(turns)
        job: dict[str, object] = {}

        def change() -> None:
            hosts[old].run(f"kill -9 $(head -n 1 {hosts[old].data_directory}/postmaster.pid)")
            job.update(stage.job("promote", CLUSTER, candidate=f"pg{new + 1}"))

        seen = load.during(places[old], places[new], change, streams=False)
        began, decided = stage.times(int(str(job["id"])), "candidate.promote")
        times.from_click_ms.append((seen.report.gap_to - began) * 1000)
        times.from_decision_ms.append((seen.report.gap_to - decided) * 1000)
        times.lost += seen.lost
        stage.job("rebuild", CLUSTER, node=f"pg{old + 1}")

    return run


def _by_hand(stage: Stage, pair: Pair, times: Times, tool: ModuleType) -> None:
    primary, standby = (Place(host.ip, pair.port) for host in (pair.primary, pair.standby))
    load, said = Load(stage.lab, pgbench_of(pair.primary), pair.places), []
    load.prepare(primary)

    def change() -> None:
        pair.primary.run(f"kill -9 $(head -n 1 {pair.data}/postmaster.pid)")
        said.append(tool.promote(pair))

    seen = load.during(primary, standby, change, streams=False)
    times.from_decision_ms.append((seen.report.gap_to - said[0]) * 1000)
    times.lost += seen.lost
    pair.swapped()
    tool.copy_anew(pair)
