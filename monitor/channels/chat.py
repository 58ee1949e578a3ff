"""Into a chat, by an incoming webhook: Slack and what speaks like it, Mattermost, Microsoft Teams. Its URL is the secret.

None of them tells doubles apart: after a worker's death in the middle of a call a message may stand there twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitor.channels.calling import call_json, host_of, validate_url
from monitor.channels.contract import KindForm, Parts
from monitor.letters import Letter

COLORS = {"critical": "#c4314b", "warning": "#b7791f", "over": "#2e7d4f"}
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~])")


class ChatForm(KindForm):
    secret_fields = ("url",)

    url = forms.CharField(
        label=gettext_lazy("URL of the incoming webhook"), max_length=1000, validators=[validate_url],
        widget=forms.PasswordInput(attrs={"inputmode": "url"}),
        help_text=gettext_lazy("https://… Whoever has it can write there: it is kept sealed and not shown again."),
    )  # fmt: skip

    def parts(self) -> Parts:
        url = self.cleaned_data.get("url")
        return {"host": host_of(url) if url else (self.stored or {}).get("host", "")}, {"url": url} if url else {}


def slack(letter: Letter) -> dict[str, Any]:
    """https://docs.slack.dev/messaging/formatting-message-text: three characters are escaped, no name is looked for."""
    return _attached(letter, _without_tags, lambda url, words: f"<{url}|{_without_tags(words)}>")


def mattermost(letter: Letter) -> dict[str, Any]:
    """https://developers.mattermost.com/integrate/webhooks/incoming: Markdown, so whatever a host says is escaped."""

    def plain(text: str) -> str:
        return MARKDOWN.sub(r"\\\1", _without_tags(text)).replace("@", "@\u200b")  # nor does it call everybody

    return _attached(letter, plain, lambda url, words: f"[{plain(words)}]({url})")


def _without_tags(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attached(letter: Letter, plain: Callable[[str], str], link: Callable[[str, str], str]) -> dict[str, Any]:
    """The title for the notification, then each alert with a bar in its colour."""
    parts = [
        {
            "color": COLORS[one.tone], "fallback": plain(one.headline),
            "text": "\n".join([
                *map(plain, [one.headline, *one.lines]), link(one.url, _("Open the page")) if one.url else plain(one.link),
            ]),
        }
        for one in letter.told
    ]  # fmt: skip
    if not parts:
        return {"text": plain(letter.text)}
    return {"text": plain(letter.title), "attachments": parts}


def teams(letter: Letter) -> dict[str, Any]:
    """An Adaptive Card, for a workflow “When a Teams webhook request is received”. Runs of text are never read as Markdown."""

    def run(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **more}]}

    colors = {"critical": "attention", "warning": "warning", "over": "good"}
    body, actions = [run(letter.title, weight="bolder", size="medium", color=colors[letter.tone])], []
    for one in letter.told:
        if len(letter.told) > 1:
            body.append(run(one.headline, weight="bolder", color=colors[one.tone]))
        body += [run(line) for line in one.lines]
        if one.url:
            title = _("Open the page") if len(letter.told) == 1 else f"{one.cluster}: {one.name}"
            actions.append({"type": "Action.OpenUrl", "title": title, "url": one.url})
        else:
            body.append(run(one.link))
    if not letter.told:
        body += [run(line) for line in letter.lines]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "body": body, "actions": actions[:MOST_ACTIONS], "msteams": {"width": "Full"},
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


MOST_ACTIONS = 6
"""More of them Teams does not show."""


@dataclass(frozen=True)
class Chat:
    """body: a letter as this service reads it."""

    kind: str
    label: str | Promise
    body: Callable[[Letter], dict[str, Any]]
    form: type[KindForm] = ChatForm

    def shown(self, settings: Mapping[str, Any]) -> str:
        return str(settings.get("host", ""))

    def typed(self, _settings: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def send(self, _settings: Mapping[str, Any], secrets: Mapping[str, str], letter: Letter) -> None:
        call_json(secrets["url"], self.body(letter), [secrets["url"]])


SLACK = Chat("slack", gettext_lazy("Slack, Discord (…/slack), Rocket.Chat"), slack)
MATTERMOST = Chat("mattermost", "Mattermost", mattermost)
TEAMS = Chat("teams", "Microsoft Teams", teams)
