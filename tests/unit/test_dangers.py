"""What is dangerous in a replication built by hand, rule by rule. The source page's own pair is read in tests/lab."""

from dataclasses import replace

import pytest

from clusters.dangers import dangers, hba_lines
from clusters.findings import Seen
from remote.facts import Archiver, Control, Facts, PathFact, Postgres, Setting, Slot

DATA = "/opt/cocca-8/postgresql/data"
CONTROL = Control("7", "in production", 1, 1, 1, "0", has_checksums=True)
SAFE = Postgres(
    data_directory=DATA, owner="postgres", major="15", role="primary", control=CONTROL,
    settings={
        "listen_addresses": Setting("*"), "password_encryption": Setting("scram-sha-256"), "wal_keep_size": Setting("2048", "MB"),
        "archive_mode": Setting("off"), "hot_standby": Setting("on"),
    },
    hba_text="local all all peer\nhost all all 127.0.0.1/32 trust\nhost replication all 10.0.0.2/32 scram-sha-256\n",
)  # fmt: skip


def found(postgres: Postgres) -> dict[str, str]:
    seen = Seen("pg1", Facts("h1", clusters=(postgres,)), "10.0.0.1", data_directory=DATA)
    return {danger.key: danger.level for danger in dangers([seen])}


def having(**settings: str) -> Postgres:
    return replace(SAFE, settings={**SAFE.settings, **{name: Setting(value) for name, value in settings.items()}})


def test_a_server_set_up_well_has_no_danger():
    assert found(SAFE) == {}


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("host all all 0.0.0.0/0 trust", "grave"),
        ("host all all 10.0.0.0 255.0.0.0 trust", "grave"),
        ("hostssl all all all trust  # for now", "grave"),
        ("host all all samenet trust", "grave"),
        ("local all all trust", None),
        ("host all all ::1/128 trust", None),
        ("# host all all 0.0.0.0/0 trust", None),
    ],
)
def test_trust_over_the_network_is_grave_and_on_the_own_machine_is_not(line, level):
    assert found(replace(SAFE, hba_text=line)).get("hba.trust") == level


def test_trust_is_less_grave_while_the_server_listens_to_itself_only():
    closed = replace(having(listen_addresses="localhost"), hba_text="host all all 0.0.0.0/0 trust")
    assert found(closed)["hba.trust"] == "warning"


def test_an_hba_line_with_a_mask_of_its_own_is_read_whole():
    (line,) = hba_lines("host replication rep 10.1.0.0 255.255.0.0 md5")
    assert (line.address, line.method) == ("10.1.0.0/255.255.0.0", "md5")


@pytest.mark.parametrize("path", ["/tmp/pgsql.trigger", "/var/tmp/x", "/dev/shm/go"])
def test_a_trigger_file_where_everybody_may_write_is_grave(path):
    standby = replace(
        SAFE, role="standby", recovery_text=f"standby_mode = 'on'\ntrigger_file = '{path}'\nrecovery_target_timeline = 'latest'"
    )
    assert found(standby)["trigger.tmp"] == "grave"
    assert found(replace(having(promote_trigger_file=path), role="standby"))["trigger.tmp"] == "grave"


def test_a_trigger_file_in_the_data_directory_is_no_danger():
    assert "trigger.tmp" not in found(replace(having(promote_trigger_file=f"{DATA}/promote"), role="standby"))


def test_the_pages_archive_command_is_stopped_by_one_dead_standby_and_overwrites():
    page = having(archive_mode="on", archive_command="rsync -a %p postgres@10.0.0.2:/opt/cocca-8/postgresql/wals/%f </dev/null")
    assert found(page) == {"archive.one_target": "grave", "archive.overwrites": "warning"}


def test_an_archive_command_into_a_local_directory_waits_for_nobody():
    assert found(having(archive_mode="on", archive_command="test ! -f /wals/%f && cp %p /wals/%f")) == {}


def test_archiving_that_fails_now_is_grave():
    failing = Archiver(3, 9, "01", "02", "2026-01-01 00:00:00+00", "2026-01-02 00:00:00+00")
    assert found(replace(SAFE, archiver=failing)) == {"archive.fails": "grave"}
    healed = replace(failing, last_archived_at="2026-01-03 00:00:00+00")
    assert found(replace(SAFE, archiver=healed)) == {}


def test_a_slot_used_by_nobody_is_grave_unless_it_has_a_limit():
    slots = (Slot("old", "physical", is_active=False, held_bytes=1 << 30),)
    assert found(replace(SAFE, slots=slots)) == {"slot.unused": "grave"}
    assert found(replace(having(max_slot_wal_keep_size="10240"), slots=slots)) == {}


@pytest.mark.parametrize(
    ("name", "value", "unit", "is_little"),
    [("wal_keep_size", "0", "MB", True), ("wal_keep_size", "80000", "MB", False), ("wal_keep_segments", "8", "", True),
     ("wal_keep_segments", "5000", "", False)],
)  # fmt: skip
def test_little_kept_wal_without_slots_is_a_danger_in_the_units_of_the_version(name, value, unit, is_little):
    settings = {key: setting for key, setting in SAFE.settings.items() if not key.startswith("wal_keep")}
    assert ("wal.keeps_little" in found(replace(SAFE, settings={**settings, name: Setting(value, unit)}))) is is_little


def test_without_checksums_and_hint_bits_a_rewind_will_be_impossible():
    assert found(replace(SAFE, control=replace(CONTROL, has_checksums=False))) == {"rewind.impossible": "warning"}
    assert found(replace(SAFE, control=replace(CONTROL, has_checksums=False, wal_log_hints=True))) == {}


def test_md5_is_a_warning_where_scram_exists_and_a_note_where_not():
    hba = "host all all 10.0.0.2/32 md5"
    assert found(replace(having(password_encryption="md5"), hba_text=hba)) == {"hba.md5": "warning"}
    assert found(replace(having(password_encryption="on"), hba_text=hba)) == {"hba.md5": "note"}


def test_a_replication_password_in_a_file_open_to_others_is_grave():
    file = "/etc/postgresql/15/main/postgresql.conf"
    conninfo = Setting("host=a user=r password=***", source_file=file)
    standby = replace(SAFE, role="standby", settings={**SAFE.settings, "primary_conninfo": conninfo})

    def with_mode(mode: str) -> list[tuple[str, str]]:
        facts = Facts("h1", clusters=(standby,), paths={file: PathFact("file", "postgres", "postgres", mode)})
        return [(danger.key, danger.level) for danger in dangers([Seen("pg1", facts, "10.0.0.1", data_directory=DATA)])]

    assert with_mode("0644") == [("conninfo.readable", "grave")]
    assert with_mode("0600") == [("conninfo.password", "note")]


def test_in_the_data_directory_the_replication_password_is_the_owners_alone():
    text = "primary_conninfo = 'host=a user=r password=***'\nrecovery_target_timeline = 'latest'"
    standby = replace(SAFE, role="standby", recovery_text=text)
    assert found(standby) == {"conninfo.password": "note"}


def test_a_recovery_conf_without_the_latest_timeline_will_not_follow_a_promoted_one():
    assert found(replace(SAFE, role="standby", recovery_text="standby_mode = 'on'")) == {"standby.old_timeline": "warning"}


def test_an_archive_that_is_restored_from_but_never_pruned_is_a_warning():
    text = "restore_command = 'cp /wals/%f %p'\nrecovery_target_timeline = 'latest'"
    assert found(replace(SAFE, role="standby", recovery_text=text)) == {"archive.never_pruned": "warning"}
    assert found(replace(SAFE, role="standby", recovery_text=f"{text}\narchive_cleanup_command = 'x'")) == {}


def test_a_standby_that_answers_no_query_is_a_warning():
    assert found(having(hot_standby="off")) == {"standby.not_hot": "warning"}


def test_the_worst_stands_first():
    page = having(archive_mode="on", archive_command="rsync -a %p x@10.0.0.2:/w/%f", hot_standby="off")
    seen = Seen("pg1", Facts("h1", clusters=(page,)), "10.0.0.1", data_directory=DATA)
    levels = [danger.level for danger in dangers([seen])]
    assert levels == sorted(levels, key=("grave", "warning", "note").index)
