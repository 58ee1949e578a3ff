"""One night in which every kind of job is run, each where the one before has left things."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from night import answer, soon
from stage import Stage

from clusters.models import Quarantine
from jobs.kinds import KINDS
from jobs.models import Job
from lab import Host

ROWS = 500


@dataclass
class Passed:
    """kind: as the panel names it. seconds: of the job, from its start to its end."""

    kind: str
    seconds: float


@dataclass
class Night:
    """hosts pg1, pg2, pg3; pg1 has a cluster with rows in it, the others have none."""

    stage: Stage
    passed: list[Passed] = field(default_factory=list)

    def host(self, name: str) -> Host:
        return self.stage.hosts[name]

    def run(self, kind: str, ends: str = "succeeded", **params: object) -> Job:
        began = time.monotonic()
        job = self.stage.run(kind, ends, **params)
        self.passed.append(Passed(kind, round(time.monotonic() - began, 1)))
        return job

    def whole(self) -> Iterator[str]:
        """Every scene, told as it begins."""
        for scene in SCENES:
            yield scene.__name__.replace("_", " ")
            scene(self)

    def streams(self, primary: str, *standbys: str) -> None:
        wanted = dict.fromkeys(standbys, "streaming")
        soon(
            lambda: {name: state for name, state in self.stage.senders(primary).items() if name in wanted} == wanted, "they stream"
        )

    def same_rows(self, *names: str) -> None:
        """On every one of them, row for row, as soon as they have replayed."""
        query = "SELECT count(*), sum(hashtext(proof::text)) FROM proof"
        soon(lambda: len({answer(self.host(name), query) for name in names}) == 1, "the same rows everywhere")

    def write(self, name: str, rows: int = ROWS) -> None:
        self.host(name).sql(f"INSERT INTO proof SELECT generate_series(1, {rows}), 'written on {name}'")

    def kill_postmaster(self, name: str) -> None:
        host = self.host(name)
        host.run(f"kill -9 $(head -n 1 '{host.data_directory}/postmaster.pid')")


# -- scenes --------------------------------------------------------------------------------------------------------------------


def a_pair_is_set_up_and_again_without_effect(night: Night) -> None:
    night.host("pg1").sql("CREATE TABLE proof (id int, what text)")
    night.write("pg1")
    night.run("setup", primary="pg1", standbys=["pg2"])
    night.streams("pg1", "pg2")
    night.same_rows("pg1", "pg2")
    again = night.stage.run("setup", primary="pg1", standbys=["pg2"])
    assert not again.lines.filter(voice="command", text__contains="restart").exists()


def a_third_joins_and_is_seeded_anew(night: Night) -> None:
    night.run("add_standby", primary="pg1", standbys=["pg3"])
    night.streams("pg1", "pg2", "pg3")
    night.run("base_backup", source="pg1", target="pg3")
    night.streams("pg1", "pg2", "pg3")
    night.same_rows("pg1", "pg3")


def settings_and_passwords_are_changed(night: Night) -> None:
    night.run("set_parameter", name="work_mem", value="9MB")
    for name in night.stage.hosts:
        assert answer(night.host(name), "SHOW work_mem") == "9MB"
    night.run("rotate_password", purpose="replication")
    night.streams("pg1", "pg2", "pg3")


def one_node_is_stopped_started_restarted_reloaded(night: Night) -> None:
    night.run("stop", node="pg3")
    assert not night.host("pg3").is_postgres_running()
    night.run("start", node="pg3")
    night.run("restart", node="pg3")
    night.run("reload", node="pg3")
    night.streams("pg1", "pg2", "pg3")


def it_is_rehearsed_and_switched_over(night: Night) -> None:
    night.run("rehearse", candidate="pg2")
    assert night.stage.primary() == "pg1"
    writer = night.stage.lab.writer([night.host("pg1"), night.host("pg2")])
    writer.start()
    night.run("switchover", candidate="pg2")
    report = writer.stop()
    assert (report.lost, report.doubled) == (0, 0), report
    assert night.stage.primary() == "pg2"
    night.streams("pg2", "pg1", "pg3")


def a_cascade_is_made_and_undone(night: Night) -> None:
    night.run("repoint", node="pg3", upstream="pg1")
    night.streams("pg1", "pg3")
    night.write("pg2")
    night.same_rows("pg1", "pg2", "pg3")
    night.stage.run("repoint", node="pg3", upstream="pg2")
    night.streams("pg2", "pg1", "pg3")


def a_standby_that_is_down_is_repaired(night: Night) -> None:
    night.host("pg3").pg_stop()
    night.run("repair", node="pg3")
    night.streams("pg2", "pg1", "pg3")


def a_killed_primary_is_replaced_and_nothing_is_lost(night: Night) -> None:
    pg1, pg2, pg3 = (night.host(name) for name in ("pg1", "pg2", "pg3"))
    pg2.split(pg1)
    pg2.split(pg3)
    night.write("pg2")  # these have left it to nobody
    rows = answer(pg2, "SELECT count(*) FROM proof")
    night.kill_postmaster("pg2")
    pg2.unsplit()
    night.run("promote", candidate="pg1")
    assert night.stage.primary() == "pg1"
    assert answer(pg1, "SELECT count(*) FROM proof") == rows
    night.streams("pg1", "pg3")


def the_old_one_follows_again_and_can_be_put_back(night: Night) -> None:
    night.write("pg1")
    night.run("rebuild", node="pg2")
    night.streams("pg1", "pg2", "pg3")
    night.same_rows("pg1", "pg2", "pg3")
    night.run("undo_rebuild", node="pg2")
    assert not night.host("pg2").is_postgres_running()
    night.stage.run("rebuild", node="pg2")
    night.streams("pg1", "pg2", "pg3")
    night.run("forget_old", node="pg2")
    night.same_rows("pg1", "pg2", "pg3")


def one_that_came_back_writable_is_fenced(night: Night) -> None:
    pg3 = night.host("pg3")
    pg3.run([f"{pg3.bin_directory}/pg_ctl", "-D", pg3.data_directory, "promote"], user=pg3.postgres_user)
    soon(lambda: answer(pg3, "SELECT pg_is_in_recovery()") == "f", "somebody has promoted it by hand")
    Quarantine.objects.create(node=night.stage.cluster.nodes.get(name="pg3"), reason="a test says so")
    night.run("fence", node="pg3")
    assert not pg3.is_postgres_running()
    Quarantine.objects.all().delete()
    night.stage.run("rebuild", node="pg3")
    night.streams("pg1", "pg2", "pg3")


def a_standby_leaves(night: Night) -> None:
    night.run("remove_standby", node="pg3")
    night.streams("pg1", "pg2")
    assert "pg3" not in night.stage.senders("pg1")
    assert not [slot for slot in night.stage.slots("pg1") if "pg3" in slot]


SCENES: tuple[Callable[[Night], None], ...] = (
    a_pair_is_set_up_and_again_without_effect, a_third_joins_and_is_seeded_anew, settings_and_passwords_are_changed,
    one_node_is_stopped_started_restarted_reloaded, it_is_rehearsed_and_switched_over, a_cascade_is_made_and_undone,
    a_standby_that_is_down_is_repaired, a_killed_primary_is_replaced_and_nothing_is_lost,
    the_old_one_follows_again_and_can_be_put_back, one_that_came_back_writable_is_fenced, a_standby_leaves,
)  # fmt: skip


def kinds_without_a_scene(night: Night) -> set[str]:
    return set(KINDS) - {one.kind for one in night.passed}
