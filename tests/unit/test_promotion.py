"""The word to promote: every way in which a line can be lost around it, and what is said then."""

from __future__ import annotations

import pytest

from jobs.kinds.promotion import Promotion
from jobs.recipe import Ended
from remote.errors import ConnectionLost, HostUnreachable, Silent

STANDBY, PRIMARY = "state standby 0/5000060 3", "state primary - 4"


class Cues:
    """answers: what the candidate says next; an exception is raised instead. reopened: whether the line can be had again."""

    def __init__(self, *answers: str | Exception, can_reopen: bool = True) -> None:
        self.answers, self.said, self.can_reopen = list(answers), [], can_reopen

    def say(self, part: str, line: str) -> None:
        self.said.append(line)

    def hear(self, part: str, within_seconds: float = 10.0) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reopen(self, part: str) -> None:
        self.said.append("reopened")
        if not self.can_reopen:
            raise HostUnreachable("pg2 does not answer", "pg2")

    def check(self) -> None:
        self.said.append("checked")

    def note(self, text: str) -> None:
        pass


def lost() -> ConnectionLost:
    return ConnectionLost("the line broke", "pg2")


def conduct(*answers: str | Exception, can_reopen: bool = True) -> tuple[Cues, dict[str, object]]:
    cues = Cues(*answers, can_reopen=can_reopen)
    return cues, dict(Promotion("pg2", 3, cues).conduct().report)


def test_it_is_asked_then_told_and_its_answer_is_the_proof() -> None:
    cues, report = conduct(STANDBY, "past 0/5000060", "promoted 4 3 0/5000060")
    assert cues.said == ["state", "await 0/1 3 2", "checked", "promote"]
    assert (report["timeline_after"], report["switch_lsn"]) == (4, "0/5000060")
    assert "promotion_ms" in report


def test_what_an_earlier_workers_word_has_done_is_not_done_twice() -> None:
    cues, report = conduct(PRIMARY)
    assert cues.said == ["state"]
    assert report["timeline_after"] == 4


@pytest.mark.parametrize(
    ("answers", "ending", "words"),
    [
        (["state silent - 0 no server"], "", "does not answer"),
        ([STANDBY, "behind 0/0 0/0"], "", "and said: behind"),
        ([STANDBY, "past 0/5", "expired"], "", "slept too long"),
        ([STANDBY, "past 0/5", "failed permission denied"], "", "permission denied"),
        ([STANDBY, "past 0/5", "slow it is still in recovery"], "unknown", "still in recovery"),
        ([STANDBY, "past 0/5", "promoted 3 2 0/5"], "unknown", "promoted 3"),
        (["state primary - 3"], "unknown", "still on timeline 3"),
        ([STANDBY, Silent("nothing", "pg2"), STANDBY], "", "before it was told"),
        ([STANDBY, "past 0/5", ConnectionLost("broke", "pg2"), STANDBY], "unknown", "lost after the word"),
    ],
)
def test_how_else_it_ends(answers: list[str | Exception], ending: str, words: str) -> None:
    with pytest.raises(Ended, match=words) as ended:
        conduct(*answers)
    assert ended.value.ending == ending


def test_a_line_lost_after_the_word_is_found_again_and_the_node_itself_says_what_it_is() -> None:
    cues, report = conduct(STANDBY, "past 0/5", lost(), PRIMARY)
    assert report["timeline_after"] == 4
    assert cues.said.count("promote") == 1


@pytest.mark.parametrize(("answers", "ending"), [([STANDBY, "past 0/5", lost()], "unknown"), ([lost()], "")])
def test_a_node_that_cannot_be_asked_again_leaves_it_open_only_if_the_word_was_sent(
    answers: list[str | Exception], ending: str
) -> None:
    with pytest.raises(Ended) as ended:
        conduct(*answers, can_reopen=False)
    assert ended.value.ending == ending
