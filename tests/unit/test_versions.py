import re
from pathlib import Path

import pytest

from remote import versions

RECORDED = Path(__file__).parent.parent / "facts" / "recorded"
OLD = ("9.1", "9.4", "9.6")


def recorded(version: str, name: str) -> str:
    return (RECORDED / version / f"{name}.txt").read_text()


def test_every_major_from_9_0_to_18_is_known() -> None:
    assert versions.MAJORS[0] == "18"
    assert versions.MAJORS[-1] == "9.0"
    assert all(versions.of(major).major == major and versions.of(major).is_known for major in versions.MAJORS)


def test_a_newer_major_is_taken_for_the_newest_and_says_so() -> None:
    newer = versions.of("19")
    assert not newer.is_known
    assert newer.major == "19"
    assert newer.functions == versions.of("18").functions
    assert newer.recovery_style == "signal"


@pytest.mark.parametrize("major", ["8.4", "7"])
def test_a_version_without_streaming_replication_is_refused_in_plain_words(major: str) -> None:
    with pytest.raises(versions.UnknownVersion, match=r"no streaming replication|not a major"):
        versions.of(major)


@pytest.mark.parametrize("major", ["", "15.3", "fifteen", "9", "-1"])
def test_what_is_no_major_is_refused(major: str) -> None:
    with pytest.raises(versions.UnknownVersion):
        versions.of(major)


@pytest.mark.parametrize(
    ("version", "major"),
    [
        ("15.7", "15"),
        ("9.6.24", "9.6"),
        ("18beta1", "18"),
        ("150007", "15"),
        ("90624", "9.6"),
        ("100023", "10"),
        ("9.0", "9.0"),
        ("17", "17"),
    ],
)
def test_the_major_of_a_version_has_one_part_from_10_on(version: str, major: str) -> None:
    assert versions.major_of(version) == major


@pytest.mark.parametrize("major", OLD)
def test_settings_are_those_that_a_real_server_lists(major: str) -> None:
    """pg_settings of real 9.1, 9.4 and 9.6 servers against what this file claims of them."""
    real = set(re.findall(r"[a-z_]+", recorded(major, "settings-names")))
    recovery_conf = {name for name, (first, _) in versions._SETTINGS.items() if first == "12"}
    for name in set(versions._SETTINGS) - recovery_conf:
        assert versions.of(major).has_setting(name) == (name in real), name


@pytest.mark.parametrize("major", OLD)
def test_tools_are_those_that_a_real_build_has(major: str) -> None:
    real = set(recorded(major, "tools").split())
    tools = versions.of(major).tools
    for tool in (tools.reset_wal, tools.base_backup, tools.archive_cleanup):
        assert tool in real
    assert ("pg_rewind" in real) == bool(tools.rewind)
    assert "pg_verifybackup" not in real
    assert not tools.verify_backup


@pytest.mark.parametrize("major", OLD)
def test_functions_are_those_that_a_real_server_answers(major: str) -> None:
    answered = recorded(major, "functions-primary") + recorded(major, "functions-standby")
    functions = versions.of(major).functions
    for name in (
        functions.current_lsn,
        functions.receive_lsn,
        functions.replay_lsn,
        functions.is_replay_paused,
        functions.switch_wal,
    ):
        assert f"select {name}()" in answered
    assert f"select {functions.wal_file_name}(" in answered


@pytest.mark.parametrize("major", OLD)
def test_columns_of_pg_stat_replication_are_those_of_a_real_server(major: str) -> None:
    columns = {line.split("|")[0].strip() for line in recorded(major, "pg_stat_replication").splitlines() if " | " in line}
    version = versions.of(major)
    assert version.stat_replication_pid in columns
    assert {version.stat_replication_lsn.format(kind) for kind in ("sent", "write", "flush", "replay")} <= columns


def test_one_set_of_settings_is_written_in_the_words_of_each_version() -> None:
    wanted = {
        "wal_level": "replica", "wal_keep_size": "1GB", "max_wal_size": "2GB", "max_slot_wal_keep_size": "10GB",
        "wal_sender_timeout": "20s", "max_wal_senders": "10",
    }  # fmt: skip
    assert versions.of("15").settings(wanted) == wanted
    assert versions.of("12").settings(wanted) == {
        "wal_level": "replica", "wal_keep_segments": "64", "max_wal_size": "2GB", "wal_sender_timeout": "20s",
        "max_wal_senders": "10",
    }  # fmt: skip
    assert versions.of("9.2").settings(wanted) == {
        "wal_level": "hot_standby", "wal_keep_segments": "64", "checkpoint_segments": "43", "replication_timeout": "20s",
        "max_wal_senders": "10",
    }  # fmt: skip


def test_kept_segments_are_counted_in_the_server_s_own_segment_size_and_rounded_up() -> None:
    assert versions.of("12").settings({"wal_keep_size": "100MB"}, 64 * 1024 * 1024) == {"wal_keep_segments": "2"}


def test_a_logical_primary_stays_logical() -> None:
    assert versions.of("9.5").settings({"wal_level": "logical"}) == {"wal_level": "logical"}


def test_recovery_is_told_by_recovery_conf_up_to_11_and_by_signal_files_from_12() -> None:
    styles = {major: versions.of(major).recovery_style for major in versions.MAJORS}
    assert {major for major, style in styles.items() if style == "signal"} == {"12", "13", "14", "15", "16", "17", "18"}
    assert versions.of("12").trigger_setting == "promote_trigger_file"
    assert versions.of("9.6").trigger_setting == "trigger_file"
    assert versions.of("16").trigger_setting == ""


def test_what_reloads_and_what_restarts_follows_the_manuals() -> None:
    assert "primary_conninfo" in versions.of("13").reloadable
    assert "primary_conninfo" not in versions.of("12").reloadable
    assert "restore_command" in versions.of("14").reloadable
    assert "restore_command" not in versions.of("13").reloadable


def test_a_standby_may_not_be_lower_in_what_its_version_checks() -> None:
    assert versions.of("12").standby_at_least[-1] == "max_wal_senders"
    assert "max_wal_senders" not in versions.of("11").standby_at_least
    assert versions.of("9.3").standby_at_least == ("max_connections", "max_prepared_transactions", "max_locks_per_transaction")


def test_backups_are_started_as_the_version_has_it() -> None:
    assert versions.of("15").backup_start_call == "pg_backup_start({label}, {fast})"
    assert versions.of("14").backup_start_call == "pg_start_backup({label}, {fast}, false)"
    assert versions.of("9.6").backup_stop_call == "pg_stop_backup(false)"
    assert [major for major in versions.MAJORS if versions.of(major).backup_is_exclusive] == [
        "9.5",
        "9.4",
        "9.3",
        "9.2",
        "9.1",
        "9.0",
    ]


def test_conninfo_keys_that_an_older_libpq_refuses_are_not_its_own() -> None:
    assert "passfile" not in versions.of("9.6").conninfo_keys
    assert "passfile" in versions.of("10").conninfo_keys
    assert "channel_binding" not in versions.of("12").conninfo_keys
    assert "sslcertmode" not in versions.of("15").conninfo_keys


def test_a_client_streams_from_a_server_of_its_own_age_or_older() -> None:
    assert versions.of("15").client_can_stream_from(versions.of("9.6"))
    assert not versions.of("9.6").client_can_stream_from(versions.of("15"))
    assert not versions.of("15").client_can_stream_from(versions.of("9.2"))
    assert not versions.of("9.1").client_can_stream_from(versions.of("9.1"))
