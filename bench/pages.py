"""From a browser's request to the first byte of a page, logged in, with a cluster that is being watched."""

from __future__ import annotations

import http.cookiejar
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence

from bench.rows import Row, row
from bench.stage import Stage

REQUESTS = 40


class Visitor:
    """A logged-in client with cookies."""

    def __init__(self, stage: Stage) -> None:
        self.url = stage.panel.url
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        page = self.opener.open(f"{self.url}accounts/login/").read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, "the login page has a form"
        form = {"csrfmiddlewaretoken": token[1], "login": "admin", "password": (stage.panel.var / "password").read_text().strip()}
        request = urllib.request.Request(f"{self.url}accounts/login/", urllib.parse.urlencode(form).encode())
        request.add_header("Referer", self.url)
        assert "login" not in self.opener.open(request).url, "the password is the one in the file"

    def first_byte_ms(self, path: str) -> float:
        began = time.monotonic()
        with self.opener.open(f"{self.url}{path}") as answer:
            answer.read(1)
            return (time.monotonic() - began) * 1000


def first_byte(stage: Stage) -> Sequence[Row]:
    visitor = Visitor(stage)
    pages = {"fleet": "", "cluster": "c/planned/", "job": "jobs/1/", "jobs": "jobs/"}
    return [
        row(f"first byte of the page: {name}", "ms", [visitor.first_byte_ms(path) for _request in range(REQUESTS)])
        for name, path in pages.items()
    ]
