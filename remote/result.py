"""What a command that ran to its end gave back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """stdout and stderr are data from a host: decoded as UTF-8, what is not UTF-8 replaced, escape codes kept as they came.

    exit_code: as the shell counts it; 128 + n when signal n ended the command. seconds: from its start on the host.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
