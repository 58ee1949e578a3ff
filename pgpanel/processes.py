"""The panel's processes on one machine, for supervisord: web, workers by queue, beat, and Redis if none is given.

A server of its own runs the same commands from `docker-compose.yml`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
WEB = (
    "--no-access-log --no-server-header --no-proxy-headers --ws none --http h11 --h11-max-incomplete-event-size 32768"
    " --limit-concurrency 1000"
)
"""h11 bounds headers; who asks is told from X-Forwarded-For in one place only, `accounts.acting`; no page speaks by web socket."""


@dataclass(frozen=True)
class Process:
    """One long-lived process. `stop_seconds`: how long it may take to hand over its work before it is killed."""

    name: str
    command: str
    stop_seconds: int = 10
    priority: int = 100
    copies: int = 1


def worker(queues: str, pool: str, concurrency: int, copies: int = 1) -> Process:
    name = f"worker-{queues.split(',', maxsplit=1)[0]}"
    command = (
        f"{BIN}/python -m celery -A pgpanel worker -Q {queues} -P {pool} -c {concurrency} -l info"
        f" -n {name}-%%(process_num)d@%%h --without-mingle --without-gossip"
    )
    return Process(name, command.replace("%%(process_num)d", "%(process_num)d"), stop_seconds=15, copies=copies)


def processes(bind: str, port: int, var: Path, redis_port: int | None) -> list[Process]:
    """Everything that one machine runs. Two workers on `jobs`, so that one's death hands its job to the other at once."""
    panel = [
        Process("web", f"{BIN}/python -m uvicorn pgpanel.asgi:application --host {bind} --port {port} {WEB}"
                       " --timeout-graceful-shutdown 2 --log-level warning"),
        worker("jobs,emergency", "prefork", 1, copies=2),
        # kept free for a promotion or a fence, whatever the others are busy with
        worker("emergency", "threads", 3),
        worker("plans", "threads", 4),
        # by itself: strangers' servers that hang must not hold up a person who waits for a plan
        worker("notify", "threads", 4),
        # two share the nodes, a core each, and one's death hands its clusters to the other
        worker("observe", "threads", 4, copies=2),
        Process("beat", f"{BIN}/python -m celery -A pgpanel beat -l warning -s {var}/beat-schedule --pidfile="),
    ]  # fmt: skip
    if redis_port is not None:
        # jobs survive without it (their rows are in the database), so it keeps nothing on disk
        redis = f'redis-server --port {redis_port} --bind 127.0.0.1 --save "" --appendonly no --dir {var} --loglevel warning'
        panel.insert(0, Process("redis", redis, priority=1))
    return panel


def supervisor_configuration(panel: list[Process], var: Path) -> str:
    """supervisord's ini text; logs go to files under `var/log`, one per process."""
    sections = [
        f"[supervisord]\nnodaemon=true\nlogfile={var}/log/supervisord.log\npidfile={var}/supervisord.pid\nloglevel=warn\nsilent=true\n",
        f"[unix_http_server]\nfile={var}/supervisor.sock\nchmod=0700\n",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
        f"[supervisorctl]\nserverurl=unix://{var}/supervisor.sock\n",
        # the processes of one group are told to stop at once, groups one after the other: Redis when nobody needs it any more
        f"[group:panel]\nprograms={','.join(process.name for process in panel if process.name != 'redis')}\npriority=100\n",
    ]
    for process in panel:
        sections.append(
            f"[program:{process.name}]\ncommand={process.command}\nnumprocs={process.copies}\npriority={process.priority}\n"
            f"process_name=%(program_name)s{'-%(process_num)d' if process.copies > 1 else ''}\n"
            f"autorestart=true\nstartsecs=0\nstartretries=1000\nstopsignal=TERM\nstopwaitsecs={process.stop_seconds}\n"
            f"stopasgroup=false\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={var}/log/%(program_name)s-%(process_num)d.log\nstdout_logfile_maxbytes=10MB\nstdout_logfile_backups=2\n"
        )
    return "\n".join(sections)
