"""A real Chromium on a real panel: uvicorn in a process of its own, an SQLite file, a Redis; rows are written by the tests.

The panel's database is another than pytest-django's: while a browser test runs, a router sends every query of this process to
the panel's file. A test fails on anything that the console says as an error, on any violation of the Content-Security-Policy, and
on any serious finding of axe-core.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections, router
from django.test import override_settings
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "screenshots"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = {390: 844, 1440: 900}
SCHEMES = ("light", "dark")
START_SECONDS = 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the panel itself had to say."""
    report = yield
    panel = getattr(item, "funcargs", {}).get("panel")
    if report.failed and panel:
        for log in sorted(panel.log.parent.glob("*.log")):
            report.sections.append((log.name, "\n".join(log.read_text(errors="replace").splitlines()[-60:])))
    visitor = getattr(item, "funcargs", {}).get("stranger")
    if report.failed and report.when == "call" and visitor:
        visitor.page.screenshot(path=SCREENSHOTS / f"failed-{item.name}.png", full_page=True)
        report.sections.append((visitor.page.url, visitor.page.inner_text("body")[:4000]))
    return report


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_true():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class RedisServer:
    """Started, killed and started again by tests: the panel must live without it."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)],
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: listens(self.port), "Redis")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None


@dataclass
class Panel:
    url: str
    redis: RedisServer
    database: Path
    log: Path
    environment: dict[str, str] = field(repr=False, default_factory=dict)


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    if not AXE.is_file():
        subprocess.run([sys.executable, "-m", "pgpanel.assets"], cwd=ROOT, check=True)
    directory = tmp_path_factory.mktemp("panel")
    redis, port = RedisServer(free_port(), directory), free_port()
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{directory / 'panel.sqlite3'}",
        "REDIS_URL": redis.url,
        "PGPANEL_VAR": str(directory),
        "DEBUG": "no",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True, timeout=120)
    redis.start()
    log = directory / "web.log"
    with log.open("wb") as output:
        web = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "pgpanel.asgi:application", "--port", str(port), "--timeout-graceful-shutdown", "1",
             "--no-access-log", "--log-level", "warning"],
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until(lambda: listens(port) or web.poll() is not None, "the panel")
        assert web.poll() is None, log.read_text()
        yield Panel(f"http://127.0.0.1:{port}", redis, directory / "panel.sqlite3", log, environment)
    finally:
        web.terminate()
        try:
            web.wait(timeout=10)
        except subprocess.TimeoutExpired:
            web.kill()
        redis.kill()


@pytest.fixture
def workers(panel: Panel) -> Iterator[None]:
    """Everything that works behind the pages: jobs, plans, the collector, the clock that starts them."""
    celery = [sys.executable, "-m", "celery", "-A", "pgpanel"]
    commands = [
        [
            *celery,
            "worker",
            "-Q",
            "emergency,jobs,plans,notify,observe",
            "-P",
            "threads",
            "-c",
            "6",
            "-l",
            "warning",
            "--without-mingle",
        ],
        [*celery, "beat", "-l", "warning", "-s", str(panel.log.parent / "beat"), "--pidfile="],
    ]
    with (panel.log.parent / "workers.log").open("wb") as output:
        started = [subprocess.Popen(one, cwd=ROOT, env=panel.environment, stdout=output, stderr=output) for one in commands]
    yield
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


class ToThePanel:
    """Every query to the panel's own database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "browser"

    db_for_write = db_for_read

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True


@pytest.fixture
def rows(panel: Panel, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The ORM of this process writes what the panel reads; empty before each test."""
    from pgpanel import live

    # Playwright's sync API keeps an event loop in this thread
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    monkeypatch.setitem(connections.databases, "browser", {**connections.databases["default"], "NAME": str(panel.database)})
    monkeypatch.setattr(router, "routers", [ToThePanel()])
    monkeypatch.setattr(live, "_publisher", None)
    with django_db_blocker.unblock(), override_settings(REDIS_URL=panel.redis.url):
        call_command("flush", database="browser", interactive=False, verbosity=0, inhibit_post_migrate=True)
        try:
            yield
        finally:
            connections["browser"].close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A person at a browser. `path` pages are opened with `go`; `look` judges what is seen."""

    page: Page
    url: str
    expected: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def until(self, condition: str, seconds: float = 12) -> None:
        """Wait for a JavaScript condition (Playwright's own wait evaluates inside the page, which the policy forbids)."""
        wait_until(lambda: bool(self.page.evaluate(condition)), condition, seconds)

    def hear(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error on the page: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(text in message.text for text in self.expected):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def look(self, name: str) -> None:
        """The page as it is now, in both widths and themes: no serious finding of axe, nothing wider than the window, a picture."""
        for width, height in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                self.page.wait_for_timeout(80)
                self.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
                where = f"{name}, {width} px, {scheme}"
                assert not self.findings(), f"{where}:\n" + "\n".join(self.findings())
                too_wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert too_wide <= 0, f"{where}: {too_wide} px wider than the window: {self.widest()}"
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        assert not self.complaints, "\n".join(self.complaints)

    def findings(self) -> list[str]:
        self.page.evaluate(AXE.read_text() + "; undefined")
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['impact']} {one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:4]}"
            f" {one['nodes'][0]['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    def widest(self) -> list[str]:
        return self.page.evaluate(  # type: ignore[no-any-return]
            "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
            ".slice(0, 6).map(e => e.tagName + '.' + (e.getAttribute('class') || '') + ' ' + e.textContent.trim().slice(0, 40))"
        )


@pytest.fixture
def context(chromium: Browser, panel: Panel) -> Iterator[BrowserContext]:
    SCREENSHOTS.mkdir(exist_ok=True)
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce", locale="en-GB")
    context.set_default_timeout(8000)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=panel.url)
    yield context
    context.close()


@pytest.fixture
def stranger(context: BrowserContext, panel: Panel, rows: None) -> Iterator[Visitor]:
    """Somebody who is not signed in."""
    visitor = Visitor(context.new_page(), panel.url)
    visitor.hear()
    yield visitor
    assert not visitor.complaints, "\n".join(visitor.complaints)


@pytest.fixture
def ana(stranger: Visitor, context: BrowserContext) -> Visitor:
    """Ana P., administrator over all, signed in."""
    sign_in(context, person("ana", is_superuser=True), stranger.url)
    return stranger


def person(username: str, **more: Any) -> Any:
    from accounts.models import User

    password = uuid.uuid4().hex
    user = User.objects.create_user(username, password=password, first_name=username.title(), last_name="P.", **more)
    user.known_password = password
    return user


def sign_in(context: BrowserContext, user: Any, url: str) -> None:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from accounts.sessions import SIGNED_IN_AT

    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[SIGNED_IN_AT] = time.time()
    session.save()
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": str(session.session_key), "url": url}])
