"""When a slot's WAL fills the disk: the rate over what is remembered, the room less what went since, and honest silence."""

from __future__ import annotations

import pytest

from monitor.forecast import Forecast, Room, SlotMemory, forecast, left_of

MB = 1 << 20
T = 1_800_000_000.0


def remembered(seconds: int, bytes_per_second: float, begin: int = 100 * MB) -> SlotMemory:
    memory = SlotMemory()
    for at in range(0, seconds + 1, 2):
        memory.add(T + at, begin + round(at * bytes_per_second))
    return memory


def test_the_disk_is_full_when_the_room_divided_by_the_rate_has_passed() -> None:
    seen = forecast(remembered(60, MB), Room(T + 60, 600 * MB))
    assert (seen.word, seen.ends) == ("filling", "disk")
    assert seen.seconds_left == pytest.approx(600, rel=0.01)


def test_what_the_slot_has_taken_since_somebody_looked_at_the_disk_is_counted_off() -> None:
    seen = forecast(remembered(60, MB), Room(T + 20, 600 * MB))
    assert seen.room_bytes == 560 * MB


def test_wal_files_that_stand_ready_are_room_too() -> None:
    seen = forecast(remembered(60, MB), Room(T + 60, 500 * MB, spare_bytes=100 * MB))
    assert seen.seconds_left == pytest.approx(600, rel=0.01)


def test_what_is_less_than_a_wal_file_is_no_room() -> None:
    assert Room(T, 31 * MB, 3 * MB, segment_bytes=16 * MB).total_bytes == 19 * MB
    assert Room(T, 31 * MB, 3 * MB).total_bytes == 34 * MB


def test_a_load_that_has_just_begun_is_not_evened_out_over_the_quiet_time_before() -> None:
    memory = SlotMemory()
    for at in range(0, 541, 6):
        memory.add(T + at, 0)
    for at in range(546, 601, 6):
        memory.add(T + at, (at - 540) * MB)
    assert forecast(memory, Room(T + 600, 600 * MB)).bytes_per_second == pytest.approx(MB, rel=0.05)


def test_a_full_disk_is_no_time_left_and_not_less() -> None:
    assert forecast(remembered(60, MB), Room(T, 10 * MB)).seconds_left == 0


@pytest.mark.parametrize("seconds", [0, 6, 18])
def test_over_too_short_a_time_nothing_is_told(seconds: int) -> None:
    assert forecast(remembered(seconds, MB), Room(T, 600 * MB)).word == "unknown"


def test_without_a_look_at_the_disk_the_rate_is_told_and_no_time() -> None:
    seen = forecast(remembered(60, MB), None)
    assert (seen.word, seen.seconds_left) == ("unknown", None)
    assert seen.bytes_per_second == pytest.approx(MB, rel=0.01)


def test_a_slot_that_the_server_lets_go_first_ends_as_a_slot() -> None:
    seen = forecast(remembered(60, MB), Room(T + 60, 600 * MB), safe_wal_bytes=60 * MB)
    assert (seen.ends, seen.seconds_left) == ("slot", pytest.approx(60, rel=0.01))
    assert forecast(remembered(60, MB), None, safe_wal_bytes=60 * MB).seconds_left == pytest.approx(60, rel=0.01)


def test_an_idle_server_fills_nothing() -> None:
    assert forecast(remembered(60, 100), Room(T + 60, 600 * MB)).word == "steady"


def test_a_slot_that_was_read_on_begins_anew() -> None:
    memory = remembered(60, MB)
    memory.add(T + 62, 0)
    assert forecast(memory, Room(T + 62, 600 * MB)) == Forecast("unknown", measured_seconds=0.0)


def test_after_a_break_of_the_collector_the_old_rate_says_nothing() -> None:
    memory = remembered(60, MB)
    memory.add(T + 60 + 500, 900 * MB)
    assert forecast(memory, Room(T + 560, 600 * MB)).word == "unknown"


def test_bursts_are_evened_out() -> None:
    """A checkpoint's full pages come in a wave: the rate is that of the whole time."""
    memory = SlotMemory()
    for at in range(0, 61, 2):
        memory.add(T + at, 2 * MB * (at // 10) * 5)
    assert forecast(memory, Room(T + 60, 600 * MB)).seconds_left == pytest.approx(600, rel=0.15)


# -- how much a standby may still miss


def test_with_a_slot_and_no_limit_it_misses_nothing_until_the_disk_is_full() -> None:
    left = left_of(10 * MB, MB, slot_status="reserved")
    assert left is not None
    assert (left.by, left.bytes, left.seconds) == ("slot", None, None)


def test_with_a_limit_it_is_what_the_server_still_promises() -> None:
    left = left_of(10 * MB, MB, slot_status="extended", safe_wal_bytes=30 * MB)
    assert left is not None
    assert (left.by, left.bytes, left.seconds) == ("slot", 30 * MB, 30.0)


def test_without_a_slot_it_is_what_is_kept_less_what_it_misses_already() -> None:
    left = left_of(10 * MB, MB, slot_status=None, wal_keep_bytes=64 * MB)
    assert left is not None
    assert (left.by, left.bytes, left.seconds) == ("kept", 54 * MB, 54.0)
    over = left_of(100 * MB, 0.0, slot_status=None, wal_keep_bytes=64 * MB)
    assert over is not None
    assert (over.bytes, over.seconds) == (0, None)


def test_what_the_server_calls_lost_is_lost_and_what_is_not_known_is_not_told() -> None:
    lost = left_of(None, None, slot_status="lost")
    assert lost is not None
    assert lost.by == "lost"
    assert left_of(None, MB, slot_status=None, wal_keep_bytes=MB) is None
    assert left_of(5, MB, slot_status=None) is None
