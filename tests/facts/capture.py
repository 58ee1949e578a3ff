"""Record what the facts script says of real hosts of the lab: `python tests/facts/capture.py`, after a change of the script.

The files beside this one are those answers, as they came; `tests/unit/test_facts_parse.py` reads them.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from lab import Host, Lab  # noqa: E402
from remote import look  # noqa: E402
from remote.command import text_value  # noqa: E402
from remote.facts import FactsRequest  # noqa: E402

PRIMARIES = {"debian-15-primary": ("15", "debian"), "custom-13-primary": ("13", "custom"), "debian-18-primary": ("18", "debian")}


def capture(name: str, host: Host, user: str = "root", **request: object) -> None:
    command = look.facts_command(FactsRequest(**request))  # type: ignore[arg-type]
    answer = host.run(list(command.argv), user=user, input=text_value(command.stdin or "")).stdout
    (HERE / f"{name}.txt").write_text(answer)
    print(f"{name}: {len(answer)} characters")


def main() -> None:
    with Lab(name="capture") as lab:
        for name, (major, layout) in PRIMARIES.items():
            host = lab.up(name, postgres=major, layout=layout)
            capture(name, host, "ops", reach=((host.ip, 22), (host.ip, 1)), paths=("/etc/hostname", "/srv", "/nowhere"))
            host.down()
        stopped = lab.up("stopped", postgres="17", layout="cocca")
        stopped.pg_stop()
        capture("cocca-17-stopped", stopped, "postgres")
        stopped.down()
        pair = lab.source_page_pair()
        capture("cocca-11-primary", pair.primary)
        capture("cocca-11-standby", pair.standby, paths=(f"{pair.standby.data_directory}/recovery.conf",))
        bare = lab.up("bare", postgres="15", create=False)
        capture("debian-bare", bare)
        bare.run(["useradd", "guest"])
        capture("debian-guest", bare, "guest", data_directory="/root/pg/data")


if __name__ == "__main__":
    main()
