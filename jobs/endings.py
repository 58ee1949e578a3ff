"""How a change of roles ended, in words and colour: exactly one of a few, each with what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.engine import WORDS as SAID
from jobs.models import Job

Words = str | Promise


@dataclass(frozen=True)
class EndingWords:
    """tone: shape and colour. resume: what the button says that finishes it ("" = nothing of its own)."""

    tone: str
    word: Words
    means: Words
    resume: Words = ""


ENDINGS = {
    "done": EndingWords("streaming", _("done"), ""),
    "rolled_back": EndingWords(
        "catching", _("rolled back"),
        _("The old primary serves again, as before. Nothing is lost, and no node has another role than it had."),
    ),
    "cleanup_pending": EndingWords(
        "catching", _("promoted, clean-up pending"),
        _("The new primary takes writes. What is left over can wait, and is finished by resuming this job."),
        _("Finish the clean-up"),
    ),
    "unknown": EndingWords(
        "broken", _("not known how it ended"),
        _("The line was lost after the word to promote was sent, so nothing was taken back. Look at both nodes before anything "
          "else: exactly one may take writes."),
        _("Look again and go on from what is true"),
    ),
    "refused_by_host": EndingWords(
        "broken", _("refused by a host"), _("A host took no orders from this job: another one has had the word since.")
    ),
}  # fmt: skip
PLAIN = EndingWords("unknown", "", "")


def ending_of(job: Job) -> EndingWords:
    """PLAIN where the job tells no ending of its own: then its status says all."""
    return ENDINGS.get(job.ending, PLAIN)


def told(job: Job) -> str:
    """The outcome without the sentence by which the engine says the ending that a page says anyway."""
    first, _blank, rest = job.outcome.partition("\n\n")
    return rest if job.ending in ENDINGS and first == SAID.get(job.ending) else job.outcome
