"""How long a person waits for a plan of three hosts: facts over SSH, checks, steps, diffs, hash."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from bench.rows import Row, row
from bench.stage import Stage

CLUSTER = "planned"


def three_hosts(stage: Stage) -> Sequence[Row]:
    stage.add_cluster(CLUSTER, {"pg1": "h1", "pg2": "h2", "pg3": "h3"})
    arguments = ["job", "plan", "setup", "--cluster", CLUSTER, "--set", "primary=pg1", "--set", "standbys=pg2,pg3", "--json"]
    planned, commands = [], []
    for _run in range(stage.runs + 2):
        began = time.monotonic()
        job = json.loads(stage.panel.manage(*arguments, capture=True))
        commands.append(time.monotonic() - began)
        planned.append(job["planned_seconds"])
    return [
        row("plan for three hosts", "s", planned),
        row("plan for three hosts, with the start of the command", "s", commands),
    ]
