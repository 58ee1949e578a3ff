"""What a stranger on the wire can do to the panel's server, by real bytes to a real uvicorn."""

from __future__ import annotations

import logging
import re

import pytest
from real_server import real_server, said

from pgpanel import limits
from pgpanel.headers import PERMISSIONS
from pgpanel.logs import Line

pytestmark = pytest.mark.django_db(transaction=True)
HOST = b"Host: localhost\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def place():
    with real_server() as found:
        yield found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def post(length: bytes, host: bytes = HOST) -> bytes:
    return b"POST /accounts/login/ HTTP/1.1\r\n" + host + b"Content-Type: application/x-www-form-urlencoded\r\n" + length + b"\r\n"


def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_is_read(place):
    assert status(said(place, post(b"Content-Length: 999999999999\r\n"))) == 413


@pytest.mark.parametrize("said_length", [b"-1", b"1, 2", b"9" * 400])
def test_a_length_that_is_none_is_refused(place, said_length):
    assert status(said(place, post(b"Content-Length: " + said_length + b"\r\n"))) in (400, 413)


def test_a_body_without_a_length_is_cut_where_it_becomes_too_long(place):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = said(place, post(b"Transfer-Encoding: chunked\r\n"), chunk * (2 * limits.MOST_BODY_BYTES // 0x10000))
    assert status(answer) == 413


def test_a_body_that_never_ends_is_not_waited_for(place, monkeypatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.3)
    assert status(said(place, post(b"Content-Length: 100\r\n") + b"half of it")) == 408


def test_headers_without_end_are_refused(place):
    answer = said(place, b"GET /accounts/login/ HTTP/1.1\r\n" + HOST + b"X-Endless: ", b"x" * 1_000_000)
    assert status(answer) in (400, 431)


OTHER_HOSTS = [
    b"evil.example",
    b"localhost:80@evil.example",
    b"localhost.evil.example",
    b"localhost, evil",
    b"[::1",
    b"",
    b"local host",
]


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_another_host_name_is_refused(place, host):
    assert status(said(place, b"GET /accounts/login/ HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n")) == 400


def test_an_absolute_request_target_does_not_change_the_host(place):
    answer = said(place, b"GET http://evil.example/accounts/login/ HTTP/1.1\r\n" + HOST + b"\r\n")
    assert status(answer) in (200, 400, 404)
    assert b"evil.example" not in answer.lower()
    answer = said(
        place, b"GET /accounts/login/ HTTP/1.1\r\n" + HOST + b"X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n\r\n"
    )
    assert status(answer) == 200
    assert b"evil.example" not in answer.lower()


def test_a_port_behind_the_host_name_is_no_other_host(place):
    assert status(said(place, b"GET /accounts/login/ HTTP/1.1\r\nHost: localhost:8000\r\nConnection: close\r\n\r\n")) == 200


def test_the_server_does_not_say_what_it_is(place):
    answer = said(place, b"GET /accounts/login/ HTTP/1.1\r\n" + HOST + b"\r\n").lower()
    assert b"\r\nserver:" not in answer
    assert b"uvicorn" not in answer


def test_a_web_socket_is_nothing_that_is_spoken_here(place):
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm9uY2Ugb2YgMTYgYnl0\r\n\r\n"
    )
    assert status(said(place, b"GET /live/ HTTP/1.1\r\n" + HOST + upgrade)) == 302


@pytest.mark.parametrize("path", ["/accounts/login/", "/nothing-here/", "/live/?topic=job:1", "/c/x/"])
def test_every_answer_carries_the_headers(client, path):
    answer = client.get(path)
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer["Permissions-Policy"] == PERMISSIONS
    assert "no-store" in answer["Cache-Control"]
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


ELSEWHERE = [
    "//evil.example/",
    "https://evil.example/",
    "/\\evil.example",
    "javascript:alert(1)",
    "https:evil.example",
    "\thttps://evil.example",
]


@pytest.mark.parametrize("there", ELSEWHERE)
def test_a_login_leads_to_no_other_site(client, django_user_model, there):
    django_user_model.objects.create_user("ana", password="a long enough password")
    answer = client.post(f"/accounts/login/?next={there}", {"login": "ana", "password": "a long enough password", "next": there})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/")
    assert "evil" not in answer["Location"]


def test_a_wrong_name_and_a_wrong_password_are_told_the_same(client, django_user_model):
    django_user_model.objects.create_user("ana", password="a long enough password")
    answers = [client.post("/accounts/login/", {"login": name, "password": "wrong"}) for name in ("ana", "nobody-of-that-name")]
    shown = [re.sub(r'(CSRFToken": |name="csrfmiddlewaretoken" value=)"\w+"', "", answer.content.decode()) for answer in answers]
    assert shown[0] == shown[1].replace("nobody-of-that-name", "ana")
    assert answers[0].status_code == answers[1].status_code


# -- logs --------------------------------------------------------------------------------------------------------------------------


def lined(message: str, *arguments: object, **more: object) -> str:
    record = logging.LogRecord("pgpanel", logging.WARNING, __file__, 1, message, arguments, None)
    record.__dict__.update(more)
    return Line("%(levelname)s %(name)s %(message)s").format(record)


def test_what_somebody_typed_makes_no_line_of_its_own():
    line = lined("login of %s refused", "ana\n2026-01-01 INFO accounts.audit root logged in\x1b[2J\u2028\r")
    assert line == "WARNING pgpanel login of ana␊2026-01-01 INFO accounts.audit root logged in␛[2J<U+2028>␍ refused"


def test_a_traceback_keeps_its_lines_and_none_of_them_begins_one():
    try:
        raise ValueError("x\n2026-01-01 00:00:00 INFO forged")
    except ValueError:
        import sys

        record = logging.LogRecord("pgpanel", logging.ERROR, __file__, 1, "no", (), sys.exc_info())
    lines = Line("%(levelname)s %(message)s").format(record).split("\n")
    assert lines[0] == "ERROR no"
    assert len(lines) > 3
    assert all(line.startswith("    ") for line in lines[1:])


def test_every_logger_writes_such_lines(settings):
    assert settings.LOGGING["formatters"]["line"]["()"] == "pgpanel.logs.Line"
    assert {handler["formatter"] for handler in settings.LOGGING["handlers"].values()} == {"line"}
