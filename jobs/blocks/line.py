"""A line of the preflight table in one breath: `line.ok("why")`, `line.refused("why", "what to do", "a command to paste")`."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.recipe import Check


@dataclass(frozen=True)
class Line:
    """key is completed by the node's name, so that a check may be made of every node."""

    key: str
    node: str
    title: str

    def ok(self, reason: str = "") -> Check:
        return Check(f"{self.key}#{self.node}", self.node, self.title, "ok", reason)

    def warning(self, reason: str, mend: str = "", command: str = "") -> Check:
        return Check(f"{self.key}#{self.node}", self.node, self.title, "warning", reason, mend, command)

    def refused(self, reason: str, mend: str, command: str = "") -> Check:
        return Check(f"{self.key}#{self.node}", self.node, self.title, "refused", reason, mend, command)
