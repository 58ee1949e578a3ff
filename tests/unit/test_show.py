"""How values are written for people."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pgpanel.templatetags import show


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (16 * 1024**2, "16.0 MB"),
        (3_355_443, "3.2 MB"),
        (214 * 1024**3, "214 GB"),
        (99.97 * 1024, "100 kB"),
        (1023 * 1024, "1.0 MB"),
        (-1536, "−1.5 kB"),
        (5 * 1024**6, "5120 PB"),
    ],
)
def test_bytes_carry_a_unit_and_no_false_precision(count: float, text: str) -> None:
    assert show.bytes_shown(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.004, "4 ms"),
        (0.0994, "99 ms"),
        (0.0999, "0.1 s"),
        (0.6, "0.6 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (161, "2 min 41 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (9 * 86400 + 4 * 3600, "9 d 4 h"),
        (-2, "−2.0 s"),
    ],
)
def test_seconds_are_shown_in_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert show.seconds_shown(seconds) == text


def test_what_is_not_known_is_never_a_zero() -> None:
    for shown in (show.bytes_shown, show.seconds_shown, show.rate_shown, show.lsn_shown):
        assert shown(None) == "–"
        assert shown("") == "–"
    assert show.lsn_shown(0) == "–"


def test_a_rate_is_bytes_a_second() -> None:
    assert show.rate_shown(96 * 1024**2) == "96.0 MB/s"


def test_an_lsn_is_written_as_postgres_writes_it() -> None:
    assert show.lsn_shown((7 << 32) + 0x4A8F2160) == "7/4A8F2160"
    assert show.lsn_shown("0/3000148") == "0/3000148"


def test_an_age_is_told_from_a_time_an_epoch_or_iso_text() -> None:
    at = timezone.now() - timedelta(seconds=161)
    assert show.age_shown(at) == show.age_shown(at.timestamp()) == show.age_shown(at.isoformat()) == "2 min 41 s ago"


def test_a_time_in_the_future_is_not_a_negative_age() -> None:
    assert show.age_shown(timezone.now() + timedelta(seconds=30)) == "0.0 s ago"


def test_what_was_never_seen_says_so() -> None:
    assert show.age_shown(None) == "never"


@pytest.mark.parametrize(
    ("word", "tone"),
    [
        ("streaming", "streaming"),
        ("catching up", "catching"),
        ("caught up, idle", "idle"),
        ("Failed", "broken"),
        ("running", "now"),
        ("broken", "broken"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_state_has_a_shape_and_colour(word: str | None, tone: str) -> None:
    assert show.tone(word) == tone


def test_a_word_that_nobody_taught_is_never_green() -> None:
    assert show.tone("flabbergasted") == "unknown"


def test_an_outcome_has_one_sentence_to_say_big() -> None:
    assert show.first_line("pg3 streams.\nAll is well.\n") == "pg3 streams."
    assert show.other_lines("pg3 streams.\nAll is well.\n") == "All is well."
    assert show.other_lines("pg3 streams.") == ""


def test_a_states_key_is_shown_as_words() -> None:
    assert show.state_word("catching-up") == "catching up"
    assert show.state_word("second-primary") == "second primary"
    assert show.state_word("") == show.state_word(None) == "unknown"
