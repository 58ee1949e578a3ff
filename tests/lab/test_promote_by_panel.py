"""At 3am, with the whole panel and a writer on the primary: what is proven, what is promoted, and what is lost."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from host_reach import needs_own_machines
from panel_person import Person
from panel_real import RealPanel, add_cluster, real_panel, wait_for
from redis_server import RedisServer

from lab import Host, Lab
from lab.errors import LabError

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]


@dataclass
class Story:
    """One cluster of two, set up by the panel, with a writer on it."""

    panel: RealPanel
    lab: Lab
    name: str
    pg1: Host
    pg2: Host

    def plan(self, kind: str, **params: object) -> int:
        """The job's number; planned or refused."""
        words = [word for name, value in params.items() for word in ("--set", f"{name}={_word(value)}")]
        said = self.panel.try_manage("job", "plan", kind, "--cluster", self.name, *words, "--json").stdout
        assert '"id"' in said, said
        return int(self.panel.rows("SELECT max(id) AS id FROM jobs_job")[0]["id"])

    def checks(self, job: int) -> str:
        plan = json.loads(self.panel.job(job)["plan"])
        return "\n".join(f"{one['level']} {one['title']}: {one['reason']} {one['mend']}" for one in plan["checks"])

    def start(self, job: int) -> None:
        row = self.panel.job(job)
        assert row["status"] == "planned", self.checks(job) + row["outcome"]
        self.panel.manage("job", "start", str(job), "--hash", row["plan_hash"], "--no-follow", capture=True)

    def promote(self, **params: object) -> dict[str, Any]:
        job = self.plan("promote", candidate="pg2", **params)
        self.start(job)
        return self.panel.succeeded(job, 120)

    def wait_streaming(self) -> None:
        wait_for(lambda: self.pg1.sql("SELECT state FROM pg_stat_replication") == [["streaming"]], "pg2 streams")

    def fences(self) -> list[dict[str, Any]]:
        query = """SELECT j.* FROM jobs_job j JOIN clusters_cluster c ON c.id = j.cluster_id
        WHERE c.name = ? AND j.kind = 'fence' ORDER BY j.id"""
        return self.panel.rows(query, self.name)

    def quarantines(self) -> list[dict[str, Any]]:
        query = """SELECT n.name, q.lifted_at, q.seen_writable_at FROM clusters_quarantine q
        JOIN clusters_node n ON n.id = q.node_id JOIN clusters_cluster c ON c.id = n.cluster_id WHERE c.name = ?"""
        return self.panel.rows(query, self.name)

    def evidence(self, person: Person) -> list[dict[str, Any]]:
        """As the promote page has it gathered."""
        person.get(f"/c/{self.name}/promote")
        query = "SELECT e.* FROM clusters_evidence e JOIN clusters_cluster c ON c.id = e.cluster_id WHERE c.name = ?"

        def is_there() -> bool:
            rows = self.panel.rows(query, self.name)
            return bool(rows and rows[0]["gathered_at"] and not rows[0]["asked_at"])

        wait_for(is_there, "the evidence is gathered", 40)
        found: list[dict[str, Any]] = json.loads(self.panel.rows(query, self.name)[0]["observations"])
        return found


def _word(value: object) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPanel]:
    with real_panel(tmp_path_factory.mktemp("panel")) as panel:
        yield panel


@pytest.fixture
def story(panel: RealPanel, new_lab: Any, request: pytest.FixtureRequest) -> Story:
    lab: Lab = new_lab()
    needs_own_machines(lab)
    name = "c" + str(abs(hash(request.node.name)) % 100000)
    guard = "guarded" in request.node.name
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    add_cluster(panel, lab, name, {"pg1": pg1, "pg2": pg2})
    words = ("primary=pg1", "standbys=pg2", f"start_guard={_word(guard)}", f'panel_addresses=["{pg1.ip.rsplit(".", 1)[0]}.1"]')
    sets = [word for each in words for word in ("--set", each)]
    panel.manage("job", "run", "setup", "--cluster", name, *sets, "--yes", capture=True)
    found = Story(panel, lab, name, pg1, pg2)
    found.wait_streaming()
    return found


def kill_postmaster(host: Host) -> None:
    pid = host.run(["head", "-n", "1", f"{host.data_directory}/postmaster.pid"]).stdout.strip()
    host.run(["kill", "-9", pid])


def test_kill_9_of_the_postmaster_loses_no_acknowledged_row(story: Story) -> None:
    writer = story.lab.writer([story.pg1, story.pg2])
    writer.start()
    time.sleep(1)
    kill_postmaster(story.pg1)
    job = story.promote()
    wait_for(lambda: writer_goes_on(writer), "the writer writes again")
    report = writer.stop()
    assert report.server == story.pg2.ip
    assert (report.lost, report.acknowledged > 200) == (0, True), report
    told = json.loads(job["report"])
    assert told["verdict"]["kind"] == "stopped_proven"
    assert told["loss"]["is_zero"]
    assert (told["timeline_after"], job["ending"]) == (2, "done")
    assert story.panel.rows("SELECT timeline, node FROM clusters_lineage WHERE job LIKE ?", f"job-{job['id']}-%") == [
        {"timeline": 2, "node": "pg2"}
    ]
    print("steps", [(step["key"], seconds(step)) for step in story.panel.steps(job["id"])])
    print("promotion_ms", told["promotion_ms"], "decision to first write ms", round(first_write_ms(story, job["id"], report), 1))
    print("writer's gap ms", report.longest_gap_ms)


def first_write_ms(story: Story, job: int, report: Any) -> float:
    """From the word "promote", as the log has it, to the first acknowledged row on the new primary."""
    lines = [line for line in story.panel.lines(job) if line["step"] == "candidate.promote#pg2"]
    sent = next(line["at"] for line in lines if "→ promote" in line["text"])
    return (float(report.gap_to) - datetime.fromisoformat(sent).replace(tzinfo=UTC).timestamp()) * 1000


def seconds(step: dict[str, Any]) -> float:
    if not step["started_at"] or not step["ended_at"]:
        return 0.0
    return round((datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(step["started_at"])).total_seconds(), 2)


def writer_goes_on(writer: Any) -> bool:
    before = writer.acknowledged()
    time.sleep(0.3)
    return bool(writer.acknowledged() > before)


def test_a_power_cut_needs_a_word_and_who_returns_without_a_guard_is_stopped_within_one_poll(story: Story) -> None:
    person = story.panel.person()
    writer = story.lab.writer([story.pg1, story.pg2])
    writer.start()
    time.sleep(1)
    story.pg1.kill()
    says = {(one["observer"], one["by"]): one["says"] for one in story.evidence(person)}
    assert says["panel", "ssh"] == "no-answer"
    assert says["pg2", "sql"] == "no-answer"
    assert story.panel.job(refused := story.plan("promote", candidate="pg2"))["status"] == "refused"
    assert "unreachable from everywhere" in story.checks(refused)
    assert "make sure that pg1 is switched off, and type its name" in story.checks(refused)
    job = story.promote(attested="pg1", accept_loss=True)
    wait_for(lambda: writer_goes_on(writer), "the writer writes again")
    assert [(one["name"], one["lifted_at"]) for one in story.quarantines()] == [("pg1", None)]
    told = json.loads(job["report"])
    assert told["loss"]["is_accepted"]
    assert "that nobody saw" in told["loss"]["sentence"]
    print("first write ms", round(first_write_ms(story, job["id"], writer_now(writer)), 1), told["promotion_ms"], told["loss"])
    # another job of the cluster is under way while the old primary boots, writable
    story.pg1.start()
    wait_for(story.pg1.is_postgres_running, "its own boot starts it", 20)
    up_at = time.monotonic()
    wait_for(lambda: not story.pg1.is_postgres_running(), "it is stopped", 20)
    print("stopped", round(time.monotonic() - up_at, 2), "s after it was seen running")
    wait_for(lambda: bool(story.fences()) and story.fences()[-1]["status"] == "succeeded", "the fence job ends", 20)
    assert story.fences()[-1]["started_from"] == "the zombie watch"
    assert time.monotonic() - up_at < 8
    with suppress(LabError):
        story.pg1.pg_start()  # as a standby; having gone on by itself it is none before it is rebuilt, and ends
    with suppress(LabError):
        assert story.pg1.sql("SELECT pg_is_in_recovery()") == [["t"]]
    assert writer.stop().server == story.pg2.ip


def writer_now(writer: Any) -> Any:
    """The first acknowledged row after the longest gap so far."""
    times = [float(line.split()[0]) for line in writer.journal.read_text().splitlines() if line.endswith(tuple("0123456789"))]
    gaps = max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])

    class Now:
        gap_to = gaps[1]

    return Now


def test_a_host_that_is_cut_off_is_promoted_after_its_fence_command_has_switched_it_off(story: Story, tmp_path: Path) -> None:
    asked, done = tmp_path / "asked", tmp_path / "done"
    script = tmp_path / "power"
    script.write_text(
        '#!/bin/sh\n[ "$PGPANEL_FENCE_SECRET" = geheim-42 ] || exit 9\n'
        'echo "outlet of $PGPANEL_NODE: $PGPANEL_FENCE, $PGPANEL_FENCE_SECRET"\n'
        f'[ "$PGPANEL_FENCE" = fence ] || exit 0\n: >"{asked}"\n'
        f'tries=0; until [ -e "{done}" ]; do tries=$((tries + 1)); [ $tries -lt 200 ] || exit 1; sleep 0.1; done\n'
    )
    script.chmod(0o700)
    story.panel.manage(
        "shell", "-c",
        "from clusters.models import Node; from clusters.fencing import fence_set, fence_test; "
        f"node = Node.objects.get(cluster__name='{story.name}', name='pg1'); "
        f"fence_set(node, '{script} off', '{script} status', 'geheim-42'); found = fence_test(node); assert found.works, found",
        capture=True,
    )  # fmt: skip
    story.pg1.cut()
    job = story.plan("promote", candidate="pg2", use_fence=True, accept_loss=True)

    def switch_off() -> None:
        until = time.monotonic() + 30
        while not asked.exists() and time.monotonic() < until:
            time.sleep(0.05)
        story.pg1.kill()
        done.touch()

    outlet = threading.Thread(target=switch_off)
    outlet.start()
    story.start(job)
    story.panel.succeeded(job, 120)
    outlet.join()
    assert story.panel.says(job, "outlet of pg1: fence, ********")
    assert not story.panel.says(job, "geheim-42")
    assert not any("geheim-42" in text for text in story.panel.logs().values())
    assert story.pg2.sql("SELECT pg_is_in_recovery()") == [["f"]]


def test_a_panel_that_alone_cannot_see_the_primary_does_not_promote(story: Story) -> None:
    person = story.panel.person()
    panel = story.pg1.ip.rsplit(".", 1)[0] + ".1"
    story.pg1.run(f"nft add table inet blind; nft 'add chain inet blind input {{ type filter hook input priority 0; }}';"
                  f" nft add rule inet blind input ip saddr {panel} drop")  # fmt: skip
    says = {(one["observer"], one["by"]): one["says"] for one in story.evidence(person)}
    assert (says["panel", "ssh"], says["pg2", "sql"]) == ("no-answer", "alive")
    job = story.plan("promote", candidate="pg2", attested="pg1", accept_loss=True)
    assert story.panel.job(job)["status"] == "refused"
    assert "Only the panel cannot see pg1: pg2 still hears it. Do not promote." in story.checks(job)
    assert story.pg2.sql("SELECT pg_is_in_recovery()") == [["t"]]


def test_a_promotion_supersedes_the_job_that_is_under_way(story: Story) -> None:
    story.pg1.rate("8mbit")
    story.pg1.sql("CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 30) AS t FROM generate_series(1, 60000) n")
    copy = story.plan("base_backup", source="pg1", target="pg2", directory="/var/lib/postgresql/copy", method="pg_basebackup")
    story.start(copy)
    wait_for(lambda: any("copy" in one["key"] and one["status"] == "running" for one in story.panel.steps(copy)), "it copies", 60)
    story.pg1.rate(None)
    kill_postmaster(story.pg1)
    job = story.plan("promote", candidate="pg2")
    row = story.panel.job(job)
    assert row["status"] == "planned", story.checks(job)
    story.panel.manage(
        "shell", "-c",
        "from jobs.models import Job; from jobs.services import job_start; "
        f"job = Job.objects.get(pk={job}); job_start(job, job.plan_hash, None, 'a test', supersede=True)", capture=True,
    )  # fmt: skip
    began_at = time.monotonic()
    story.panel.succeeded(job, 90)
    print("superseded and promoted within", round(time.monotonic() - began_at, 1), "s")
    assert story.panel.job(copy)["status"] in ("cancelled", "failed")
    assert story.pg2.sql("SELECT pg_is_in_recovery()") == [["f"]]
