"""Jobs on real hosts by real workers that are killed, stopped, paused and cut off from Redis."""

from __future__ import annotations

import itertools
import signal

import pytest
from cryptography.fernet import Fernet
from engine_panel import Panel, wait_for, wait_for_end
from host_reach import pinned
from kombu import Connection
from redis_server import RedisServer
from small_kind import KIND, PASSWORD

from clusters import services as clusters
from clusters.models import Cluster, Credential
from clusters.secrets import seal
from jobs import services, tasks
from jobs.brief import job_name
from jobs.kinds import KINDS
from jobs.models import Job
from lab import Host as LabHost
from lab import Lab
from remote.command import Command
from remote.errors import EpochRefused
from remote.host import Lock

pytestmark = [
    pytest.mark.lab,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[LabHost]:
    return [lab.up("pg1", create=False), lab.up("pg2", create=False)]


@pytest.fixture
def panel(settings, monkeypatch, tmp_path):
    key = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [key]
    monkeypatch.setitem(KINDS, "small", KIND)
    made = Panel(tmp_path, key)
    settings.REDIS_URL = made.redis.url

    def send(task, item_id, queue=None):
        with Connection(made.redis.url) as connection:
            task.apply_async((item_id,), connection=connection, retry=False, **({"queue": queue} if queue else {}))

    monkeypatch.setattr(tasks, "_send", send)
    yield made
    made.close()


@pytest.fixture
def cluster(panel, lab: Lab, hosts) -> Cluster:
    cluster = clusters.cluster_create("registry")
    credential = Credential.objects.create(kind="ssh-key", label="lab key", sealed=seal(lab.key_path.read_text()))
    for host in hosts:
        clusters.node_create(
            cluster, credential, host.name, host.ip, ssh_port=host.ssh_port, host_key=pinned(host), postgres_major="15"
        )
    return cluster


@pytest.fixture
def directory(hosts) -> str:
    """A fresh one on the hosts for each test."""
    return f"/srv/small {next(_numbers)}"


def started(cluster: Cluster, directory: str, **params) -> Job:
    data = {"nodes": ["pg1"], "directory": directory, "lines": 30, "pause": "0.2"} | params
    job = services.job_plan(cluster, "small", data, None, "a test", plan_now=True)
    assert job.status == "planned", (job.outcome, job.plan)
    return services.job_start(job, job.plan_hash, None, "a test")


def has_line(job: Job, text: str) -> bool:
    return job.lines.filter(text__contains=text).exists()


def copied(job: Job) -> list[str]:
    return [text for text in job.lines.values_list("text", flat=True) if text.startswith("copied")]


def starts(host: LabHost, directory: str) -> int:
    """How often the copy was started, as the host itself wrote it down."""
    return host.run(["cat", f"{directory}/{host.name}/started"]).stdout.count("started")


def every_line(count: int) -> list[str]:
    return [f"copied {number} of {count}" for number in range(1, count + 1)]


def test_a_job_runs_on_real_hosts_to_its_proof(panel, cluster, hosts, directory):
    panel.worker("one")
    job = wait_for_end(started(cluster, directory, nodes=["pg1", "pg2"], lines=3))
    assert job.status == "succeeded", job.outcome
    text = "\n".join(job.lines.values_list("text", flat=True))
    assert "the secret is <small password>" in text
    assert PASSWORD.value not in text
    assert hosts[1].run(["cat", f"{directory}/pg2/copied"]).stdout == job_name(job)


def test_a_plan_is_made_by_a_worker(panel, cluster, hosts, directory):
    panel.sweeper()
    job = services.job_plan(cluster, "small", {"nodes": ["pg1"], "directory": directory}, None, "a test")
    assert job.status == "planning"
    wait_for(lambda: Job.objects.get(pk=job.pk).status == "planned")


def test_a_worker_killed_in_a_copy_is_followed_by_the_next_within_seconds(panel, cluster, hosts, directory):
    first = panel.worker("first")
    panel.sweeper()
    job = started(cluster, directory)
    wait_for(lambda: has_line(job, "copied 3 of"))
    first.kill()
    panel.worker("second")
    wait_for_end(job)
    assert (job.status, job.handovers) == ("succeeded", 1), job.outcome
    assert starts(hosts[0], directory) == 1
    assert copied(job) == every_line(30)


def test_a_paused_worker_that_wakes_up_harms_nothing(panel, cluster, hosts, directory):
    sleeper = panel.worker("sleeper")
    panel.sweeper()
    job = started(cluster, directory)
    wait_for(lambda: has_line(job, "copied 3 of"))
    old_epoch = Job.objects.get(pk=job.pk).epoch
    sleeper.signal(signal.SIGSTOP)
    panel.worker("second")
    wait_for(lambda: Job.objects.get(pk=job.pk).epoch > old_epoch)
    sleeper.signal(signal.SIGCONT)
    wait_for_end(job)
    assert job.status == "succeeded", job.outcome
    wait_for(lambda: "went to another worker" in sleeper.log_path.read_text())
    assert starts(hosts[0], directory) == 1
    assert copied(job) == every_line(30)
    with (
        clusters.host_of(cluster.nodes.get(name="pg1"), lock=Lock(str(cluster.uuid), old_epoch)) as host,
        pytest.raises(EpochRefused),
    ):
        host.run(Command(("touch", f"{directory}/harm")))


def test_a_worker_told_to_stop_hands_its_job_over(panel, cluster, hosts, directory):
    first, _second = panel.worker("first"), panel.worker("second")
    job = started(cluster, directory)
    wait_for(lambda: has_line(job, "copied 3 of"))
    taken_by = Job.objects.get(pk=job.pk).worker
    told = first if f"/{first.process.pid}/" in taken_by or _is_child(first.process.pid, taken_by) else _second
    told.stop()
    assert told.process.returncode == 0
    wait_for_end(job)
    assert (job.status, job.handovers) == ("succeeded", 1), job.outcome
    assert has_line(job, "told to stop")
    assert starts(hosts[0], directory) == 1
    assert copied(job) == every_line(30)


def _is_child(parent: int, worker: str) -> bool:
    pid = worker.split("/")[1]
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(") ")[2].split()[1] == str(parent)


def test_redis_killed_midway_loses_no_line_and_no_job(panel, cluster, hosts, directory):
    panel.worker("one")
    job = started(cluster, directory)
    wait_for(lambda: has_line(job, "copied 3 of"))
    panel.redis.kill()
    wait_for(lambda: has_line(job, "copied 20 of"))
    panel.redis.start()
    wait_for_end(job)
    assert job.status == "succeeded", job.outcome
    assert copied(job) == every_line(30)
    assert list(job.lines.values_list("seq", flat=True)) == list(range(1, job.last_seq + 1))


def test_a_job_whose_message_died_with_redis_is_run_all_the_same(panel, cluster, hosts, directory):
    panel.redis.kill()
    data = {"nodes": ["pg1"], "directory": directory, "lines": 1}
    job = services.job_plan(cluster, "small", data, None, "a test", plan_now=True)
    with pytest.raises(services.BrokerAway, match="It begins by itself when Redis is back"):
        services.job_start(job, job.plan_hash, None, "a test")
    panel.redis.start()
    panel.worker("one")
    panel.sweeper()
    assert wait_for_end(job).status == "succeeded"


def test_cancelling_ends_the_copy_on_the_host(panel, cluster, hosts, directory):
    panel.worker("one")
    job = started(cluster, directory, lines=3000)
    wait_for(lambda: has_line(job, "copied 3 of"))
    assert any("copied $i" in line for _pid, line in hosts[0].processes())
    services.job_cancel(job, None)
    wait_for_end(job)
    assert job.status == "cancelled", job.outcome
    assert has_line(job, "no process of it is left on pg1")
    assert not any("copied $i" in line for _pid, line in hosts[0].processes())


def test_a_failed_copy_resumes_from_itself(panel, cluster, hosts, directory):
    hosts[0].run(["mkdir", "-p", f"{directory}/pg1"])
    hosts[0].run(["touch", f"{directory}/pg1/break"])
    panel.worker("one")
    job = wait_for_end(started(cluster, directory, lines=2))
    assert job.status == "failed"
    assert "no space left on device" in job.outcome
    hosts[0].run(["rm", f"{directory}/pg1/break"])
    services.job_resume(job, None)
    wait_for_end(job)
    assert (job.status, list(job.steps.values_list("attempt", flat=True))) == ("succeeded", [0, 1, 2, 0])
    assert starts(hosts[0], directory) == 2


def test_a_host_cut_off_during_a_copy_is_waited_for(panel, cluster, hosts, directory):
    panel.worker("one")
    job = started(cluster, directory, lines=60)
    wait_for(lambda: has_line(job, "copied 3 of"))
    hosts[0].cut()
    try:
        wait_for(lambda: has_line(job, "connection lost"), 60)
    finally:
        hosts[0].heal()
    wait_for_end(job, 90)
    assert job.status == "succeeded", job.outcome
    assert starts(hosts[0], directory) == 1
    assert copied(job) == every_line(60)
