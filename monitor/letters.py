"""What a channel says, for somebody who is woken at three: what is wrong, since when, the one safe thing to do, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitor.alert_words import WORDS, path_of, sentence
from monitor.models import Message, Notice
from remote.visible import visible

LONGEST_SENTENCE = 400
"""What a host says of itself can be long, and is not all worth reading on a phone."""
GRAVITY = {"critical": 0, "warning": 1, "over": 2}


@dataclass(frozen=True)
class Told:
    """One alert. tone: "critical", "warning" or "over". url: absolute; "" where the panel does not know its own address."""

    cluster: str
    tone: str
    name: str
    about: str
    sentence: str
    when: str
    do: str
    url: str
    path: str

    @property
    def headline(self) -> str:
        about = f" ({self.about})" if self.about else ""
        return f"{self.word} {self.cluster}: {self.name}{about}"

    @property
    def word(self) -> str:
        return {"critical": _("CRITICAL"), "warning": _("WARNING"), "over": _("OVER")}[self.tone]

    @property
    def lines(self) -> list[str]:
        """Below the headline; nothing is left to do about what is over."""
        do = [] if self.tone == "over" else [_("Do next: %(what)s") % {"what": self.do}]
        return [self.sentence, self.when, *do]

    @property
    def link(self) -> str:
        return self.url or _("On the panel: %(path)s") % {"path": self.path}


@dataclass(frozen=True)
class Letter:
    """id: the same in every attempt. told: the gravest first; nothing: a test of `channel`."""

    id: str
    channel: str
    told: tuple[Told, ...] = ()

    @property
    def tone(self) -> str:
        """Of all: the gravest; of a test "over", which wakes nobody."""
        return self.told[0].tone if self.told else "over"

    @property
    def url(self) -> str:
        return self.told[0].url if self.told else settings.PANEL_URL

    @property
    def title(self) -> str:
        if not self.told:
            return _("Test of pgpanel")
        more = len(self.told) - 1
        clusters = {one.cluster for one in self.told}
        words = self.told[0].headline
        if len(clusters) > 1:
            words += ngettext(", %(count)d cluster in all", ", %(count)d clusters in all", len(clusters)) % {"count": len(clusters)}
        elif more:
            words += ngettext(", and %(count)d more", ", and %(count)d more", more) % {"count": more}
        return words

    @property
    def lines(self) -> list[str]:
        """Plain text, in a paragraph each; the headline of a single one is the title already."""
        if not self.told:
            return [_("This is a test of “%(name)s”. Alerts of pgpanel come this way.") % {"name": self.channel}]
        alone = len(self.told) == 1
        return ["\n".join([*([] if alone else [one.headline]), *one.lines]) for one in self.told]

    @property
    def text(self) -> str:
        """The whole of it, with a link below each."""
        if not self.told:
            return "\n".join(self.lines)
        return "\n\n".join("\n".join([one.headline, *one.lines, one.link]) for one in self.told)


def letter_of(message: Message, notices: Iterable[Notice]) -> Letter:
    """notices: with their alerts and clusters. In the channel's time zone."""
    zone = ZoneInfo(message.channel.time_zone)
    told = sorted((_told(notice, zone) for notice in notices if notice.alert.rule in WORDS), key=lambda one: GRAVITY[one.tone])
    return Letter(str(message.uuid), message.channel.name, tuple(told))


def _told(notice: Notice, zone: ZoneInfo) -> Told:
    alert, words = notice.alert, WORDS[notice.alert.rule]
    is_over, path = notice.what == "over", path_of(notice.alert)
    said = sentence(alert)
    begun = _clock(alert.since, zone)
    when = _("Since %(begun)s.") % {"begun": begun}
    if is_over and alert.over_at:
        when = _("It lasted from %(begun)s to %(over)s.") % {"begun": begun, "over": _clock(alert.over_at, zone)}
    return Told(
        cluster=alert.cluster.name, tone="over" if is_over else alert.severity, name=str(words.name), about=visible(alert.about),
        sentence=said if len(said) <= LONGEST_SENTENCE else f"{said[:LONGEST_SENTENCE]}…", when=when, do=str(words.do),
        url=f"{settings.PANEL_URL}{path}" if settings.PANEL_URL else "", path=path,
    )  # fmt: skip


def _clock(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
