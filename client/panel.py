"""The panel over HTTP: one session, problems as exceptions, POSTs that count once however often the line breaks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from client.refusals import NotSignedIn, Refused, Unreachable
from client.where import Where

ROOT = "/api/v1"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
TRIES, WAIT_SECONDS = 4, 1.0
AGAIN = (502, 503, 504)
"""Of a proxy while the panel restarts. 503 of a probe is an answer: it comes as plain text."""
PAGE = 200


class Panel:
    def __init__(self, where: Where) -> None:
        self._root = where.url + ROOT
        self._session = requests.Session()
        self._session.trust_env = False  # no ~/.netrc in place of the token, no proxy that nobody named here
        self._session.verify = where.ca or True
        self._session.headers.update(
            {"Authorization": f"Bearer {where.token}", "Accept": "application/json", "User-Agent": "pgpanel-cli"}
        )

    def get(self, path: str, **query: Any) -> Any:
        return self._asked("GET", path, params=query).json()

    def text(self, path: str, **query: Any) -> tuple[bool, str]:
        """A plain-text answer: (200?, what it says)."""
        answer = self._asked("GET", path, params=query, taken=(503,))
        return answer.status_code == 200, answer.text.rstrip("\n")

    def all(self, path: str, most: int = 10_000, **query: Any) -> list[dict[str, Any]]:
        """A list, page by page."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None and len(found) < most:
            page = self.get(path, after=after, limit=min(PAGE, most - len(found)), **query)
            found += page["items"]
            after = page["next"]
        return found

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Repeated under the same Idempotency-Key when the line breaks: the panel does it once."""
        return self._asked("POST", path, json=body or {}, headers={"Idempotency-Key": str(uuid.uuid4())}).json()

    def delete(self, path: str) -> None:
        self._asked("DELETE", path)

    def events(self, path: str, last_id: int) -> Iterator[tuple[str, str, int | None]]:
        """(event, data, id) until the stream breaks off: `Unreachable`, or simply its end."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last_id)}
        try:
            with self._session.get(
                self._root + path, headers=headers, stream=True, timeout=(CONNECT_SECONDS, ANSWER_SECONDS), allow_redirects=False
            ) as answer:
                _require(answer)
                answer.encoding = "utf-8"
                yield from _events(answer.iter_lines(chunk_size=None, decode_unicode=True))
        except requests.RequestException as error:
            raise Unreachable(_said(error)) from None

    def _asked(self, method: str, path: str, taken: tuple[int, ...] = (), **options: Any) -> requests.Response:
        for tries in range(1, TRIES + 1):
            try:
                answer = self._session.request(
                    method, self._root + path, timeout=(CONNECT_SECONDS, ANSWER_SECONDS), allow_redirects=False, **options
                )
            except requests.exceptions.SSLError as error:
                raise Unreachable(f"TLS: {error}") from None
            except requests.RequestException as error:
                if tries == TRIES:
                    raise Unreachable(_said(error)) from None
            else:
                if answer.status_code in taken or answer.status_code not in AGAIN or tries == TRIES:
                    _require(answer, taken)
                    return answer
            time.sleep(WAIT_SECONDS * tries)
        raise AssertionError("the last try has answered or raised")


def _require(answer: requests.Response, taken: tuple[int, ...] = ()) -> None:
    if (answer.ok and not answer.is_redirect) or answer.status_code in taken:
        return
    try:
        problem = answer.json()
        assert isinstance(problem, dict)
    except (ValueError, AssertionError):
        raise Unreachable(f"{answer.url.split('?')[0]} is no API of pgpanel: it answered {answer.status_code}") from None
    raise NotSignedIn(str(problem.get("detail", ""))) if answer.status_code == 401 else Refused(problem)


def _said(error: requests.RequestException) -> str:
    """Without requests' nest of exceptions."""
    reason = getattr(error.args[0] if error.args else None, "reason", None) or error
    return f"the panel does not answer: {reason}"


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str, int | None]]:
    name, data, event_id = "message", "", None
    for line in lines:
        word, _colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, data, event_id
            name, data, event_id = "message", "", None
        elif word == "event":
            name = value
        elif word == "data":
            data = f"{data}\n{value}" if data else value
        elif word == "id" and value.isdecimal():
            event_id = int(value)
