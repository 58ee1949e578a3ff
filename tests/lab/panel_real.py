"""The whole panel as it is run: web, workers, beat and Redis under supervisord, driven from outside; its database only read."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panel_person import Page, Person
from redis_server import free_port

from lab import Host, Lab, demo
from lab.lab import REPOSITORY

ENDED = ("succeeded", "failed", "errored", "cancelled", "lost", "refused")


@dataclass(frozen=True)
class RealPanel(demo.Panel):
    """The demo's panel, with eyes for its processes and rows, and hands to kill them."""

    @property
    def database(self) -> Path:
        return self.var / "pgpanel.sqlite3"

    def person(self) -> Person:
        """The first administrator, signed in."""
        person = Person(self.url)
        person.log_in("admin", self.password)
        return person

    @property
    def password(self) -> str:
        return (self.var / "password").read_text().strip()

    def try_manage(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002
        """A management command that may be refused."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=REPOSITORY, env=self.environment, text=True, check=False,
            stdin=subprocess.DEVNULL if input is None else None, input=input,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        )  # fmt: skip

    # -- its rows ------------------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, values)]

    def job(self, job_id: int) -> dict[str, Any]:
        return self.rows("SELECT * FROM jobs_job WHERE id = ?", job_id)[0]

    def steps(self, job_id: int) -> list[dict[str, Any]]:
        found = self.rows("SELECT * FROM jobs_jobstep WHERE job_id = ? ORDER BY position", job_id)
        return [row | {name: json.loads(row[name]) for name in ("progress", "detached")} for row in found]

    def lines(self, job_id: int) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM jobs_logline WHERE job_id = ? ORDER BY seq", job_id)

    def says(self, job_id: int, text: str) -> bool:
        return any(text in line["text"] for line in self.lines(job_id))

    def wait_for_end(self, job_id: int, seconds: float = 90) -> dict[str, Any]:
        wait_for(lambda: self.job(job_id)["status"] in ENDED, f"job {job_id} ends", seconds, lambda: self.story(job_id))
        return self.job(job_id)

    def succeeded(self, job_id: int, seconds: float = 90) -> dict[str, Any]:
        job = self.wait_for_end(job_id, seconds)
        assert job["status"] == "succeeded", self.story(job_id)
        return job

    def story(self, job_id: int) -> str:
        """What to read when a test fails."""
        job = self.job(job_id)
        told = [f"{line['at'][11:23]} {line['node']:5} {line['voice']:7} {line['text'][:300]}" for line in self.lines(job_id)[-40:]]
        return "\n".join([f"job {job_id} is {job['status']}", job["outcome"], *told])

    # -- its processes -------------------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """pid → command line of what supervisord runs, with all their children."""
        top = int((self.var / "supervisord.pid").read_text())
        found: dict[int, str] = {}
        for pid in descendants(top):
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
        return found

    def group_of(self, what: str) -> int:
        """The process group of the one whose command line has these words."""
        pids = [pid for pid, line in self.processes().items() if what in line]
        assert pids, f"no process of the panel has {what!r} in its command line: {self.processes()}"
        return os.getpgid(pids[0])

    def worker_of(self, job_id: int) -> int:
        """The process group (worker and its child) that has the job, as the job itself says."""
        return os.getpgid(int(self.job(job_id)["worker"].split("/")[1]))

    def logs(self) -> dict[str, str]:
        return {path.name: path.read_text(errors="replace") for path in [*(self.var / "log").glob("*"), self.var / "panel.log"]}


def descendants(top: int) -> list[int]:
    """All processes below this one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(") ")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found, new = [], [top]
    while new:
        new = [child for pid in new for child in parents.get(pid, [])]
        found += new
    return found


@contextmanager
def real_panel(var: Path) -> Iterator[RealPanel]:
    """A panel of one's own, up and answering; every process of it gone afterwards."""
    var.mkdir(parents=True, exist_ok=True)
    (var / "redis.port").write_text(str(free_port()))
    panel = RealPanel(var, free_port())
    panel.manage("migrate", "--verbosity", "0")
    processes = demo.start(panel)
    try:
        demo.wait_for(panel, processes)
        wait_for(lambda: len([line for line in panel.processes().values() if "-Q jobs" in line]) >= 4, "the workers are up")
        yield panel
    finally:
        below = descendants(processes.pid)
        demo.stop(processes)
        for pid in below:  # one that a test left stopped does not hear its supervisor
            _kill(pid)


def _kill(pid: int) -> None:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"pgpanel" in line or b"redis-server" in line:
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def wait_for(holds: Callable[[], object], what: str, seconds: float = 30, story: Callable[[], str] = lambda: "") -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what}: not within {seconds:g} s\n{story()}"
        time.sleep(0.1)


# -- what a person does ---------------------------------------------------------------------------------------------------------


def plan(person: Person, cluster: str, kind: str, **fields: Any) -> Page:
    """From the settings page to the plan, when it is there."""
    settings = person.get(f"/jobs/new/{kind}/?cluster={cluster}")
    page = person.press(settings, "Look at the hosts and make the plan", **fields)
    assert "/plan/" in page.url, page.text
    until = time.monotonic() + 60
    while "data-live-topics" in page.html and time.monotonic() < until and not has_plan(page):
        time.sleep(0.2)
        page = person.get(page.url)
    return page


def has_plan(page: Page) -> bool:
    return any(form.action.endswith("/start/") for form in page.forms)


def start(person: Person, page: Page) -> int:
    """Confirm the plan that is shown; the job's number."""
    button = next((form.buttons[0] for form in page.forms if form.action.endswith("/start/")), None)
    assert button is not None, page.text[:3000]
    job = person.press(page, button.text)
    return int(job.url.rstrip("/").rsplit("/", 1)[1])


def planned_and_started(person: Person, cluster: str, kind: str, **fields: Any) -> int:
    return start(person, plan(person, cluster, kind, **fields))


def looked(person: Person, page: Page) -> Page:
    """The page on what was found, when the panel has looked."""
    until = time.monotonic() + 60
    while "every 1s" in page.html and time.monotonic() < until:
        time.sleep(0.3)
        page = person.get(page.url)
    return page


# -- hosts ------------------------------------------------------------------------------------------------------------------------


def add_cluster(panel: RealPanel, lab: Lab, name: str, hosts: dict[str, Host]) -> None:
    demo.add_cluster(panel, lab, name, {node: host.name for node, host in hosts.items()})


def bulk(host: Host, megabytes: int) -> None:
    """Rows that no compression makes smaller."""
    host.sql(
        f"""CREATE TABLE bulk (id int, data bytea);
        ALTER TABLE bulk ALTER data SET STORAGE EXTERNAL;
        INSERT INTO bulk SELECT n, (SELECT string_agg(sha512((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 128) m)
        FROM generate_series(1, {megabytes * 128}) n;""",
        database="registry",
    )


def server_log(host: Host) -> str:
    return host.run(["cat", host.record.log_file], check=False).stdout


def base_backups(primary: Host) -> int:
    """How often the server was asked to send itself; needs log_replication_commands."""
    return server_log(primary).count("received replication command: BASE_BACKUP")


def content_differs(primary: Host, standby: Host, database: str = "registry") -> list[str]:
    """Tables whose rows are not the same on both, after the standby has replayed all that the primary has now."""
    version = int(primary.sql("SHOW server_version_num")[0][0])
    names = ("pg_current_wal_lsn", "pg_last_wal_replay_lsn") if version >= 100000 else (
        "pg_current_xlog_location", "pg_last_xlog_replay_location")  # fmt: skip
    end = primary.sql(f"SELECT {names[0]}()")[0][0]
    wait_for(lambda: standby.sql(f"SELECT {names[1]}() >= '{end}'") == [["t"]], "the standby replays the last write")
    tables = [row[0] for row in primary.sql("SELECT relname FROM pg_stat_user_tables ORDER BY 1", database)]
    assert tables
    look = ";".join(f"SELECT '{name}', count(*), coalesce(sum(hashtext(t::text)), 0) FROM {name} t" for name in tables)
    there = {row[0]: row for row in standby.sql(look, database)}
    return [row[0] for row in primary.sql(look, database) if there.get(row[0]) != row]
