"""Every component on one page, and the browser's modules fed with events as the panel sends them."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django import forms
from django.template import engines
from django.test import RequestFactory
from django.utils import timezone

from tests.browser.conftest import Visitor
from tests.browser.test_front_door import csp

STATES = ["primary", "streaming", "caught up, idle", "catching up", "stalled", "disconnected", "unknown", "running"]


class Example(forms.Form):
    name = forms.CharField(help_text="Small letters.")
    port = forms.IntegerField(required=False, min_value=1)
    method = forms.ChoiceField(choices=[("pg", "pg_basebackup"), ("rsync", "rsync")], widget=forms.RadioSelect, initial="pg")
    layout = forms.ChoiceField(choices=[("debian", "Debian"), ("cocca", "CoCCA")])
    archive = forms.BooleanField(required=False, help_text="Keep every segment.")
    password = forms.CharField(widget=forms.PasswordInput)


def line(seq: int, voice: str = "output", text: str = "") -> SimpleNamespace:
    return SimpleNamespace(seq=seq, at=timezone.now(), node="pg1", voice=voice, text=text or f"line {seq}")


def sample(at: float, lag: float = 3.1) -> dict[str, Any]:
    return {"at": at, "nodes": {
        "pg1": {"role": "primary", "state": "primary"},
        "pg2": {"role": "standby", "state": "streaming", "replay_bytes": 0, "replay_seconds": 0.004},
        "pg3": {"role": "standby", "state": "catching up", "replay_bytes": int(lag * 6e6), "replay_seconds": lag},
    }}  # fmt: skip


def history() -> dict[str, Any]:
    now = int(time.time())
    ramp = [None if 10 < i < 14 else max(0.0, (i - 22) * 0.2) for i in range(60)]
    return {"at": [now - 60 + i for i in range(60)], "nodes": {
        "pg2": {"bytes": [0] * 60, "seconds": [0.004] * 60},
        "pg3": {"bytes": [None if v is None else int(v * 6e6) for v in ramp], "seconds": ramp},
    }}  # fmt: skip


@pytest.fixture
def gallery(stranger: Visitor) -> Visitor:
    form = Example({"name": "pg1", "port": "0", "method": "pg", "layout": "debian"})
    context = {
        "now": timezone.now(), "old": timezone.now() - timedelta(seconds=40), "states": STATES, "form": form,
        "lines": [line(1, "command", "pg_basebackup -D …"), line(2), line(3, "note", "copying"), line(4, "error", "no such slot")],
    }  # fmt: skip
    template = engines["django"].from_string((Path(__file__).parent / "gallery.html").read_text())
    body = template.render(context, RequestFactory().get("/"))
    headers = {"Content-Security-Policy": csp()}
    stranger.page.route("**/gallery", lambda route: route.fulfill(body=body, content_type="text/html", headers=headers))
    stranger.page.route("**/gallery-lag*", lambda route: route.fulfill(body=json.dumps(history()), content_type="application/json"))
    stranger.go("/gallery")
    return stranger


def tell(visitor: Visitor, name: str, data: dict[str, Any]) -> None:
    visitor.page.evaluate(
        "([name, data]) => document.body.dispatchEvent(new CustomEvent(name, {detail: data}))", [f"live:{name}", data]
    )


def tell_line(visitor: Visitor, seq: int, text: str) -> None:
    tell(visitor, "line", {"seq": seq, "at": timezone.now().isoformat(), "node": "pg1", "voice": "output", "text": text})


def texts(visitor: Visitor) -> list[str]:
    return visitor.page.locator("#log [data-seq] > :last-child").all_text_contents()


def test_every_component_in_both_themes_and_widths(gallery: Visitor) -> None:
    gallery.page.wait_for_selector("[data-lag-chart] canvas")
    gallery.look("gallery")


def test_a_log_line_that_comes_twice_or_late_stands_once_and_in_its_place(gallery: Visitor) -> None:
    gallery.page.wait_for_selector("#log[data-started]")
    gallery.page.wait_for_timeout(200)
    for seq in (7, 5, 7, 3, 6):
        tell_line(gallery, seq, f"line {seq}")
    gallery.until("document.querySelectorAll('#log [data-seq]').length === 7")
    assert texts(gallery)[-4:] == ["no such slot", "line 5", "line 6", "line 7"]


def test_a_line_is_text_and_never_markup(gallery: Visitor) -> None:
    gallery.page.wait_for_timeout(200)
    tell(
        gallery,
        "line",
        {"seq": 9, "at": timezone.now().isoformat(), "node": "pg1", "voice": "x", "text": "<img src=x onerror=alert(1)>"},
    )
    gallery.page.wait_for_selector("[data-seq='9']")
    assert texts(gallery)[-1] == "<img src=x onerror=alert(1)>"


def test_twenty_thousand_lines_stay_smooth_and_bounded(gallery: Visitor) -> None:
    gallery.page.wait_for_timeout(200)
    spent = gallery.page.evaluate("""async () => {
        const began = performance.now();
        let longest = 0;
        for (let batch = 0; batch < 110; batch += 1) {
            const at = performance.now();
            for (let i = 0; i < 200; i += 1)
                document.body.dispatchEvent(new CustomEvent("live:line", {detail: {seq: 100 + batch * 200 + i,
                    at: "2026-11-22T12:00:00Z", node: "pg3", voice: "output", text: `${batch * 200 + i}/224395264 kB (63%)`}}));
            await new Promise(requestAnimationFrame);
            longest = Math.max(longest, performance.now() - at);
        }
        return {seconds: (performance.now() - began) / 1000, longest};
    }""")
    kept = gallery.page.locator("#log [data-seq]").count()
    assert 18_000 <= kept <= 20_000, kept
    assert spent["seconds"] < 60, spent
    box = gallery.page.evaluate(
        "(() => { const l = document.getElementById('log'); return l.scrollHeight - l.scrollTop - l.clientHeight })()"
    )
    assert box < 30, "it does not follow"


def test_search_counts_and_goes_to_the_next_match(gallery: Visitor) -> None:
    gallery.page.wait_for_selector("#log[data-started]")
    gallery.page.wait_for_timeout(200)
    for seq in range(10, 60):
        tell_line(gallery, seq, "a checkpoint" if seq % 10 == 0 else f"{seq}")
    search = gallery.page.get_by_label("Search the log")
    search.fill("CHECKPOINT")
    gallery.until("document.querySelector('[data-log-count]').textContent === '1 / 5'")
    search.press("Enter")
    assert gallery.page.locator("[data-log-count]").inner_text() == "2 / 5"
    assert gallery.page.locator(".is-current-hit").get_attribute("data-seq") == "20"
    assert gallery.page.get_by_role("button", name="Follow").get_attribute("aria-pressed") == "false"


def test_the_whole_log_is_copied(gallery: Visitor) -> None:
    gallery.page.wait_for_selector("#log[data-started]")
    gallery.page.wait_for_timeout(200)
    gallery.page.locator("[data-log-copy]").click()
    gallery.page.wait_for_timeout(100)
    copied = gallery.page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0].endswith("pg1\t$ pg_basebackup -D …")
    assert len(copied.splitlines()) == 4


def test_progress_moves_the_bar_and_says_what_is_left(gallery: Visitor) -> None:
    gallery.page.wait_for_selector("progress[data-started]")
    gallery.page.wait_for_timeout(200)
    copied = {"done_bytes": 1 << 30, "total_bytes": 4 << 30, "bytes_per_second": 96 << 20, "eta_seconds": 32}
    tell(gallery, "progress", {"key": "standby.copy#pg3", **copied})
    assert gallery.page.locator("[data-progress-text]").inner_text() == "1.0 GB of 4.0 GB · 96.0 MB/s · about 32 s left"
    assert gallery.page.locator("progress").evaluate("bar => bar.value / bar.max") == pytest.approx(0.25)


def test_the_chart_goes_on_with_each_sample_and_says_itself_in_words(gallery: Visitor) -> None:
    gallery.page.wait_for_selector("[data-lag-chart] canvas")
    tell(gallery, "sample", sample(time.time() + 1, lag=4.2))
    gallery.until("document.querySelector('[data-lag-chart]').ariaLabel?.includes('pg3: 4.2 s')")


def test_a_form_is_sent_once(gallery: Visitor) -> None:
    sent: list[str] = []
    gallery.page.route("**/gallery-form", lambda route: sent.append(route.request.url))  # never answered
    gallery.page.get_by_label("Password").fill("x")
    gallery.page.get_by_label("port").fill("5432")
    gallery.page.evaluate("for (let i = 0; i < 3; i += 1) document.querySelector('form.card').requestSubmit()")
    gallery.page.wait_for_timeout(200)
    assert len(sent) == 1


def test_the_theme_is_chosen_and_remembered(ana: Visitor) -> None:
    page = ana.go("/accounts/2fa/")
    page.get_by_text("Ana P.").click()
    page.get_by_role("button", name="Dark").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.get_by_text("Ana P.").click()
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.locator("details[data-menu]").get_attribute("open") is None


def test_without_a_choice_the_system_decides_even_without_scripts(stranger: Visitor) -> None:
    stranger.page.emulate_media(color_scheme="dark")
    stranger.page.route("**/*.js", lambda route: route.abort())
    stranger.expected.append("ERR_FAILED")
    page = stranger.go("/accounts/login/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
