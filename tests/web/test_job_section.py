"""A critical section through the engine: recorded before, told after, and how a job ends that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from job_world import log_text, make_cluster, make_hosts, run, start, statuses

from jobs import planning, services
from jobs.kinds import KINDS
from jobs.models import Job, JobStep, LogLine
from jobs.recipe import Brief, Check, Cues, Ended, Ending, Part, Section, Step, World
from jobs.runbook import runbook
from remote.command import script
from remote.facts import FactsRequest

pytestmark = pytest.mark.django_db(transaction=True)
TURN = 'while read -r word; do case $word in turn) : >"$1"; echo turned ;; *) echo "heard $word" ;; esac; done'
SEEN: list[tuple[int, list[str]]] = []
"""Log lines and step states of the job at the moment of the turn."""


@dataclass(frozen=True)
class Turning:
    """pg1 is asked, pg2 is turned, then something is cleaned up."""

    name: str = "turning"
    label: str = "Turn"

    def params(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return data

    def title(self, params: Mapping[str, Any]) -> str:
        return "Turn pg2"

    def nodes(self, params: Mapping[str, Any], brief: Brief) -> tuple[str, ...]:
        return ("pg1", "pg2")

    def requests(self, params: Mapping[str, Any], brief: Brief) -> Mapping[str, FactsRequest]:
        paths = tuple(f"{params['directory']}/{name}" for name in ("turned", "clean"))
        return {node: FactsRequest(paths=paths, sections=frozenset({"host", "paths"})) for node in ("pg1", "pg2")}

    def checks(self, params: Mapping[str, Any], brief: Brief, world: World) -> Sequence[Check]:
        return ()

    def summary(self, params: Mapping[str, Any], brief: Brief, world: World) -> Sequence[str]:
        return ()

    def steps(self, params: Mapping[str, Any], brief: Brief, world: World) -> Sequence[Step]:
        base = params["directory"]
        parts = tuple(
            Part(word, node, script(TURN, f"{base}/turned", user="postgres")) for word, node in (("old", "pg1"), ("new", "pg2"))
        )

        def is_there(name: str, world: World) -> bool:
            return world.facts("pg2").paths[f"{base}/{name}"].kind == "file"

        return [
            Step("turn", "pg2", "Turn", lambda world: is_there("turned", world), section=Section(parts, conduct), reads=("pg1",),
                 is_point_of_no_return=True, within_seconds=1),
            Step("clean", "pg2", "Clean up", lambda world: is_there("clean", world), within_seconds=0.2,
                 actions=lambda _world: (script('[ -e "$1/broken" ] || : >"$1/clean"', base),)),
        ]  # fmt: skip


def conduct(cues: Cues) -> Ending:
    cues.say("old", "first")
    assert cues.hear("old") == "heard first"
    cues.note("was asked", "old")
    if refusal := next(iter(REFUSALS), None):
        raise refusal
    cues.say("new", "turn")
    assert cues.hear("new") == "turned"
    SEEN.append((LogLine.objects.filter(text__contains="first").count(), list(JobStep.objects.values_list("status", flat=True))))
    return Ending("done", {"gap_ms": 12.5})


REFUSALS: list[Exception] = []


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Job:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setitem(KINDS, "turning", Turning())
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: None)
    hosts = make_hosts(tmp_path)
    cluster = make_cluster()
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: hosts[node.name])
    SEEN.clear()
    REFUSALS.clear()
    return services.job_plan(cluster, "turning", {"directory": str(tmp_path)}, None, "a test", plan_now=True)


def test_nothing_of_a_section_is_stored_before_it_is_over(job: Job) -> None:
    run(start(job))
    assert (job.status, job.ending, statuses(job)) == ("succeeded", "done", ["done", "done"])
    assert SEEN == [(0, ["running", "todo"])]
    assert job.report["gap_ms"] == 12.5
    assert [(one["node"], one["what"]) for one in job.report["timeline"]] == [("pg1", "was asked")]
    assert "→ turn" in log_text(job)
    assert "← turned" in log_text(job)
    said, heard = (job.lines.get(text__contains=text) for text in ("→ turn", "← turned"))
    assert (said.node, said.step, said.voice) == ("pg2", "turn", "command")
    assert said.at <= heard.at <= job.lines.get(text__startswith="Done").at


def test_the_plan_and_the_runbook_show_the_parts_on_their_hosts(job: Job) -> None:
    step = job.plan["steps"][0]
    assert (step["nodes"], len(step["shown"])) == (["pg1", "pg2"], 2)
    assert "postgres on pg1" in runbook(job)
    assert TURN in runbook(job)


def test_a_section_that_is_taken_back_ends_the_job_with_that_word_and_can_be_resumed(job: Job) -> None:
    REFUSALS.append(Ended("rolled_back", "pg2 did not keep up.", "Look at pg2.", {"loss": 0}))
    run(start(job))
    assert (job.status, job.ending, statuses(job)) == ("failed", "rolled_back", ["failed", "todo"])
    assert job.outcome.startswith("Rolled back.\n\npg2 did not keep up.")
    assert "Look at pg2." in job.outcome
    assert job.report["loss"] == 0
    assert "→ first" in log_text(job)
    REFUSALS.clear()
    services.job_resume(job, None, "a test")
    run(job)
    assert (job.status, job.ending) == ("succeeded", "done")
    assert len(job.report["timeline"]) == 2


def test_what_fails_behind_the_point_of_no_return_is_clean_up(job: Job, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    run(start(job))
    assert (job.status, job.ending, statuses(job)) == ("failed", "cleanup_pending", ["done", "failed"])
    assert job.outcome.startswith("The roles have changed")
    (tmp_path / "broken").unlink()
    services.job_resume(job, None, "a test")
    run(job)
    assert (job.status, job.ending) == ("succeeded", "done")


def test_what_is_not_known_stays_unknown_until_the_section_was_asked_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    REFUSALS.append(Ended("unknown", "the line was lost"))
    run(start(job))
    assert job.ending == "unknown"
    monkeypatch.setattr(planning.clusters, "host_of", lambda node, lock=None: _away(node.name))
    services.job_resume(job, None, "a test")
    run(job)
    assert (job.status, job.ending) == ("failed", "unknown")


def _away(name: str) -> Any:
    from fake_host import FakeHost

    host = FakeHost(name, Path("/nowhere"))
    host.is_cut = True
    return host
