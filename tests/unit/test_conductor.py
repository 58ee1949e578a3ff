"""The conductor of a write gap alone, against two parts that answer from a table: what it says, and what it never says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs.blocks.conductor import Conductor, Gap
from jobs.recipe import Ended
from remote.errors import ConnectionLost, EpochRefused, HostUnreachable, Silent

Answer = str | Exception
LOST = ConnectionLost("the line broke", "pg2")
USUAL = {
    "old state": "state primary staged 0/100 4", "new state": "state standby 0/100 4",
    "old checkpoint": "checkpoint 0/200 4", "old fill": "filled", "new checkpoint": "checkpoint 4", "new reach": "past 0/280",
    "old stop": "stopped 0/300 4", "old fence": "fenced", "new await": "past 0/378", "new promote": "promoted 5 4 0/378",
    "old rollback": "primary", "old settle": "settled", "old start": "starting", "old still": "yes", "new still": "yes",
    "old leave": "left", "new leave": "left",
}  # fmt: skip


class Told:
    """Cues whose parts answer from a table; a list is answered one by one."""

    def __init__(self, reopen: Exception | None = None, **changes: Answer | list[Answer]) -> None:
        self._answers: dict[str, Answer | Iterator[Answer]] = dict(USUAL)
        for name, answer in changes.items():
            self._answers[name.replace("_", " ")] = iter(answer) if isinstance(answer, list) else answer
        self._pending: dict[str, list[Answer]] = {"old": [], "new": []}
        self._reopen = reopen
        self.said: list[str] = []
        self.check: Callable[[], None] = lambda: None

    def say(self, part: str, line: str) -> None:
        self.said.append(f"{part} {line}")
        found = self._answers[f"{part} {line.split(' ', maxsplit=1)[0]}"]
        self._pending[part].append(found if isinstance(found, str | Exception) else next(found))

    def hear(self, part: str, within_seconds: float = 10.0) -> str:
        answer = self._pending[part].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reopen(self, part: str) -> None:
        self._pending[part].clear()
        if self._reopen:
            raise self._reopen

    def note(self, text: str, part: str = "") -> None:
        pass

    def words(self) -> list[str]:
        return [f"{line.split(' ')[0]} {line.split(' ')[1]}" for line in self.said]


def ended(cues: Told) -> str:
    try:
        return Conductor(Gap("pg1", "pg2"), cues).conduct().word
    except Ended as end:
        return end.ending


def test_between_stop_and_promotion_nothing_is_said_but_fence_and_proof() -> None:
    cues = Told()
    ending = Conductor(Gap("pg1", "pg2"), cues).conduct()
    stop = cues.words().index("old stop")
    assert cues.words()[stop - 3 : stop] == ["old fill", "old checkpoint", "new reach"]
    assert cues.words()[stop : stop + 4] == ["old stop", "old fence", "new await", "new promote"]
    assert "new await 0/300 4 2" in cues.said
    assert (ending.word, ending.report["timeline_before"], ending.report["timeline_after"]) == ("done", 4, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"new_await": "behind 0/2F0 0/2F0", "old_read": "failed it is not here"},
        {"new_await": "other 3"},
        {"old_fence": "lost"},
        {"old_fence": "running"},
        {"old_stop": "stuck"},
        {"old_stop": "unclean in production"},
        {"new_promote": "expired"},
        {"old_state": "state crashed staged 0/100 4"},
    ],
)
def test_a_standby_without_all_of_it_is_not_promoted_and_the_old_primary_starts_again(changes: dict[str, Any]) -> None:
    cues = Told(**changes)
    assert ended(cues) == "rolled_back"
    assert "old settle" in cues.words()
    assert "old rollback" in cues.words()
    assert "new promote" not in cues.words() or "new_promote" in changes


@pytest.mark.parametrize(
    "changes",
    [
        {"new_reach": "behind 0/1F0 0/1F0"},
        {"new_checkpoint": "checkpoint 3"},
        {"new_checkpoint": "failed out of space"},
        {"old_checkpoint": "failed no"},
        {"old_stop": "refused nothing is staged"},
    ],
)
def test_what_can_be_known_before_the_stop_stops_nothing(changes: dict[str, Any]) -> None:
    cues = Told(**changes)
    assert ended(cues) == ""
    assert "old settle" in cues.words()
    assert not {"old fence", "new promote", "old rollback"} & set(cues.words())


def test_a_job_that_is_no_longer_wanted_stops_nothing() -> None:
    def no_longer() -> None:
        raise KeyboardInterrupt

    cues = Told()
    cues.check = no_longer
    with pytest.raises(KeyboardInterrupt):
        Conductor(Gap("pg1", "pg2"), cues).conduct()
    assert "old stop" not in cues.words()
    assert cues.words()[-1] == "old settle"


def test_the_next_worker_goes_on_from_a_fence_with_proof_and_promotion_alone() -> None:
    cues = Told(old_state="state stopped fenced 0/300 4")
    assert ended(cues) == "done"
    assert "old stop" not in cues.words()
    assert "old rollback" not in cues.words()
    assert "new await 0/300 4 2" in cues.said


def test_what_the_dead_man_did_is_said_as_a_rollback() -> None:
    cues = Told(old_state="state primary unfenced 0/300 4")
    assert ended(cues) == "rolled_back"
    assert cues.words() == ["old state", "new state", "old settle", "old leave", "new leave"]


def test_a_promotion_that_an_earlier_worker_asked_for_counts() -> None:
    cues = Told(old_state="state stopped fenced 0/300 4", new_state="state primary - 5")
    assert ended(cues) == "done"
    assert "new promote" not in cues.words()


def test_after_the_word_to_promote_nothing_is_rolled_back_while_the_candidate_is_away() -> None:
    cues = Told(reopen=HostUnreachable("no answer", "pg2"), new_promote=LOST)
    assert ended(cues) == "unknown"
    assert "old rollback" not in cues.words()


def test_a_line_lost_after_the_word_to_promote_is_asked_again() -> None:
    cues = Told(
        old_state=["state primary staged 0/100 4", "state stopped fenced 0/300 4"],
        new_state=["state standby 0/100 4", "state primary - 5"], new_promote=LOST,
    )  # fmt: skip
    assert ended(cues) == "done"
    assert "old rollback" not in cues.words()


def test_a_candidate_lost_before_the_word_to_promote_is_given_up() -> None:
    cues = Told(reopen=HostUnreachable("no answer", "pg2"), new_await=LOST)
    assert ended(cues) == "rolled_back"
    assert "new promote" not in cues.words()


def test_a_candidate_whose_server_is_gone_and_starts_as_a_standby_can_be_given_up_even_then() -> None:
    cues = Told(
        old_state=["state primary staged 0/100 4", "state stopped fenced 0/300 4"],
        new_state=["state standby 0/100 4", "state down - 0 gone"], new_promote="failed connection to server was lost",
    )  # fmt: skip
    assert ended(cues) == "rolled_back"


def test_an_old_primary_lost_before_its_fence_is_no_reason_to_promote() -> None:
    lost = Silent("no answer", "pg1")
    cues = Told(reopen=HostUnreachable("no answer", "pg1"), old_fence=lost)
    assert ended(cues) == "unknown"
    assert "new promote" not in cues.words()


def test_two_primaries_are_said_and_left_alone() -> None:
    cues = Told(new_state="state primary - 5")
    assert ended(cues) == "unknown"
    assert cues.words() == ["old state", "new state"]


def test_a_worker_that_was_taken_for_dead_says_nothing_more() -> None:
    cues = Told(reopen=EpochRefused("pg2", "shop", 4, 5), new_await=LOST)
    with pytest.raises(EpochRefused):
        ended(cues)
    assert "old rollback" not in cues.words()


def test_a_line_lost_before_the_stop_is_an_ordinary_failure() -> None:
    cues = Told(new_checkpoint=LOST)
    with pytest.raises(ConnectionLost):
        ended(cues)
    assert "old stop" not in cues.words()


PAGES = "A" * 43691 + "="
"""32 kB in Base64."""


def wal(name: str, offset: int) -> str:
    return f"wal {name} {offset} {1 << 24} {PAGES}"


def test_what_never_arrived_is_handed_in_page_by_page_up_to_the_end_of_the_last_record() -> None:
    name = "000000040000000000000000"
    cues = Told(
        old_stop="stopped 0/9000 4", new_await=["behind 0/2FF8 0/3FF8", "past 0/9078"],
        old_read=[wal(name, 0x2000), wal(name, 0xA000)], new_take="taken",
    )  # fmt: skip
    assert Conductor(Gap("pg1", "pg2"), cues).conduct().word == "done"
    fence = cues.words().index("old fence")
    salvage = ["old read", "new take", "old read", "new take"]
    assert cues.words()[fence : fence + 7] == ["old fence", "new await", *salvage, "new await"]
    assert cues.words()[fence + 7] == "new promote"
    assert [line for line in cues.said if "read" in line] == ["old read 0/3FF8 4", "old read 0/A000 4"]
    assert f"new take {name} {0x2000} {1 << 24} {PAGES}" in cues.said


def test_whole_files_go_by_the_archive_and_only_the_last_one_page_by_page() -> None:
    cues = Told(
        old_stop="stopped 0/6000028 4", new_await=["behind 0/1000000 0/1000000", "past 0/60000A0"], old_salvage="salvaged",
        old_read=[wal("000000040000000000000006", 0)] * 2, new_take="taken",
    )  # fmt: skip
    assert Conductor(Gap("pg1", "pg2", can_salvage=True), cues).conduct().word == "done"
    fence = cues.words().index("old fence")
    assert cues.words()[fence + 1 : fence + 6] == ["new await", "old salvage", "old read", "old read", "new take"]
    assert [line for line in cues.said if "read" in line] == ["old read 0/6000028 4", "old read 0/6000000 4"]


@pytest.mark.parametrize(
    "changes",
    [
        {"old_read": "failed 0/280 of timeline 4 is not here"},
        {"old_read": f"wal ../../../etc/passwd 0 {1 << 24} {PAGES}"},
        {"old_read": f"wal 000000040000000000000000 0 {1 << 24} ;reboot"},
        {"old_read": wal("000000040000000000000000", 0), "new_take": "failed it cannot be written"},
        {"old_stop": "stopped 0/6000028 4", "old_salvage": "failed"},
    ],
)
def test_what_is_still_missing_after_that_rolls_it_back(changes: dict[str, Any]) -> None:
    cues = Told(new_await=["behind 0/280 0/280", "behind 0/280 0/280"], **changes)
    with pytest.raises(Ended, match="did not replay the last of the WAL"):
        Conductor(Gap("pg1", "pg2", can_salvage=True), cues).conduct()
    assert "new promote" not in cues.words()
    assert not any("passwd" in line or "reboot" in line for line in cues.said)


def test_a_pair_as_it_was_before_is_an_ordinary_failure_whatever_became_of_the_staged_fence() -> None:
    """A worker that slept and woke has taken back what it had laid ready: the next one finds primary and standby untouched."""
    cues = Told(old_state="state primary bare 0/100 4")
    assert ended(cues) == ""
    assert cues.words() == ["old state", "new state"]
    assert ended(Told(old_state="state primary bare 0/100 4", new_state="state silent - 4")) == "unknown"
