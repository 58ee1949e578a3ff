"""Following a job while the line breaks: each line once, in order, to the very end, and no escape code obeyed."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from client import following, panel
from client.commands import cli

JOB = {"id": 7, "cluster": "registry", "title": "Copy", "outcome": "", "ending": "", "steps": [], "cancel_requested_at": None}


class Stub:
    """An API that says ten lines and breaks the stream after every two; then it is over, with lines that no stream has said."""

    def __init__(self) -> None:
        self.asked_from: list[int] = []
        self.statuses: dict[str, int] = {}
        self.is_over = False
        stub = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0].removeprefix("/api/v1")
                if path == "/jobs/7/events":
                    stub.stream(self)
                elif path == "/jobs/7/log":
                    after = int(self.path.split("after=")[1].split("&")[0])
                    items = [line(number) for number in range(after + 1, 13)]
                    self.answer({"items": items, "next": "12", "is_complete": True})
                else:
                    self.answer(JOB | {"status": "succeeded" if stub.is_over else "running", "last_seq": 12})

            def answer(self, body):
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_words):
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stream(self, asked):
        last = int(asked.headers["Last-Event-ID"])
        self.asked_from.append(last)
        asked.close_connection = True
        if len(self.asked_from) == 2:  # a proxy while the panel restarts
            asked.send_response(502)
            asked.send_header("Content-Length", "0")
            asked.end_headers()
            return
        asked.send_response(200)
        asked.send_header("Content-Type", "text/event-stream")
        asked.end_headers()
        told = ": live\n\n"
        for number in range(max(1, last), min(last + 3, 11)):  # the last one again: the client must not show it twice
            told += f"id: {number}\nevent: line\ndata: {json.dumps(line(number))}\n\n"
        if last >= 8:
            self.is_over = True
            told += 'event: status\ndata: {"status": "succeeded"}\n\n'
        asked.wfile.write(told.encode() + b'id: 99\nevent: line\ndata: {"half')  # it breaks off in the middle of an event


def line(number):
    text = f"line {number}" + ("\x1b]0;title\x07\x1b[31m" if number == 3 else "")
    return {"seq": number, "at": "2026-11-23T03:00:01.250000+00:00", "node": "pg2", "step": "x", "voice": "output", "text": text}


@pytest.fixture
def stub(monkeypatch):
    made = Stub()
    monkeypatch.setattr(following.time, "sleep", lambda _seconds: None)
    yield made
    made.server.shutdown()
    made.server.server_close()


def follow(stub, *more):
    where = {"PGPANEL_URL": f"http://127.0.0.1:{stub.server.server_address[1]}", "PGPANEL_TOKEN": "x", "PGPANEL_CONFIG": "/none"}
    return CliRunner().invoke(cli, ["follow", "7", *more], env=where)


def test_a_line_that_breaks_is_taken_up_again_behind_the_last_line(stub):
    done = follow(stub)
    assert done.exit_code == 0, done.output
    said = [text.split("line ")[1].split()[0] for text in done.output.splitlines() if "line " in text]
    assert [int("".join(filter(str.isdigit, each))[:2] if not each.startswith("3") else 3) for each in said] == list(range(1, 13))
    assert stub.asked_from[0] == 0
    assert stub.asked_from == sorted(stub.asked_from)
    assert len(stub.asked_from) >= 5


def test_no_escape_code_of_a_host_reaches_the_terminal(stub):
    assert "\x1b" not in follow(stub).output
    assert "\x07" not in follow(stub).output


def test_from_a_line_on(stub):
    done = follow(stub, "--after", "8")
    assert "line 8" not in done.output
    assert "line 9" in done.output


def test_a_panel_that_stays_away_is_given_up_and_the_job_is_not(monkeypatch):
    monkeypatch.setattr(following.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(panel, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(following, "GIVE_UP_SECONDS", 0.05)
    where = {"PGPANEL_URL": "http://127.0.0.1:9", "PGPANEL_TOKEN": "x", "PGPANEL_CONFIG": "/none"}
    done = CliRunner().invoke(cli, ["follow", "7"], env=where)
    assert (done.exit_code, "does not answer" in done.output) == (5, True)
