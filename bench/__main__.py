"""`make bench ARGS='[--only switchover,promote] [--megabytes 2048] [--runs 3]'`: a table, and bench/latest.json.

Nothing here is asserted: numbers are for people, and for comparing with the raw tool in the same run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from bench import copying, pages, planning, promote, rejoin, streaming, switchover, viewers, watching
from bench.rows import LATEST, Row, table, write
from bench.stage import Stage

BENCHES: dict[str, Callable[[Stage], Sequence[Row]]] = {
    "copy": copying.full_speed,
    "link": copying.slow_link,
    "plan": planning.three_hosts,
    "page": pages.first_byte,
    "stream": streaming.line_to_client,
    "rejoin": rejoin.by_method,
    "switchover": switchover.write_gap,
    "promote": promote.first_write,
    "collector": watching.thousand_nodes,
    "viewers": viewers.live,
    "fleet": viewers.fleet,
    "year": viewers.year,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS='…'", description=__doc__)
    parser.add_argument("--only", default=",".join(BENCHES), help=f"of: {', '.join(BENCHES)}")
    parser.add_argument("--megabytes", type=int, default=2048, help="size of the copied database")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    chosen = options.only.split(",")
    rows: list[Row] = []
    with Stage.set(options.megabytes if {"copy", "link", "rejoin"} & set(chosen) else 64, options.runs) as stage:
        for name in chosen:
            print(f"— {name}", flush=True)
            rows += BENCHES[name](stage)
    print(table(rows))
    if chosen == list(BENCHES):
        write(rows)
        print(f"written to {LATEST.relative_to(LATEST.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
