"""The results as a page that a sceptic reads, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from proof.cells import Result

NOT_RUN = """
## What no run here shows

- **9.0 to 9.6, 10 and 12**: no build of them was at hand. 9.1, 9.4 and 9.6 are held against what real servers of that age
  answered (`tests/plans`, `tests/facts`); 9.0, 9.2, 9.3, 9.5, 10 and 12 against their manuals' names alone
  (`remote/versions.py`). With a build of one: `PGPANEL_PROOF_CELLS=/its/prefix-custom-root pytest tests/lab/test_every_kind.py`.
- **systemd, RHEL and SELinux**: the hosts of the lab are namespaces with an init of their own, and Debian's files. What is
  different there is written down and tested as text (units, drop-ins, `restorecon`), and was never operated.
"""
HEAD = """\
# Proof: every kind of job, on real servers

Made by `make proof`; do not edit. Each row is one night on three hosts of the lab (`tests/lab/every_kind.py`): a pair is set up,
a third joins, settings and passwords change, it is rehearsed and switched over under a writer, the primary is killed with rows
that had left it to nobody and is replaced without losing one, the old one is rebuilt, put back and rebuilt again, one that came
back writable is fenced, one leaves. A number is the seconds of that job; everything runs on one machine, {side_by_side} nights at a
time.

**{passed} of {count} rows passed**, commit `{commit}`, {when}, {machine}.

"""


def page(results: Sequence[Result], kinds: Iterable[str], machine: str, when: str, side_by_side: int) -> str:
    passed, commit = sum(one.is_passed for one in results), results[0].commit if results else "–"
    head = HEAD.format(passed=passed, count=len(results), commit=commit, when=when, machine=machine, side_by_side=side_by_side)
    names = list(kinds)
    rows = [
        "| version | layout | login | " + " | ".join(name.replace("_", " ") for name in names) + " | whole |",
        "|---|---|---|" + "---:|" * (len(names) + 1),
    ]
    rows += [_row(one, names) for one in results]
    failed = [one for one in results if not one.is_passed]
    told = (
        ["", "## What failed", "", *(f"- **{one.cell}**, {one.failed_in}: {_brief(one.error)}" for one in failed)] if failed else []
    )
    return head + "\n".join([*rows, *told]) + "\n" + NOT_RUN


def _row(result: Result, names: Sequence[str]) -> str:
    version, layout, login = result.words
    cells = [f"{result.kinds[name]:.1f}" if name in result.kinds else "–" for name in names]
    whole = f"{result.seconds:.0f} s" if result.is_passed else "**failed**"
    return f"| {version} | {layout} | {login} | " + " | ".join(cells) + f" | {whole} |"


def _brief(error: str) -> str:
    line = next((line for line in error.splitlines() if line.strip()), "")
    return line[:300].replace("|", "\\|")


def as_json(results: Sequence[Result], machine: str, when: str) -> dict[str, Any]:
    return {"when": when, "machine": machine, "results": [asdict(one) for one in results]}
