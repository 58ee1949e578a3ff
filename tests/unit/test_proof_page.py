import json

from proof import cells, page

GOOD = cells.Result("15-debian-root", "abc", 91.4, {"setup": 6.1, "switchover": 3.2}, "", "")
BAD = cells.Result("11-cocca-ops", "abc", 20.0, {"setup": 9.0}, "a third joins", "AssertionError: pg3 | does not stream\nmore")


def test_a_row_says_each_kind_and_a_failure_where_and_why():
    text = page.page([GOOD, BAD], ["setup", "switchover"], "2 cores", "today", 2)
    assert "**1 of 2 rows passed**, commit `abc`" in text
    assert "| 15 | debian | root | 6.1 | 3.2 | 91 s |" in text
    assert "| 11 | cocca | ops | 9.0 | – | **failed** |" in text
    assert "- **11-cocca-ops**, a third joins: AssertionError: pg3 \\| does not stream" in text
    assert "What failed" not in page.page([GOOD], ["setup"], "2 cores", "today", 2)


def test_only_results_of_this_commit_count(tmp_path):
    result = {"commit": "abc", "seconds": 1.0, "kinds": {}, "failed_in": "", "error": ""}
    (tmp_path / "15-debian-root.json").write_text(json.dumps(result))
    (tmp_path / "17-debian-root.json").write_text(json.dumps(result | {"commit": "older"}))
    assert [one.words for one in cells.results_in(tmp_path, "abc").values()] == [["15", "debian", "root"]]


def test_every_version_of_the_lab_has_a_row_on_every_layout():
    assert {tuple(cell.split("-")[:2]) for cell in cells.BY_ROOT} == {
        (version, layout) for version in cells.VERSIONS for layout in cells.LAYOUTS
    }
    assert {cell.split("-")[2] for cell in cells.ALL} == {"root", "ops", "postgres"}
