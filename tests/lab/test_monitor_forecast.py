"""What is seen of hosts on hosts: a slot under pgbench on a small disk, and what an administrator's hand changes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from monitor_streaming import streaming
from test_alerts_seen import is_over, opened
from test_monitor_states import look, register, state, until

from clusters.models import Cluster
from lab import Host, Lab
from monitor import drift, tasks
from monitor.ledger import Ledger
from monitor.models import Alert

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]

DISK_MB = 320
TRANSACTIONS_PER_SECOND = 80
TRANSACTION = "SELECT pg_logical_emit_message(true, 'load', repeat('x', 32768));\n"
"""WAL at a steady rate that costs the machine little, whatever else runs on it: 2.5 MB/s."""


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[Host]:
    return streaming(lab, ["pg1", "pg2"])


@pytest.fixture
def watched(lab: Lab, hosts: list[Host], settings) -> Iterator[Cluster]:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    settings.MONITOR_HOST_SECONDS = 4.0
    cluster = register(lab, hosts)
    stopping = threading.Event()
    thread = threading.Thread(target=lambda: tasks.run(Ledger(), stopping.is_set))
    thread.start()
    until(lambda: state(cluster, "pg2") == "idle", 20)
    until(lambda: look(cluster, "pg1").sample.get("host"), 20)
    yield cluster
    stopping.set()
    thread.join(10)


def append(host: Host, name: str, text: str) -> None:
    host.run(["tee", "-a", f"{host.config_directory}/{name}"], user="postgres", input=text)


def certificate(valid: timedelta) -> tuple[str, str]:
    """(key, certificate) of a server, self-signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pg1")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + valid)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), made.sign(key, hashes.SHA256()).public_bytes(pem).decode()


def test_what_a_hand_changes_beside_the_panel_is_seen_on_the_host(watched: Cluster, hosts: list[Host]) -> None:
    primary, _standby = hosts
    host = look(watched, "pg1").sample["host"]
    assert host["wal"]["size_bytes"] > host["wal"]["free_bytes"] > 0
    append(primary, "postgresql.conf", "# >>> pgpanel: managed block (test)\nwork_mem = 5MB\n# <<< pgpanel\n")
    drift.job_ended(watched.pk)
    until(lambda: watched.nodes.get(name="pg1").managed_blocks.sums.get("postgresql.conf", "-") != "-", 20)
    assert not opened("drift", "pg1")
    primary.run(["sed", "-i", "s/work_mem = 5MB/work_mem = 6MB/", f"{primary.config_directory}/postgresql.conf"])
    until(lambda: opened("drift", "pg1"), 20)
    primary.run(["sed", "-i", "s/work_mem = 6MB/work_mem = 5MB/", f"{primary.config_directory}/postgresql.conf"])
    until(lambda: is_over("drift", "pg1"), 20)


def test_settings_that_wait_for_a_restart_and_a_password_and_a_certificate_that_end_soon(
    watched: Cluster, hosts: list[Host]
) -> None:
    primary, _standby = hosts
    key, public = certificate(timedelta(days=5))
    for name, text in (("server.key", key), ("server.crt", public)):
        primary.run(["sh", "-c", 'umask 077; cat > "$1"', "sh", f"{primary.data_directory}/{name}"], user="postgres", input=text)
    for setting in ("ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'", "max_connections = 123"):
        primary.sql(f"ALTER SYSTEM SET {setting}")
    primary.sql("ALTER ROLE replicator VALID UNTIL '" + str(datetime.now(UTC) + timedelta(days=3)) + "'")
    primary.sql("SELECT pg_reload_conf()")
    until(lambda: look(watched, "pg1").sample.get("pending_restart") == ["max_connections"], 20)
    until(lambda: (look(watched, "pg1").sample["host"] or {}).get("certificate_until"), 40)
    until(lambda: opened("password_expires", "replicator") and opened("certificate_expires", "pg1"), 90)


def small_disk_for_wal(host: Host) -> None:
    """pg_wal on a file system of its own, as large as the test needs."""
    wal = f"{host.data_directory}/pg_wal"
    host.pg_stop()
    host.run(["mkdir", "-p", "/mnt/wal"])
    host.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700,uid=postgres,gid=postgres", "tmpfs", "/mnt/wal"])
    host.run(["sh", "-c", f"cp -a {wal}/. /mnt/wal/ && rm -r {wal} && ln -s /mnt/wal {wal}"], user="postgres")
    host.pg_start()
    host.wait_postgres()


def is_full(host: Host) -> bool:
    return "No space left on device" in host.pg_log_tail(200)


def test_a_dead_standby_s_slot_fills_the_disk_when_it_was_said_within_a_fifth(watched: Cluster, hosts: list[Host]) -> None:
    """Last: the primary does not survive it. What is left is asked in the middle, and the clock says what then happens.

    The load is steady before the standby dies, so that the rate which is measured is the rate that goes on.
    """
    primary, standby = hosts
    primary.sql("ALTER SYSTEM RESET ALL")
    small_disk_for_wal(primary)
    primary.run(["tee", "/tmp/load.sql"], input=TRANSACTION)
    pgbench = [f"{primary.bin_directory}/pgbench", "-p", str(primary.pg_port), "-n", "-f", "/tmp/load.sql"]
    load = [*pgbench, "-c", "4", "-T", "900", "-R", str(TRANSACTIONS_PER_SECOND), "postgres"]
    running = subprocess.Popen(
        primary.command(load, "postgres"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(5)
        standby.pg_stop("immediate")
        until(lambda: forecast_of(watched).get("word") == "filling" and forecast_of(watched)["measured_seconds"] > 35, 90)
        said, at = forecast_of(watched), time.monotonic()
        assert said["ends"] == "disk"
        until(lambda: is_full(primary), 300)
        happened = time.monotonic() - at
    finally:
        running.terminate()
        running.wait(10)
    assert said["seconds_left"] == pytest.approx(happened, rel=0.2), said
    alert = Alert.objects.get(rule="slot_fills_disk", about="pgpanel_pg2")
    assert alert.severity == "critical"


def forecast_of(cluster: Cluster) -> dict:
    return (look(cluster, "pg1").sample.get("forecasts") or {}).get("pgpanel_pg2") or {}
