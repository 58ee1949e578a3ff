"""Text that somebody else wrote, as it may stand in a log, a message or a database: one line, every control character visible.

What a host prints may draw over a terminal, forge the next line of a log, turn the reading direction round, or hold a NUL, which
PostgreSQL keeps in no text. Each such character is shown by its picture or its number instead.
"""

from __future__ import annotations

TAB, NEWLINE = 9, 10
PICTURES: dict[int, str] = {code: chr(0x2400 + code) for code in range(32) if code != TAB} | {0x7F: "\u2421"}
# C1 controls, line and paragraph separators, what has no width, and what changes the direction of reading
_UNSEEN = (*range(0x80, 0xA0), 0xAD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
INVISIBLE: dict[int, str] = PICTURES | {code: f"<U+{code:04X}>" for code in _UNSEEN}
_OF_LINES = {code: shown for code, shown in INVISIBLE.items() if code != NEWLINE}
_SURROGATES = dict.fromkeys(range(55296, 57344), "�")


def visible(text: str) -> str:
    """One line, whatever it was."""
    return text.translate(INVISIBLE)


def visible_lines(text: str) -> str:
    """Its line breaks stay (`\\n` only; a carriage return is none)."""
    return text.replace("\r\n", "\n").translate(_OF_LINES)


def storable(text: str) -> str:
    """As every database takes it: without NUL and without halves of surrogate pairs; all else as it is."""
    return text.translate(_SURROGATES | {0: "\ufffd"}) if "\0" in text or not text.isprintable() else text


def brief_line(text: str, most: int) -> str:
    """The text in one visible line of at most `most` characters."""
    line = visible(" ".join(text[: most * 4].split()))
    return line if len(line) <= most else f"{line[:most]}…"
