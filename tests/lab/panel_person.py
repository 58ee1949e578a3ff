"""Somebody at a browser without scripts: follows addresses, fills in forms, presses buttons, keeps every page that was shown."""

from __future__ import annotations

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

Pairs = list[tuple[str, str]]


@dataclass
class Button:
    text: str
    name: str
    value: str


@dataclass
class PageForm:
    action: str
    method: str
    pairs: Pairs = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)


class _Forms(HTMLParser):
    """The forms of a page with what stands in them, and the text that a person reads."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self.words: list[str] = []
        self._form: PageForm | None = None
        self._button: Button | None = None
        self._area: str | None = None
        self._select = ""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "style"):
            self._hidden += 1
        if tag == "form":
            self._form = PageForm(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        if self._form is None or "disabled" in given:
            return
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "input" and name:
            kind = given.get("type", "text")
            if kind in ("radio", "checkbox"):
                if "checked" in given:
                    self._form.pairs.append((name, value or "on"))
            elif kind not in ("submit", "file"):
                self._form.pairs.append((name, value))
        elif tag == "button":
            self._button = Button("", name, value)
            self._form.buttons.append(self._button)
        elif tag == "textarea":
            self._area = ""
            self._form.pairs.append((name, ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self._form.pairs.append((self._select, value))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden -= 1
        elif tag == "form":
            self._form = None
        elif tag == "button":
            self._button = None
        elif tag == "textarea" and self._form and self._area is not None:
            name, _ = self._form.pairs.pop()
            self._form.pairs.append((name, self._area.removeprefix("\n")))
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._area += data
        elif self._button is not None:
            self._button.text = f"{self._button.text} {' '.join(data.split())}".strip()
        elif not self._hidden:
            self.words += data.split()


@dataclass
class Page:
    url: str
    status: int
    html: str

    def __post_init__(self) -> None:
        parsed = _Forms()
        parsed.feed(self.html)
        self.forms, self.text = parsed.forms, " ".join(parsed.words)

    def form_with(self, button: str) -> tuple[PageForm, Button]:
        """The form that has this button, by the beginning of its text."""
        for form in self.forms:
            for one in form.buttons:
                if one.text.startswith(button):
                    return form, one
        shown = [one.text for form in self.forms for one in form.buttons]
        raise AssertionError(f"{self.url} ({self.status}) has no button {button!r}, only {shown}:\n{self.text[:1500]}")


class Person:
    """One session with the panel. `pages`: all that it was shown."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.pages: list[Page] = []
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    def get(self, path: str) -> Page:
        return self._open(urllib.parse.urljoin(self.url + "/", path), None)

    def press(self, page: Page, button: str, **fields: Any) -> Page:
        """Fill in `fields` (a list for several of a name, None to leave one out) and press the button."""
        form, pressed = page.form_with(button)
        pairs = [(name, value) for name, value in form.pairs if name not in fields]
        for name, value in fields.items():
            pairs += [(name, str(one)) for one in (value if isinstance(value, list) else [] if value is None else [value])]
        if pressed.name:
            pairs.append((pressed.name, pressed.value))
        return self._open(urllib.parse.urljoin(page.url, form.action), urllib.parse.urlencode(pairs).encode())

    def log_in(self, username: str, password: str) -> Page:
        page = self.press(self.get("/accounts/login/"), "Sign in", login=username, password=password)
        assert "/login" not in page.url, page.text
        return page

    def live(self, topic: str, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events of one stream as they come, until it is silent for so long or breaks off."""
        request = urllib.request.Request(f"{self.url}/live/?topic={topic}&after=0")
        name, data = "", ""
        with self._opener.open(request, timeout=seconds) as stream:
            for raw in stream:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and name:
                    yield name, json.loads(data or "{}")
                    name, data = "", ""

    def _open(self, url: str, body: bytes | None) -> Page:
        request = urllib.request.Request(url, data=body, headers={"Referer": url})
        try:
            with self._opener.open(request, timeout=30) as answer:
                page = Page(answer.url, answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                page = Page(error.url or url, error.code, error.read().decode())
        self.pages.append(page)
        return page
