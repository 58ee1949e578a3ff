"""A command as a job's log tells it."""

from jobs.log import LINES_TOLD, told
from remote.command import Command, script

LONG = "# Put the copy in place.\n# $1 where\nset -eu\n" + "true\n" * LINES_TOLD


def test_a_short_command_is_told_whole() -> None:
    assert told(script("cat <<'A'\n$1\nA", "x").shown) == script("cat <<'A'\n$1\nA", "x").shown


def test_a_long_script_is_told_by_its_first_sentence_and_what_it_is_given() -> None:
    assert told(script(LONG, "/srv/with space", "job-1").shown) == (
        "# Put the copy in place.\nset -- '/srv/with space' job-1\n… 12 lines in all"
    )


def test_a_long_script_with_an_environment_is_told_alike() -> None:
    command = Command(("sh", "-c", LONG, "pgpanel", "/srv/copy"), environment=(("PGPASSFILE", "/x"),))
    assert told(command.shown).splitlines()[:2] == ["# Put the copy in place.", "set -- /srv/copy"]


def test_a_long_text_without_a_sentence_is_told_by_its_first_line() -> None:
    command = Command(("psql", "-f", "-"), stdin="SELECT 1;\n" * 20)
    assert told(command.shown).splitlines() == ["psql -f - <<'EOF'", "… 22 lines in all"]
