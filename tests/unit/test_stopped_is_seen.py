"""A server is proven stopped only by a look at its own host: silence proves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.blocks.salvage import is_stopped
from jobs.recipe import NodeSpec, NodeUnreachable, World
from remote.facts import Facts, Postgres, Unreachable

PG1 = NodeSpec("pg1", "10.0.0.1", "10.0.0.1", 5432, "custom", "/data", "/data", "/bin", "/wals", "postgres")
STOPPED = Postgres(data_directory="/data", owner="postgres", major="15")


def world(*clusters: Postgres) -> World:
    return World({"pg1": Facts("pg1", clusters=clusters)})


def test_a_host_that_does_not_answer_is_not_stopped() -> None:
    with pytest.raises(NodeUnreachable):
        is_stopped(World({"pg1": Unreachable("timeout", "no answer")}), PG1)


def test_a_data_directory_that_is_not_seen_proves_nothing() -> None:
    assert not is_stopped(world(), PG1)


def test_neither_a_postmaster_nor_what_one_left_behind_is_stopped() -> None:
    assert not is_stopped(world(replace(STOPPED, is_running=True)), PG1)
    assert not is_stopped(world(replace(STOPPED, stray_pids=(4711,))), PG1)
    assert is_stopped(world(STOPPED), PG1)
