"""repmgr from Debian's package, on the same hosts: set up as its manual says, its commands by Debian's own pg_ctlcluster."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.pair import MAJOR, Pair
from lab.host import Host
from lab.lab import REPOSITORY

PACKAGES = (f"postgresql-{MAJOR}-repmgr", "repmgr-common", "repmgr")
SETTINGS = "shared_preload_libraries = 'repmgr'\n"


def fetched() -> Path:
    """The packages' files, from this machine's own mirror; nothing is installed here."""
    directory = REPOSITORY / "var" / "bench-repmgr"
    tree = directory / "tree"
    if not (tree / f"usr/lib/postgresql/{MAJOR}/bin/repmgr").exists():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-qq", "download", *PACKAGES], cwd=directory, check=True, capture_output=True)
        for package in sorted(directory.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
    return tree


def make(pair: Pair) -> str:
    """Both registered; the version."""
    tree = fetched()
    hosts = (pair.primary, pair.standby)
    for host in hosts:
        _unpack(tree, host)
    _trust_each_other(*hosts)
    pair.make_primary()
    pair.sql(pair.primary, "CREATE ROLE repmgr SUPERUSER LOGIN; CREATE DATABASE repmgr OWNER repmgr;")
    for number, host in enumerate(hosts, 1):
        host.run(["tee", _conf_path(pair)], input=_conf(pair, host, number))
    repmgr(pair, pair.primary, "primary", "register")
    pair.make_cluster(pair.standby)
    copy_anew(pair)
    return pair.primary.run([f"{pair.primary.bin_directory}/repmgr", "--version"]).stdout.strip()


def copy_anew(pair: Pair) -> None:
    pair.empty(pair.standby)
    source = ("-h", pair.primary.ip, "-p", str(pair.port), "-U", "repmgr", "-d", "repmgr")
    repmgr(pair, pair.standby, *source, "standby", "clone", "--fast-checkpoint")
    pair.start(pair.standby)
    pair.wait_for_streaming()
    repmgr(pair, pair.standby, "standby", "register", "--force")


def switch(pair: Pair) -> None:
    repmgr(pair, pair.standby, "standby", "switchover")
    pair.swapped()


def promote(pair: Pair) -> float:
    """When its command began."""
    began_at = time.time()
    repmgr(pair, pair.standby, "standby", "promote")
    return began_at


def repmgr(pair: Pair, host: Host, *words: str) -> str:
    return host.run([f"{host.bin_directory}/repmgr", "-f", _conf_path(pair), *words], user="postgres", timeout_seconds=120).stdout


def _conf_path(pair: Pair) -> str:
    return f"/etc/repmgr-{pair.name}.conf"


def _conf(pair: Pair, host: Host, number: int) -> str:
    service = {"start": "start", "stop": "stop -m fast", "restart": "restart", "reload": "reload"}
    lines = [f"service_{name}_command='pg_ctlcluster {MAJOR} {pair.name} {words}'" for name, words in service.items()]
    return "\n".join(
        [
            f"node_id={number}",
            f"node_name='{host.name}'",
            f"conninfo='host={host.ip} port={pair.port} user=repmgr dbname=repmgr connect_timeout=2'",
            f"data_directory='{pair.data}'",
            f"config_directory='{pair.config}'",
            f"pg_bindir='{host.bin_directory}'",
            f"ssh_options='-q -o ConnectTimeout=10 -o StrictHostKeyChecking=no -p {host.ssh_port}'",
            *lines,
            "",
        ]
    )


def _unpack(tree: Path, host: Host) -> None:
    packed = subprocess.run(["tar", "-C", tree, "-cf", "-", "usr"], check=True, capture_output=True).stdout
    done = subprocess.run(
        host.command(["tar", "-C", "/", "--no-overwrite-dir", "-xf", "-"]), input=packed, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _trust_each_other(*hosts: Host) -> None:
    """ssh as postgres without a password, both ways."""
    home = "/var/lib/postgresql/.ssh"
    keys = []
    for host in hosts:
        host.run(
            f"mkdir -p -m 700 {home}; [ -f {home}/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f {home}/id_ed25519",
            user="postgres",
        )
        keys.append(host.run(["cat", f"{home}/id_ed25519.pub"]).stdout)
    for host in hosts:
        host.run(f"cat >>{home}/authorized_keys; chmod 600 {home}/authorized_keys", user="postgres", input="".join(keys))
