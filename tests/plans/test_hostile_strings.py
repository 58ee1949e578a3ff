"""Hostile strings through every kind's plan, and its commands through a real shell: each word arrives as it was meant, and nothing
else runs. The program of a command is replaced by one that prints what it was given.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_plans import CASES, situation

import remote
from jobs.blocks.scene import SCRIPTS
from jobs.kinds import KINDS
from jobs.recipe import NodeSpec, ParamsError, World
from remote import config, postgres
from remote.command import Command, Detached, Secret, WriteFile, text_value
from remote.detached import RUNNER
from remote.facts import Facts
from remote.layouts import why_not

REMOTE = Path(remote.__file__).parent
SIGNS = [
    "$(touch owned)", "`touch owned`", "; touch owned;", "' ; touch owned '", '" ; touch owned "', "-rf", "--", "%f%p%r", "*", "~",
    "{mode}", "\\", "$HOME", "é\u202e字", "&& touch owned", "| touch owned", "#", "!", "$'x'", "a b",
]  # fmt: skip
ODD = st.one_of(st.sampled_from(SIGNS), st.text(" '\"$`\\;&|<>(){}[]*?!#~%=-\u00e9", max_size=4))
NAUGHTY = st.lists(ODD, min_size=1, max_size=3).map("".join)
OWN_PATHS = ("data_directory", "config_directory", "bin_directory", "wal_archive_directory", "log_file")
FEW = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def hostile(path: Path, said: str) -> tuple[Any, Any, World] | None:
    """The case with `said` in every path, command, password and parameter that takes free text."""
    case = json.loads(path.read_text())
    brief, world = situation(case)
    nodes, moved = {}, {}
    for name, spec in brief.nodes.items():
        own = {field: f"{getattr(spec, field)}/{said}" for field in OWN_PATHS}
        if any(why_not(field, value) for field, value in own.items()):
            return None  # refused where it is typed, and where a host says it
        found = world.nodes[name]
        nodes[name] = replace(spec, **own)
        moved[name] = moved_to(found, spec, nodes[name]) if isinstance(found, Facts) else found
    secrets = {purpose: hostile_secret(purpose, secret, said) for purpose, secret in brief.secrets.items()}
    params = hostile_params(case, said)
    with suppress(ParamsError):
        return KINDS[case["kind"]].params(params), replace(brief, nodes=nodes, secrets=secrets), World(moved, world.notes)
    return KINDS[case["kind"]].params(case["params"]), replace(brief, nodes=nodes, secrets=secrets), World(moved, world.notes)


def hostile_secret(purpose: str, secret: Secret, said: str) -> Secret:
    return secret if "key" in purpose else Secret(secret.name, secret.value + ascii(said))


def hostile_params(case: dict[str, Any], said: str) -> dict[str, Any]:
    """Free text only: names of nodes are chosen from a list."""
    params = dict(case["params"])
    if "value" in params:
        params["value"] = said
    if "directory" in params:
        params["directory"] = f"/srv/{said}"
    return params


def moved_to(facts: Facts, before: NodeSpec, after: NodeSpec) -> Facts:
    """The same host, whose things lie at the hostile paths."""

    def there(path: str) -> str:
        for field in sorted(OWN_PATHS, key=lambda one: -len(getattr(before, one))):
            old = getattr(before, field)
            if path == old or path.startswith((f"{old}/", f"{old}.")):
                return getattr(after, field) + path[len(old) :]
        return path

    clusters = [
        replace(
            one,
            data_directory=there(one.data_directory),
            bin_directory=there(one.bin_directory),
            config_file=there(one.config_file),
        )
        for one in facts.clusters
    ]
    installations = [replace(one, bin_directory=there(one.bin_directory)) for one in facts.installations]
    paths = {there(path): found for path, found in facts.paths.items()}
    return replace(facts, clusters=tuple(clusters), installations=tuple(installations), paths=paths)


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def commands_of(path: Path, said: str) -> Iterator[Command | WriteFile]:
    found = hostile(path, said)
    if found is None:
        return
    params, brief, world = found
    kind = KINDS[json.loads(path.read_text())["kind"]]
    if any(check.level == "refused" for check in kind.checks(params, brief, world)):
        return
    for step in kind.steps(params, brief, world):
        for action in step.runs(world):
            if isinstance(action, Command | WriteFile):
                yield action
            elif isinstance(action, Detached):
                yield action.command


@pytest.fixture(scope="module")
def cage(tmp_path_factory) -> Path:
    """An empty directory, and a program that prints its name, its words and its input, each behind a NUL."""
    directory = tmp_path_factory.mktemp("cage")
    (directory / "bin").mkdir()
    (directory / "work").mkdir()
    shown = directory / "bin" / "shown"
    shown.write_text('#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done\ncat\n')
    shown.chmod(shown.stat().st_mode | stat.S_IXUSR)
    return directory


def in_cage(words: list[str], cage: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(["/bin/sh", *words], input=stdin, capture_output=True, check=True, cwd=cage / "work", env=environment)


def given_to_the_program(command: Command, cage: Path) -> tuple[list[str], str]:
    """What the program of this command gets when a real shell runs the command's text with another program in its place."""
    shown = str(cage / "bin" / "shown")
    caged = replace(command, argv=(shown, *command.argv), directory=str(cage / "work"))
    stdin = text_value(command.stdin) if command.stdin is not None else ""
    done = in_cage(["-c", caged.text], cage, stdin.encode())
    *words, rest = done.stdout.decode().split("\0")
    return words, rest


@pytest.mark.parametrize("path", CASES, ids=named)
@FEW
@given(said=NAUGHTY)
def test_every_command_of_every_kind_arrives_word_by_word_and_runs_nothing_else(cage, path, said):
    seen: set[tuple[str, ...]] = set()
    for action in commands_of(path, said):
        if isinstance(action, Command) and action.argv not in seen:
            seen.add(action.argv)
            stdin = text_value(action.stdin) if action.stdin is not None else ""
            assert given_to_the_program(action, cage) == (list(action.argv), stdin)
    assert os.listdir(cage / "work") == []


@pytest.mark.parametrize(
    "path",
    [path for path in CASES if path.parent.name in ("setup", "switchover", "rebuild")],
    ids=named,
)
@FEW
@given(said=NAUGHTY)
def test_what_a_shell_or_a_server_reads_line_by_line_keeps_its_lines(cage, path, said):
    """settings, guard.settings: assignments and nothing else. postgresql.conf: every line of the block is one assignment."""
    for action in commands_of(path, said):
        if not isinstance(action, WriteFile):
            continue
        text, name = text_value(action.text), action.path.rpartition("/")[2]
        if name in ("settings", "guard.settings"):
            names = [line.partition("=")[0] for line in text.splitlines()]
            script = f'{text}\nfor name in {" ".join(names)}; do eval "printf \'%s\\\\0\' \\"\\$$name\\""; done'
            in_cage(["-euc", script], cage)
        elif name in ("targets", "guard.peers", "known_hosts"):
            assert all(len(line.split(" ")) in (3, 4) for line in text.splitlines())
        elif name == "postgresql.conf":
            block = config.block_of(text)
            assert block is not None
            assert config.unreadable_lines("\n".join(block.lines)) == ()
        elif name == "authorized":
            assert all(line.startswith('command="') for line in text.splitlines())
    assert os.listdir(cage / "work") == []


@cache
def scripts() -> list[Path]:
    return [*sorted(SCRIPTS.glob("*.sh")), *sorted(REMOTE.glob("*.sh"))]


@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.name)
@pytest.mark.parametrize(
    "said", ["$(touch owned)", "`touch owned`;touch owned", "' \" ; touch owned", "-rf", "* ?", "a\ntouch owned"]
)
def test_no_script_runs_what_it_is_given(tmp_path, script, said):
    """In an empty directory, where of all programs `touch` alone can be had, absolute or not."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "bin" / "touch").symlink_to("/usr/bin/touch")
    environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "work")}
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            ["/bin/sh", "-c", script.read_text(), "pgpanel", f"{tmp_path}/nowhere/{said}", *[said] * 15], input=b"",
            capture_output=True, timeout=3, check=False, cwd=tmp_path / "work", env=environment,
        )  # fmt: skip
    assert not {"owned", "x"} & set(os.listdir(tmp_path / "work"))


@given(NAUGHTY, NAUGHTY)
def test_a_detached_script_is_one_word_of_its_start(said, other):
    command = Command(("true", said, other))
    runner = RUNNER.replace("@COMMAND@", command.text)
    checked = subprocess.run(["/bin/sh", "-n"], input=runner.encode(), capture_output=True, check=False)
    assert checked.returncode == 0


@given(NAUGHTY | st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"])))
def test_a_setting_reads_back_as_it_was_written(said):
    assert config.parse_settings("\n".join(config.setting_lines({"archive_command": said}))) in ({"archive_command": said}, {})
    assert "\n" not in config.quoted(said)


@pytest.mark.parametrize("said", ["a\nb", "a\rb", "a\0b"])
def test_what_no_line_can_hold_is_refused(said):
    with pytest.raises(ValueError, match=r"line break|NUL"):
        config.quoted(said)


@given(NAUGHTY)
def test_a_conninfo_reads_back_as_it_was_written(said):
    from psycopg2.extensions import parse_dsn

    assert parse_dsn(f"host=x application_name={postgres.conninfo_quoted(said)} port=1") == {
        "host": "x",
        "application_name": said,
        "port": "1",
    }
