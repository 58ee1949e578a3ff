"""A host that lies, floods and never ends: the panel's memory and time stay bounded, and nothing of it reaches another host."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.log import LONGEST_UNENDED, Lines
from monitor import sql
from pgpanel.redaction import LONGEST_LINE, Redactor
from remote import config, detached, lsn, parse, versions
from remote.exchange import Exchange, TooLong
from remote.facts import facts_from_json, facts_to_json
from remote.parse_clusters import parse_controldata
from remote.progress import READERS, Pace
from remote.visible import brief_line, storable, visible, visible_lines

TOKEN = "pgpanel-0123"
HUGE = ["9" * 400, "9" * 5000, "-1", "1e400", "nan", "inf", "-" + "9" * 30, "٣٣", "²", "0x10", "", " ", "1\n2", "9" * 19]
ODD = [
    *HUGE,
    "\0",
    "a\0b",
    "$(id)",
    "`id`",
    "'; id; '",
    "../../etc",
    "-oProxyCommand=id",
    "x\ny",
    "\u202etxt",
    "\x1b]0;owned\x07",
    "\ud800",
]
TEXT = st.one_of(st.sampled_from(ODD), st.text(max_size=30), st.integers(-(10**400), 10**400).map(str))


def field(text: str) -> str:
    return "+" + base64.b64encode(text.encode("utf-8", "replace")).decode()


def control(**said: str) -> str:
    own = {
        "Database system identifier": "7000000000000000001", "Latest checkpoint's TimeLineID": "3",
        "Latest checkpoint location": "0/3000028", "Bytes per WAL segment": "16777216", "Database cluster state": "in production",
    }  # fmt: skip
    return "".join(f"{name}: {value}\n" for name, value in (own | said).items())


@given(
    st.dictionaries(
        st.sampled_from(["Latest checkpoint's TimeLineID", "Bytes per WAL segment", "Latest checkpoint location"]), TEXT
    )
)
def test_numbers_of_a_control_file_fit_into_a_database_and_can_be_divided_by(said):
    found = parse_controldata(control(**said))
    assert found is not None
    assert 0 <= found.timeline < 1 << 31
    assert 0 <= found.checkpoint_lsn < 1 << 63
    lsn.segment_name(found.timeline, 5, found.wal_segment_bytes)


@pytest.mark.parametrize("identifier", ["1; id", "$(id)", "7\n", "٣", "9" * 21, "-7", "x"])
def test_a_system_identifier_is_a_number_because_scripts_on_other_hosts_read_it(identifier):
    found = parse_controldata(control(**{"Database system identifier": identifier}))
    assert found is None or found.system_identifier == "7"


@pytest.mark.parametrize("major", ["../../tmp/x", "15; id", "15\n", "9.6.1", "٣٣", "-f", "$(id)"])
def test_a_major_is_a_version_because_it_becomes_part_of_paths(major):
    answer = f"begin\t:1\t:root\t:1.0\ncluster\t:/srv/data\t{field(major)}\t:postgres\nend\t:2.0\n"
    (found,) = parse.parse(answer, None).clusters
    assert found.major == ""
    assert not versions.is_major(major)


SQL_ROW = st.lists(TEXT.map(lambda text: text.replace("\x1e", "").replace("\x1f", "")), max_size=13)


@st.composite
def answers(draw) -> str:
    """A look's answer of the right form with anything in it."""
    lines = ["begin\t:1\t:root\t" + field(draw(TEXT)), f"cluster\t:/srv/data\t:15\t{field(draw(TEXT))}\t:"]
    lines.append("postmaster\t" + field(draw(TEXT)) + "\t:/usr/lib/postgresql/15/bin")
    said = dict.fromkeys(
        ["Database system identifier", "Database cluster state", "Bytes per WAL segment"], draw(TEXT).replace("\n", "")
    )
    lines.append("control\t" + field(control(**draw(st.sampled_from([{}, said])))))
    keys = st.sampled_from(
        ["state", "setting", "slot", "sender", "receiver", "archiver", "role", "transaction", "tablespace", "database"]
    )
    rows = [("files", ["/c", "/h", "/srv/data", "15.4"]), *draw(st.lists(st.tuples(keys, SQL_ROW), max_size=8)), ("done", ["1"])]
    lines.append("sql\t" + field("".join("\x1e" + "\x1f".join([key, *values]) + "\n" for key, values in rows)))
    others = st.sampled_from(
        ["hostname", "mounts", "cpus", "memory_kb", "passwd", "reach", "identified", "installation", "path", "icu", "socket"]
    )
    for key, values in draw(st.lists(st.tuples(others, st.lists(TEXT, min_size=1, max_size=6)), max_size=8)):
        lines.append(key + "".join("\t" + field(value) for value in values))
    return "\n".join([*lines, "end\t" + field(draw(TEXT)), ""])


@settings(max_examples=200, deadline=None)
@given(answers())
def test_whatever_a_host_says_of_itself_is_read_and_can_be_stored_in_every_database(answer):
    facts = parse.parse(answer, (1.0, 2.0))
    stored = json.dumps(facts_to_json(facts), allow_nan=False)
    assert "\\u0000" not in stored
    assert facts_from_json(json.loads(stored)) == facts
    for cluster in facts.clusters:
        assert 0 <= cluster.timeline < 1 << 31
        assert all(0 <= position < 1 << 63 for position in (cluster.current_lsn, cluster.receive_lsn, cluster.replay_lsn))
        assert 0 <= cluster.port < 1 << 16


OWN = ["self", "t", "0/5000000", "", "0/5000000", "0/5000000", "f", "1.5", "1.5", "3", "3", "7000000000000000001", "", "", ""]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["self", "sender", "receiver", "slot", "archiver", "x"]),
            st.lists(TEXT | st.none(), min_size=14, max_size=14),
        )
    )
)
def test_a_server_that_answers_the_monitor_with_anything_is_seen_or_refused(rows):
    try:
        sight = sql.sight_of([OWN, *([tag, *row] for tag, row in rows)], versions.of("17"), 1.0, 2.0, "tcp")
    except ValueError:
        return
    stored = json.dumps(asdict(sight), allow_nan=False)
    assert "\\u0000" not in stored
    assert 0 <= sight.timeline < 1 << 31
    assert len(sight.receiver.follows if sight.receiver else "") <= 253


@pytest.mark.parametrize("row", [[], ["self"], ["self", *["t"] * 20], [None] * 15])
def test_a_row_of_another_form_is_a_refusal_and_no_crash(row):
    with pytest.raises(ValueError, match=r"answer|describe"):
        sql.sight_of([row], versions.of("17"), 1.0, 2.0, "tcp")


def test_a_flood_of_rows_is_cut():
    assert (
        len(
            sql.sight_of(
                [OWN, *[["sender", "a", "b", "streaming", *[""] * 11]] * 100_000], versions.of("17"), 1.0, 2.0, "tcp"
            ).senders
        )
        < sql.MOST_ROWS
    )


# -- output ------------------------------------------------------------------------------------------------------------------------


def test_an_endless_line_is_passed_on_in_pieces_and_no_byte_is_lost():
    lines, heard = Lines(), []
    for _ in range(64):
        heard += lines.take(b"x" * (1 << 20))
        assert len(lines._rest) <= LONGEST_UNENDED
    heard += lines.rest()
    assert sum(len(text) for text, _offset in heard) == 64 << 20
    assert heard[-1][1] == 64 << 20


def test_a_command_that_prints_without_end_is_ended_at_its_limit():
    exchange = Exchange(TOKEN, None, limit_bytes=1 << 20)
    exchange.take("error", f"\n{TOKEN} begin 5 5\n".encode())
    exchange.take("output", f"\n{TOKEN}\n".encode())
    for _ in range(16):
        exchange.take("output", b"\xff" * (1 << 16))
    with pytest.raises(TooLong):
        exchange.take("output", b"\xff")


@pytest.mark.parametrize(
    "answer", [b"", b"running", b"ended 0 " + b"9" * 400, b"ended - x", b"<b>", b"ended 0 1 1", b"died -1 5", "ended ² 3".encode()]
)
def test_an_answer_about_a_detached_command_that_is_none_is_told_apart(answer):
    with pytest.raises(detached.NotTold):
        detached.parse_state(answer + b"\nlog")


@given(st.sampled_from(sorted(READERS)), TEXT, TEXT)
@example("bytes", "9" * 400, "1")
@example("rsync", "1.2.3", "5")
def test_progress_that_lies_is_no_error(reader, one, other):
    pace = Pace()
    for at, text in enumerate(
        (
            f"{one} of {other} bytes",
            f"{one}/{other} kB (5%), 0/1 tablespace",
            f"{one}G 5% 1MB/s 0:00:01",
            f"{one} 5% 1MB/s 0:01",
            f"{one}/{other} kB (1%) copied",
        )
    ):
        found = READERS[reader](text)
        if found:
            pace.seen(float(at), found.done_bytes)
            json.dumps([found.done_bytes, found.total_bytes, pace.eta_seconds(found.total_bytes)], allow_nan=False)


# each of them takes hours where a search begins anew at every letter
SLOW = {
    "an endless word": "a" * 400_000,
    "words that begin an address": "a://b:" * 60_000,
    "blanks": "password" + " " * 400_000 + "x",
    "quotes": "password='" * 40_000,
    "addresses": "postgres://a:" * 70_000,
    "an assignment of blanks": "a" + " " * 400_000 + "#",
}
READ = """
import sys
from pgpanel.redaction import Redactor
from jobs.blocks.configuration import relocated
from remote import config, parse
text = sys.stdin.read()
Redactor().line(text)
config.without_passwords(text)
config.parse_assignments(text)
config.unreadable_lines(text)
parse._mounts("head\\n" + text)
"""


@pytest.mark.parametrize("name", SLOW)
def test_no_text_of_a_host_takes_long_to_read(name):
    """In a process of its own, because a search cannot be interrupted; a minute is a thousand times what it takes."""
    subprocess.run(
        [sys.executable, "-c", READ],
        input=SLOW[name],
        text=True,
        check=True,
        timeout=60,
        env={"DJANGO_SETTINGS_MODULE": "pgpanel.settings", "PATH": "/usr/bin:/bin"},
    )


@given(st.text())
@example("a\rb\x1b[2J\x85c\u2028d\u202ee\u200bf\0")
def test_one_line_stays_one_line_and_shows_what_would_not_be_seen(text):
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & set("\r\n\x1b\0\x85\u2028\u2029\u202e\u200b\ufeff")
    assert len(brief_line(text, 10)) <= 11
    assert visible_lines(text).count("\n") == text.count("\n")
    storable(text).encode()


def test_a_host_cannot_forge_a_line_nor_draw_on_a_terminal():
    kept = Redactor().line("copied\u2028\x1b[2J2026-01-01 \x85 job done\r\x07")
    assert kept is not None
    assert kept.splitlines() == [kept]
    assert kept == "copied<U+2028>␛[2J2026-01-01 <U+0085> job done␍␇"
    assert len(Redactor().line("x" * 10**6) or "") < LONGEST_LINE + 60


def test_settings_of_absurd_size_are_refused_by_name():
    for value in HUGE:
        try:
            config.setting_bytes(value, "8kB")
        except ValueError:
            continue
