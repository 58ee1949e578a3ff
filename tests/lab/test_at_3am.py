"""Whole nights through the panel's engine and its workers, on real hosts under a writer: what holds at the end of each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from engine_panel import Panel
from kombu import Connection
from night import Night, nothing_lost, sample, story
from redis_server import RedisServer

from jobs import services, tasks
from jobs.kinds import KINDS
from jobs.models import Job
from lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]
SWEEP = os.environ.get("PGPANEL_SWEEP", "")
"""Which commands, instead of a sample: `PGPANEL_SWEEP=all` (an hour) or `=20-35`, with `-k between_any_two_commands`."""
SAMPLE = 3
NEWEST_ROWS = 1000
"""A power cut of an asynchronous primary may lose what was acknowledged just before it, not more."""


@pytest.fixture
def panel(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Panel]:
    key = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [key]
    (tmp_path / "faults").mkdir()
    monkeypatch.setenv("PGPANEL_TEST_FAULTS", str(tmp_path / "faults"))
    made = Panel(tmp_path, key)
    settings.REDIS_URL = made.redis.url

    def send(task: Any, item_id: int, queue: str | None = None) -> None:
        with Connection(made.redis.url) as connection:
            task.apply_async((item_id,), connection=connection, retry=False, **({"queue": queue} if queue else {}))

    monkeypatch.setattr(tasks, "_send", send)
    yield made
    made.close()


def a_night(lab: Lab, panel: Panel, count: int, postgres: str = "15", layout: str = "debian") -> Night:
    """A primary pg1 and its standbys, set up by the panel."""
    names = [f"pg{number}" for number in range(1, count + 1)]
    hosts = {"pg1": lab.up("pg1", postgres=postgres, layout=layout)}
    hosts |= {name: lab.up(name, postgres=postgres, layout=layout, create=False) for name in names[1:]}
    night = Night(lab, hosts, panel, panel.directory / "faults")
    night.run("setup", primary="pg1", standbys=names[1:])
    night.wait_streaming()
    return night


def needs(*kinds: str) -> None:
    for kind in kinds:
        assert kind in KINDS, f"there is no kind {kind}"


# -- (a) a whole night -----------------------------------------------------------------------------------------------------------


def test_switched_over_cut_off_promoted_returned_rebuilt_and_switched_back(new_lab: Any, panel: Panel) -> None:
    needs("switchover", "promote", "rebuild")
    lab: Lab = new_lab()
    night = a_night(lab, panel, 3)
    pg2 = night.hosts["pg2"]
    writer = lab.writer(list(night.hosts.values()))
    writer.start()
    assert night.run("switchover", candidate="pg2").ending == "done"
    assert night.the_primary() == "pg2"
    night.wait_streaming("pg1", "pg3")
    assert nothing_lost(writer).doubled == 0

    writer = lab.writer(list(night.hosts.values()))
    writer.start()
    time.sleep(1)
    pg2.kill()
    known = writer.acknowledged()
    job = night.run("promote", candidate="pg3", attested="pg2", accept_loss=True, use_fence=False)
    assert night.the_primary() == "pg3", story(job)
    night.wait_streaming("pg1")
    pg2.start()
    pg2.wait_postgres(60)
    time.sleep(2)
    assert night.primaries() == ["pg3"], "the start guard holds it back"
    night.run("rebuild", node="pg2", seconds=300)
    night.wait_streaming("pg1", "pg2")
    assert night.run("switchover", candidate="pg1").ending == "done"
    night.wait_streaming("pg2", "pg3")
    assert night.the_primary() == "pg1"
    assert set(night.timelines().values()) == {4}
    report = writer.stop()
    assert report.lost is not None
    if report.lost_range:  # only what the cut took, nothing of before and nothing that was written to the one that returned
        assert report.lost_range[0] > known - NEWEST_ROWS
        assert report.lost_range[1] <= known + 1


# -- (b) a worker that dies or sleeps --------------------------------------------------------------------------------------------


def picked(count: int, seed: str) -> list[int]:
    first, _, last = SWEEP.partition("-")
    if SWEEP:
        return list(range(1, count + 1) if SWEEP == "all" else range(int(first), min(int(last), count) + 1))
    return list(sample(count, SAMPLE, seed))


def settled(night: Night, job: Job) -> None:
    """However it ended: one primary, and going on until everybody follows it again."""
    primary = night.the_primary()
    if job.status != Job.Status.SUCCEEDED and job.status in Job.RESUMABLE and job.ending not in ("rolled_back", "unknown"):
        job = night.ended(services.job_resume(job, None, "a night"))
        primary = night.the_primary()
    others = set(night.hosts) - {primary}
    try:
        night.wait_streaming(*others, seconds=20)
    except AssertionError:
        raise AssertionError(f"{primary} is the primary, {night.followers()} follow it\n{story(job)}") from None


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_switchover_survives_its_worker_between_any_two_commands(new_lab: Any, panel: Panel, how: str) -> None:
    needs("switchover")
    lab: Lab = new_lab()
    night = a_night(lab, panel, 2)
    night.run("switchover", candidate="pg2")  # the first one has more to do than every later one
    night.wait_streaming()
    commands = night.commands_of("switchover", candidate="pg1")
    night.wait_streaming()
    wrong = []
    for at in picked(len(commands), f"switchover {how}"):
        writer = lab.writer(list(night.hosts.values()))
        writer.start()
        before, timeline = night.the_primary(), max(night.timelines().values())
        candidate = next(name for name in night.hosts if name != before)
        job = night.run_with_fault("switchover", how, at, candidate=candidate)
        print(f"{how} before {at} of {len(commands)}, {job.status} {job.ending}: {night.hit()[:120]}")
        try:
            settled(night, job)
            nothing_lost(writer)
            after = max(night.timelines().values())
            assert after == timeline + (night.the_primary() == candidate), (timeline, after)
        except AssertionError as error:
            wrong.append(f"{how} before command {at} of {len(commands)}: {night.hit()}\n{error}\n{story(job)}")
            break  # the next one would begin on what this one left
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_promote_and_rebuild_survive_their_worker_between_any_two_commands(new_lab: Any, panel: Panel, how: str) -> None:
    """Round by round: the primary loses its power, the other is promoted, the first returns and is rebuilt."""
    needs("promote", "rebuild")
    lab: Lab = new_lab()
    night = a_night(lab, panel, 2)
    counts = round_of(night, how, {"promote": 0, "rebuild": 0})
    chosen = {kind: picked(count, f"{kind} {how}") for kind, count in counts.items()}
    for number in range(max(len(found) for found in chosen.values())):
        round_of(night, how, {kind: found[min(number, len(found) - 1)] for kind, found in chosen.items()})


def round_of(night: Night, how: str, at: dict[str, int]) -> dict[str, int]:
    """at: the command of each kind before which the worker goes; 0 = none. The number of commands of each."""
    old = night.the_primary()
    new = next(name for name in night.hosts if name != old)
    night.hosts[new].sql("SELECT 1")
    night.hosts[old].kill()
    counts = {}
    for kind, params in (
        ("promote", {"candidate": new, "attested": old, "accept_loss": True, "use_fence": False}),
        ("rebuild", {"node": old}),
    ):
        if kind == "rebuild":
            night.hosts[old].start()
            night.hosts[old].wait_postgres(60)
            assert night.the_primary() == new
        if at[kind]:
            job = night.run_with_fault(kind, how, at[kind], **params)
            if job.status != Job.Status.SUCCEEDED:
                job = night.ended(services.job_resume(job, None, "a night"))
            assert job.status == Job.Status.SUCCEEDED, f"{how} before command {at[kind]} of {kind}\n{story(job)}"
            counts[kind] = at[kind]
        else:
            counts[kind] = len(night.commands_of(kind, **params))
        assert night.the_primary() == new
    night.wait_streaming(old)
    return counts


# -- (c) two people --------------------------------------------------------------------------------------------------------------


def test_of_two_people_at_once_one_has_the_job_and_the_other_is_told_whose(
    new_lab: Any, panel: Panel, django_user_model: Any
) -> None:
    needs("switchover")
    night = a_night(new_lab(), panel, 2)
    people = [django_user_model.objects.create_user(name) for name in ("ann", "bob")]
    jobs = [services.job_plan(night.cluster, "switchover", {"candidate": "pg2"}, who, "a page", plan_now=True) for who in people]
    assert [job.status for job in jobs] == ["planned", "planned"]
    gate, told = threading.Barrier(2), {}

    def press(job: Job, who: Any) -> None:
        from django.db import connection

        gate.wait()
        try:
            told[who.username] = services.job_start(job, job.plan_hash, who, "a page")
        except services.ClusterBusy as refused:
            told[who.username] = refused
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=pair) for pair in zip(jobs, people, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    refused = {name: found for name, found in told.items() if isinstance(found, services.ClusterBusy)}
    assert len(refused) == 1, told
    winner = next(name for name in told if name not in refused)
    assert f"started by {winner}" in str(next(iter(refused.values())))
    won = night.ended(next(found for name, found in told.items() if name == winner))
    assert won.status == "succeeded", story(won)
    assert night.the_primary() == "pg2"
    assert Job.objects.filter(kind="switchover", started_at__isnull=False).count() == 1


# -- (d) the pair of the source page ----------------------------------------------------------------------------------------------


def test_the_pair_built_by_hand_is_switched_over_promoted_and_rebuilt(new_lab: Any, panel: Panel) -> None:
    needs("switchover", "promote", "rebuild")
    lab: Lab = new_lab()
    pair = lab.source_page_pair(postgres="11")
    hosts = {"p1": pair.primary, "p2": pair.standby}
    night = Night(lab, hosts, panel, panel.directory / "faults")
    night.run("setup", primary="p1", standbys=["p2"], start_guard=True)
    night.wait_streaming()
    writer = lab.writer(list(hosts.values()))
    writer.start()
    assert night.run("switchover", candidate="p2").ending == "done"
    night.wait_streaming("p1")
    nothing_lost(writer)
    hosts["p2"].kill()
    night.run("promote", candidate="p1", attested="p2", accept_loss=True, use_fence=False)
    assert night.the_primary() == "p1"
    hosts["p2"].start()
    hosts["p2"].wait_postgres(60)
    assert night.primaries() == ["p1"], "the start guard holds it back"
    night.run("rebuild", node="p2", seconds=300)
    night.wait_streaming("p2")
