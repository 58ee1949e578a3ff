"""Commands as values: quoted by construction, with a shown face that holds no secret.

A builder (`remote/postgres.py`, a job kind) returns these; only `remote/host.py` runs them. A secret can travel in `stdin`
or in a written file, never in `argv`: `Command` refuses it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Secret:
    """A value that is sent to a host but never shown: `repr`, `str` and f-strings print its name only."""

    name: str
    value: str = field(repr=False)

    def __str__(self) -> str:
        return f"<{self.name}>"


VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OWNER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?(:[A-Za-z_][A-Za-z0-9_.-]*\$?)?")
MODE = re.compile(r"[0-7]{3,4}")

Text = str | Secret | tuple[str | Secret, ...]
"""Text with secrets in it: a tuple is its pieces, in order."""


def text_value(text: Text) -> str:
    """The text as sent to the host, secrets in clear."""
    pieces = text if isinstance(text, tuple) else (text,)
    return "".join(piece.value if isinstance(piece, Secret) else piece for piece in pieces)


def text_shown(text: Text) -> str:
    """The text as a person may read it: every secret is `<its name>`."""
    pieces = text if isinstance(text, tuple) else (text,)
    return "".join(str(piece) for piece in pieces)


def text_secrets(text: Text) -> tuple[Secret, ...]:
    pieces = text if isinstance(text, tuple) else (text,)
    return tuple(piece for piece in pieces if isinstance(piece, Secret))


def quoted(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Command:
    """One command on one host.

    argv: the program and its arguments, each one word for the shell whatever it contains.
    user: the account that it runs as ("" = whoever logs in; "root"; or the owner of the data directory, usually postgres).
    stdin: what it reads; the only place besides `WriteFile.text` where a secret may stand.
    timeout_seconds: after that the remote process group is ended and `CommandTimeout` is raised.
    mutates: False for a command that only reads; a mutating one takes the host's lock and proves its epoch first.
    accepts: exit codes that mean success.
    """

    argv: tuple[str, ...]
    user: str = ""
    stdin: Text | None = None
    environment: tuple[tuple[str, str], ...] = ()
    directory: str = ""
    timeout_seconds: float = 60.0
    mutates: bool = True
    accepts: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("an empty command")
        for word in (*self.argv, *(value for _name, value in self.environment), self.directory):
            if not isinstance(word, str):
                raise TypeError(f"a command takes plain words only, not {type(word).__name__}: a secret goes through stdin")
            if "\0" in word:
                raise ValueError("a word of a command cannot contain a NUL byte")
        for name, _value in self.environment:
            if not VARIABLE.fullmatch(name):
                raise ValueError(f"not the name of an environment variable: {name!r}")

    @property
    def text(self) -> str:
        """The command as the shell runs it (without becoming `user`: that depends on how one logs in)."""
        words = quoted(self.argv)
        if self.environment:
            words = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.environment) + " " + words
        return f"cd -- {shlex.quote(self.directory)} && {words}" if self.directory else words

    @property
    def shown(self) -> str:
        """What pages, plans, logs and runbooks print, and what a plan's hash covers: all that is run, without its secrets.

        Scripts are shown as their text, their arguments as `set --`, stdin as a here-document.
        """
        is_script = self.argv[:2] == ("sh", "-c") and not self.environment and not self.directory
        words = self._script_shown() if is_script else self.text
        if self.stdin is None:
            return words
        text = text_shown(self.stdin).rstrip()
        end = "EOF"
        while end in text.splitlines():
            end += "_"
        whole = f"{{\n{words.rstrip()}\n}}" if "\n" in words.strip() else words
        return f"{whole} <<'{end}'\n{text}\n{end}"

    def _script_shown(self) -> str:
        body, arguments = self.argv[2], self.argv[4:]
        return f"set -- {quoted(arguments)}\n{body}" if arguments else body

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return text_secrets(self.stdin) if self.stdin is not None else ()

    def as_user(self, user: str) -> Command:
        return replace(self, user=user)


def script(body: str, *arguments: str, **options: object) -> Command:
    """A short POSIX shell script; user input reaches it only as `$1`, `$2` … (`arguments`), never inside `body`.

    >>> script('mkdir -p -m 700 "$1"', "/srv/with space").text
    "sh -c 'mkdir -p -m 700 \\"$1\\"' pgpanel '/srv/with space'"
    """
    return Command(("sh", "-c", body, "pgpanel", *arguments), **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class WriteFile:
    """Put `text` at `path` by a temporary file, fsync and rename; the old file's diff is shown in the plan.

    The parent must exist; a symbolic link stays, what it points to is replaced. `owner` is `user[:group]`, `mode` an octal string.
    """

    path: str
    text: Text
    owner: str
    mode: str = "0600"

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or "\0" in self.path:
            raise ValueError(f"not an absolute path: {self.path!r}")
        if not OWNER.fullmatch(self.owner):
            raise ValueError(f"not an owner (user[:group]): {self.owner!r}")
        if not MODE.fullmatch(self.mode):
            raise ValueError(f"not a mode: {self.mode!r}")

    @property
    def shown(self) -> str:
        return f"write {self.path} ({self.owner}, {self.mode})"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return text_secrets(self.text)


@dataclass(frozen=True)
class Detached:
    """A long command that outlives whoever started it: pid, log and exit code live in files on the host (`Host.follow`).

    progress: how its output lines tell how far it is: a name from `remote.progress.READERS` ("pg_basebackup", "rsync", "").
    total_bytes: what 100 % is, when the output does not say.
    """

    command: Command
    progress: str = ""
    total_bytes: int = 0

    @property
    def shown(self) -> str:
        return self.command.shown

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return self.command.secrets


@dataclass(frozen=True)
class PanelAction:
    """What the panel itself does in a step, on no host (`jobs/by_panel.py`). verb: "fence" (run the node's fence command) or
    "quarantine" (the node must not become writable). text: how it is shown and what a plan's hash covers."""

    verb: str
    node: str
    text: str

    @property
    def shown(self) -> str:
        return self.text

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return ()


Action = Command | WriteFile | Detached | PanelAction


def shown_lines(actions: Sequence[Action]) -> tuple[str, ...]:
    return tuple(action.shown for action in actions)


def accounts(actions: Sequence[Action]) -> tuple[str, ...]:
    """The account that each runs as; "" for whoever logs in, and for a file, whose shown face names its owner."""
    commands = [action.command if isinstance(action, Detached) else action for action in actions]
    return tuple(command.user if isinstance(command, Command) else "" for command in commands)
