"""What can go wrong, each with the exit code that scripts go by (docs/client.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

FAILED, REFUSED, NOT_SIGNED_IN, UNREACHABLE, NOT_CONFIRMED = 1, 3, 4, 5, 6


class ClientError(click.ClickException):
    """Shown as one message; `exit_code` is the process's."""


class JobFailed(ClientError):
    exit_code = FAILED


class Refused(ClientError):
    """The panel said no. problem: its problem+json."""

    exit_code = REFUSED

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = problem
        detail = str(problem.get("detail") or problem.get("title") or "the panel refused")
        super().__init__("\n".join([detail, *_faults(problem.get("errors") or [], detail)]))


class NotSignedIn(ClientError):
    exit_code = NOT_SIGNED_IN


class NotSetUp(ClientError):
    exit_code = NOT_SIGNED_IN


class Unreachable(ClientError):
    exit_code = UNREACHABLE


class NotConfirmed(ClientError):
    exit_code = NOT_CONFIRMED


def _faults(faults: Sequence[Mapping[str, str]], detail: str) -> list[str]:
    lines = []
    for fault in faults:
        where = " ".join(filter(None, (fault.get("host"), fault.get("field"))))
        said = fault.get("message", "")
        if said and said not in detail:
            lines.append(f"  {where}: {said}" if where else f"  {said}")
        if fault.get("mend"):
            lines.append(f"  → {fault['mend']}")
    return lines
