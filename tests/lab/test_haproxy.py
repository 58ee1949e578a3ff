"""docs/haproxy.md as it is written: a client writes through Debian's HAProxy while the panel switches over; then it is gone."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from host_reach import needs_own_machines
from panel_real import add_cluster, real_panel, wait_for
from redis_server import RedisServer, free_port

from lab import Host, Lab
from lab.lab import REPOSITORY

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
RECIPE = REPOSITORY / "docs" / "haproxy"
PASSWORD = "check-role-Tee/9"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
    pytest.mark.skipif(
        HAPROXY is None or shutil.which("psql") is None, reason="not possible here: haproxy or psql is not installed"
    ),
]


@dataclass(frozen=True)
class Proxy:
    """A place to write to, as the lab's writer takes it."""

    pg_port: int
    read_port: int
    admin: Path
    log: Path
    ip: str = "127.0.0.1"

    def servers(self) -> dict[tuple[str, str], dict[str, str]]:
        """(proxy, server) → what `show stat` says."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.admin))
            line.sendall(b"show stat\n")
            said = b"".join(iter(lambda: line.recv(65536), b"")).decode()
        head, *rows = (row.split(",") for row in said.splitlines() if row)
        names = [name.lstrip("# ") for name in head]
        found = [dict(zip(names, row, strict=False)) for row in rows]
        return {(row["pxname"], row["svname"]): row for row in found if row["svname"] not in ("FRONTEND", "BACKEND")}

    def up(self, proxy: str) -> set[str]:
        return {server for (name, server), row in self.servers().items() if name == proxy and row["status"].startswith("UP")}

    def asks(self) -> int:
        """How often the script was asked so far, by the runs that its log has."""
        return self.log.read_text().count("\n") if self.log.exists() else 0


@contextmanager
def haproxy(directory: Path, hosts: dict[str, Host]) -> Iterator[Proxy]:
    """The documented configuration with this lab's addresses; everything else stands in it as people read it."""
    proxy = Proxy(free_port(), free_port(), directory / "admin.sock", directory / "asked")
    check, passwords = directory / "check", directory / "pgpass"
    passwords.write_text(f"*:*:postgres:haproxy_check:{PASSWORD}\n")
    passwords.chmod(0o600)
    # a shell around the script that counts, and says where the password is
    check.write_text(
        f'#!/bin/sh\necho "$HAPROXY_PROXY_NAME $HAPROXY_SERVER_NAME" >>{proxy.log}\n'
        f'PGPASSFILE={passwords} exec {RECIPE}/check "$@"\n'
    )
    check.chmod(0o755)
    text = (RECIPE / "haproxy.cfg").read_text()
    for line in ("    user haproxy\n", "    group haproxy\n"):
        assert line in text
        text = text.replace(line, "")
    text = text.replace("/run/haproxy/admin.sock", str(proxy.admin)).replace("/etc/haproxy/check", str(check))
    text = text.replace("bind :5000", f"bind 127.0.0.1:{proxy.pg_port}").replace("bind :5001", f"bind 127.0.0.1:{proxy.read_port}")
    for name, host in hosts.items():
        text = re.sub(rf"server {name} \S+", f"server {name} {host.ip}:{host.pg_port}", text)
    assert "10.20." not in text
    file = directory / "haproxy.cfg"
    file.write_text(text)
    subprocess.run([str(HAPROXY), "-c", "-f", str(file)], check=True, capture_output=True)
    with (directory / "haproxy.log").open("wb") as log:
        running = subprocess.Popen([str(HAPROXY), "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        wait_for(proxy.admin.exists, "HAProxy is up")
        yield proxy
    finally:
        running.terminate()
        running.wait(timeout=10)


def let_the_check_in(hosts: dict[str, Host]) -> None:
    """Step 1 of the recipe."""
    hosts["pg1"].sql(f"CREATE ROLE haproxy_check LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 20")
    for host in hosts.values():
        line = f"host postgres haproxy_check {host.ip.rsplit('.', 1)[0]}.0/24 scram-sha-256\n"
        host.run(["tee", "-a", f"{host.config_directory}/pg_hba.conf"], user="postgres", input=line)
        host.sql("SELECT pg_reload_conf()")


def is_let_in(lab: Lab, proxy: Proxy, port: int) -> str:
    """The address of the server behind the proxy; "" where nobody is let in."""
    asked = ["-d", "registry", "-c", "SELECT host(inet_server_addr())"]
    done = subprocess.run(
        ["psql", "-XAtqw", "-h", proxy.ip, "-p", str(port), "-U", "registry", *asked],
        env={"PGPASSFILE": str(lab.keys.pgpass_path), "PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "3"},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return done.stdout.strip()


def checked_again(proxy: Proxy, times: int = 12) -> None:
    """Several rounds of checks of every server have begun since."""
    before = proxy.asks()
    wait_for(lambda: proxy.asks() >= before + times, "HAProxy asks the servers")


def flaps(proxy: Proxy) -> dict[tuple[str, str], str]:
    return {key: row["chkdown"] for key, row in proxy.servers().items()}


def test_haproxy_follows_a_switchover_outlives_the_panel_and_lets_nobody_in_while_two_take_writes(
    new_lab: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lab: Lab = new_lab()
    needs_own_machines(lab)
    hosts = {"pg1": lab.up("pg1"), "pg2": lab.up("pg2", create=False)}
    with real_panel(tmp_path_factory.mktemp("panel")) as panel:
        add_cluster(panel, lab, "shop", hosts)
        sets = ("primary=pg1", "standbys=pg2", "start_guard=false", f'panel_addresses=["{hosts["pg1"].ip.rsplit(".", 1)[0]}.1"]')
        words = [word for each in sets for word in ("--set", each)]
        panel.manage("job", "run", "setup", "--cluster", "shop", *words, "--yes", capture=True)
        let_the_check_in(hosts)
        with haproxy(tmp_path, hosts) as proxy:
            wait_for(lambda: (proxy.up("primary"), proxy.up("replicas")) == ({"pg1"}, {"pg2"}), "HAProxy knows both roles", 30)
            assert is_let_in(lab, proxy, proxy.read_port) == hosts["pg2"].ip
            writer = lab.writer([proxy])
            writer.start()
            panel.manage("job", "run", "switchover", "--cluster", "shop", "--set", "candidate=pg2", "--yes", capture=True)
            wait_for(lambda: (proxy.up("primary"), proxy.up("replicas")) == ({"pg2"}, {"pg1"}), "HAProxy follows", 30)
            assert is_let_in(lab, proxy, proxy.pg_port) == hosts["pg2"].ip
            before = writer.acknowledged()
            wait_for(lambda: writer.acknowledged() > before + 100, "the client writes to the new primary")
            healthy = flaps(proxy)

            below = panel.processes()
            subprocess.run(["kill", "-TERM", (panel.var / "supervisord.pid").read_text().strip()], check=True)
            wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "the panel is gone", 40)
            before = writer.acknowledged()
            checked_again(proxy)
            assert flaps(proxy) == healthy, "no healthy backend was dropped"
            assert (proxy.up("primary"), proxy.up("replicas")) == ({"pg2"}, {"pg1"})
            wait_for(lambda: writer.acknowledged() > before + 100, "the client goes on")
            report = writer.stop()
            assert (report.lost, report.doubled, report.server) == (0, 0, hosts["pg2"].ip), report
            print("longest gap of the client through HAProxy, ms:", report.longest_gap_ms, "errors:", report.errors)

            # somebody promotes the standby by hand, with nobody there to stop it
            hosts["pg1"].sql("SELECT pg_promote()")
            wait_for(lambda: proxy.up("primary") == {"pg1", "pg2"}, "both take writes", 30)
            assert is_let_in(lab, proxy, proxy.pg_port) == ""
            hosts["pg1"].pg_stop()
            wait_for(lambda: proxy.up("primary") == {"pg2"}, "one is left", 30)
            assert is_let_in(lab, proxy, proxy.pg_port) == hosts["pg2"].ip
