from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote import lsn, versions

RECORDED = Path(__file__).parent.parent / "facts" / "recorded"
lsns = st.integers(min_value=0, max_value=2**64 - 1)
segment_sizes = st.sampled_from([2**power * 1024 * 1024 for power in range(11)])


@given(lsns)
def test_what_is_shown_reads_back_as_the_same_position(position: int) -> None:
    assert lsn.parse(lsn.shown(position)) == position


def test_a_position_is_shown_as_postgresql_writes_it() -> None:
    assert lsn.shown(lsn.parse("7/4A8F2160")) == "7/4A8F2160"
    assert lsn.shown(lsn.parse("0/0")) == "0/0"
    assert lsn.parse("1/0") == 2**32


@pytest.mark.parametrize("text", ["", "7", "7/", "/1", "g/1", "1/100000000", "0/1 0/2"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a WAL position"):
        lsn.parse(text)
    assert lsn.parse_or_zero(text) == 0


def test_the_distance_is_plain_from_9_3_on() -> None:
    assert lsn.diff_bytes(lsn.parse("1/0"), lsn.parse("0/FF000000"), versions.of("9.3")) == 16 * 1024 * 1024


def test_up_to_9_2_the_last_segment_of_each_4_gb_does_not_exist() -> None:
    old = versions.of("9.2")
    assert lsn.diff_bytes(lsn.parse("1/0"), lsn.parse("0/FEFFFFFF"), old) == 1
    assert lsn.diff_bytes(lsn.parse("1/10"), lsn.parse("0/10"), old) == 0xFF000000
    assert lsn.diff_bytes(lsn.parse("0/10"), lsn.parse("0/20"), old) == -16


@given(st.integers(1, 2**32 - 1), lsns, segment_sizes)
def test_the_name_of_a_wal_file_tells_its_timeline_and_where_it_starts(timeline: int, position: int, segment_bytes: int) -> None:
    name = lsn.wal_file_name(timeline, position, segment_bytes)
    found = lsn.parse_wal_file_name(name, segment_bytes)
    assert found is not None
    assert found.timeline == timeline
    assert found.start_lsn(segment_bytes) <= position < found.start_lsn(segment_bytes) + segment_bytes


def test_wal_file_names_are_those_that_real_servers_gave() -> None:
    """`pg_xlogfile_name(pg_current_xlog_location())` of 9.6 at 0/3002A10."""
    assert lsn.wal_file_name(1, lsn.parse("0/3002A10")) == "000000010000000000000003"
    assert lsn.wal_file_name(2, lsn.parse("1/0"), 64 * 1024 * 1024) == "000000020000000100000000"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("000000010000000000000004", "segment"),
        ("000000010000000000000004.partial", "partial"),
        ("000000010000000000000002.00000028.backup", "backup"),
    ],
)
def test_partial_segments_and_backup_labels_are_told_from_segments(name: str, kind: str) -> None:
    found = lsn.parse_wal_file_name(name)
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    "name", ["00000002.history", "archive_status", "xlogtemp.12", "00000001000000000000000g", ".000000010000000000000004"]
)
def test_other_files_are_no_wal_files(name: str) -> None:
    assert lsn.parse_wal_file_name(name) is None


def test_a_history_file_carries_its_timeline_in_its_name() -> None:
    assert lsn.history_file_timeline("0000000A.history") == 10
    assert lsn.history_file_name(10) == "0000000A.history"
    assert lsn.history_file_timeline("000000010000000000000004") == 0


def test_a_history_says_where_each_timeline_was_left() -> None:
    text = "1\t0/4000098\tno recovery target specified\n\n# a remark\n2\t1/A0\tbefore 2026-01-01 00:00:00+00\n"
    history = lsn.parse_history(text)
    assert [switch.timeline for switch in history] == [1, 2]
    assert lsn.left_at(history, 1) == lsn.parse("0/4000098")
    assert history[1].reason == "before 2026-01-01 00:00:00+00"
    assert lsn.left_at(history, 3) is None


@pytest.mark.parametrize(("version", "where"), [("9.1", "0/4000000"), ("9.4", "0/4000090"), ("9.6", "0/4000098")])
def test_histories_of_real_9_x_servers_are_read(version: str, where: str) -> None:
    """9.1 names the WAL file of the switch, later ones the position."""
    history = lsn.parse_history((RECORDED / version / "timeline-history.txt").read_text())
    assert history[0].timeline == 1
    assert history[0].reason == "no recovery target specified"
    assert lsn.shown(history[0].lsn) == where
    assert bool(history[0].wal_file) == (version == "9.1")


def test_a_damaged_history_is_refused() -> None:
    with pytest.raises(ValueError, match="timeline history"):
        lsn.parse_history("one two three\n")
