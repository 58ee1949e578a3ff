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
    for tool in (tools.base_backup, tools.archive_cleanup):
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


FIRST_MAJOR_WITH = {  # from the manuals' release notes; see also docs of each version, "standby settings" and "monitoring stats"
    "has_linear_wal": "9.3", "has_fast_promotion": "9.3", "follows_timelines_by_streaming": "9.3", "has_include_dir": "9.3",
    "has_slots": "9.4", "has_stat_archiver": "9.4", "has_auto_conf": "9.4", "has_wal_log_hints": "9.4",
    "has_archive_always": "9.5", "has_pending_restart": "9.5",
    "has_stat_wal_receiver": "9.6", "slots_reserve_at_once": "9.6",
    "has_scram": "10", "has_pg_monitor": "10", "has_hba_file_rules": "10", "has_temporary_slots": "10", "has_replication_lag": "10",
    "pg_ctl_promote_waits": "10", "has_collation_versions": "10",
    "receiver_has_sender": "11",
    "has_slot_limit": "13", "promote_cancels_pause": "13", "has_stat_progress_basebackup": "13", "rewind_restores_wal": "13",
    "rewind_recovers_target": "13",
    "standby_pauses_when_too_low": "14",
    "has_archive_library": "15", "has_database_collation_version": "15", "rewind_takes_config_file": "15",
    "has_slot_invalidation_reason": "17",
    "has_checksums_by_default": "18",
    "has_cascading": "9.2", "has_stat_replication": "9.1", "has_extensions": "9.1", "has_checksums": "9.3",
}  # fmt: skip
LAST_MAJOR_WITH = {
    "wal_senders_count_as_connections": "11", "has_is_in_backup": "14",
    "may_have_exclusive_backup": "14", "backup_is_exclusive": "9.5",
    "rewind_needs_checkpoint": "15",
}  # fmt: skip
BASE_BACKUP_SINCE = {
    "streams_wal": "9.2", "from_standby": "9.2", "maps_tablespaces": "9.4", "limits_rate": "9.4", "waits_for_slot": "9.6",
    "has_temporary_slot": "10", "creates_slot": "11", "writes_manifest": "13", "compresses_on_server": "15", "is_incremental": "17",
}  # fmt: skip


@pytest.mark.parametrize(("ability", "first"), FIRST_MAJOR_WITH.items())
def test_an_ability_is_there_from_its_first_major_on(ability: str, first: str) -> None:
    position = versions.MAJORS.index(first)
    assert [getattr(versions.of(major), ability) for major in versions.MAJORS] == [
        index <= position for index in range(len(versions.MAJORS))
    ]


@pytest.mark.parametrize(("ability", "last"), LAST_MAJOR_WITH.items())
def test_an_ability_is_gone_after_its_last_major(ability: str, last: str) -> None:
    position = versions.MAJORS.index(last)
    having = [major for major in versions.MAJORS if getattr(versions.of(major), ability)]
    assert having[0] == last
    assert all(versions.MAJORS.index(major) >= position for major in having)


@pytest.mark.parametrize(("option", "first"), BASE_BACKUP_SINCE.items())
def test_pg_basebackup_knows_an_option_from_its_first_major_on(option: str, first: str) -> None:
    knowing = {major for major in versions.MAJORS if getattr(versions.of(major).base_backup, option)}
    assert knowing == set(versions.MAJORS[: versions.MAJORS.index(first) + 1])


@pytest.mark.parametrize(
    ("tool", "since", "name_before"),
    [
        ("receive_wal", "10", "pg_receivexlog"), ("verify_backup", "13", ""),
        ("rewind", "9.5", ""),
        ("combine_backup", "17", ""), ("base_backup", "9.1", ""),
    ],
)  # fmt: skip
def test_a_tool_has_its_name_of_today_since_its_major(tool: str, since: str, name_before: str) -> None:
    newest = getattr(versions.of("18").tools, tool)
    names = {major: getattr(versions.of(major).tools, tool) for major in versions.MAJORS}
    position = versions.MAJORS.index(since)
    assert {names[major] for major in versions.MAJORS[: position + 1]} == {newest}
    assert {names[major] for major in versions.MAJORS[position + 1 :]} == {name_before}


def test_the_checksum_tool_changed_its_name_once() -> None:
    assert [versions.of(major).tools.checksums for major in ("12", "11", "10")] == ["pg_checksums", "pg_verify_checksums", ""]


def test_wal_was_called_xlog_up_to_9_6() -> None:
    assert (versions.of("10").wal_directory_name, versions.of("9.6").wal_directory_name) == ("pg_wal", "pg_xlog")
    assert (versions.of("10").commit_directory_name, versions.of("9.6").commit_directory_name) == ("pg_xact", "pg_clog")
