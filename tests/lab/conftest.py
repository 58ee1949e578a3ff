"""Fixtures for tests on real hosts. `lab` is one lab for a whole module, `new_lab` makes as many as a test wants."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from lab import Lab, LabError, NotPossibleHere

NewLab = Callable[..., Lab]
SKIP_REASON = "not possible here"

_numbers = itertools.count(1)
_open_labs: list[Lab] = []


def _make(**options: Any) -> Lab:
    made = Lab(name=f"test-{os.getpid()}-{next(_numbers)}", **options)
    _open_labs.append(made)
    return made


def _take_down(made: Lab) -> None:
    _open_labs.remove(made)
    if made.directory.exists():  # a test may have taken it down itself
        made.down()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab without hosts, shared by the tests of a module and down after them, whatever happens."""
    made = _make(backend=os.environ.get("PGPANEL_LAB_BACKEND", "auto"))
    yield made
    _take_down(made)


@pytest.fixture
def new_lab() -> Iterator[NewLab]:
    """Makes a lab per call, all down after the test: `new_lab(backend="processes")`."""
    made: list[Lab] = []

    def make(**options: Any) -> Lab:
        made.append(_make(**options))
        return made[-1]

    yield make
    for one in made:
        _take_down(one)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _skip_the_impossible())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _skip_the_impossible())


def _skip_the_impossible() -> Generator[None, Any, Any]:
    """What a backend cannot do is skipped with its reason, never passed in silence."""
    try:
        return (yield)
    except NotPossibleHere as error:
        pytest.skip(f"{SKIP_REASON}: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the hosts had to say."""
    report = yield
    if report.failed:
        for made in _open_labs:
            for host in made.hosts.values():
                report.sections.append((f"console of {made.name}/{host.name}", host.console_tail(30)))
                try:
                    report.sections.append((f"PostgreSQL log of {made.name}/{host.name}", host.pg_log_tail(40)))
                except LabError as error:
                    report.sections.append((f"PostgreSQL log of {made.name}/{host.name}", str(error)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if SKIP_REASON in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} lab tests skipped: this machine cannot make their fault or layout")
