"""postgresql.conf, postgresql.auto.conf and recovery.conf as text in, text out: the managed block, values and their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

BLOCK_START = "# >>> pgpanel: managed block"
BLOCK_END = "# <<< pgpanel"
MASK = "********"

_NAME = r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)*"
_STRING = r"'(?:[^'\\\n]|\\.|'')*'"
_ASSIGNMENT = re.compile(rf"\s*({_NAME})\s*(?:=\s*)?({_STRING}|[^\s#']+)\s*(?:#.*)?")
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)|''")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?|[A-Za-z_]+")
_INCLUDES = ("include", "include_if_exists", "include_dir")


class ConfigDamaged(ValueError):
    """A file that cannot be written back safely: its block cannot be told from the rest, or it holds a password that was not read.

    The message says what to mend.
    """


def lines_with_ends(text: str) -> list[str]:
    """As PostgreSQL counts them: a newline ends a line, and not the ten other characters that `str.splitlines` knows."""
    return list(StringIO(text))


def lines_of(text: str) -> list[str]:
    return [line.removesuffix("\n").removesuffix("\r") for line in lines_with_ends(text)]


@dataclass(frozen=True)
class Block:
    """The managed block of a file: its lines without the markers; `who` is what its first marker says."""

    lines: tuple[str, ...]
    who: str
    first_line: int
    last_line: int


def block_of(text: str) -> Block | None:
    """The managed block, or None. ConfigDamaged when a marker is missing or there are two."""
    lines = lines_of(text)
    starts = [number for number, line in enumerate(lines) if line.startswith(BLOCK_START)]
    ends = [number for number, line in enumerate(lines) if line.startswith(BLOCK_END)]
    if not starts and not ends:
        return None
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        where = ", ".join(str(number + 1) for number in sorted(starts + ends))
        raise ConfigDamaged(f"the managed block's markers stand on line {where}: one start and then one end belong there")
    who = lines[starts[0]].removeprefix(BLOCK_START).strip().removeprefix("(").removesuffix(")")
    return Block(tuple(lines[starts[0] + 1 : ends[0]]), who, starts[0] + 1, ends[0] + 1)


def with_block(text: str, block_lines: Sequence[str], who: str, at: str = "end") -> str:
    """The text with these lines as its managed block; unchanged when they already are.

    at: "end" for postgresql.conf, where the last line of a name wins; "start" for pg_hba.conf, where the first match wins.
    """
    found = block_of(text)
    if found and found.lines == tuple(block_lines) and _stands(text, found, at):
        return text
    rest = without_block(text)
    _refuse_masked(rest)
    block = "\n".join((f"{BLOCK_START} ({who}, do not edit; changed by pgpanel only)", *block_lines, BLOCK_END)) + "\n"
    if at == "start":
        return block + rest
    return rest + ("" if rest.endswith("\n") or not rest else "\n") + block


def _refuse_masked(text: str) -> None:
    """Facts come without passwords: written back, the stars would take the place of the real one."""
    masked = [str(number) for number, line in enumerate(lines_of(text), 1) if MASK in line]
    if masked:
        raise ConfigDamaged(f"line {', '.join(masked)} holds a password, which pgpanel does not read: keep it in a file of its own")


def _stands(text: str, block: Block, at: str) -> bool:
    """Whether nothing that counts stands between the block and its place."""
    lines = lines_of(text)
    outside = lines[: block.first_line - 1] if at == "start" else lines[block.last_line :]
    return all(not line.strip() or line.lstrip().startswith("#") for line in outside)


def without_block(text: str) -> str:
    found = block_of(text)
    if not found:
        return text
    lines = lines_with_ends(text)
    return "".join(lines[: found.first_line - 1] + lines[found.last_line :])


def setting_lines(settings: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} = {quoted(value)}" for name, value in settings.items())


def quoted(value: str) -> str:
    """A value as postgresql.conf and (from 9.1) recovery.conf read it. A newline or NUL cannot be written there: ValueError."""
    if any(character in value for character in "\n\r\0"):
        raise ValueError("a setting cannot contain a line break or a NUL byte")
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def unquoted(word: str) -> str:
    """The value that PostgreSQL reads from a word of its configuration file."""
    if not word.startswith("'"):
        return word
    return _ESCAPE.sub(_unescaped, word[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    escape = found[1]
    if escape is None:
        return "'"
    if escape[0] in "01234567":
        return chr(int(escape, 8) & 0xFF)
    return _LETTERS.get(escape, escape)


@dataclass(frozen=True)
class Assignment:
    """One line of a configuration file; an `include…` directive is one too. Names are in lower case."""

    name: str
    value: str
    line: int


def parse_assignments(text: str) -> tuple[Assignment, ...]:
    """All lines that say something, in order; lines that PostgreSQL would refuse are left out (`unreadable_lines`)."""
    found = ((number, _ASSIGNMENT.fullmatch(line)) for number, line in enumerate(lines_of(text), 1))
    return tuple(Assignment(match[1].lower(), unquoted(match[2]), number) for number, match in found if match)


def unreadable_lines(text: str) -> tuple[int, ...]:
    """Numbers of lines that are neither empty, comment nor assignment."""
    return tuple(
        number
        for number, line in enumerate(lines_of(text), 1)
        if line.strip() and not line.lstrip().startswith("#") and not _ASSIGNMENT.fullmatch(line)
    )


def parse_settings(text: str) -> dict[str, str]:
    """name → value of one file, the last line of a name winning; includes are not followed (`includes`)."""
    return {item.name: item.value for item in parse_assignments(text) if item.name not in _INCLUDES}


def includes(text: str) -> tuple[Assignment, ...]:
    return tuple(item for item in parse_assignments(text) if item.name in _INCLUDES)


def overridden_by_auto(auto_text: str, names: Iterable[str]) -> dict[str, str]:
    """Which of these names postgresql.auto.conf (ALTER SYSTEM) sets, and to what: it wins over postgresql.conf, block or not."""
    auto = parse_settings(auto_text)
    return {name: auto[name] for name in names if name in auto}


def conninfo_words(text: str) -> dict[str, str]:
    """The words of a conninfo string of the form `host=… port='…'`; {} for a URI."""
    found = re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s']+)", text)
    return {name: re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith("'") else word for name, word in found}


def without_settings(text: str, names: Iterable[str]) -> str:
    """The text without the lines that set these names (an auto.conf freed of what contradicts the managed block)."""
    unwanted = set(names)
    gone = {item.line for item in parse_assignments(text) if item.name in unwanted}
    return "".join(line for number, line in enumerate(lines_with_ends(text), 1) if number not in gone)


_BYTES = {"": 1, "B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}
_QUANTITY = re.compile(r"\s*(-?\d{1,19}(?:\.\d{1,19})?)\s*([A-Za-z]{0,9})\s*", re.ASCII)


def setting_bytes(value: str, unit: str = "") -> int:
    """`16MB` → bytes; a bare number counts in `unit`, the one pg_settings names ("8kB", "16MB", "kB"). -1 stays -1 (no limit)."""
    number, given = _quantity(value)
    if number == -1:
        return -1
    multiple, name = _unit(given or unit)
    if name not in _BYTES:
        raise ValueError(f"{value!r} is not a size")
    return int(number * multiple * _BYTES[name])


def setting_milliseconds(value: str, unit: str = "ms") -> float:
    """`5min` → 300000.0; a bare number counts in `unit` ("ms", "s", "min"). -1 stays -1 (off)."""
    number, given = _quantity(value)
    if number == -1:
        return -1
    name = given or unit
    if name not in _MILLISECONDS:
        raise ValueError(f"{value!r} is not a duration")
    return number * _MILLISECONDS[name]


def is_same_value(value: str, other: str, unit: str = "") -> bool:
    """Whether two spellings mean the same: `on`/`true`, `1GB`/`1024MB`/`131072` in 8kB, `30s`/`30000`; words by their text."""
    return value == other or _comparable(value, unit) == _comparable(other, unit)


def _comparable(value: str, unit: str) -> object:
    bare = value.strip()
    if bare.lower() in ("on", "true", "yes"):
        return True
    if bare.lower() in ("off", "false", "no"):
        return False
    try:
        number, given = _quantity(bare)
    except ValueError:
        return bare
    if not (given or unit):
        return number  # not as bytes: 0.5 and 0.9 would both be none
    for convert in (setting_bytes, setting_milliseconds):
        try:
            return (convert.__name__, convert(bare, unit))
        except ValueError:
            continue
    return bare


def _quantity(value: str) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(value)
    if not found:
        raise ValueError(f"{value!r} is not a number with a unit")
    return float(found[1]), found[2]


def _unit(unit: str) -> tuple[int, str]:
    """`8kB` → (8, "kB")."""
    digits = re.match(r"\d*", unit)
    length = digits.end() if digits else 0
    return int(unit[:length] or 1), unit[length:]


_PASSWORD = re.compile(
    r"(password\s*=\s*)(\\'(?:[^\\]|\\[^'])*?\\'|''(?:[^'\\]|\\.)*?''|'(?:[^'\\]|\\.)*'|[^\s'\\]+)", re.IGNORECASE
)
_HBA_SECRET = re.compile(r'"(ldapbindpasswd|radiussecrets)=[^"]*"|(ldapbindpasswd|radiussecrets)=(?:"[^"]*"|[^\s"]+)')
_URI_PASSWORD = re.compile(r"(postgres(?:ql)?://[^:@/\s']{0,256}:)[^@\s']{1,1024}@", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Conninfo passwords (key/value and URI form, however quoted), and pg_hba.conf's to LDAP and RADIUS, replaced by stars."""
    text = _HBA_SECRET.sub(lambda found: f'"{found[1]}={MASK}"' if found[1] else f"{found[2]}={MASK}", text)
    return _URI_PASSWORD.sub(rf"\1{MASK}@", _PASSWORD.sub(rf"\1{MASK}", text))
