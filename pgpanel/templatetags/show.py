"""Values as a person reads them: always with a unit, "–" for what is not known (never 0), steady in width."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, pgettext

register = template.Library()

NOT_KNOWN = "–"
BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
TONES = {
    "streaming": "streaming primary ok yes done already succeeded healthy caught-up written",
    "now": "running planning starting live",
    "idle": "idle planned queued withdrawn cancelled paused standby no-change skipped caught-up-idle",
    "catching": "catching catching-up warning stale delayed archive-recovery startup reconnecting",
    "stalled": "stalled lost drifted",
    "broken": "broken failed errored error refused disconnected unreachable down stopped no not-writable critical",
}
WORDS = {
    "primary": gettext_lazy("primary"), "standby": gettext_lazy("standby"), "unknown": gettext_lazy("unknown"),
    "streaming": gettext_lazy("streaming"), "idle": gettext_lazy("idle"), "catching-up": gettext_lazy("catching up"),
    "stalled": gettext_lazy("stalled"), "disconnected": gettext_lazy("disconnected"), "stale": gettext_lazy("stale"),
    "unreachable": gettext_lazy("unreachable"), "stopped": gettext_lazy("stopped"), "broken": gettext_lazy("broken"),
    "ok": gettext_lazy("ok"), "warning": gettext_lazy("warning"), "refused": gettext_lazy("refused"),
    "critical": gettext_lazy("critical"),
}  # fmt: skip
"""The states that templates name by their key; others bring their own word."""
TONE_OF = {word: tone for tone, words in TONES.items() for word in words.split()}


@register.filter
def bytes_shown(count: float | str | None) -> str:
    """Powers of 1024 under PostgreSQL's own names: 0 B, 812 kB, 3.2 MB, 214 GB."""
    if count is None or count == "":
        return NOT_KNOWN
    sign, size = ("−", -float(count)) if float(count) < 0 else ("", float(count))
    unit = 0
    while size >= 999.5 and unit < len(BYTE_UNITS) - 1:
        size /= 1024
        unit += 1
    digits = 1 if unit and size < 99.95 else 0
    return f"{sign}{size:.{digits}f} {BYTE_UNITS[unit]}"


@register.filter
def rate_shown(bytes_per_second: float | str | None) -> str:
    """96.0 MB/s."""
    return NOT_KNOWN if bytes_per_second is None or bytes_per_second == "" else f"{bytes_shown(bytes_per_second)}/s"


@register.filter
def seconds_shown(seconds: float | str | None) -> str:
    """4 ms, 0.6 s, 41 s, 2 min 41 s, 3 h 5 min, 9 d 4 h: the two units that matter."""
    if seconds is None or seconds == "":
        return NOT_KNOWN
    value = float(seconds)
    if value < 0:
        return f"−{seconds_shown(-value)}"
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


@register.filter
def about_shown(seconds: float | str | None) -> str:
    """A guess has no tenths: 8 s, 2 min 41 s."""
    if seconds is None or seconds == "":
        return NOT_KNOWN
    whole = max(1, round(float(seconds)))
    return f"{whole} s" if whole < 60 else seconds_shown(whole)


@register.filter
def lsn_shown(lsn: int | str | None) -> str:
    """7/4A8F2160, as PostgreSQL writes a position in its log; 0 is "not known"."""
    if not lsn:
        return NOT_KNOWN
    return lsn if isinstance(lsn, str) else f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@register.filter
def age_seconds(at: datetime | float | str | None) -> float | None:
    """Seconds since `at`: a datetime, panel epoch seconds, or ISO text."""
    if at is None or at == "":
        return None
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    if not isinstance(at, datetime):
        at = datetime.fromtimestamp(at, UTC)
    return max(0.0, (timezone.now() - at).total_seconds())


@register.filter
def age_shown(at: datetime | float | str | None) -> str:
    """0.4 s ago, 2 min 41 s ago; "never" where nothing was ever seen."""
    seconds = age_seconds(at)
    if seconds is None:
        return pgettext("age", "never")
    return gettext("%(age)s ago") % {"age": f"{seconds:.1f} s" if seconds < 0.0995 else seconds_shown(seconds)}


@register.filter
def tone(state: str | None) -> str:
    """The CSS class (shape and colour) of a state's word; a word that is not known here is "unknown", never green."""
    word = str(state or "").strip().lower().replace(", ", "-").replace(" ", "-").replace("_", "-")
    return word if word in TONES else TONE_OF.get(word, "unknown")


@register.filter
def state_word(state: str | None) -> str:
    """A state's key as a person reads it: catching-up → catching up."""
    return str(WORDS.get(str(state), str(state or "").replace("-", " ").replace("_", " "))) or gettext("unknown")


@register.filter
def first_line(text: str) -> str:
    """What a page says biggest; `other_lines` is the rest."""
    return text.strip().partition("\n")[0]


@register.filter
def other_lines(text: str) -> str:
    return text.strip().partition("\n")[2].strip()


@register.filter
def first_sentence(text: str) -> str:
    """What a verdict says biggest; `other_sentences` is the rest."""
    return _sentences(text)[0]


@register.filter
def other_sentences(text: str) -> str:
    return _sentences(text)[1]


def _sentences(text: str) -> tuple[str, str]:
    """Parted at the first full stop or colon that a space follows, so that a heading stays short; without that mark."""
    for at, character in enumerate(text[:-1]):
        if character in ".:" and text[at + 1] == " ":
            rest = text[at + 2 :]
            is_word = rest.partition(" ")[0] in ("the", "its", "it", "another")  # a node's name stays as it is
            return text[:at], rest[:1].upper() + rest[1:] if is_word else rest
    return text.rstrip("."), ""
