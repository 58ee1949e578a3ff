"""How a cluster stands, for Nagios and Icinga: one state, one line, performance data. Pure, of what the pages show.

What is not known is UNKNOWN and `U`, never 0. Of several states the gravest counts: critical, warning, unknown, ok.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from monitor.standing import NodeStanding, Standing
from pgpanel.templatetags.show import bytes_shown, seconds_shown
from remote.config import setting_bytes

State = Literal["ok", "warning", "critical", "unknown"]
EXIT_CODES: dict[State, int] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
GRAVEST_FIRST: tuple[State, ...] = ("critical", "warning", "unknown", "ok")
OF_STATE: dict[str, State] = {
    "primary": "ok", "streaming": "ok", "idle": "ok", "catching-up": "ok",
    "paused": "warning", "stalled": "warning", "bare": "warning",
    "disconnected": "critical", "unreachable": "critical", "stopped": "critical", "second-primary": "critical",
    "stale": "unknown", "unknown": "unknown",
}  # fmt: skip
"""By `monitor.standing.WORDS`; catching up is a matter of the thresholds."""
THRESHOLD = r"^([0-9]{1,12}(s|min|h|B|kB|MB|GB|TB)(,[0-9]{1,12}(s|min|h|B|kB|MB|GB|TB))?)?$"
SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Threshold:
    """How far behind is too far; None: whatever it is."""

    bytes: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, text: str) -> Threshold:
        """ "16MB", "30s" or both with a comma between, as `THRESHOLD` has it."""
        found: dict[str, int] = {}
        for number, unit in re.findall(r"([0-9]+)([a-zA-Z]+)", text):
            if unit in SECONDS:
                found["seconds"] = int(number) * SECONDS[unit]
            else:
                found["bytes"] = setting_bytes(number + unit, "B") or 0
        return cls(**found)

    def is_reached(self, bytes_behind: int | None, seconds_behind: float | None) -> bool:
        is_by_bytes = self.bytes is not None and bytes_behind is not None and bytes_behind >= self.bytes
        is_by_seconds = self.seconds is not None and seconds_behind is not None and seconds_behind >= self.seconds
        return is_by_bytes or is_by_seconds


@dataclass(frozen=True)
class Checked:
    state: State
    summary: str
    performance: str

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.state]


def checked(standing: Standing, warning: Threshold, critical: Threshold, only: str = "") -> Checked:
    """only: the name of a node; else all of the cluster, and that it has a primary and a standby."""
    nodes = [node for node in standing.nodes if only in ("", node.name)]
    found = [_of_node(node, warning, critical) for node in nodes]
    if not only:
        found += _of_cluster(standing)
    state = next(state for state in GRAVEST_FIRST if any(one == state for one, _text in found) or state == "ok")
    # what is wrong stands first: a pager shows no more than the beginning
    texts = [text for grave in GRAVEST_FIRST for one, text in found if one == grave]
    performance = [word for node in nodes for word in _performance(node, warning, critical)]
    return Checked(state, f"{standing.cluster.name}: {'; '.join(texts)}", " ".join(performance))


def _of_cluster(standing: Standing) -> Iterator[tuple[State, str]]:
    if not standing.nodes:
        yield "unknown", "it has no nodes"
    elif standing.primary is None:
        is_seen = any(node.state not in ("stale", "unknown") for node in standing.nodes)
        yield ("critical" if is_seen else "unknown"), "no primary is seen"
    if standing.nodes and not standing.standbys:
        yield "warning", "no standby is seen"


def _of_node(node: NodeStanding, warning: Threshold, critical: Threshold) -> tuple[State, str]:
    state = OF_STATE.get(node.state, "unknown")
    text = f"{node.name} {node.word}"
    if not node.is_standby or node.role != "standby":
        return state, text
    behind = (node.number.replay_bytes, node.number.replay_seconds)
    text += f", {bytes_shown(behind[0])} and {seconds_shown(behind[1])} behind"
    if state in ("ok", "warning"):
        if None in behind:
            state = "unknown" if state == "ok" else state
        if warning.is_reached(*behind):
            state = "warning"
        if critical.is_reached(*behind):
            state = "critical"
    return state, text


def _performance(node: NodeStanding, warning: Threshold, critical: Threshold) -> Sequence[str]:
    """'label'=value[unit];warning;critical;minimum. Of a stale look the numbers are not known any more."""
    if node.role != "standby":
        return ()
    is_known = OF_STATE.get(node.state, "unknown") != "unknown"
    rows = (
        ("lag", "B", node.number.replay_bytes, warning.bytes, critical.bytes),
        ("delay", "s", node.number.replay_seconds, warning.seconds, critical.seconds),
    )
    return [
        f"'{node.name}_{name}'={_number(value) + unit if is_known and value is not None else 'U'};{_number(warn)};{_number(crit)};0"
        for name, unit, value, warn, crit in rows
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
