"""The statement of a look by version, and its reader. (On real servers from 11 on: tests/lab/test_monitor_versions.py.)"""

from __future__ import annotations

import pytest

from monitor import sql
from remote import versions

OWN = ["self", "f", "7/4A8F2160", "000000070000000700000004A", None, None, "f", None, "1000.5", "6", "0", "7123"]


def padded(row: list[str | None]) -> list[str | None]:
    return [*row, *[None] * (sql.COLUMNS + 1 - len(row))]


@pytest.mark.parametrize("major", versions.MAJORS)
def test_every_part_of_every_version_s_statement_has_the_same_columns(major: str) -> None:
    statement = sql.statement(versions.of(major), is_thorough=True)
    assert {part.count("::text") for part in statement.split("\nUNION ALL\n")} == {sql.COLUMNS + 1}


@pytest.mark.parametrize("major", ["9.0", "9.1", "9.3", "9.6"])
def test_old_versions_are_asked_under_their_own_names(major: str) -> None:
    statement = sql.statement(versions.of(major), is_thorough=True)
    assert "pg_last_xlog_replay_location()" in statement
    assert "_wal_" not in statement.replace("stat_wal_receiver", "")
    assert ("pg_replication_slots" in statement) == (major == "9.6")
    assert ("pgpanel.stat_replication()" in statement) == (major != "9.0")
    assert "write_lag" not in statement


def test_before_pg_monitor_the_role_asks_its_own_functions_and_the_owner_the_views() -> None:
    assert "FROM pgpanel.stat_wal_receiver()" in sql.statement(versions.of("9.6"))
    assert "FROM pg_catalog.pg_stat_wal_receiver" in sql.statement(versions.of("9.6"), as_owner=True)
    assert "pgpanel." not in sql.statement(versions.of("10"))


def test_a_primary_s_timeline_comes_from_its_wal_file_not_from_its_control_file() -> None:
    """Right after a promotion the control file still names the old one."""
    sight = sql.sight_of([padded(OWN)], versions.of("15"), 1000.0, 1000.2, "tcp")
    assert (sight.role, sight.timeline, sight.current_lsn) == ("primary", 7, 0x74A8F2160)


def test_clock_skew_is_counted_from_the_middle_of_the_round_trip() -> None:
    sight = sql.sight_of([padded(OWN)], versions.of("15"), 1000.0, 1001.0, "tcp")
    assert sight.at == 1000.5
    assert sight.clock_skew_seconds == 0.0


def test_a_receiver_that_the_role_may_not_see_is_unknown_not_absent() -> None:
    standby = padded(["self", "t", None, None, "0/5000000", "0/5000000", "f", None, "1000", "1", "1", "7"])
    hidden = padded(["receiver", None])
    assert not sql.sight_of([standby, hidden], versions.of("9.6"), 1000, 1000, "tcp").knows_receiver
    assert sql.sight_of([standby], versions.of("9.6"), 1000, 1000, "tcp").knows_receiver
    assert not sql.sight_of([standby], versions.of("9.5"), 1000, 1000, "tcp").knows_receiver


def test_a_sender_whose_columns_the_role_may_not_see_is_left_out() -> None:
    hidden = padded(["sender", None, None, None, None, None, "77"])
    assert sql.sight_of([padded(OWN), hidden], versions.of("9.6"), 1000, 1000, "tcp").senders == ()


def test_a_slot_s_held_wal_is_counted_to_the_end_of_the_wal() -> None:
    slot = padded(["slot", "pgpanel_pg2", "physical", "f", "7/4A000000", "reserved", "f"])
    (found,) = sql.sight_of([padded(OWN), slot], versions.of("15"), 1000, 1000, "tcp").slots
    assert (found.held_bytes, found.is_active, found.wal_status) == (0x8F2160, False, "reserved")


def test_psql_s_answer_reads_like_the_connection_s() -> None:
    text = sql.SEPARATOR.join(value or "" for value in padded(OWN)) + "\n"
    rows = sql.rows_of("some notice\n" + text)
    assert sql.sight_of(rows, versions.of("15"), 1000, 1000, "ssh").timeline == 7


def test_an_answer_without_the_server_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="did not describe itself"):
        sql.sight_of([], versions.of("15"), 1000, 1000, "ssh")
