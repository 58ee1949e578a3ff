"""Commands as values: what a shell makes of them is what was meant, whatever the words contain; and no secret is in them."""

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remote.command import Command, Secret, WriteFile, script
from remote.envelope import one_line

HOSTILE = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.text("'\"\\$`!*?[]{}()<>|&;#~%=^ \t\n\r-é€😀\x1b\x7f\x81\x88", max_size=20),
    st.sampled_from(
        ["", "-n", "--", "-e", "$(id)", "`id`", "a'b", "'", "\\", "\n", "~", "*", "${HOME}", "\\n", "\\0101", "\\c", "%s"]
    ),
)
WORDS = st.lists(HOSTILE, min_size=1, max_size=6)
PRINT_ARGUMENTS = 'for word; do printf "%s\\0" "$word"; done'


def shell(text: str, stdin: str = "") -> str:
    return subprocess.run(["/bin/sh", "-c", text], input=stdin.encode(), capture_output=True, check=True).stdout.decode()


@given(WORDS)
@example(["$(touch /tmp/x)", "`id`", "a\nb", "-rf", "*", "é'\"\\"])
@settings(max_examples=150, deadline=None)
def test_every_word_of_a_command_reaches_the_program_unchanged(words: list[str]) -> None:
    assert shell(script(PRINT_ARGUMENTS, *words).text).split("\0")[:-1] == words


@given(HOSTILE, HOSTILE)
@example("$(id)", "-rf '$x'\n*")
@settings(max_examples=60, deadline=None)
def test_environment_and_directory_are_words_too(value: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent, "in " + name.replace("/", "_")[:40])
        directory.mkdir()
        command = Command(("sh", "-c", 'printf "%s\\0" "$VALUE"'), environment=(("VALUE", value),), directory=str(directory))
        assert shell(command.text).split("\0")[0] == value
        there = subprocess.run(
            ["/bin/sh", "-c", f"{Command(('pwd',), directory=str(directory)).text}"], capture_output=True, check=True
        )
        assert there.stdout.decode() == f"{directory}\n"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@example("\\0101\\n'$x'\n\n€\x81")
@settings(max_examples=150, deadline=None)
def test_a_script_travels_as_one_line_of_ascii_and_arrives_byte_by_byte(text: str) -> None:
    line = one_line(text)
    assert b"\n" not in line
    assert line.isascii()
    arrived = subprocess.run(
        ["/bin/sh", "-c", 'IFS= read -r s && printf %b "$s"'], input=line + b"\nrest", capture_output=True, check=True
    ).stdout
    assert arrived == text.encode()


@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_what_is_shown_of_a_script_does_what_the_command_does(words: list[str]) -> None:
    assert shell(script(PRINT_ARGUMENTS, *words).shown).split("\0")[:-1] == words


def test_what_is_shown_covers_arguments_so_that_a_confirmed_plan_means_one_thing() -> None:
    assert script('rm -rf -- "$1"', "/srv/a").shown != script('rm -rf -- "$1"', "/srv/b").shown


def test_what_is_shown_with_its_input_can_be_run() -> None:
    command = script('x=$(cat)\nprintf "%s %s" "$1" "$x"', "it's", stdin="a\nEOF\nb")
    assert shell(command.shown) == "it's a\nEOF\nb"


def test_a_secret_stands_neither_in_the_text_nor_in_what_is_shown_nor_in_a_repr() -> None:
    secret = Secret("replication password", "hunter2")
    command = Command(("psql", "-f", "-"), stdin=("ALTER ROLE x PASSWORD '", secret, "';"))
    for text in (command.text, command.shown, repr(command), str(command), f"{secret}"):
        assert "hunter2" not in text
    assert "<replication password>" in command.shown
    assert command.secrets == (secret,)


def test_a_secret_cannot_be_a_word_of_a_command() -> None:
    with pytest.raises(TypeError, match="goes through stdin"):
        Command(("psql", Secret("password", "hunter2")))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="goes through stdin"):
        Command(("psql",), environment=(("PGPASSWORD", Secret("password", "hunter2")),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [{"argv": ()}, {"argv": ("a\0b",)}, {"argv": ("a",), "environment": (("A B", "x"),)}, {"argv": ("a",), "directory": "/a\0"}],
)
def test_what_no_shell_can_run_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"command|variable"):
        Command(**arguments)


@pytest.mark.parametrize(("path", "owner", "mode"), [("a", "root", "0600"), ("/a", "root;id", "0600"), ("/a", "root", "u+x")])
def test_a_file_is_written_to_an_absolute_path_with_a_plain_owner_and_mode(path: str, owner: str, mode: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        WriteFile(path, "", owner, mode)
