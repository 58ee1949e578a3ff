"""A planned switchover under load: the panel's whole kind, a bare script (the limit) and repmgr, on the same hosts, taking turns.

Each works on a pair of its own (ports 5432, 5433, 5434) of the same two hosts, with fsync; the two pairs whose turn it is not idle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench import limit, repmgr
from bench.load import Load, Seen, pgbench_of
from bench.pair import Pair, Place, wait
from bench.rows import Row, row
from bench.stage import CLUSTER, Stage
from lab.host import Host

GOALS = {"median": 150, "worst": 300, "streams": 1500}
"""Milliseconds; beside them at most 1.5 × the script's gap, and an eighth of repmgr's."""


@dataclass
class Contestant:
    name: str
    load: Load
    roles: Iterator[tuple[Place, Place]]
    """primary and candidate of each run"""
    change: Callable[[], None]
    seen: list[Seen] = field(default_factory=list)

    def run(self) -> None:
        primary, candidate = next(self.roles)
        self.seen.append(self.load.during(primary, candidate, self.change))
        last = self.seen[-1]
        print(f"  {self.name:8} gap {last.gap_ms:7.1f} ms, streams {last.streams_ms:7.0f} ms, lost {last.lost}", flush=True)

    @property
    def gaps(self) -> list[float]:
        return [one.gap_ms for one in self.seen]

    @property
    def returns(self) -> list[float]:
        return [one.streams_ms for one in self.seen]

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.seen)


def write_gap(stage: Stage) -> Sequence[Row]:
    """Twice as many rounds as the other benches have, at least ten."""
    contestants = (_panel(stage), _script(stage), peer := _repmgr(stage))
    for _round in range(max(10, stage.runs * 2) if stage.runs > 1 else 1):
        for one in contestants:
            one.run()
    return rows_of(*contestants, peer.name)


def rows_of(ours: Contestant, script: Contestant, peer: Contestant, peer_name: str) -> Sequence[Row]:
    lost = ours.lost
    return [
        row("switchover: write gap", "ms", ours.gaps, script.gaps, peer=peer.gaps, peer_name=peer_name, lost=lost),
        row("switchover: worst write gap", "ms", [max(ours.gaps)], [max(script.gaps)], peer=[max(peer.gaps)], peer_name=peer_name),
        row(
            "switchover: the old primary streams again", "ms", ours.returns, script.returns, peer=peer.returns, peer_name=peer_name
        ),
    ]


def _turns(places: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    return itertools.cycle([(places[0], places[1]), (places[1], places[0])])


def _panel(stage: Stage) -> Contestant:
    hosts = ensure_pair(stage)
    places = [Place(host.ip, host.pg_port) for host in hosts]
    load = Load(stage.lab, pgbench_of(hosts[0]), places)
    load.prepare(places[0])
    candidates = itertools.cycle(["pg2", "pg1"])

    def change() -> None:
        stage.job("switchover", CLUSTER, candidate=next(candidates))

    return Contestant("pgpanel", load, _turns(places), change)


def ensure_pair(stage: Stage) -> tuple[Host, Host]:
    """The panel's own pair, pg1 the primary, archiving both ways as its setup makes it."""
    first, second = stage.lab["h1"], stage.lab["h2"]
    if not second.is_postgres_running():
        stage.add_cluster(CLUSTER, {"pg1": "h1", "pg2": "h2"})
        stage.job("setup", CLUSTER, primary="pg1", standbys="pg2")
    if first.sql("SELECT pg_is_in_recovery()") == [["t"]]:
        stage.job("switchover", CLUSTER, candidate="pg1")
    first.sql("GRANT pg_monitor TO registry")
    # the lab's clients come from its network: the standby has the primary's lines already
    wait(lambda: first.sql("SELECT state FROM pg_stat_replication") == [["streaming"]], "the panel's standby streams")
    return first, second


def _script(stage: Stage) -> Contestant:
    pair = Pair(stage.lab, "limit", 5433, stage.lab["h1"], stage.lab["h2"])
    limit.make(pair)
    return _by_hand("script", stage, pair, lambda: limit.switch(pair))


def _repmgr(stage: Stage) -> Contestant:
    pair = Pair(stage.lab, "peer", 5434, stage.lab["h1"], stage.lab["h2"], repmgr.SETTINGS)
    return _by_hand(repmgr.make(pair), stage, pair, lambda: repmgr.switch(pair))


def _by_hand(name: str, stage: Stage, pair: Pair, change: Callable[[], None]) -> Contestant:
    load = Load(stage.lab, pgbench_of(pair.primary), pair.places)
    load.prepare(pair.places[0])
    return Contestant(name, load, _turns(pair.places), change)
