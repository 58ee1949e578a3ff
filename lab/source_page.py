"""A pair built by hand, line by line as CoCCA's page "Postgresql Streaming Replication" says, faults included.

Two servers as CoCCA's installer leaves them (/opt/cocca-8/postgresql, a cluster on each), then the page's steps with
the names of the version at hand. What the page leaves open is marked with "page:".
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from lab.host import Host
    from lab.lab import Lab

HOME = "/opt/cocca-8/postgresql"
DATA = f"{HOME}/data"
WALS = f"{HOME}/wals"


@dataclass(frozen=True)
class SourcePagePair:
    primary: Host
    standby: Host
    replicator_password: str


def build_pair(lab: Lab, primary_name: str, standby_name: str, postgres: str, registry_rows: int) -> SourcePagePair:
    primary, standby = lab.up_all([primary_name, standby_name], postgres=postgres, layout="cocca")
    lab.registry(primary, registry_rows)
    pair = SourcePagePair(primary, standby, secrets.token_urlsafe(12))
    _make_wal_archive(pair)
    _exchange_keys(pair)
    _configure_primary(pair)
    standby.pg_stop()
    _copy_data(pair)
    _configure_standby(pair)
    standby.pg_start()
    _wait_streaming(pair)
    return pair


def _make_wal_archive(pair: SourcePagePair) -> None:
    """page: "Configuration Slave", step 1; made first here, or the primary's archiving would fail until then"""
    pair.standby.run(["mkdir", WALS], user="postgres")


def _exchange_keys(pair: SourcePagePair) -> None:
    """page: step 1, `ssh-keygen -b 2048` and `ssh-copy-id`, one way only, without passphrase and unrestricted"""
    home = "/var/lib/postgresql/.ssh"
    pair.primary.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", f"{home}/id_rsa"], user="postgres")
    public = pair.primary.run(["cat", f"{home}/id_rsa.pub"]).stdout
    pair.standby.run(["tee", "-a", f"{home}/authorized_keys"], user="postgres", input=public)
    ssh = ["ssh", "-o", "StrictHostKeyChecking=accept-new", f"postgres@{pair.standby.ip}", "true"]
    pair.primary.run(ssh, user="postgres")


def _configure_primary(pair: SourcePagePair) -> None:
    """page: steps 2 to 4"""
    primary, standby = pair.primary, pair.standby
    major = primary.postgres_major
    primary.sql(
        f"""SET password_encryption = 'md5';
        CREATE ROLE replicator REPLICATION LOGIN PASSWORD '{pair.replicator_password}';
        SELECT pg_switch_wal();"""
    )
    hba = f"host    replication     replicator  {standby.ip}/32      md5\n"
    primary.run(["tee", "-a", f"{DATA}/pg_hba.conf"], user="postgres", input=hba)
    kept = "wal_keep_size = 80000" if major >= 13 else "wal_keep_segments = 5000"
    settings = f"""
{kept}
wal_level = {"replica" if major >= 10 else "hot_standby"}
max_wal_senders = 5
max_wal_size = 2GB          # the page: checkpoint_segments
checkpoint_timeout = 10min
archive_mode = on
archive_command = 'rsync -a %p postgres@{standby.ip}:{WALS}/%f </dev/null'
listen_addresses = '*'
"""
    primary.run(["tee", "-a", f"{DATA}/postgresql.conf"], user="postgres", input=settings)
    primary.pg_stop()
    primary.pg_start()


def _copy_data(pair: SourcePagePair) -> None:
    """page: step 5; from 15 on the backup must be started and stopped in one session, which then holds its label"""
    target = f"postgres@{pair.standby.ip}:{DATA}/"
    # page: `--exclude --exclude pg_xlog`; without the pid file the standby would take the primary for its own
    # --ignore-times: both clusters are seconds old, and pg_control of the same size and second would not be copied
    rsync = f"rsync -a --ignore-times --exclude /pg_wal --exclude /postmaster.pid {DATA}/ {target}"
    if pair.primary.postgres_major < 15:
        pair.primary.sql("SELECT pg_start_backup('backup', true)")
        pair.primary.run(rsync, user="postgres", timeout_seconds=600)
        pair.primary.sql("SELECT pg_stop_backup()")
    else:
        label = f"ssh postgres@{pair.standby.ip} 'cat > {DATA}/backup_label'"
        pair.primary.sql(
            f"""SELECT pg_backup_start('backup', true);
            \\! {rsync}
            SELECT labelfile FROM pg_backup_stop() \\g | {label}
            """
        )


def _configure_standby(pair: SourcePagePair) -> None:
    """page: "Configuration Slave", step 2"""
    major = pair.standby.postgres_major
    conninfo = f"host={pair.primary.ip} port={pair.primary.pg_port} user=replicator password={pair.replicator_password}"
    recovery = f"""primary_conninfo = '{conninfo}'
restore_command = 'cp -f {WALS}/%f %p </dev/null'
archive_cleanup_command = '{HOME}/bin/pg_archivecleanup {WALS}/ %r'
"""
    trigger = "/tmp/pgsql.trigger"
    settings = "\nhot_standby = on\n"
    if major <= 11:
        recovery = f"standby_mode = 'on'\n{recovery}trigger_file = '{trigger}'\n"
        pair.standby.run(["tee", f"{DATA}/recovery.conf"], user="postgres", input=recovery)
    else:
        pair.standby.run(["touch", f"{DATA}/standby.signal"], user="postgres")
        settings += recovery + (f"promote_trigger_file = '{trigger}'\n" if major <= 15 else "")
    pair.standby.run(["tee", "-a", f"{DATA}/postgresql.conf"], user="postgres", input=settings)


def _wait_streaming(pair: SourcePagePair, timeout_seconds: float = 30) -> None:
    deadline = time.monotonic() + timeout_seconds
    while pair.primary.sql("SELECT state FROM pg_stat_replication") != [["streaming"]]:
        if time.monotonic() > deadline:
            raise LabError(f"the page's standby does not stream\n{pair.standby.pg_log_tail()}")
        time.sleep(0.1)
