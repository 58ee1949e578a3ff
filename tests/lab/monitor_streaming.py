"""A primary and standbys that stream from it, made by hand on lab hosts: what the collector is tried on."""

from __future__ import annotations

from collections.abc import Sequence

from lab import Host, Lab

MONITOR_PASSWORD = "a-lab-password-for-the-monitor"


def streaming(
    lab: Lab, names: Sequence[str], *, with_role: bool = True, postgres: str = "15", layout: str = "debian"
) -> list[Host]:
    """The first is the primary, the others stream from it, each with its own slot and name; the monitoring role may log in."""
    hosts = lab.up_all(names, postgres=postgres, layout=layout)
    primary, *standbys = hosts
    for host in hosts:
        lines = f"host all pgpanel_monitor {_network(host)} scram-sha-256\nhost replication replicator {_network(host)} trust\n"
        host.run(["tee", "-a", f"{host.config_directory}/pg_hba.conf"], user="postgres", input=lines)
    primary.sql("CREATE ROLE replicator REPLICATION LOGIN; SELECT pg_reload_conf();")
    primary.sql("CREATE TABLE written (at timestamptz DEFAULT now(), filler text);")
    primary.sql("ALTER TABLE written ALTER filler SET STORAGE EXTERNAL;")  # else it compresses to nothing
    if with_role:
        make_role(primary)
    for standby in standbys:
        follow(standby, primary)
    return hosts


def make_role(primary: Host) -> None:
    statement = f"CREATE ROLE pgpanel_monitor LOGIN PASSWORD '{MONITOR_PASSWORD}' IN ROLE pg_monitor; SELECT pg_reload_conf();"
    primary.sql(f"SET password_encryption = 'scram-sha-256'; {statement}")


def follow(standby: Host, upstream: Host) -> None:
    """Copy the upstream over whatever the host had and stream from it."""
    standby.pg_stop("immediate")
    data = standby.data_directory
    standby.run(["find", data, "-mindepth", "1", "-delete"])
    conninfo = f"host={upstream.ip} port={upstream.pg_port} user=replicator application_name={standby.name}"
    copy = [f"{standby.bin_directory}/pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "-d", conninfo]
    standby.run([*copy, "-C", "-S", f"pgpanel_{standby.name}"], user=standby.postgres_user)
    standby.pg_start()
    standby.wait_postgres()


def write(primary: Host, megabytes: float = 0.1) -> None:
    """That much WAL, committed."""
    rows = max(1, int(megabytes * 1024 / 8))
    primary.sql(f"INSERT INTO written (filler) SELECT repeat(md5(random()::text), 256) FROM generate_series(1, {rows});")


def _network(host: Host) -> str:
    return host.ip.rsplit(".", 1)[0] + ".0/24"
