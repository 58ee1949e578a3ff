"""Facts of real hosts: every version and layout, every way to log in, and hosts in a state that nobody likes."""

import shlex
import time
from collections.abc import Iterator

import pytest
from kinds_walk import PASSWORD, Room

from lab import Host, Lab
from remote import layouts, look, lsn, parse, postgres, versions
from remote.command import Command, Detached, WriteFile, text_value
from remote.facts import Facts, FactsRequest, Postgres
from remote.layouts import Paths

pytestmark = pytest.mark.lab

HOSTILE = "/srv/a b\n\tc'\"$(touch hacked)`touch hacked`;*"
# a backend that waits ends with its postmaster; one that works notices nothing
BUSY = "DO $$ BEGIN /* pgpanel is busy */ FOR i IN 1..2000000000 LOOP NULL; END LOOP; END $$"


def raw(host: Host, user: str = "root", **request: object) -> str:
    command = look.facts_command(FactsRequest(**request))  # type: ignore[arg-type]
    stdin = text_value(command.stdin or "")
    return host.run(list(command.argv), user=user, input=stdin).stdout


def facts(host: Host, user: str = "root", **request: object) -> Facts:
    sent_at = time.time()
    answer = raw(host, user, **request)
    return parse.parse(answer, (sent_at, time.time()))


def cluster(host: Host, user: str = "root", **request: object) -> Postgres:
    found = facts(host, user, **request).postgres(host.data_directory)
    assert found is not None
    return found


def run(host: Host, action: Command | Detached | WriteFile) -> str:
    """What `remote.host` does with an action, without SSH."""
    if isinstance(action, WriteFile):
        host.run(["tee", action.path], user=action.owner, input=text_value(action.text))
        host.run(["chmod", action.mode, action.path])
        return ""
    command = action.command if isinstance(action, Detached) else action
    stdin = text_value(command.stdin) if command.stdin is not None else None
    return host.run(command.text, user=command.user or "root", input=stdin).stdout


class Server(Paths):
    """A host of the lab as the builders want it."""

    def __init__(self, host: Host) -> None:
        major = str(host.postgres_major)
        places = {
            "bin_directory": host.bin_directory,
            "data_directory": host.data_directory,
            "config_directory": host.config_directory,
        }
        paths = layouts.LAYOUTS[host.layout].paths(major, places)
        super().__init__(**{name: getattr(paths, name) for name in layouts.OVERRIDABLE})
        for name, value in (("name", host.name), ("address", host.ip), ("port", host.pg_port), ("layout", host.layout)):
            object.__setattr__(self, name, value)


@pytest.fixture(scope="module")
def debian(lab: Lab) -> Host:
    return lab.up("debian")


@pytest.mark.parametrize(
    ("major", "layout"),
    [("11", "cocca"), ("13", "custom"), ("14", "debian"), ("15", "debian"), ("16", "custom"), ("17", "cocca"), ("18", "debian")],
)
def test_a_running_primary_of_every_version_and_layout_is_seen_whole(lab: Lab, major: str, layout: str) -> None:
    host = lab.up(f"v{major}", postgres=major, layout=layout)
    try:
        seen = facts(host)
        found = seen.postgres(host.data_directory)
        assert found is not None
        assert seen.warnings == ()
        assert found.sql_error == ""
        assert (found.major, found.role, found.timeline, found.port) == (major, "primary", 1, host.pg_port)
        assert found.version.startswith(major)
        assert found.bin_directory == host.bin_directory
        assert found.config_file == f"{host.config_directory}/postgresql.conf"
        assert "registry" in found.hba_text
        assert found.answers_sql
        assert found.control is not None
        assert found.control.state == "in production"
        assert found.control.wal_segment_bytes == 16 * 1024 * 1024
        assert found.control.has_checksums == versions.of(major).has_checksums_by_default
        assert found.setting("listen_addresses") == "*"
        assert found.current_lsn >= found.control.checkpoint_lsn > 0
        assert found.size_bytes > 5_000_000
        assert found.wal_bytes >= 16 * 1024 * 1024
        assert found.free_wal_senders == 10
        password_kind = {role.name: role.password_kind for role in found.roles}
        assert password_kind == {"postgres": "none", "registry": "scram"}
        assert layouts.detect(seen, found) == layout
        assert layouts.overrides_of(layouts.LAYOUTS[layout], found).get("bin_directory", host.bin_directory) == host.bin_directory
    finally:
        host.down()


def test_the_host_itself_is_described(debian: Host) -> None:
    seen = facts(debian, reach=((debian.ip, 22), (debian.ip, 1)))
    assert seen.hostname == debian.name
    assert (seen.os_id, seen.is_systemd, seen.selinux) == ("debian", False, "absent")
    assert seen.machine_id
    assert seen.boot_id
    assert seen.cpu_count >= 1
    assert seen.memory_bytes > 100_000_000
    assert debian.ip in seen.addresses
    assert abs(seen.clock_skew_seconds) < 1
    assert {"rsync", "ssh", "tar"} <= set(seen.tools)
    assert not seen.accounts["postgres"].is_locked
    assert seen.accounts["postgres"].is_system
    mount = seen.mount_of(debian.data_directory)
    assert mount is not None
    assert mount.free_bytes > 0
    assert seen.reach[f"{debian.ip}:22"].is_open
    assert "refused" in seen.reach[f"{debian.ip}:1"].error
    assert [item.major for item in seen.installations] == ["15"]
    assert seen.installations[0].has("pg_verifybackup")


@pytest.mark.parametrize(("user", "root"), [("root", True), ("ops", True), ("postgres", False)])
def test_whoever_logs_in_sees_the_same_cluster(debian: Host, user: str, root: bool) -> None:
    seen = facts(debian, user)
    assert (seen.login_user, seen.can_become_root, seen.can_become_owner) == (user, root, True)
    found = seen.postgres(debian.data_directory)
    assert found is not None
    assert found.answers_sql
    assert found.hba_text
    assert found.control is not None


def test_an_account_without_rights_is_told_what_it_lacks(debian: Host) -> None:
    debian.run(["useradd", "-m", "guest"])
    seen = facts(debian, "guest", data_directory=debian.data_directory)
    assert not seen.can_become_root
    assert not seen.can_become_owner
    assert seen.become_error
    found = seen.postgres(debian.data_directory)
    assert found is not None
    assert found.is_denied
    assert any(debian.data_directory in warning for warning in seen.warnings)


def test_a_look_changes_nothing_and_is_quick(debian: Host) -> None:
    debian.run(["touch", "/run/before"])
    took = sorted(facts(debian, user, paths=("/etc/hostname",)).elapsed_ms for user in ("root", "ops", "postgres") * 3)[4]
    places = ["/etc", "/tmp", "/var/tmp", "/root", "/home", "/opt", "/srv", f"{debian.data_directory}/postgresql.auto.conf"]
    assert debian.run(["find", *places, "-newer", "/run/before", "-type", "f"]).stdout == ""
    print(f"facts in full: {took} ms in the middle of 9")


def test_paths_are_described_whatever_their_names_and_contents(debian: Host) -> None:
    debian.run(["mkdir", "-p", "/srv/dir/.hidden", "/srv/dir/x y"])
    debian.run(["tee", HOSTILE], input="one\ttwo\r\nthree\n:+\x1e\x1f password=hunter2 '\n")
    debian.run(["sh", "-c", "printf '\\377\\000\\001' > /srv/binary; head -c 70000 /dev/zero > /srv/big; ln -s /srv/dir /srv/link"])
    debian.run(["tee", "/srv/.pgpass"], input="*:*:*:someone:hunter2\n")
    asked = (HOSTILE, "/srv/binary", "/srv/big", "/srv/link", "/srv/dir", "/srv/.pgpass", "/srv/missing/deeper", "/dev/null")
    answer = raw(debian, paths=asked)
    paths = parse.parse(answer, None).paths
    assert set(paths) == set(asked)
    assert paths[HOSTILE].text == "one\ttwo\r\nthree\n:+\x1e\x1f password=******** '\n"
    assert paths["/srv/binary"].text == "\ufffd\ufffd\x01"  # no database takes NUL
    assert (paths["/srv/big"].text, paths["/srv/big"].size_bytes) == (None, 70000)
    assert (paths["/srv/link"].kind, paths["/srv/link"].target, paths["/srv/link"].entries) == ("link", "/srv/dir", 2)
    assert (paths["/srv/dir"].kind, paths["/srv/dir"].entries) == ("directory", 2)
    assert (paths["/srv/.pgpass"].kind, paths["/srv/.pgpass"].text) == ("file", None)
    assert len(paths["/srv/.pgpass"].digest) == 64
    assert paths["/srv/missing/deeper"].kind == "missing"
    assert paths["/dev/null"].kind == "other"
    assert "hacked" not in debian.run(["ls", "/", "/root", "/srv"]).stdout.split()
    assert "hunter2" not in answer


def test_passwords_in_a_configuration_stay_on_the_host(debian: Host) -> None:
    hba, extra = f"{debian.config_directory}/pg_hba.conf", f"{debian.config_directory}/conf.d/secret.conf"
    before = debian.run(["cat", hba]).stdout
    lines = (
        "host x y 10.9.9.9/32 ldap ldapserver=a ldapbindpasswd=hunter2",
        'host x y 10.9.9.9/32 ldap ldapserver=a "ldapbindpasswd=two hunter2"',
        'host x y 10.9.9.9/32 ldap ldapserver=a ldapbindpasswd="two hunter2"',
    )
    debian.run(["tee", hba], input=before + "\n".join(lines) + "\n")
    conninfos = (
        "'host=a password=hunter2'",
        "'host=a password=''two hunter2'' port=1'",
        "'postgresql://u:hunter2@h/db'",
        "'password = hunter2'",
    )
    debian.run(["tee", extra], input="".join(f"my.conninfo{number} = {value}\n" for number, value in enumerate(conninfos)))
    try:
        answer = raw(debian, paths=(hba, extra))
        seen = parse.parse(answer, None)
        found = seen.postgres(debian.data_directory)
        assert found is not None
        assert seen.paths[hba].text is not None
        assert found.hba_text.count("********") == len(lines)
        assert found.included_texts[extra].count("********") == len(conninfos)
        decoded = "".join(parse._decoded(word) for line in answer.splitlines() for word in line.split("\t")[1:])
        assert "ldapbindpasswd" in decoded
        assert "hunter2" not in decoded
    finally:
        debian.run(["rm", extra])
        debian.run(["tee", hba], input=before)


def test_a_cluster_s_link_to_somebody_else_s_file_is_not_read_for_it(debian: Host) -> None:
    link = f"{debian.data_directory}/recovery.conf"
    debian.run(["ln", "-s", "/etc/shadow", link], user="postgres")
    try:
        found = cluster(debian)
        assert found.recovery_text == ""
        assert "recovery.conf" in found.signal_files
        assert found.auto_config_text
    finally:
        debian.run(["rm", link])


def test_what_other_databases_need_is_seen_too(debian: Host) -> None:
    debian.sql("CREATE EXTENSION pageinspect", database="registry")
    debian.sql('CREATE DATABASE "dbname=odd one"')
    seen = facts(debian)
    found = seen.postgres(debian.data_directory)
    assert found is not None
    assert found.libraries == ("$libdir/pageinspect",)
    assert "pageinspect" in found.extensions
    assert any("dbname=odd one" in warning for warning in seen.warnings)
    debian.sql('DROP DATABASE "dbname=odd one"')


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["bash"]])
def test_the_script_is_the_same_to_any_posix_shell(debian: Host, shell: list[str]) -> None:
    argv = [*shell, "-s", "--", "", "0", "", "", ",", "1", "/etc/hostname", "127.0.0.1 22"]
    seen = parse.parse(debian.run(argv, input=look.look_script()).stdout, None)
    found = seen.postgres(debian.data_directory)
    assert seen.warnings == ()
    assert found is not None
    assert (found.role, found.answers_sql, found.sql_error) == ("primary", True, "")
    assert seen.paths["/etc/hostname"].text == "debian\n"
    assert seen.reach["127.0.0.1:22"].is_open


def test_only_what_is_asked_for_is_looked_at(debian: Host) -> None:
    seen = facts(debian, sections=frozenset({"paths"}), paths=("/etc/hostname",))
    assert seen.paths["/etc/hostname"].kind == "file"
    assert seen.clusters == ()
    assert seen.hostname == ""
    quick = cluster(debian, sections=frozenset({"postgres", "sql"}))
    assert quick.answers_sql
    assert quick.size_bytes == 0
    assert quick.libraries == ()


def test_what_a_login_shell_says_of_its_own_disturbs_nothing(debian: Host) -> None:
    assert parse.parse("Welcome to this host!\n\tlast login: now\n" + raw(debian), None).postgres(debian.data_directory) is not None


def test_a_stopped_cluster_is_known_by_its_files(lab: Lab) -> None:
    host = lab.up("stopped", postgres="17", layout="custom", data_directory="/srv/my pg/data", pg_port=5499)
    running = cluster(host)
    assert (running.port, running.data_directory, running.timeline) == (5499, "/srv/my pg/data", 1)
    host.pg_stop()
    assert facts(host).postgres("/srv/my pg/data") is None  # nothing leads there by itself
    found = cluster(host, data_directory="/srv/my pg/data", bin_directory=host.bin_directory)
    assert not found.is_running
    assert not found.answers_sql
    assert found.sql_error == ""
    assert found.control is not None
    assert found.control.state == "shut down"
    assert (found.role, found.timeline, found.port) == ("primary", 1, 5499)
    assert found.system_identifier == running.system_identifier
    host.down()


def test_a_bare_host_has_programs_and_no_cluster(lab: Lab) -> None:
    host = lab.up("bare", postgres="16", layout="cocca", create=False)
    seen = facts(host, data_directory=host.data_directory)
    assert seen.clusters == ()
    assert [item.bin_directory for item in seen.installations] == ["/opt/cocca-8/postgresql/bin"]
    assert layouts.detect(seen, None) == "cocca"
    host.down()


def test_a_superuser_who_is_asked_for_a_password_is_told_how_to_mend_it(debian: Host) -> None:
    hba = f"{debian.config_directory}/pg_hba.conf"
    before = debian.run(["cat", hba]).stdout
    debian.run(["tee", hba], input="local all all md5\n" + before)
    debian.run(["pg_ctlcluster", "15", "main", "reload"])
    try:
        deadline = time.monotonic() + 5
        while (found := cluster(debian)).answers_sql and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found.is_running
        assert not found.answers_sql
        assert "local  all  postgres  peer" in found.sql_error
        assert found.hba_text.startswith("local all all md5")
        assert found.control is not None
    finally:
        debian.run(["tee", hba], input=before)
        debian.run(["pg_ctlcluster", "15", "main", "reload"])


def test_a_server_that_hangs_is_a_value_within_seconds(debian: Host) -> None:
    pid = str(cluster(debian).postmaster_pid)
    debian.run(["kill", "-STOP", pid])
    try:
        seen = facts(debian)
    finally:
        debian.run(["kill", "-CONT", pid])
    found = seen.postgres(debian.data_directory)
    assert found is not None
    assert (found.is_running, found.answers_sql) == (True, False)
    assert "timeout" in found.sql_error
    assert found.control is not None
    assert found.hba_text
    assert seen.elapsed_ms < 10_000


@pytest.fixture(scope="module")
def page_pair(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """A pair built by hand from the source page: recovery.conf with its password in clear."""
    pair = lab.source_page_pair(primary="page1", standby="page2")
    yield pair.primary, pair.standby
    pair.primary.down()
    pair.standby.down()


def test_a_standby_made_from_the_source_page_is_seen_and_its_password_never_leaves_it(page_pair: tuple[Host, Host]) -> None:
    primary, standby = page_pair
    recovery = standby.run(["cat", f"{standby.data_directory}/recovery.conf"]).stdout
    password = recovery.partition("password=")[2].split("'")[0].split()[0]
    answer = raw(standby, paths=(f"{standby.data_directory}/recovery.conf",))
    seen = parse.parse(answer, None)
    found = seen.postgres(standby.data_directory)
    assert found is not None
    assert password
    assert password not in repr(seen)
    assert (found.role, found.timeline, found.is_running) == ("standby", 1, True)
    assert found.receiver is not None
    assert found.receiver.status == "streaming"
    assert found.receiver.received_timeline == 1
    assert "password=********" in found.recovery_text
    assert "recovery.conf" in found.signal_files
    assert found.receive_lsn >= found.replay_lsn > 0
    sender = cluster(primary).senders
    assert [row.state for row in sender] == ["streaming"]
    assert lsn.shown(sender[0].replay_lsn) != "0/0"


def test_a_postmaster_killed_under_its_backends_leaves_strays_that_are_named(lab: Lab) -> None:
    host = lab.up("killed", postgres="15", layout="debian", autostart=False)
    found = cluster(host)
    holding = shlex.join([f"{host.bin_directory}/psql", "-X", "-h", found.socket_directory, "-d", "postgres", "-c", BUSY])
    host.run(["sh", "-c", f"nohup {holding} >/dev/null 2>&1 &"], user="postgres")
    deadline = time.monotonic() + 5
    while (
        not host.sql("SELECT 1 FROM pg_stat_activity WHERE query ~ 'pgpanel is busy' AND pid <> pg_backend_pid()")
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    host.run(["kill", "-9", str(found.postmaster_pid)])
    left = cluster(host)
    assert not left.is_running
    assert left.stray_pids
    host.down()


@pytest.mark.parametrize(("major", "layout"), [("15", "debian"), ("11", "cocca"), ("18", "custom")])
def test_both_ends_of_a_pair_are_seen_as_they_are_also_after_a_promotion(lab: Lab, major: str, layout: str) -> None:
    primary = lab.up(f"b{major}a", postgres=major, layout=layout)
    standby = lab.up(f"b{major}b", postgres=major, layout=layout, create=False)
    room = Room(lab, {"pg1": primary, "pg2": standby})
    room.run("setup", {"primary": "pg1", "standbys": ["pg2"], "archive": False, "retention": "slots"}, ["pg1", "pg2"])
    version, source, target = versions.of(major), Server(primary), Server(standby)
    seen, source_seen = cluster(standby), cluster(primary)
    assert (seen.role, seen.timeline) == ("standby", 1)
    assert seen.receiver is not None
    assert [(row.application_name, row.state, row.user) for row in source_seen.senders] == [
        ("pg2", "streaming", "pgpanel_replication")
    ]
    slot = source_seen.slot_named("pgpanel_pg2")
    assert slot is not None
    assert slot.is_active
    assert seen.system_identifier == source_seen.system_identifier

    run(standby, postgres.promote(target, version, socket_directory=seen.socket_directory))
    promoted = cluster(standby)
    assert (promoted.role, promoted.timeline) == ("primary", 2)
    socket = source_seen.socket_directory
    run(primary, postgres.psql(source, postgres.drop_slot_sql("pgpanel_pg2"), socket_directory=socket))
    run(primary, postgres.psql(source, postgres.create_slot_sql("pgpanel_pg2", version), socket_directory=socket))
    run(primary, postgres.psql(source, postgres.create_slot_sql("pgpanel_pg2", version), socket_directory=socket))
    log = primary.pg_log_tail(500) + standby.pg_log_tail(500)
    assert PASSWORD not in log
    assert "SCRAM-SHA-256$" not in log
    primary.down()
    standby.down()
