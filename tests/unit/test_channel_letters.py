"""What each service is sent: short, with one safe thing to do and the way there; what a host says is text and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from monitor.channels.chat import mattermost, slack, teams
from monitor.letters import Letter, Told

URL = "https://panel.example/c/registry/promote"
DOWN = Told(
    "registry", "critical", "Primary does not answer", "pg1", "The primary pg1 does not answer: timeout",
    "Since 2026-11-23 03:12:05 CET.", "The promote page says what is safe.", URL, "/c/registry/promote",
)  # fmt: skip
LAG = replace(DOWN, tone="warning", name="Behind", about="pg2", sentence="pg2 is 2 min behind.")
LETTER = Letter("6f", "on call", (DOWN, LAG))
HOSTILE = "[x](https://evil.example) <https://evil.example|y> <!channel> @all *b* _i_ `c` & ~s~"


def test_a_title_says_how_grave_where_and_what() -> None:
    assert Letter("6f", "on call", (DOWN,)).title == "CRITICAL registry: Primary does not answer (pg1)"
    assert LETTER.title == "CRITICAL registry: Primary does not answer (pg1), and 1 more"
    elsewhere = replace(DOWN, cluster="shop")
    assert Letter("6f", "on call", (DOWN, elsewhere)).title == "CRITICAL registry: Primary does not answer (pg1), 2 clusters in all"


def test_a_text_says_what_since_when_what_to_do_and_where() -> None:
    assert Letter("6f", "on call", (DOWN,)).text.splitlines() == [
        "CRITICAL registry: Primary does not answer (pg1)", DOWN.sentence, DOWN.when,
        "Do next: The promote page says what is safe.", URL,
    ]  # fmt: skip
    assert "Do next" not in Letter("6f", "on call", (replace(DOWN, tone="over"),)).text
    assert "On the panel: /c/registry/promote" in Letter("6f", "on call", (replace(DOWN, url=""),)).text


@pytest.mark.parametrize("body", [slack, mattermost, teams])
def test_every_chat_shows_each_alert_and_leads_to_its_page(body) -> None:
    said = json.dumps(body(LETTER)).replace("\\\\", "")
    for words in ("Primary does not answer", "pg2 is 2 min behind.", "Since 2026-11-23 03:12:05 CET.", "Do next: The promote page"):
        assert words in said
    assert said.count(URL) == 2
    assert "on call" in json.dumps(body(Letter("6f", "on call")))


def test_slack_reads_nothing_of_what_a_host_says_as_a_link_or_a_call() -> None:
    text = slack(Letter("6f", "x", (replace(DOWN, sentence=HOSTILE),)))["attachments"][0]["text"]
    assert text.count("<") == 1  # the panel's own link
    assert "&lt;!channel&gt;" in text


def test_mattermost_reads_nothing_of_what_a_host_says_as_markdown() -> None:
    text = mattermost(Letter("6f", "x", (replace(DOWN, sentence=HOSTILE),)))["attachments"][0]["text"]
    assert r"\[x\]\(https://evil.example\)" in text
    assert "<" not in text
    assert "@all" not in text
    assert r"\*b\* \_i\_ \`c\`" in text
    assert f"[Open the page]({URL})" in text
    assert "03:12:05" in text


def test_teams_gets_runs_of_text_which_it_never_reads_as_markdown() -> None:
    card = teams(Letter("6f", "x", (replace(DOWN, sentence=HOSTILE),)))["attachments"][0]["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert any(run["text"] == HOSTILE for block in card["body"] for run in block["inlines"])
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open the page", "url": URL}]
