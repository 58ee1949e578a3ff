"""The SQL of the facts script, version by version, against what real servers of that version answered."""

import re
from pathlib import Path

import pytest

from remote import look, versions

RECORDED = Path(__file__).parent.parent / "facts" / "recorded"
VIEWS = {
    "pg_stat_replication": look._senders,
    "pg_stat_wal_receiver": look._receiver,
    "pg_stat_archiver": look._archiver,
    "slots": look._slots,
}


def columns_of(query: str) -> set[str]:
    """Column names of the select list: plain words that are no function and no keyword."""
    chosen = re.sub(r"\$r\$.*?\$r\$|'[^']*'", "", query.partition("SELECT")[2].rpartition("FROM")[0])
    words = set(re.findall(r"\b[a-z_]+\b(?!\()", chosen))
    return words - {"epoch", "extract", "chr"}


def recorded_columns(version: str, name: str) -> set[str]:
    text = (RECORDED / version / f"{name}.txt").read_text()
    return {line.split("|")[0].strip() for line in text.splitlines() if re.match(r"[a-z_]+ *\| ", line + " ")}


@pytest.mark.parametrize(
    ("version", "view"),
    [(version, view) for version in ("9.1", "9.4", "9.6") for view in VIEWS if (RECORDED / version / f"{view}.txt").exists()],
)
def test_only_columns_that_a_real_server_has_are_asked_for(version: str, view: str) -> None:
    asked = columns_of(VIEWS[view](versions.of(version)))
    assert asked
    assert asked <= recorded_columns(version, view), asked - recorded_columns(version, view)


@pytest.mark.parametrize(
    ("version", "views"), [("9.1", {"pg_stat_wal_receiver", "pg_stat_archiver", "slots"}), ("9.4", {"pg_stat_wal_receiver"})]
)
def test_views_that_a_version_does_not_have_are_not_asked_for(version: str, views: set[str]) -> None:
    assert {view for view in VIEWS if not (RECORDED / version / f"{view}.txt").exists()} == views
    assert all(VIEWS[view](versions.of(version)) == "" for view in views)


@pytest.mark.parametrize("version", ["9.1", "9.4", "9.6"])
def test_only_functions_that_a_real_server_answers_are_called(version: str) -> None:
    answered = "".join((RECORDED / version / f"functions-{role}.txt").read_text() for role in ("primary", "standby"))
    called = set(re.findall(r"\b(pg_[a-z_]+)\(", look._state(versions.of(version))))
    missing = {name for name in called if f"select {name}(" not in answered}
    assert not missing
    assert all(f"function {name}() does not exist" not in answered for name in called)


def test_every_major_has_its_own_text_on_the_host_and_a_newer_one_the_newest_s() -> None:
    """The shell function is asked itself, as on a host."""
    import subprocess

    def chosen(major: str) -> str:
        script = look.look_script().partition("sql_of() {")
        text = script[1] + script[2].partition("\n}\n")[0] + '\n}\nsql_of "$1"'
        return subprocess.run(["sh", "-c", text, "x", major], capture_output=True, text=True, check=True).stdout

    for major in versions.MAJORS:
        expected = "".join(query(versions.of(major)) + "\n" for query in look._SERVER_QUERIES)
        assert chosen(major) == expected
    assert chosen("19") == chosen("18")
