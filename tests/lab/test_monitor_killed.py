"""The whole panel, on PostgreSQL, watches real hosts while its worker, its Redis, its database and all of it are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from panel_real import RealPanel, add_cluster, descendants, wait_for
from postgres_server import PostgresServer
from redis_server import RedisServer, free_port

from lab import Host, Lab, demo
from lab.lab import REPOSITORY

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
    pytest.mark.skipif(not PostgresServer.is_installed(), reason="not possible here: PostgreSQL is not installed"),
]
PLUGIN = REPOSITORY / "bin" / "check_pgpanel"
PREPARED = """
from accounts.models import User
from clusters import tokens
from monitor.models import Channel
admin = User.objects.get(username="admin")
Channel.objects.create(kind="email", name="on call", settings={"addresses": ["oncall@example.net"]})
print(tokens.token_create(admin, admin, "nagios", "viewer")[1])
"""


class Database(PostgresServer):
    """The panel's database, to be killed."""

    def kill(self) -> None:
        """As a machine that loses power: postmaster and all that it started."""
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        for pid in [postmaster, *descendants(postmaster)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{postmaster}").exists(), "the database is gone")
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def begin_again(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self._data / "log"), "-o", options)


@dataclass(frozen=True)
class PanelOnPostgres(RealPanel):
    database_url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        own = {"DATABASE_URL": self.database_url, "EMAIL_URL": f"file:///{self.var}/mails"}
        return super().environment | own

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with closing(psycopg2.connect(self.database_url)) as connection, connection.cursor(
            cursor_factory=psycopg2.extras.RealDictCursor
        ) as cursor:  # fmt: skip
            cursor.execute(query, values)
            return [dict(row) for row in cursor.fetchall()]


@dataclass
class Stage:
    panel: PanelOnPostgres
    database: Database
    processes: subprocess.Popen[bytes]
    lab: Lab
    pg1: Host
    pg2: Host
    token: str = ""

    def begin(self) -> None:
        self.processes = demo.start(self.panel)
        demo.wait_for(self.panel, self.processes)

    def kill_all(self) -> None:
        """Every process of the panel at once, without a word to any."""
        for pid in [self.processes.pid, *descendants(self.processes.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.processes.wait(20)

    # -- what it sees --------------------------------------------------------------------------------------------------------------

    def holder(self) -> str:
        (lease,) = self.panel.rows("SELECT holder, until FROM monitor_lease")
        return str(lease["holder"])

    def samples_between(self, begin: float, end: float) -> int:
        query = "SELECT count(*) FROM monitor_sample WHERE at >= to_timestamp(%s) AND at < to_timestamp(%s)"
        return int(self.panel.rows(query, begin, end)[0]["count"])

    def wait_for_samples(self) -> None:
        """Of both nodes, from now on."""
        since = time.time()
        query = "SELECT count(DISTINCT node_id) FROM monitor_sample WHERE at >= to_timestamp(%s)"
        wait_for(lambda: self.panel.rows(query, since)[0]["count"] == 2, "sampling goes on", 60)

    def alerts(self, rule: str) -> list[dict[str, Any]]:
        return self.panel.rows("SELECT about, over_at, fired_at FROM monitor_alert WHERE rule = %s", rule)

    def mails(self) -> list[str]:
        text = "".join(path.read_text() for path in sorted((self.panel.var / "mails").glob("*")))
        return [mail for mail in text.split("-" * 79) if mail.strip()]

    def plugin(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", str(PLUGIN), "--url", self.panel.url, "--cluster", "registry", *arguments],
            env={"PATH": os.environ["PATH"], "PGPANEL_TOKEN": self.token}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout


@contextmanager
def begun(var: Path, lab: Lab, hosts: dict[str, Host]) -> Iterator[Stage]:
    database = Database().start()
    (var / "mails").mkdir(parents=True)
    (var / "redis.port").write_text(str(free_port()))
    panel = PanelOnPostgres(var, free_port(), database.create("panel"))
    panel.manage("migrate", "--verbosity", "0")
    stage = Stage(panel, database, demo.start(panel), lab, *hosts.values())
    try:
        demo.wait_for(panel, stage.processes)
        add_cluster(panel, lab, "registry", hosts)
        archive = "true" if lab.backend == "namespaces" else "false"
        words = [word for each in ("primary=pg1", "standbys=pg2", f"archive={archive}") for word in ("--set", each)]
        panel.manage("job", "run", "setup", "--cluster", "registry", *words, "--yes", capture=True)
        stage.token = panel.manage("shell", "--no-imports", "-c", PREPARED, capture=True).split()[-1]
        yield stage
    finally:
        stage.kill_all()
        database.stop()


@pytest.fixture(scope="module")
def stage(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    hosts = {"pg1": lab.up("pg1"), "pg2": lab.up("pg2", create=False)}
    with begun(tmp_path_factory.mktemp("panel"), lab, hosts) as made:
        yield made


def test_a_killed_collector_s_clusters_are_watched_by_the_other_worker(stage: Stage) -> None:
    stage.wait_for_samples()
    first = stage.holder()
    os.killpg(os.getpgid(int(first.split(":")[1])), signal.SIGKILL)
    wait_for(lambda: stage.holder() not in ("", first), "another collector holds the cluster", 60)
    stage.wait_for_samples()


def test_samples_are_taken_while_redis_is_dead(stage: Stage) -> None:
    stage.wait_for_samples()
    begin = time.time()
    while time.time() - begin < 5:
        with suppress(AssertionError, ProcessLookupError):  # supervisord has not started it again yet
            os.killpg(stage.panel.group_of("redis-server"), signal.SIGKILL)
        time.sleep(0.2)
    end = time.time()
    stage.wait_for_samples()
    assert stage.samples_between(begin, end) >= 4


def test_what_is_seen_while_the_database_is_dead_is_written_when_it_is_back(stage: Stage) -> None:
    stage.wait_for_samples()
    stage.database.kill()
    begin = time.time()
    time.sleep(6)
    end = time.time()
    stage.database.begin_again()
    stage.wait_for_samples()
    wait_for(lambda: stage.samples_between(begin, end) >= 6, "what was seen meanwhile is written", 30)
    said = stage.panel.rows("SELECT last_error FROM monitor_watcher WHERE ended_at IS NULL ORDER BY said_at DESC LIMIT 1")
    assert "did not take the samples" in said[0]["last_error"]


def test_a_panel_killed_whole_goes_on_when_it_is_started_again(stage: Stage) -> None:
    stage.wait_for_samples()
    stage.kill_all()
    stage.begin()
    stage.wait_for_samples()


def test_an_alert_is_neither_lost_nor_doubled_whatever_is_killed(stage: Stage) -> None:
    stage.wait_for_samples()
    wait_for(lambda: stage.plugin()[0] == 0, "the check says OK", 60, lambda: stage.plugin()[1])
    before = len(stage.alerts("primary_down"))
    stage.pg1.pg_stop("immediate")
    os.killpg(os.getpgid(int(stage.holder().split(":")[1])), signal.SIGKILL)
    wait_for(lambda: len(stage.alerts("primary_down")) > before, "the alert fires all the same", 90)
    wait_for(lambda: told(stage, "primary_down", "fired"), "it is told", 60)
    assert stage.plugin()[0] == 2
    with suppress(ProcessLookupError):
        os.killpg(stage.panel.group_of("redis-server"), signal.SIGKILL)
    stage.database.kill()
    stage.database.begin_again()
    stage.kill_all()
    stage.begin()
    stage.wait_for_samples()
    stage.pg1.pg_start()
    wait_for(lambda: all(alert["over_at"] for alert in stage.alerts("primary_down")), "it is over", 90)
    assert len(stage.alerts("primary_down")) == before + 1
    wait_for(lambda: told(stage, "primary_down", "over"), "that it is over is told", 60)
    sent = stage.panel.rows(
        "SELECT n.what, n.status, count(*) FROM monitor_notice n JOIN monitor_alert a ON a.id = n.alert_id"
        " WHERE a.rule = 'primary_down' GROUP BY 1, 2 ORDER BY 1"
    )
    assert [(row["what"], row["status"], row["count"]) for row in sent] == [("fired", "sent", 1), ("over", "sent", 1)]
    assert len([mail for mail in stage.mails() if "pg1" in mail and "Primary does not answer" in mail]) == 2
    wait_for(lambda: stage.plugin()[0] == 0, "the check says OK again", 60, lambda: stage.plugin()[1])


def told(stage: Stage, rule: str, what: str) -> list[dict[str, Any]]:
    return stage.panel.rows(
        "SELECT n.id FROM monitor_notice n JOIN monitor_alert a ON a.id = n.alert_id"
        " WHERE a.rule = %s AND lower(n.what) = lower(%s) AND n.status = 'sent'", rule, what
    )  # fmt: skip
