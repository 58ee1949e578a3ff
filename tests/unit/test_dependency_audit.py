"""The audit of dependencies: what is known of a locked package fails the check; a service that is away does not."""

import pytest

import audit_dependencies as audit


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "KEPT", tmp_path / "var" / "kept.json")


def answers(monkeypatch, *, is_reachable=True, **found):
    asked = []

    def ask(name):
        return lambda: asked.append(name) or found[name]

    monkeypatch.setattr(audit, "is_reachable", lambda _url: is_reachable)
    monkeypatch.setattr(audit, "ASKING", {name: ask(name) for name in found})
    monkeypatch.setattr(audit, "SERVICES", dict.fromkeys(found, ""))
    return asked


def test_without_the_network_it_says_so_in_one_line_and_does_not_fail(monkeypatch, capsys):
    asked = answers(monkeypatch, is_reachable=False, python=["x"])
    assert audit.main() == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert asked == []


def test_a_known_vulnerability_fails_and_is_named_also_from_what_was_kept(monkeypatch, capsys):
    asked = answers(monkeypatch, python=["django 1.0: CVE-1 (mended in 2.0)"])
    assert [audit.main(), audit.main()] == [1, 1]
    assert capsys.readouterr().out.count("CVE-1") == 2
    assert asked == ["python"]


def test_it_is_asked_anew_when_the_day_is_over_or_the_locks_have_changed(monkeypatch):
    asked = answers(monkeypatch, python=[])
    assert audit.main() == 0
    tomorrow = audit.time.time() + audit.DAY_SECONDS + 1
    monkeypatch.setattr(audit.time, "time", lambda: tomorrow)
    assert audit.main() == 0
    monkeypatch.setattr(audit, "digest", lambda: "other")
    assert audit.main() == 0
    assert len(asked) == 3


def test_an_answer_that_is_none_is_nobody_asked(monkeypatch, capsys):
    answers(monkeypatch, python=None)
    assert audit.main() == 0
    assert "cannot be reached" in capsys.readouterr().out
