"""Rules of the house that no linter knows: looked for in the source itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("pgpanel", "accounts", "clusters", "jobs", "monitor", "webhooks", "remote", "client")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts)
VERSION_NAMES = {"major", "server_version", "server_version_num", "version_num", "pg_version", "postgres_major", "version_number"}


def compared_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of what stands beside <, <=, >, >=, or is made a number of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops):
            for side in (node.left, *node.comparators):
                yield from ((node.lineno, name) for name in names_in(side))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("int", "float"):
            for argument in node.args:
                yield from ((node.lineno, name) for name in names_in(argument))


def names_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        if isinstance(part, ast.Attribute):
            yield part.attr
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def version_comparisons(source: str) -> list[tuple[int, str]]:
    return [(line, name) for line, name in compared_names(ast.parse(source)) if name in VERSION_NAMES]


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name != "versions.py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_only_versions_py_compares_version_numbers(path: Path) -> None:
    assert version_comparisons(path.read_text()) == [], "ask remote.versions for a name or an ability instead"


@pytest.mark.parametrize(
    "source",
    ["if postgres.major >= '12': pass", "n = int(facts.major)", "x = settings['server_version_num'] < '100000'", "major > 9"],
)
def test_the_search_for_comparisons_finds_them(source: str) -> None:
    assert version_comparisons(source)


@pytest.mark.parametrize(
    "source", ["if postgres.major == spec.major: pass", "of(postgres.major)", "version.has_slots and count > 1"]
)
def test_equality_and_abilities_are_no_comparisons_of_versions(source: str) -> None:
    assert not version_comparisons(source)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_named_after_being_useful(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "manager", "managers", "handler", "handlers", "misc"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_field_s_words_are_primary_and_standby(path: Path) -> None:
    """The source page's words are for the glossary; quoted output of old servers may hold them."""
    names = {part for node in ast.walk(ast.parse(path.read_text())) for part in names_defined(node)}
    assert not {name for name in names if "slave" in name.lower() or name.lower() in {"master", "master_host"}}


def names_defined(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    if isinstance(node, ast.arg):
        yield node.arg


@pytest.mark.parametrize("room", [*ROOMS, "lab", "templates"])
def test_no_tool_that_throws_wal_away_stands_anywhere_in_the_product(room: str) -> None:
    """On a standby it only hides that data is missing; nothing here runs it, so nothing here names it."""
    texts = [path for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".sh", ".html")]
    names = ("pg_reset" + "wal", "pg_reset" + "xlog", "reset" + "_wal")
    assert texts
    assert not [(path.name, name) for path in texts for name in names if name in path.read_text()]


def test_every_decision_has_a_number_of_its_own_and_its_title_says_it() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert len(set(numbers)) == len(numbers) > 0
    assert [int(re.findall(r"\A# (\d+)", page.read_text())[0]) for page in pages] == numbers


def test_every_link_between_pages_of_the_docs_leads_somewhere() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    gone = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#: ]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert gone == []
