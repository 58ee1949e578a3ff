import shlex
from dataclasses import asdict

import pytest

from remote import layouts
from remote.facts import Facts, Installation, Postgres


def test_debian_paths_are_postgresql_common_s() -> None:
    paths = layouts.DEBIAN.paths("15")
    assert paths.bin_directory == "/usr/lib/postgresql/15/bin"
    assert paths.data_directory == "/var/lib/postgresql/15/main"
    assert paths.config_file == "/etc/postgresql/15/main/postgresql.conf"
    assert paths.wal_archive_directory == "/var/lib/postgresql/15/wals"
    assert paths.log_file == "/var/log/postgresql/postgresql-15-main.log"
    assert paths.start_command == "pg_ctlcluster 15 main start"


def test_rhel_paths_are_the_pgdg_packages() -> None:
    paths = layouts.RHEL.paths("9.6")
    assert paths.bin_directory == "/usr/pgsql-9.6/bin"
    assert paths.config_directory == "/var/lib/pgsql/9.6/data"
    assert paths.restart_command == "systemctl restart postgresql-9.6"


def test_cocca_has_one_place_for_every_version_and_its_own_control_script() -> None:
    paths = layouts.COCCA_8.paths("9.1")
    assert paths.data_directory == paths.config_directory == "/opt/cocca-8/postgresql/data"
    assert paths.wal_archive_directory == "/opt/cocca-8/postgresql/wals"
    assert paths.stop_command == "/opt/cocca-8/postgresql/scripts/ctl stop"


def test_overrides_win_and_what_follows_from_them_moves_along() -> None:
    paths = layouts.CUSTOM.paths("17", {"data_directory": "/srv/pg data/it's", "bin_directory": "/opt/pg 17/bin", "owner": "pg"})
    assert paths.config_directory == "/srv/pg data/it's"
    assert paths.owner == "pg"
    assert layouts.words(paths.start_command) == (
        "/opt/pg 17/bin/pg_ctl", "-D", "/srv/pg data/it's", "-l", "/srv/pg data/it's.log", "-w", "start",
    )  # fmt: skip


def test_an_empty_override_is_none_and_an_unknown_one_is_refused() -> None:
    assert layouts.DEBIAN.paths("15", {"data_directory": ""}) == layouts.DEBIAN.paths("15")
    with pytest.raises(KeyError, match="data_dir"):
        layouts.DEBIAN.paths("15", {"data_dir": "/x"})


def test_the_stop_mode_is_put_in_where_the_command_has_a_place_for_it() -> None:
    assert layouts.words(layouts.DEBIAN.paths("15").stop_command, "immediate")[-1] == "immediate"
    assert layouts.words("/opt/ctl stop", "immediate") == ("/opt/ctl", "stop")


@pytest.mark.parametrize("layout", layouts.LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_command_of_every_layout_splits_into_words_again(layout: layouts.Layout) -> None:
    paths = layout.paths("15", {"data_directory": "/srv/a b"})
    for command in (paths.start_command, paths.stop_command, paths.restart_command):
        assert layouts.command_line(shlex.split(command)) == command
        assert "{major}" not in command


def test_service_managers_are_asked_as_root_and_pg_ctl_as_the_owner() -> None:
    assert layouts.control_user("custom", "/usr/bin/systemctl") == "root"
    assert layouts.control_user("debian", "pg_ctlcluster") == "root"
    assert layouts.control_user("cocca", "/opt/cocca-8/postgresql/scripts/ctl") == ""


def cluster(**changes: str) -> Postgres:
    return Postgres(**({"data_directory": "/srv/pg", "owner": "postgres", "major": "15"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"debian_cluster": "15/main", "bin_directory": "/usr/lib/postgresql/15/bin"}, "debian"),
        ({"data_directory": "/opt/cocca-8/postgresql/data", "bin_directory": "/opt/cocca-8/postgresql/bin"}, "cocca"),
        ({"data_directory": "/var/lib/pgsql/15/data", "bin_directory": "/usr/pgsql-15/bin"}, "rhel"),
        ({"bin_directory": "/usr/pgsql-15/bin"}, "custom"),
        ({"bin_directory": "/usr/lib/postgresql/15/bin"}, "custom"),
    ],
)
def test_a_cluster_s_layout_is_told_by_where_it_stands(changes: dict[str, str], name: str) -> None:
    assert layouts.detect(Facts("h"), cluster(**changes)) == name


@pytest.mark.parametrize(
    ("os_id", "installed", "name"),
    [
        ("debian", "/usr/lib/postgresql/15/bin", "debian"), ("debian", "", "debian"), ("rocky", "", "rhel"),
        ("debian", "/opt/cocca-8/postgresql/bin", "cocca"),
        ("arch", "", "custom"),
    ],
)  # fmt: skip
def test_a_bare_host_s_layout_is_told_by_its_programs_and_its_system(os_id: str, installed: str, name: str) -> None:
    installations = (Installation(installed, "15", "15.1"),) if installed else ()
    assert layouts.detect(Facts("h", os_id=os_id, installations=installations), None) == name


def test_a_cluster_found_as_its_layout_has_it_needs_no_overrides() -> None:
    found = cluster(
        data_directory="/var/lib/postgresql/15/main", bin_directory="/usr/lib/postgresql/15/bin", debian_cluster="15/main",
        config_file="/etc/postgresql/15/main/postgresql.conf", log_file="/var/log/postgresql/postgresql-15-main.log",
    )  # fmt: skip
    assert layouts.overrides_of(layouts.DEBIAN, found) == {}


def test_a_debian_cluster_of_another_name_has_its_own_commands() -> None:
    found = cluster(
        data_directory="/var/lib/postgresql/15/registry", bin_directory="/usr/lib/postgresql/15/bin", debian_cluster="15/registry",
        config_file="/etc/postgresql/15/registry/postgresql.conf",
    )  # fmt: skip
    overrides = layouts.overrides_of(layouts.DEBIAN, found)
    assert overrides["start_command"] == "pg_ctlcluster 15 registry start"
    assert layouts.words(overrides["stop_command"], "smart") == ("pg_ctlcluster", "15", "registry", "stop", "-m", "smart")
    assert overrides["config_directory"] == "/etc/postgresql/15/registry"
    assert overrides["wal_archive_directory"] == "/var/lib/postgresql/15/registry.wals"
    assert layouts.DEBIAN.paths("15", overrides).restart_command.startswith("pg_ctlcluster 15 registry restart")


def test_a_custom_cluster_s_overrides_give_back_where_it_stands() -> None:
    found = cluster(
        data_directory="/srv/pg data", bin_directory="/opt/pg/bin", owner="pg", config_file="/srv/pg data/postgresql.conf"
    )
    paths = layouts.CUSTOM.paths("15", layouts.overrides_of(layouts.CUSTOM, found))
    assert (paths.data_directory, paths.bin_directory, paths.owner, paths.config_directory) == (
        "/srv/pg data",
        "/opt/pg/bin",
        "pg",
        "/srv/pg data",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_directory", "relative"), ("data_directory", "/srv/../etc"), ("data_directory", "/"), ("data_directory", "/a\nb"),
        ("data_directory", "/srv/\u202etxt"),  ("bin_directory", "/" + "x" * 600), ("log_file", "-f"), ("owner", "root"),
        ("data_directory", "/srv/$(id)"), ("log_file", '/srv/"x"'),
        ("owner", "-oProxyCommand=id"), ("owner", "a b"), ("owner", "x\ny"), ("service", "--now"), ("service", "a b"),
        ("start_command", "'"), ("start_command", "-rf /"), ("start_command", " "), ("stop_command", "a\nb"),
    ],
)  # fmt: skip
def test_an_override_that_would_break_out_of_where_it_is_put_is_refused(name: str, value: str) -> None:
    assert layouts.why_not(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_directory", "/srv/it's (odd) %f"), ("owner", "post-gres"), ("owner", "acct$"), ("service", "postgresql@15-main"),
        ("service", r"postgresql@15-a\x2db.service"), ("start_command", "/opt/x/ctl 'with space' start"),
    ],
)  # fmt: skip
def test_an_unusual_override_is_not(name: str, value: str) -> None:
    assert not layouts.why_not(name, value)


def test_every_value_of_every_layout_passes_its_own_test() -> None:
    for layout in layouts.LAYOUTS.values():
        for name, value in asdict(layout.paths("15")).items():
            assert not value or not layouts.why_not(name, value), (layout.name, name, value)
