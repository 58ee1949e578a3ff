"""The lab from the shell: `python -m lab up 3`, `ssh h1`, `kill h1`, … Labs made here stay until `down`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from lab import machine, postgres_builds
from lab.backend import HostWishes
from lab.errors import LabError
from lab.host import Host
from lab.lab import Lab, labs_directory


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _up(options: argparse.Namespace) -> None:
    began = time.monotonic()
    lab = _attach_or_make(options)
    wanted = [f"h{number}" for number in range(1, options.count + 1)]
    fresh = [name for name in wanted if name not in lab.hosts]
    with_cluster = [name for name in fresh if options.clusters is None or wanted.index(name) < options.clusters]
    alike: HostWishes = {"layout": options.layout, "disk_mb": options.disk_mb}
    lab.up_all(with_cluster, options.postgres, **alike)
    bare: HostWishes = {**alike, "create": False}
    lab.up_all([name for name in fresh if name not in with_cluster], options.postgres, **bare)
    for name in wanted:
        lab[name].start()
    _list_lab(lab)
    print(f"up in {time.monotonic() - began:.1f} s. Log in: python -m lab ssh --name {lab.name} h1")


def _attach_or_make(options: argparse.Namespace) -> Lab:
    """An existing lab grows; one that nothing of runs any more is made anew."""
    try:
        lab = Lab.attach(options.name)
        if any(host.is_up() for host in lab.hosts.values()):
            return lab
    except LabError:
        pass
    return Lab(options.name, backend=options.backend, keep=True)


def _list(_options: argparse.Namespace) -> None:
    names = sorted(path.parent.name for path in labs_directory().glob("*/lab.json"))
    if not names:
        print("no lab; make one: python -m lab up 3")
    for name in names:
        _list_lab(Lab.attach(name))


def _list_lab(lab: Lab) -> None:
    print(f"{lab.name} ({lab.backend}), key {lab.key_path}")
    for host in lab.hosts.values():
        power = "down" if not host.is_up() else "cut" if host.record.is_cut else "up"
        server = f"PostgreSQL {host.postgres_major}, {host.layout}, port {host.pg_port}"
        print(f"  {host.name:8} {power:5} {host.ip:12} ssh {host.ssh_port:<5} {server}, {host.data_directory}")


def _ssh(options: argparse.Namespace) -> None:
    lab = Lab.attach(options.name)
    host = lab[options.host]
    unpinned = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    where = ["-i", str(lab.key_path), "-p", str(host.ssh_port), f"{options.user or host.logins[0]}@{host.ip}"]
    os.execv(machine.program("ssh"), ["ssh", *unpinned, *where, *options.command])


def _exec(options: argparse.Namespace) -> None:
    command = _host(options).command(options.command, user=options.user or "root")
    os.execvp(command[0], command)


def _sql(options: argparse.Namespace) -> None:
    for row in _host(options).sql(options.query, options.database):
        print("\t".join(row))


def _writer(options: argparse.Namespace) -> None:
    """Until Ctrl-C."""
    lab = Lab.attach(options.name)
    writer = lab.writer([lab[name] for name in options.hosts] or list(lab.hosts.values()))
    writer.start()
    print("writing; Ctrl-C ends it and prints the report", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    for what, value in asdict(writer.stop()).items():
        print(f"{what:22} {value}")


def _registry(options: argparse.Namespace) -> None:
    lab = Lab.attach(options.name)
    lab.registry(lab[options.host], options.rows)
    lab.trickle(lab[options.host])


def _down(options: argparse.Namespace) -> None:
    names = [path.parent.name for path in labs_directory().glob("*/lab.json")] if options.all else [options.name]
    for name in names:
        Lab.attach(name).down()


def _versions(_options: argparse.Namespace) -> None:
    for major, source in postgres_builds.versions():
        print(f"{major:4} {source}")


def _fetch(options: argparse.Namespace) -> None:
    for major in options.majors:
        print(postgres_builds.fetch(major).prefix)


def _install(_options: argparse.Namespace) -> None:
    installed = machine.install()
    print(f"installed {' '.join(installed)}" if installed else "nothing is missing")
    refused = machine.namespaces_refused(labs_directory())
    print("hosts will be made of namespaces" if refused is None else f"hosts will be plain processes: {refused}")


def _host(options: argparse.Namespace) -> Host:
    return Lab.attach(options.name)[options.host]


#: what can be done to one host without saying more
ACTS: dict[str, tuple[str, Callable[[Host], None]]] = {
    "kill": ("power cut; the disk is kept", lambda host: host.kill()),
    "start": ("switch on again", lambda host: host.start()),
    "pause": ("freeze every process", lambda host: host.pause()),
    "resume": ("let them go on", lambda host: host.resume()),
    "cut": ("pull the network cable", lambda host: host.cut()),
    "heal": ("plug it in again", lambda host: host.heal()),
    "unsplit": ("end every split of this host", lambda host: host.unsplit()),
    "fill": ("fill its disk (made with --disk-mb)", lambda host: host.fill_disk()),
    "free": ("give the space back", lambda host: host.free_disk()),
    "remove": ("the host and its disk are gone", lambda host: host.down()),
}


def _on_host(act: Callable[[Host], None]) -> Callable[[argparse.Namespace], None]:
    return lambda options: act(_host(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    of_a_lab = argparse.ArgumentParser(add_help=False)
    of_a_lab.add_argument("--name", default="demo", help="the lab (default: demo)")

    def command(name: str, shown: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=shown, description=shown, parents=[of_a_lab])
        added.set_defaults(run=run)
        return added

    up = command("up", "make hosts h1, h2, … up to COUNT", _up)
    up.add_argument("count", type=int, nargs="?", default=3)
    up.add_argument("--postgres", default="15", metavar="MAJOR|PREFIX")
    up.add_argument("--layout", choices=["debian", "cocca", "custom"])
    up.add_argument("--clusters", type=int, metavar="N", help="only the first N get a cluster, the others stay bare")
    up.add_argument("--disk-mb", type=int, help="a disk of its own for each, which can be filled")
    up.add_argument("--backend", choices=["auto", "namespaces", "processes"], default="auto")
    command("ls", "all labs and their hosts", _list)
    for name, (shown, act) in ACTS.items():
        command(name, shown, _on_host(act)).add_argument("host")
    split = command("split", "two hosts no longer reach each other", lambda o: _host(o).split(Lab.attach(o.name)[o.other]))
    split.add_argument("host")
    split.add_argument("other")
    rate = command("rate", "limit a host's link", lambda o: _host(o).rate(None if o.rate == "none" else o.rate))
    rate.add_argument("host")
    rate.add_argument("rate", help="200mbit, say; none lifts it")
    for name, shown, run in (
        ("ssh", "log in with the lab's key", _ssh),
        ("exec", "run a command in a host, not by SSH", _exec),
    ):
        into = command(name, shown, run)
        into.add_argument("--user", help="default: root")
        into.add_argument("host")
        into.add_argument("command", nargs=argparse.REMAINDER)
    sql = command("sql", "a query as the superuser", _sql)
    sql.add_argument("--database", default="postgres")
    sql.add_argument("host")
    sql.add_argument("query")
    writer = command("writer", "measure write outages until Ctrl-C", _writer)
    writer.add_argument("hosts", nargs="*", help="default: all")
    registry = command("registry", "a registry database with a trickle of writes on a host", _registry)
    registry.add_argument("host")
    registry.add_argument("--rows", type=int, default=10_000)
    down = command("down", "take the lab down with all it made", _down)
    down.add_argument("--all", action="store_true", help="every lab of this directory")
    command("versions", "which PostgreSQL there are", _versions)
    command("fetch", "get builds into the cache", _fetch).add_argument("majors", nargs="+", metavar="MAJOR")
    command("install", "install what the lab needs from the machine", _install)
    return parser
