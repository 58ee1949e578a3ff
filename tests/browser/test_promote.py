"""The page for 3am: four verdicts, what each standby would lose, one safe thing to do next."""

from __future__ import annotations

import pytest

from tests.browser import evidence_rows, registry
from tests.browser.conftest import Visitor


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unreachable", "pg1 is unreachable from everywhere"),
        ("stopped", "pg1 is stopped, proven"),
        ("blind", "Only the panel cannot see pg1"),
        ("alive", "pg1 lives"),
    ],
)
def test_each_verdict_is_the_biggest_sentence_on_the_page(ana: Visitor, name: str, said: str) -> None:
    found = evidence_rows.gone(registry.cluster())
    said_by = {
        "unreachable": evidence_rows.SILENT,
        "stopped": evidence_rows.STOPPED,
        "blind": evidence_rows.BLIND,
        "alive": evidence_rows.ALIVE,
    }
    evidence_rows.observed(found, said_by[name])
    page = ana.go("/c/registry-prod/promote")
    assert page.locator("h1").inner_text() == said
    ana.look(f"promote-{name}")
