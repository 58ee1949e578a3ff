"""What a log may keep."""

import base64
import json
import shlex
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.log import Lines
from pgpanel.redaction import LONGEST_LINE, Redactor
from remote.command import Secret

SECRET = Secret("replication password", "pa ss'w\"ö\\rd+/=")
KEY = "\n".join([
    "-----BEGIN OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU", "AAAAtzc2gtZWQyNTUxOQAAACBQ",
    "-----END OPENSSH PRIVATE KEY-----",
])  # fmt: skip


@pytest.mark.parametrize(
    "face",
    [
        SECRET.value,
        shlex.quote(SECRET.value),
        SECRET.value.replace("'", "''"),
        json.dumps(SECRET.value),
        urllib.parse.quote(SECRET.value, safe=""),
        base64.b64encode(SECRET.value.encode()).decode(),
        SECRET.value.encode().hex(),
    ],
)
def test_a_secret_is_hidden_in_every_form_that_an_output_could_take(face):
    kept = Redactor([SECRET]).line(f"before {face} after")
    assert kept.startswith("before ")
    assert kept.endswith(" after")
    assert "<replication password>" in kept
    assert face not in kept


@pytest.mark.parametrize("before", ["", "u", "us", "use"])
def test_a_secret_within_a_longer_base64_text_is_hidden(before):
    secret = Secret("login password", "correct horse battery staple")
    encoded = base64.b64encode(f"{before}{secret.value}:tail".encode()).decode()
    kept = Redactor([secret]).line(f"Authorization: Basic {encoded}")
    assert "<login password>" in kept
    assert base64.b64encode(b"horse battery")[4:-4].decode() not in kept


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=4, max_size=40).filter(lambda text: text.strip() == text))
def test_whatever_the_secret_is_it_does_not_stand_in_the_log(value):
    kept = Redactor([Secret("it", value)]).line(f"[{value}]")
    assert value not in kept.replace("<it>", "")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("host=pg1 password=hunter22 port=5432", "host=pg1 password=<hidden> port=5432"),
        ("PGPASSWORD='two words' psql", "PGPASSWORD=<hidden> psql"),
        ("CREATE ROLE r PASSWORD 'it''s me' LOGIN", "CREATE ROLE r PASSWORD <hidden> LOGIN"),
        ("SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy done", "<scram verifier> done"),
        ("md5d41d8cd98f00b204e9800998ecf8427e", "<md5 verifier>"),
        ("postgresql://ana:hunter22@pg1/registry", "postgresql://ana:<hidden>@pg1/registry"),
        ("password_encryption = scram-sha-256", "password_encryption = scram-sha-256"),
        ('FATAL:  password authentication failed for user "r"', 'FATAL:  password authentication failed for user "r"'),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_what_does_not_stays(text, kept):
    assert Redactor().line(text) == kept


def test_a_private_key_is_hidden_over_its_lines_and_only_there():
    redactor = Redactor()
    lines = ["key:", *KEY.splitlines(), "after"]
    assert [redactor.line(line, "pg1/output") for line in lines] == ["key:", "<private key>", None, None, None, "after"]
    assert redactor.line("another stream", "pg2/output") == "another stream"


def test_each_line_of_a_known_key_is_hidden():
    redactor = Redactor([Secret("archive key of pg1", KEY)])
    assert redactor.line(KEY.splitlines()[1]) == "<archive key of pg1>"


def test_escapes_and_reversed_text_are_visible():
    assert Redactor().line("a\x1b[2Jb\0\u202ecod\x9b") == "a␛[2Jb␀<U+202E>cod<U+009B>"


def test_an_endless_line_is_cut_and_says_so():
    kept = Redactor().line("x" * (LONGEST_LINE + 100))
    assert kept == "x" * LONGEST_LINE + " … (100 more characters cut)"


@given(st.lists(st.sampled_from([b"10%", b"\r", b"\n", b"\r\n", "ö".encode(), b"done"]), max_size=30), st.integers(1, 7))
def test_lines_are_the_same_however_the_bytes_arrive(pieces, size):
    data = b"".join(pieces)
    whole, parts = Lines(), Lines()
    expected = whole.take(data) + whole.rest()
    found = [line for start in range(0, len(data), size) for line in parts.take(data[start : start + size])] + parts.rest()
    assert found == expected


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_reader_that_begins_at_a_stored_offset_neither_repeats_nor_misses(data, cut):
    first = Lines()
    read = first.take(data[:cut])
    offset = read[-1][1] if read else 0
    second = Lines(offset)
    whole = Lines()
    assert read + second.take(data[offset:]) + second.rest() == whole.take(data) + whole.rest()
