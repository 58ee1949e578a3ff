import base64
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote import layouts, lsn, parse, parse_clusters
from remote.facts import Control, Facts, FactsRequest, Postgres, WalReceiver, facts_from_json, facts_to_json
from remote.look import facts_command, look_script

FACTS = Path(__file__).parent.parent / "facts"
CAPTURED = sorted(path.stem for path in FACTS.glob("*.txt"))


def answer(name: str) -> str:
    return (FACTS / f"{name}.txt").read_text()


def captured(name: str) -> Facts:
    return parse.parse(answer(name), None)


def the_cluster(name: str) -> Postgres:
    (found,) = captured(name).clusters
    return found


@pytest.mark.parametrize(
    ("name", "layout", "version", "role", "is_running"),
    [
        ("debian-15-primary", "debian", "15.18", "primary", True),
        ("debian-18-primary", "debian", "18.6", "primary", True),
        ("custom-13-primary", "custom", "13.4", "primary", True),
        ("cocca-17-stopped", "cocca", "", "primary", False),
        ("cocca-11-primary", "cocca", "11.13", "primary", True),
        ("cocca-11-standby", "cocca", "11.13", "standby", True),
    ],
)
def test_captured_hosts_are_read_as_what_they_were(name: str, layout: str, version: str, role: str, is_running: bool) -> None:
    facts = captured(name)
    found = the_cluster(name)
    assert facts.warnings == ()
    assert (found.version, found.role, found.is_running, found.timeline) == (version, role, is_running, 1)
    assert layouts.detect(facts, found) == layout
    assert found.control is not None
    assert found.system_identifier.isdigit()
    assert found.config_text
    assert found.hba_text
    assert not found.is_denied


def test_a_captured_primary_is_read_to_the_last_column() -> None:
    facts = captured("debian-15-primary")
    found = the_cluster("debian-15-primary")
    assert (facts.login_user, facts.can_become_root, facts.can_become_owner) == ("ops", True, True)
    assert (facts.os_id, facts.os_version, facts.glibc_version, facts.icu_version) == ("debian", "12", "2.36", "72")
    assert facts.paths["/nowhere"].kind == "missing"
    assert facts.paths["/etc/hostname"].text == "debian-15-primary\n"
    assert sorted(reach.is_open for reach in facts.reach.values()) == [False, True]
    assert found.debian_cluster == "15/main"
    assert found.at_boot == "auto"
    assert found.setting("wal_level") == "replica"
    assert found.settings["max_wal_size"].unit == "MB"
    assert found.settings["listen_addresses"].source_file.endswith("conf.d/lab.conf")
    assert list(found.included_texts) == ["/etc/postgresql/15/main/conf.d/lab.conf"]
    assert found.pending_restart == ()
    assert found.free_slots == 10
    assert found.extensions == {"plpgsql": "1.0"}
    assert found.libraries == ()
    registry = found.role_named("registry")
    assert registry is not None
    assert registry.password_kind == "scram"
    assert found.archiver is not None
    assert found.archiver.failed_count == 0


def test_a_captured_standby_of_the_source_page_is_read_without_its_password() -> None:
    found = the_cluster("cocca-11-standby")
    assert found.receiver is not None
    assert (found.receiver.status, found.receiver.received_timeline) == ("streaming", 1)
    assert found.receiver.conninfo.count("********") == 1
    assert "password=********" in found.recovery_text
    assert found.signal_files == ("recovery.conf",)
    (sender,) = the_cluster("cocca-11-primary").senders
    assert sender.state == "streaming"
    assert sender.sent_lsn >= sender.replay_lsn > 0


def test_a_host_without_a_cluster_tells_of_its_programs() -> None:
    facts = captured("debian-bare")
    assert facts.clusters == ()
    assert [item.major for item in facts.installations] == ["15"]


def test_a_library_is_known_by_name_with_the_package_that_brought_it() -> None:
    lists = "/var/lib/dpkg/info/postgresql-15-cron:amd64.list:/usr/lib/postgresql/15/lib/pg_cron.so\n/var/lib/x.list:nonsense\n"
    lists += "/var/lib/dpkg/info/postgresql-15-gone.list:/usr/lib/postgresql/15/lib/gone.so"
    fields = ("/bin", "postgres (PostgreSQL) 15.2", "/usr/lib/postgresql/15/lib", "psql", " pg_cron own", lists)
    packed = "".join("\t+" + base64.b64encode(text.encode()).decode() for text in fields)
    (found,) = parse.parse(f"installation{packed}\n", None).installations
    assert found.libraries == {"pg_cron": "postgresql-15-cron", "own": ""}


def test_an_account_without_rights_says_why() -> None:
    facts = captured("debian-guest")
    assert (facts.can_become_root, facts.can_become_owner) == (False, False)
    assert "password" in facts.become_error


@pytest.mark.parametrize("name", CAPTURED)
def test_an_answer_cut_off_anywhere_gives_what_it_holds_and_says_so(name: str) -> None:
    whole = answer(name)
    for length in range(0, len(whole) - 40, max(1, len(whole) // 60)):
        assert parse.parse(whole[:length], None).warnings, length


@pytest.mark.parametrize("name", CAPTURED)
def test_facts_stored_as_json_come_back_the_same(name: str) -> None:
    facts = captured(name)
    assert facts_from_json(json.loads(json.dumps(facts_to_json(facts)))) == facts


def test_facts_stored_by_an_older_pgpanel_are_read_with_defaults() -> None:
    stored = facts_to_json(captured("debian-15-primary"))
    del stored["boot_id"], stored["mounts"], stored["clusters"][0]["stray_pids"], stored["clusters"][0]["control"]["wal_level"]
    stored["no_longer_known"] = 1
    facts = facts_from_json(stored)
    assert (facts.boot_id, facts.mounts, facts.clusters[0].stray_pids) == ("", (), ())
    assert facts.clusters[0].control is not None
    assert facts.clusters[0].control.wal_level == ""
    assert facts_from_json({}) == Facts("")


@given(st.text())
def test_whatever_a_host_answers_is_no_error(text: str) -> None:
    assert parse.parse(text, None).warnings


line = st.builds(
    lambda key, words: key + "".join("\t" + word for word in words),
    st.sampled_from(
        ["cluster", "sql", "path", "reach", "installation", "control", "passwd", "begin", "end", "pidfile", "mounts", "digest"]
    ),
    st.lists(
        st.builds(lambda mark, text: mark + text.replace("\n", ""), st.sampled_from(":+"), st.text(max_size=20)),
        min_size=1,
        max_size=5,
    ),
)


@settings(max_examples=300)
@given(st.lists(line, max_size=8))
def test_rows_of_any_shape_are_no_error(lines: list[str]) -> None:
    assert asdict(parse.parse("\n".join(lines), None))


def test_the_clock_s_skew_is_measured_from_the_middle_of_the_look_to_the_middle_of_the_round_trip() -> None:
    text = "begin\t:1\t:root\t:1000.500\nend\t:1000.7\n"
    facts = parse.parse(text, (990.0, 991.2))
    assert facts.clock_skew_seconds == 10.0
    assert facts.elapsed_ms == 200


@pytest.mark.parametrize("version", ["9.1", "9.4", "9.6"])
@pytest.mark.parametrize(
    ("state", "words"),
    [("running-primary", "in production"), ("running-standby", "in archive recovery"), ("shutdown-primary", "shut down")],
)
def test_control_data_of_real_9_x_servers_is_read(version: str, state: str, words: str) -> None:
    found = parse.parse_controldata((FACTS / "recorded" / version / f"pg_controldata-{state}.txt").read_text())
    assert found is not None
    assert found.state == words
    assert found.timeline == 1
    assert found.checkpoint_lsn >= found.redo_lsn > 0
    assert (found.max_connections, found.max_locks_per_transaction, found.wal_segment_bytes) == (100, 64, 16 * 1024 * 1024)
    assert found.max_worker_processes == (0 if version == "9.1" else 8)
    assert found.wal_level in ("hot_standby", "replica")
    assert not found.has_checksums


@pytest.mark.parametrize(("version", "timeline"), [("9.1", 2), ("9.4", 1), ("9.6", 1)])
def test_right_after_a_fast_promotion_control_data_still_names_the_old_timeline(version: str, timeline: int) -> None:
    found = parse.parse_controldata((FACTS / "recorded" / version / "pg_controldata-just-promoted.txt").read_text())
    assert found is not None
    assert found.timeline == timeline


def test_no_control_data_is_none() -> None:
    assert parse.parse_controldata("pg_controldata: could not open file") is None
    assert parse.parse_controldata("") is None


def row(key: str, *values: str) -> str:
    return parse_clusters.RECORD + parse_clusters.FIELD.join((key, *values)) + "\n"


def host_with(*sql: str, major: str = "9.6") -> str:
    import base64

    text = "".join((row("files", "/c/postgresql.conf", "/c/pg_hba.conf", "/d", f"{major}.5"), *sql, row("done", "1")))
    encoded = base64.b64encode(text.encode()).decode()
    return f"begin\t:1\ncluster\t:/d\t:{major}\t:postgres\t:\npostmaster\t:7\t:/b\nsql\t+{encoded}\nend\t:1\n"


def test_a_primary_s_timeline_is_that_of_its_wal_file_and_not_of_its_control_data() -> None:
    facts = parse.parse(host_with(row("state", "f", "0/4000218", "000000020000000000000004", "", "", "", "", "f", "3")), None)
    (found,) = facts.clusters
    assert (found.role, found.timeline, lsn.shown(found.current_lsn)) == ("primary", 2, "0/4000218")


def test_a_standby_s_timeline_is_that_which_it_receives() -> None:
    sql = (
        row("state", "t", "", "", "0/5", "0/4", "f", "", "", "3"),
        row("receiver", "streaming", "10.0.0.1", "5432", "", "3", "host=a password=x"),
    )
    (found,) = parse.parse(host_with(*sql), None).clusters
    assert (found.role, found.timeline) == ("standby", 3)
    assert found.receiver is not None
    assert found.receiver.conninfo == "host=a password=********"


def test_values_with_line_breaks_and_separators_of_other_kinds_stay_whole() -> None:
    (found,) = parse.parse(host_with(row("setting", "search_path", "a\nb\tc|d", "", "user", "database")), None).clusters
    assert found.setting("search_path") == "a\nb\tc|d"


def test_a_refused_query_is_a_warning_and_the_rest_is_kept() -> None:
    facts = parse.parse(host_with(row("error", "psql:<stdin>:3: ERROR:  permission denied for pg_authid")), None)
    assert facts.clusters[0].answers_sql
    assert "permission denied" in facts.warnings[0]


def test_the_script_is_the_same_for_every_request_and_what_is_asked_travels_as_arguments() -> None:
    command = facts_command(FactsRequest(data_directory="/srv/it's", paths=("/a b",), reach=(("::1", 5432),)))
    assert command.stdin == look_script()
    assert not command.mutates
    assert command.user == ""
    assert command.argv[4:] == ("/srv/it's", "0", "", "", ",", "1", "/a b", "::1 5432")


def test_an_unknown_section_is_refused() -> None:
    with pytest.raises(ValueError, match="sectoins"):
        facts_command(FactsRequest(sections=frozenset({"sectoins"})))


def test_the_script_holds_no_comparison_of_versions_and_nothing_that_writes() -> None:
    """Which SQL a major gets is chosen by its name alone; the only redirections are to descriptors, /dev/null and sockets."""
    import re

    text = look_script()
    assert not re.search(r'\[ "\$major" -(lt|le|gt|ge) ', text)
    targets = set(re.findall(r"(?<![<0-9])>{1,2}\s*([^\s;)|]+)", text.split("#SQL#")[0].split("sql_of()")[0]))
    assert targets <= {"/dev/null", "&3", '"/dev/tcp/$0/$1"\''}, targets


@pytest.mark.parametrize(
    ("fields", "answers", "error"),
    [
        (":0\t:7302510413205872893|3|0/5000148|", True, ""),
        (":2\t:psql: error: FATAL:  no pg_hba.conf entry for replication connection", True, "no pg_hba.conf entry"),
        (":2\t:psql: error: connection to server failed: fe_sendauth: no password supplied", True, "no password"),
        (":2\t:psql: error: could not connect to server: Connection refused", False, "refused"),
        (":2\t:psql: error: connection to server at 10.0.0.1 failed: timeout expired", False, "timeout"),
        (":124\t:", False, "within 4 s"),
        (":127\t:psql: not found", None, "not found"),
    ],
)
def test_what_a_host_heard_of_another_server_tells_a_refusal_from_silence(fields: str, answers: bool | None, error: str) -> None:
    found = parse.parse(f"begin\t:1\nidentified\t:10.0.0.1\t:5432\t{fields}\nend\t:1\n", None).identified["10.0.0.1:5432"]
    assert found.answers is answers
    assert error in found.error
    assert (found.timeline, found.lsn) == ((3, 0x5000148) if found.system_identifier else (0, 0))


def test_a_standby_whose_primary_is_gone_does_not_fall_back_to_the_timeline_of_its_control_file() -> None:
    control = Control("7", "in archive recovery", timeline=1, checkpoint_lsn=0, redo_lsn=0, redo_wal_file="")
    known = Postgres("/data", "postgres", "15", control=control, newest_wal="0000000200000000000000A1")
    assert parse_clusters._standby_timeline(known) == 2
    assert parse_clusters._standby_timeline(replace(known, newest_wal="")) == 1
    assert parse_clusters._standby_timeline(replace(known, receiver=WalReceiver("streaming", received_timeline=3))) == 3
