"""From a line printed on a host to its event at the client's socket: SSH, redaction, database, Redis, server-sent events."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import cast

from bench.pages import Visitor
from bench.planning import CLUSTER
from bench.rows import Row
from bench.stage import Stage

LINES = 200


def line_to_client(stage: Stage) -> Sequence[Row]:
    stage.lab["h1"].run(["rm", "-f", "/var/lib/postgresql/chatter.done"])
    visitor = Visitor(stage)
    environment = stage.panel.environment | {"DJANGO_SETTINGS_MODULE": "pgpanel.settings"}
    chatter = subprocess.Popen(
        [sys.executable, "-m", "bench.chatter", CLUSTER, "pg1", str(LINES)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert chatter.stdin is not None
    assert chatter.stdout is not None
    job_id = chatter.stdout.readline().strip()
    delays_ms: list[float] = []
    answer = cast(HTTPResponse, visitor.opener.open(f"{visitor.url}live/?topic=job:{job_id}&after=0", timeout=60))
    listener = threading.Thread(target=_listen, args=(answer, delays_ms), daemon=True)
    listener.start()
    chatter.stdin.write("go\n")
    chatter.stdin.flush()
    assert chatter.wait(120) == 0
    listener.join(5)
    ordered = sorted(delays_ms)
    return [
        Row(
            "log line, from host to client: p95", "ms", round(ordered[int(len(ordered) * 0.95)], 1),
            runs=len(ordered), min=round(ordered[0], 1), max=round(ordered[-1], 1), lost=LINES - len(ordered),
        ),
        Row("log line, from host to client: median", "ms", round(statistics.median(ordered), 1), runs=len(ordered)),
    ]  # fmt: skip


def _listen(answer: HTTPResponse, delays_ms: list[float]) -> None:
    """The hosts of the lab share this machine's clock: arrival minus what the line says."""
    name = ""
    for raw in answer:
        line = raw.decode().rstrip("\n")
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:") and name == "line":
            arrived = time.time()
            text = json.loads(line.removeprefix("data:"))["text"]
            if text.replace(".", "").isdigit():
                delays_ms.append((arrived - float(text)) * 1000)
        if len(delays_ms) == LINES:
            return
