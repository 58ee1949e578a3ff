"""`make demo`: three real hosts, a registry at work on the first, and the panel that sets up replication to the second.

Drives the panel from outside, as a newcomer would: its processes and its management commands, importing nothing of it.
`--exit` takes all down at the end and exits 0 only if the standby provably streams. Ctrl-C ends everything that it started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.host import Host
from lab.lab import REPOSITORY, Lab

CLUSTER = "registry"
NODES = {"pg1": "h1", "pg2": "h2"}


@dataclass(frozen=True)
class Panel:
    """A panel of the demo's own: its database, key and logs in `var/demo`, made anew each time."""

    var: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def redis_port(self) -> int:
        return int((self.var / "redis.port").read_text())

    @property
    def environment(self) -> dict[str, str]:
        own = {"PGPANEL_VAR": str(self.var), "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0", "PYTHONUNBUFFERED": "1"}
        inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "PGPANEL_PRODUCTION")}
        return inherited | own

    def manage(self, *arguments: str, capture: bool = False, timeout_seconds: float = 300) -> str:
        """One management command of the panel; its output as text, or on the terminal."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL, text=True, check=False, timeout=timeout_seconds,
            stdout=subprocess.PIPE if capture else None,
            start_new_session=True,  # Ctrl-C is the demo's: it ends this too, without a traceback of its own
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"manage.py {' '.join(arguments[:3])} ended with {done.returncode}; logs are in {self.var / 'log'}")
        return done.stdout or ""


@dataclass
class Clock:
    """How long each part took, said as it ends and once more in the summary."""

    parts: list[tuple[str, float]]

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.parts.append((title, time.monotonic() - began))
        print(f"  {title}: {self.parts[-1][1]:.1f} s", flush=True)


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _as_interrupt)
    clock, began = Clock([]), time.monotonic()
    processes: subprocess.Popen[bytes] | None = None
    lab: Lab | None = None
    try:
        panel = fresh_panel(options.port, options.name)
        print("pgpanel's demo: three hosts and the panel", flush=True)
        panel.manage("migrate", "--verbosity", "0")
        processes = start(panel)
        with clock.part("three hosts, a registry with writes"):
            lab = Lab(options.name, backend=options.backend)
            _make_hosts(lab, options)
        if lab.backend == "processes":
            print("  (namespaces are refused here: the hosts are plain processes of one machine with one account between them;")
            print("   they cannot be cut or split from each other, and WAL is not archived from one to the other)")
        with clock.part("the panel answers"):
            wait_for(panel, processes)
        with clock.part("the hosts added to the panel"):
            add_cluster(panel, lab, CLUSTER, NODES)
        with clock.part("replication set up by the panel"):
            _set_up(panel, is_archiving=lab.backend == "namespaces")
        is_proven = _summary(panel, lab, clock, time.monotonic() - began)
        if not options.exit:
            _welcome(panel, lab)
            processes.wait()
        return 0 if is_proven else 1
    except KeyboardInterrupt:
        print("\nending everything that the demo started …", flush=True)
        return 130
    except (LabError, subprocess.TimeoutExpired) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave hosts behind
        stop(processes)
        if lab is not None:
            lab.down()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS='…'", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="prove that it streams, take all down, exit 0 if it does")
    parser.add_argument("--postgres", default="15", help="major of the hosts' PostgreSQL, or an installation prefix (15)")
    parser.add_argument("--layout", help="debian, cocca or custom (debian; custom where hosts are plain processes)")
    parser.add_argument("--rows", type=int, default=20_000, help="domains in the registry")
    parser.add_argument("--name", default="demo", help="of its lab and its directory in var/: another for a second demo (demo)")
    parser.add_argument("--port", type=int, default=8000, help="of the panel; the next free one is taken")
    parser.add_argument("--backend", default="auto", help="auto, namespaces or processes")
    return parser.parse_args()


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def fresh_panel(port: int, name: str = "demo") -> Panel:
    """An empty directory for a new panel; LabError when one still runs there."""
    var = REPOSITORY / "var" / name
    if _runs_in(var):
        raise LabError(f"one runs already, in {var}. For a second one beside it: --name second")
    shutil.rmtree(var, ignore_errors=True)
    var.mkdir(parents=True)
    (var / "redis.port").write_text(str(_free_port(0)))
    return Panel(var, _free_port(port))


def _runs_in(var: Path) -> bool:
    pid_file = var / "supervisord.pid"
    try:
        return b"supervisord" in Path(f"/proc/{int(pid_file.read_text())}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False


def _free_port(wanted: int) -> int:
    for port in range(wanted, wanted + 50) if wanted else (0,):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabError(f"no free port from {wanted} on")


def start(panel: Panel) -> subprocess.Popen[bytes]:
    """The panel's processes and its Redis under supervisord, in a session of their own, so that Ctrl-C reaches the demo first."""
    panel.manage("first_administrator", "--password-file", str(panel.var / "password"), capture=True)
    arguments = ["run_panel", "--port", str(panel.port), "--redis-port", str(panel.redis_port)]
    with (panel.var / "panel.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY, env=panel.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def stop(processes: subprocess.Popen[bytes] | None) -> None:
    if processes is None:
        return
    processes.terminate()
    try:
        processes.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(processes.pid, signal.SIGKILL)
        processes.wait()


def _make_hosts(lab: Lab, options: argparse.Namespace) -> None:
    """h1 with the registry and its clients; h2 and h3 with PostgreSQL's programs and nothing more."""
    is_real = lab.backend == "namespaces"
    alike: dict[str, Any] = {"postgres": options.postgres, "layout": options.layout, "password_login": is_real}

    def bare(name: str) -> Host:
        return lab.up(name, create=False, **alike)

    with ThreadPoolExecutor() as pool:
        others = [pool.submit(bare, "h2"), pool.submit(bare, "h3")]
        first = lab.up("h1", **alike)
        lab.registry(first, rows=options.rows)
        hosts = [first, *(other.result() for other in others)]
    lab.trickle(*hosts)


def wait_for(panel: Panel, processes: subprocess.Popen[bytes], timeout_seconds: float = 60) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and processes.poll() is None:
        try:
            with urllib.request.urlopen(panel.url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise LabError(f"the panel does not answer at {panel.url}:\n{(panel.var / 'panel.log').read_text()[-3000:]}")


def add_cluster(panel: Panel, lab: Lab, cluster: str, nodes: dict[str, str]) -> None:
    """nodes: node name → host name; the first is the primary."""
    words: list[str] = []
    for name, host_name in nodes.items():
        host = lab[host_name]
        access = f"ssh={host.ip},port={host.ssh_port},user={host.logins[0]},key-file={lab.key_path}"
        places = f"pg-port={host.pg_port},layout={host.layout}"
        if host.layout == "custom":  # has no places of its own
            places += f",data={host.data_directory},bin={host.bin_directory},owner={host.postgres_user}"
        words += ["--node", f"name={name},{access},{places}"]
    panel.manage("cluster", "add", cluster, *words, "--primary", next(iter(nodes)), "--accept-host-keys", capture=True)


def _set_up(panel: Panel, is_archiving: bool) -> None:
    settings = ["primary=pg1", "standbys=pg2", *(() if is_archiving else ("archive=false",))]
    panel.manage("job", "run", "setup", "--cluster", CLUSTER, *(word for each in settings for word in ("--set", each)), "--yes")


# --- what came of it -------------------------------------------------------------------------------------------------


def _summary(panel: Panel, lab: Lab, clock: Clock, seconds: float) -> bool:
    job = json.loads(panel.manage("job", "show", "1", "--json", capture=True))
    print(f"\nJob {job['id']}: {job['title']} — {job['status']}")
    for step in job["steps"]:
        print(f"  {step['status']:8} {_seconds(step):>8}  {step['node']:5} {step['title']}{_bytes(step)}")
    print("\nLooked at on the hosts themselves, not through the panel:")
    is_proven = job["status"] == "succeeded" and _prove(lab["h1"], lab["h2"])
    print(f"\n{seconds:.1f} s in all: " + ", ".join(f"{title} {took:.1f} s" for title, took in clock.parts))
    return is_proven


def _seconds(step: dict[str, Any]) -> str:
    return "" if step.get("seconds") is None else f"{step['seconds']:.2f} s"


def _bytes(step: dict[str, Any]) -> str:
    done = (step.get("progress") or {}).get("done_bytes")
    return f" ({done / 1_000_000:.1f} MB)" if done else ""


def _prove(primary: Host, standby: Host) -> bool:
    """A row written on the first host is read on the second, which is in recovery and streams from it."""
    mark = f"demo-{time.time_ns()}"
    primary.sql(
        f"INSERT INTO transaction_log (registrar_id, command, domain) VALUES (1, 'demo:proof', '{mark}')", database="registry"
    )
    began = time.monotonic()
    while not (found := standby.sql(f"SELECT 1 FROM transaction_log WHERE domain = '{mark}'", database="registry")):
        if time.monotonic() - began > 10:
            break
        time.sleep(0.02)
    seen_ms = (time.monotonic() - began) * 1000
    in_recovery = standby.sql("SELECT pg_is_in_recovery()")[0][0] == "t"
    senders = primary.sql("SELECT application_name, state FROM pg_stat_replication WHERE state = 'streaming'")
    print(f"  a row written on h1 is read on h2: {'yes, ' + format(seen_ms, '.0f') + ' ms later' if found else 'NO'}")
    print(f"  h2 is in recovery: {'yes' if in_recovery else 'NO'}")
    print(f"  h1 streams to: {', '.join(row[0] for row in senders) or 'NOBODY'}")
    return bool(found) and in_recovery and bool(senders)


def _welcome(panel: Panel, lab: Lab) -> None:
    third = lab["h3"]
    password = f",\n                 or once as ops with the password {lab.keys.password}" if lab.backend == "namespaces" else ""
    which = "" if lab.name == "demo" else f" --name {lab.name}"
    print(f"""
The panel:       {panel.url}
Log in as:       admin   {(panel.var / "password").read_text().strip()}
Yours to click:  a third host waits at {third.ip}, SSH port {third.ssh_port}. On the page of cluster {CLUSTER}: “Add a standby”.
                 Reach it by a key that the panel makes: paste its line with `python -m lab ssh{which} h3`{password}
Break things:    python -m lab kill{which} h1 | cut h2 | pause h2 | ls          Logs: {panel.var / "log"}
Ctrl-C ends the panel and the hosts.""", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
