"""The rows that a bench prints and writes: one measure each, medians."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

LATEST = Path(__file__).parent / "latest.json"


@dataclass(frozen=True)
class Row:
    """ours, limit, peer: medians in `unit`. limit: what the raw tool alone needs. lost: acknowledged rows lost."""

    measure: str
    unit: str
    ours: float
    limit: float | None = None
    peer: float | None = None
    peer_name: str | None = None
    runs: int = 1
    min: float | None = None
    max: float | None = None
    lost: int | None = None


def row(
    measure: str, unit: str, ours: Sequence[float], limit: Sequence[float] = (), limit_name: str | None = None, *,
    peer: Sequence[float] = (), peer_name: str | None = None, lost: int | None = None,
) -> Row:  # fmt: skip
    """A row out of our runs, the raw tool's and, where there is one, another product's."""
    return Row(
        measure,
        unit,
        _rounded(statistics.median(ours)),
        limit=_rounded(statistics.median(limit)) if limit else None,
        peer=_rounded(statistics.median(peer)) if peer else None,
        peer_name=peer_name or limit_name,
        runs=len(ours),
        min=_rounded(min(ours)),
        max=_rounded(max(ours)),
        lost=lost,
    )


def _rounded(number: float) -> float:
    return round(number, 3)


def table(rows: Sequence[Row]) -> str:
    """The table for people; the ratio is ours to the limit."""
    names = ("limit", "ratio", "peer", "runs", "min", "max", "lost")
    head = f"{'measure':66} {'unit':>5} {'ours':>9} " + " ".join(
        f"{name:>{width}}" for name, width in zip(names, (9, 6, 9, 4, 9, 9, 4), strict=True)
    )
    lines = [head]
    for one in rows:
        ratio = f"{one.ours / one.limit:.2f}" if one.limit else ""
        limit = "" if one.limit is None else f"{one.limit:.2f}"
        lines.append(
            f"{one.measure:66} {one.unit:>5} {one.ours:9.2f} {limit:>9} {ratio:>6} {_shown(one.peer)} {one.runs:4}"
            f" {_shown(one.min)} {_shown(one.max)} {'' if one.lost is None else one.lost:>4}"
        )
    return "\n".join(lines)


def _shown(number: float | None) -> str:
    return f"{'' if number is None else format(number, '.2f'):>9}"


def write(rows: Sequence[Row], path: Path = LATEST) -> None:
    """With date and machine, so that a committed run says what it was measured on."""
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "machine": f"{platform.system()} {platform.release()}, {_cpu()}",
        "rows": [asdict(one) for one in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()
