"""Log lines that nobody can forge: what a person, a host or a header put into one stays in it, its control characters visible."""

from __future__ import annotations

import logging

from remote.visible import visible, visible_lines


class Line(logging.Formatter):
    """One record, one line. Where the panel itself writes several (a traceback), the further ones are indented: none of them can
    pass for a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        first, *further = visible_lines(super().format(record)).split("\n")
        return "\n    ".join([first, *further])

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        said = super().formatMessage(record)
        return said if "\n" in str(record.msg) else visible(said)
