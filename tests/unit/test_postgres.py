import shlex
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote import postgres, versions
from remote.command import Command, Secret, text_shown, text_value
from remote.passwords import md5_verifier, scram_verifier, verifier

PASSWORD = Secret("replication_password", "correct horse:battery\\staple")


@dataclass(frozen=True)
class Server:
    name: str = "pg2"
    address: str = "10.0.0.2"
    port: int = 5433
    layout: str = "custom"
    data_directory: str = "/srv/pg data/it's"
    config_directory: str = "/srv/pg data/it's"
    bin_directory: str = "/opt/pg 15/bin"
    wal_archive_directory: str = "/srv/100% wals"
    owner: str = "postgres"
    start_command: str = "/opt/ctl start"
    stop_command: str = "pg_ctlcluster 15 main stop -m {mode}"
    restart_command: str = "systemctl restart postgresql-15"


SERVER = Server()


def words(command: Command) -> list[str]:
    return shlex.split(command.text)


def test_sql_goes_by_stdin_to_the_right_port_and_socket_as_the_owner() -> None:
    command = postgres.psql(SERVER, "SELECT 1;\n", socket_directory="/run/a b")
    assert command.user == "postgres"
    assert command.stdin == "SELECT 1;\n"
    assert command.argv[0] == "/opt/pg 15/bin/psql"
    assert command.argv[command.argv.index("-h") + 1] == "/run/a b"
    assert command.argv[command.argv.index("-p") + 1] == "5433"
    assert "ON_ERROR_STOP=1" in command.argv


def test_without_a_seen_socket_psql_looks_where_its_build_does() -> None:
    assert "-h" not in postgres.psql(SERVER, "SELECT 1").argv


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))))
def test_a_literal_never_ends_early(value: str) -> None:
    """Read back as PostgreSQL does: E'' undoes backslashes, both undo doubled quotes."""
    word = postgres.literal(value).lstrip(" ")
    is_escaped = word.startswith("E'")
    inner = word[2:-1] if is_escaped else word[1:-1]
    assert "'" not in inner.replace("''", "")
    inner = inner.replace("''", "'")
    assert (inner.replace("\\\\", "\\") if is_escaped else inner) == value


def test_an_identifier_is_one_name_whatever_it_holds() -> None:
    assert postgres.identifier('we"ird; DROP') == '"we""ird; DROP"'


def test_a_role_s_password_arrives_as_a_verifier_and_is_kept_out_of_the_log_and_of_sight() -> None:
    version = versions.of("15")
    sql = postgres.role_sql(
        "pgpanel_replication", verifier("pgpanel_replication", PASSWORD, version), version, attributes=("LOGIN", "REPLICATION")
    )
    sent, shown = text_value(sql), text_shown(sql)
    assert "SCRAM-SHA-256$4096:" in sent
    assert PASSWORD.value not in sent
    assert "SCRAM" not in shown
    assert "<replication_password>" in shown
    assert sent.index("log_statement = 'none'") < sent.index("ALTER ROLE")
    assert "log_min_error_statement = 'panic'" in sent


def test_the_scram_verifier_is_the_one_of_the_rfc() -> None:
    """RFC 7677's example (user, pencil): StoredKey and ServerKey must agree with its proof and its signature."""
    import base64
    import hashlib
    import hmac

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    found = scram_verifier(Secret("p", "pencil"), salt, 4096).value
    scheme, iterations_salt, keys = found.split("$")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    assert (scheme, iterations_salt) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(a ^ b for a, b in zip(proof, hmac.new(stored, message, hashlib.sha256).digest(), strict=True))
    assert hashlib.sha256(client_key).digest() == stored
    signature = base64.b64encode(hmac.new(server, message, hashlib.sha256).digest()).decode()
    assert signature == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_a_verifier_of_9_x_is_the_md5_of_password_and_user() -> None:
    """`select 'md5' || md5('secret' || 'replicator')` on a real server."""
    assert md5_verifier("replicator", Secret("p", "secret")).value == "md57588ba3be47ee11b6e10d90b0641d7da"
    assert verifier("replicator", Secret("p", "secret"), versions.of("9.6")).value.startswith("md5")
    assert verifier("replicator", Secret("p", "secret"), versions.of("10")).value.startswith("SCRAM-SHA-256$")


def test_a_password_beyond_ascii_is_refused_rather_than_prepared_wrongly() -> None:
    with pytest.raises(ValueError, match="SASLprep"):
        scram_verifier(Secret("p", "pässword"))


def test_slots_are_made_once_and_hold_wal_at_once_where_they_can() -> None:
    assert "pgpanel_pg2', true)" in postgres.create_slot_sql("pgpanel_pg2", versions.of("9.6"))
    assert "pgpanel_pg2')" in postgres.create_slot_sql("pgpanel_pg2", versions.of("9.4"))
    with pytest.raises(ValueError, match="no replication slots"):
        postgres.create_slot_sql("pgpanel_pg2", versions.of("9.3"))


def test_an_active_slot_is_not_dropped() -> None:
    assert "AND NOT active" in postgres.drop_slot_sql("pgpanel_pg2")


def test_the_service_is_driven_by_the_node_s_own_commands_as_who_may() -> None:
    assert postgres.start(SERVER).user == "postgres"
    assert postgres.stop(SERVER, "immediate").argv == ("pg_ctlcluster", "15", "main", "stop", "-m", "immediate")
    assert postgres.stop(SERVER).user == "root"
    assert postgres.restart(SERVER).user == "root"


@pytest.mark.parametrize(
    ("major", "expected"),
    [
        ("15", "pg_promote(true, 60)"),
        ("12", "pg_promote(true, 60)"),
        ("11", "-t 60 promote"),
        ("10", "-t 60 promote"),
        ("9.6", "promote"),
        ("9.1", "promote"),
    ],
)
def test_promotion_is_asked_for_in_the_version_s_own_way(major: str, expected: str) -> None:
    command = postgres.promote(SERVER, versions.of(major))
    assert expected in command.shown
    assert ("-t" in command.argv and "pg_ctl" in command.argv[0]) == (major in ("11", "10")) or "psql" in command.argv[0]


def test_9_0_is_promoted_by_its_trigger_file_or_not_at_all() -> None:
    assert postgres.promote(SERVER, versions.of("9.0"), trigger_file="/srv/a b/trigger").argv[-1] == "/srv/a b/trigger"
    with pytest.raises(ValueError, match="trigger file only"):
        postgres.promote(SERVER, versions.of("9.0"))


def base_backup(major: str, **options: object) -> tuple[str, ...]:
    return postgres.base_backup_options(
        versions.of(major), source_address="10.0.0.1", source_port=5432, user="pgpanel_replication", slot="pgpanel_pg2",
        max_rate="10M", label="pgpanel job-1", **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_base_backup_streams_wal_holds_its_slot_and_starts_at_once() -> None:
    argv = base_backup("15")
    for option in (("-X", "stream"), ("-c", "fast"), ("--slot", "pgpanel_pg2"), ("--max-rate", "10M")):
        position = argv.index(option[0])
        assert argv[position : position + 2] == option
    assert "-R" not in argv


def test_an_older_pg_basebackup_gets_only_the_options_that_it_knows() -> None:
    assert "--slot" not in base_backup("9.5")
    assert "--max-rate" not in base_backup("9.3")
    assert "-x" in base_backup("9.1")


def test_a_tablespace_goes_to_its_new_place_also_with_an_equals_sign_in_its_path() -> None:
    argv = base_backup("15", tablespaces={"/srv/a=b": "/mnt/c"})
    assert argv[argv.index("-T") + 1] == "/srv/a\\=b=/mnt/c"
    with pytest.raises(ValueError, match="/srv/a"):
        base_backup("9.3", tablespaces={"/srv/a": "/mnt/c"})


def test_a_password_file_line_escapes_what_would_split_it() -> None:
    line = postgres.pgpass_line("pgpanel_replication", PASSWORD)
    assert text_value(line) == "*:*:*:pgpanel_replication:correct horse\\:battery\\\\staple\n"
    assert text_shown(line) == "*:*:*:pgpanel_replication:<replication_password>\n"


def test_a_conninfo_holds_no_password_and_only_keys_that_its_libpq_knows() -> None:
    asked = {
        "host": "10.0.0.1",
        "port": 5432,
        "user": "pgpanel_replication",
        "application_name": "pg 2",
        "passfile": "/home/it's/pgpass",
    }
    new = postgres.primary_conninfo(versions.of("15"), **asked)  # type: ignore[arg-type]
    assert new == "host=10.0.0.1 port=5432 user=pgpanel_replication application_name='pg 2' passfile='/home/it\\'s/pgpass'"
    assert "passfile" not in postgres.primary_conninfo(versions.of("9.6"), **asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="password file"):
        postgres.primary_conninfo(versions.of("15"), **asked, password="x")  # type: ignore[arg-type]


def test_a_standby_of_the_recovery_conf_age_is_told_its_mode_and_to_follow_later_timelines() -> None:
    settings = postgres.standby_settings(
        versions.of("11"), conninfo="host=a user='b c'", slot="s", restore_command="cp '/a b/%f' %p", cleanup_command="clean %r"
    )
    assert settings["standby_mode"] == "on"
    assert settings["recovery_target_timeline"] == "latest"


def test_a_standby_from_12_on_gets_settings_alone() -> None:
    settings = postgres.standby_settings(versions.of("12"), conninfo="host=a", slot="s")
    assert settings == {"primary_conninfo": "host=a", "primary_slot_name": "s", "recovery_target_timeline": "latest"}


def test_a_version_without_slots_gets_no_slot_name() -> None:
    assert "primary_slot_name" not in postgres.standby_settings(versions.of("9.3"), conninfo="host=a", slot="s")


def test_archive_commands_survive_blanks_quotes_and_percent_signs_in_paths() -> None:
    assert postgres.restore_command(SERVER) == "test -f '/srv/100%% wals'/%f && cp '/srv/100%% wals'/%f %p"
    assert postgres.archive_cleanup_command(SERVER, versions.of("15")) == "'/opt/pg 15/bin'/pg_archivecleanup '/srv/100%% wals' %r"
