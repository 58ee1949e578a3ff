"""The whole panel at work on real hosts, while its worker, its Redis and its person go away; and what it gave away meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from host_reach import needs_own_machines
from panel_person import Person
from panel_real import (
    RealPanel,
    add_cluster,
    base_backups,
    bulk,
    content_differs,
    looked,
    planned_and_started,
    real_panel,
    server_log,
    wait_for,
)
from panel_watch import CommandLines, RedisTalk, Secrets, Stream
from redis_server import RedisServer

from lab import Host, Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]

BULK_MEGABYTES = 24
SLOW = "24mbit"
"""Slow enough that a copy of the bulk outlives the death of a worker (LOST_AFTER_SECONDS and the sweep)."""
SLEEP_SECONDS = 60.0
ALL_COMMANDS = "ps -e -ww -o args="


@dataclass
class Stage:
    panel: RealPanel
    person: Person
    lab: Lab
    pg1: Host
    pg2: Host
    pg3: Host
    command_lines: CommandLines
    redis_talk: RedisTalk

    @contextmanager
    def slowly(self) -> Iterator[None]:
        self.pg1.rate(SLOW)
        try:
            yield
        finally:
            self.pg1.rate(None)

    def set_up(self, standby: str) -> int:
        return planned_and_started(self.person, "registry", "setup", primary="pg1", standbys=[standby])

    def copy(self, directory: str) -> int:
        """A standalone base backup, from the primary to pg2."""
        return planned_and_started(
            self.person, "registry", "base_backup", source="pg1", target="pg2", directory=directory, method="pg_basebackup"
        )

    def is_copying(self, job: int) -> bool:
        """A tenth of the copy is there, and it goes on."""
        running = [step for step in self.panel.steps(job) if step["status"] == "running" and "copy" in step["key"]]
        return any(step["progress"].get("done_bytes", 0) > 3_000_000 for step in running)

    def wait_for_copying(self, job: int) -> None:
        wait_for(lambda: self.is_copying(job), "the copy is under way", 60, lambda: self.panel.story(job))

    def streams(self) -> list[list[str]]:
        return self.pg1.sql("SELECT application_name, state FROM pg_stat_replication WHERE application_name LIKE 'pg_' ORDER BY 1")

    def standby(self) -> Host:
        """pg2 as a streaming standby, whichever test comes first."""
        if ["pg2", "streaming"] not in self.streams():
            self.panel.succeeded(self.set_up("pg2"))
        return self.pg2


@pytest.fixture(scope="module")
def stage(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    needs_own_machines(lab)
    pg1, pg2 = lab.up("pg1"), lab.up("pg2", create=False)
    pg3 = lab.up("pg3", create=False, password_login=True)
    pg3.run("cat >/etc/sudoers", input="ops ALL=(ALL) ALL\n")  # asks for the password
    lab.registry(pg1, rows=2000)
    bulk(pg1, BULK_MEGABYTES)
    pg1.sql("ALTER SYSTEM SET log_replication_commands = on")
    pg1.sql("ALTER SYSTEM SET log_statement = 'all'")
    pg1.sql("SELECT pg_reload_conf()")
    with real_panel(tmp_path_factory.mktemp("panel")) as panel:
        talk = RedisTalk(panel.redis_port)
        with CommandLines() as command_lines, talk:
            add_cluster(panel, lab, "registry", {"pg1": pg1, "pg2": pg2})
            yield Stage(panel, panel.person(), lab, pg1, pg2, pg3, command_lines, talk)


def attempts(stage: Stage, job: int) -> dict[str, int]:
    """How often each step was begun, of those begun more than once."""
    return {step["key"]: step["attempt"] for step in stage.panel.steps(job) if step["attempt"] > 1}


def test_a_worker_killed_in_the_middle_of_the_copy_is_followed_within_seconds_and_nothing_is_copied_twice(stage: Stage) -> None:
    writer = stage.lab.writer([stage.pg1, stage.pg2])
    writer.start()
    before = base_backups(stage.pg1)
    with stage.slowly():
        job = stage.set_up("pg2")
        stage.wait_for_copying(job)
        first = stage.panel.worker_of(job)
        killed_at = time.monotonic()
        os.killpg(first, signal.SIGKILL)
        wait_for(lambda: stage.panel.says(job, "taken over"), "another worker takes over", 30, lambda: stage.panel.story(job))
        took_seconds = time.monotonic() - killed_at
        assert stage.is_copying(job), "the copy was over before the next worker came: slow it down, or this proves nothing"
    ended = stage.panel.succeeded(job)
    assert took_seconds < 15
    assert (ended["handovers"], attempts(stage, job)) == (1, {})
    assert base_backups(stage.pg1) - before == 1
    report = writer.stop()
    assert report.acknowledged > 100
    assert (report.lost, report.doubled) == (0, 0)
    assert content_differs(stage.pg1, stage.pg2) == []
    assert ["pg2", "streaming"] in stage.streams()


@dataclass
class Sleeper:
    """A worker stopped in the middle of a copy. It sleeps on while other tests run: its minute costs nobody's time."""

    group: int
    job: int
    stopped_at: float
    backups_before: int

    def wake(self) -> None:
        os.killpg(self.group, signal.SIGCONT)


@pytest.fixture(scope="module")
def sleeper(stage: Stage) -> Iterator[Sleeper]:
    stage.standby()
    before = base_backups(stage.pg1)
    with stage.slowly():
        job = stage.copy("/var/lib/postgresql/asleep")
        stage.wait_for_copying(job)
        asleep, epoch = Sleeper(stage.panel.worker_of(job), job, time.monotonic(), before), stage.panel.job(job)["epoch"]
        os.killpg(asleep.group, signal.SIGSTOP)
        try:
            wait_for(lambda: stage.panel.job(job)["epoch"] > epoch, "another worker has it", 30, lambda: stage.panel.story(job))
            assert stage.is_copying(job)
            yield asleep
        finally:
            asleep.wake()


def test_a_worker_asleep_in_the_middle_of_the_copy_is_not_waited_for(stage: Stage, sleeper: Sleeper) -> None:
    stage.pg1.rate(None)
    ended = stage.panel.succeeded(sleeper.job)
    assert (ended["handovers"], attempts(stage, sleeper.job)) == (1, {})
    assert base_backups(stage.pg1) - sleeper.backups_before == 1


def test_redis_killed_again_and_again_in_the_middle_of_the_copy_loses_no_line(stage: Stage) -> None:
    standby = stage.standby()
    with stage.slowly():
        job = stage.copy("/var/lib/postgresql/without-redis")
        with Stream(stage.person, f"job:{job}") as stream:
            stage.wait_for_copying(job)
            until, kills = time.monotonic() + 4, 0
            while time.monotonic() < until:
                if any("redis-server" in line for line in stage.panel.processes().values()):
                    os.killpg(stage.panel.group_of("redis-server"), signal.SIGKILL)
                    kills += 1
                time.sleep(0.2)
            assert kills >= 2
            stage.pg1.rate(None)
            stage.panel.succeeded(job)
            lines = stage.panel.lines(job)
            all_seqs = {line["seq"] for line in lines}
            wait_for(lambda: stream.seqs() == all_seqs, "the live stream has every line", 20)
    assert all_seqs == set(range(1, stage.panel.job(job)["last_seq"] + 1))
    on_the_host = [line for line in detached_lines(standby, job) if not is_progress(line)]
    assert on_the_host, "the host has no log of the copy to compare with"
    kept = [line["text"].strip() for line in lines if line["voice"] == "output" and "copy" in line["step"]]
    assert [line for line in kept if not is_progress(line)] == on_the_host


def detached_lines(host: Host, job: int) -> list[str]:
    """The copy's own log, as the host has it."""
    text = host.run(f"cat /var/lib/postgresql/.pgpanel/jobs/job-{job}-*/*copy*/log").stdout
    return [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]


def is_progress(line: str) -> bool:
    return " kB (" in line or line[:1].isdigit()


def test_a_worker_told_to_stop_in_the_middle_of_the_copy_hands_it_over(stage: Stage) -> None:
    stage.standby()
    before = base_backups(stage.pg1)
    with stage.slowly():
        job = stage.copy("/var/lib/postgresql/handed-over")
        stage.wait_for_copying(job)
        told = stage.panel.worker_of(job)
        os.kill(told, signal.SIGTERM)  # to the worker itself, as supervisord does
        wait_for(lambda: stage.panel.says(job, "taken over"), "another worker takes over", 20, lambda: stage.panel.story(job))
        assert stage.is_copying(job)
    ended = stage.panel.succeeded(job)
    assert stage.panel.says(job, "told to stop")
    assert (ended["handovers"], attempts(stage, job)) == (1, {})
    assert base_backups(stage.pg1) - before == 1


def test_a_copy_cancelled_on_its_page_is_gone_from_the_host_and_resumes_to_the_end(stage: Stage) -> None:
    standby = stage.standby()
    with stage.slowly():
        job = stage.copy("/var/lib/postgresql/cancelled")
        stage.wait_for_copying(job)
        assert "pg_basebackup" in standby.run(ALL_COMMANDS).stdout
        stage.person.press(stage.person.get(f"/jobs/{job}/"), "Stop:")
        ended = stage.panel.wait_for_end(job, 30)
        assert ended["status"] == "cancelled", stage.panel.story(job)
        assert "pg_basebackup" not in standby.run(ALL_COMMANDS).stdout
        wait_for(lambda: "base backup" not in str(stage.pg1.sql("SELECT application_name FROM pg_stat_replication")).lower()
                 and stage.pg1.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'") == [["0"]],
                 "the primary sends nothing any more")  # fmt: skip
        assert stage.panel.says(job, "no process of it is left on pg2")
        assert "Cancelled by" in stage.person.get(f"/jobs/{job}/").text
    stage.person.press(stage.person.get(f"/jobs/{job}/"), "Resume from the step that is not done")
    stage.panel.succeeded(job)
    assert standby.run("ls /var/lib/postgresql/cancelled/backup_label", check=False).returncode == 0


def test_a_browser_that_closes_its_stream_changes_nothing(stage: Stage) -> None:
    stage.standby()
    with stage.slowly():
        job = stage.copy("/var/lib/postgresql/nobody-looks")
        with Stream(stage.person, f"job:{job}") as stream:
            wait_for(stream.seqs, "the stream has lines")
        stage.wait_for_copying(job)
    ended = stage.panel.succeeded(job)
    assert (ended["handovers"], attempts(stage, job)) == (0, {})


def test_the_worker_that_slept_a_whole_minute_wakes_up_and_harms_nothing(stage: Stage, sleeper: Sleeper) -> None:
    stage.panel.succeeded(sleeper.job)
    time.sleep(max(0.0, sleeper.stopped_at + SLEEP_SECONDS - time.monotonic()))
    before = stage.panel.job(sleeper.job), stage.panel.steps(sleeper.job), stage.panel.lines(sleeper.job)
    backups = base_backups(stage.pg1)
    sleeper.wake()
    wait_for(lambda: any("went to another worker" in text for text in stage.panel.logs().values()), "the sleeper lets go")
    assert (stage.panel.job(sleeper.job), stage.panel.steps(sleeper.job), stage.panel.lines(sleeper.job)) == before
    assert base_backups(stage.pg1) == backups
    assert sum("begun by" in line["text"] for line in before[2]) == 1
    assert ["pg2", "streaming"] in stage.streams()


# -- what it gave away -------------------------------------------------------------------------------------------------------------


def test_no_secret_is_seen_anywhere(stage: Stage) -> None:
    """After all runs above (or the one that this makes): the login by password, its sudo, the roles, the keys."""
    stage.standby()
    add_by_password(stage)
    job = stage.set_up("pg3")
    stage.panel.succeeded(job)
    assert stage.streams() == [["pg2", "streaming"], ["pg3", "streaming"]]
    secrets = known_secrets(stage)
    look_at_every_page(stage)
    stage.command_lines.is_over.set()
    command_lines = b"\n".join(stage.command_lines.seen)
    for proof in (b"pg_basebackup", b"psql", b"celery"):
        assert proof in command_lines, f"the looks at the processes missed {proof!r}: they prove nothing"
    assert b"PUBLISH" in stage.redis_talk.said
    places: dict[str, str | bytes] = {
        "command lines": command_lines,
        "said to Redis": stage.redis_talk.said,
        "kept in Redis": stage.redis_talk.kept(),
        "job logs": "\n".join(row["text"] for row in stage.panel.rows("SELECT text FROM jobs_logline")),
    }
    places |= {f"page {page.url}": page.html for page in stage.person.pages}
    places |= {f"panel's log {name}": text for name, text in stage.panel.logs().items()}
    places |= {path.name: path.read_bytes() for path in stage.panel.var.glob("pgpanel.sqlite3*")}
    for host in (stage.pg1, stage.pg2, stage.pg3):
        log = server_log(host)
        assert log
        places[f"server log of {host.name}"] = log
    for logged in ("statement: SELECT", "received replication command: BASE_BACKUP"):
        assert logged in str(places["server log of pg1"])
    assert secrets.leaks(places) == {}


def add_by_password(stage: Stage) -> None:
    """pg3 by the pages: logged in as ops by a password, which its sudo asks for too."""
    pages = stage.person
    page = pages.press(
        pages.get("/c/registry/add/"), "Look at the hosts", access="password-kept", password=stage.lab.keys.password,
        **{"hosts-0-name": "pg3", "hosts-0-ssh_host": stage.pg3.ip, "hosts-0-ssh_user": "ops"},
    )  # fmt: skip
    page = looked(pages, page)
    page = looked(pages, pages.press(page, "Accept the key of pg3"))
    page = pages.press(page, "On to the settings")
    assert "/jobs/new/setup/" in page.url, page.text


def known_secrets(stage: Stage) -> Secrets:
    tell = (
        "import json; from clusters.models import Credential; from clusters.credentials import secret_of; "
        "print(json.dumps({f'{one.kind} {one.label} {one.purpose}': secret_of(one).value for one in Credential.objects.all()}))"
    )
    values = json.loads(stage.panel.manage("shell", "-v0", "-c", tell, capture=True).splitlines()[-1])
    kinds = {name.split()[0] for name in values}
    assert kinds == {"ssh-key", "ssh-password", "database-role"}, kinds
    assert stage.lab.keys.password in values.values()
    values["the login key as it was given"] = stage.lab.key_path.read_text()
    values["encryption key"] = (stage.panel.var / "encryption.key").read_text().strip()
    values["password of the administrator"] = stage.panel.password
    secrets = Secrets(values)
    assert secrets.found_in("".join(values.values())) == sorted(values)
    return secrets


def look_at_every_page(stage: Stage) -> None:
    pages = [
        "/",
        "/c/registry/",
        "/c/registry/edit/",
        "/c/registry/credentials/",
        "/c/registry/remove/",
        "/jobs/",
        "/people/",
        "/new/",
    ]
    pages += [f"/c/registry/n/{node}/{page}" for node in ("pg1", "pg2", "pg3") for page in ("", "edit/", "remove/")]
    pages += ["/monitor/c/registry/chart/", "/monitor/c/registry/nodes/", "/monitor/c/registry/topology/"]
    pages += [
        f"/c/registry/credentials/{row['id']}/"
        for row in stage.panel.rows("SELECT id FROM clusters_credential WHERE purpose = 'login'")
    ]
    pages += ["/jobs/new/setup/?cluster=registry", "/jobs/new/base_backup/?cluster=registry"]
    for row in stage.panel.rows("SELECT id FROM jobs_job"):
        pages += [f"/jobs/{row['id']}/{page}" for page in ("", "plan/", "log", "runbook.sh")]
    wrong = {path: page.status for path in pages if (page := stage.person.get(path)).status != 200}
    assert wrong == {}


def test_nobody_else_on_the_hosts_can_read_a_secret(stage: Stage) -> None:
    stage.standby()
    if not stage.panel.rows("SELECT id FROM clusters_node WHERE name = 'pg3'"):
        add_by_password(stage)
    patterns = known_secrets(stage).patterns()
    for host in (stage.pg1, stage.pg2, stage.pg3):
        assert found_on(host, "nobody", patterns, "/etc /home /root /opt /srv /tmp /run /var") == ""
        own = "-path '*/.pgpanel*' -o -path '*/wal_archive/*' -o -path '*/wals/*'"
        others = host.run(f"find / -xdev \\( {own} \\) -perm /o+rwx ! -type l 2>/dev/null", check=False).stdout
        assert others == "", f"{host.name}: open to others:\n{others}"
    assert found_on(stage.pg2, "root", patterns, "/var/lib/postgresql"), "not even root finds one: the search proves nothing"


def found_on(host: Host, user: str, patterns: str, places: str) -> str:
    """The files in which this user can read one of the patterns."""
    host.run("umask 022; cat >/dev/shm/patterns", input=patterns)
    try:
        return host.run(
            ["runuser", "-u", user, "--", "sh", "-c", f"grep -rlaF -f /dev/shm/patterns {places} 2>/dev/null"], check=False
        ).stdout
    finally:
        host.run("rm /dev/shm/patterns")
