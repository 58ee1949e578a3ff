"""What looks at hosts mean: which database cluster, who is the primary, who else is there, what is in the way."""

from dataclasses import replace

import pytest

from clusters.findings import Place, Seen, peers, place_of, place_of_bare, problems, proposed_cluster, proposed_primary, upstream_of
from remote.facts import Control, Facts, Installation, Mount, Postgres, Setting, WalReceiver, WalSender

DEBIAN = Postgres(
    data_directory="/var/lib/postgresql/15/main", owner="postgres", major="15", port=5432, is_running=True, answers_sql=True,
    bin_directory="/usr/lib/postgresql/15/bin", config_file="/etc/postgresql/15/main/postgresql.conf", debian_cluster="15/main",
    role="primary", size_bytes=100 << 20, control=Control("77", "in production", 1, 1, 1, "0"),
)  # fmt: skip
BINARIES = (Installation("/usr/lib/postgresql/15/bin", "15", "15.18"),)


def host(name: str, *clusters: Postgres, **fields) -> Seen:
    facts = Facts(
        **{"hostname": name, "machine_id": name, "os_id": "debian", "clusters": clusters, "installations": BINARIES,
           "mounts": (Mount("/", "/dev/vda", "ext4", 100 << 30, 50 << 30),)} | fields
    )  # fmt: skip
    return Seen(name, facts, f"10.0.0.{name[-1]}", data_directory=clusters[0].data_directory if clusters else "")


def test_the_database_cluster_on_the_named_port_is_proposed_before_a_bigger_one():
    small, big = replace(DEBIAN, port=5433, size_bytes=1), replace(DEBIAN, data_directory="/srv/big")
    facts = Facts("h", clusters=(big, small))
    assert proposed_cluster(facts, 5433) == small
    assert proposed_cluster(facts, 5999) == big
    assert proposed_cluster(Facts("h"), 5432) is None


def test_the_primary_is_the_one_with_standbys_else_with_most_data():
    empty = replace(DEBIAN, size_bytes=20 << 20)
    assert proposed_primary([host("pg1", empty), host("pg2", DEBIAN)]) == "pg2"
    sending = replace(empty, senders=(WalSender("x", "10.0.0.9", "streaming", "async"),))
    assert proposed_primary([host("pg1", sending), host("pg2", DEBIAN)]) == "pg1"
    assert proposed_primary([host("pg1"), host("pg2", replace(DEBIAN, role="standby"))]) == ""


def test_a_bare_host_takes_the_primarys_layout_with_its_own_programs():
    primary = place_of(host("pg1", DEBIAN))
    assert primary == Place("debian", "15", {})
    elsewhere = host("pg2", installations=(Installation("/opt/pg/15/bin", "15", "15.1"),))
    assert place_of_bare(elsewhere, primary) == Place("debian", "15", {"bin_directory": "/opt/pg/15/bin"})


def test_peers_are_the_standbys_that_stream_and_what_a_standby_follows():
    senders = (
        WalSender("walreceiver", "10.0.0.2", "streaming", "async"),
        WalSender("pg_basebackup", "10.0.0.8", "backup", "async"),
        WalSender("pg_receivewal", "10.0.0.7", "streaming", "async"),
        WalSender("walreceiver", "", "streaming", "async"),
    )
    primary = host("pg1", replace(DEBIAN, senders=senders))
    assert [(peer.address, peer.relation, peer.of) for peer in peers([primary])] == [("10.0.0.2", "standby", "pg1")]
    standby = host("pg3", replace(DEBIAN, role="standby", receiver=WalReceiver("streaming", "10.0.0.1", 5432)))
    assert [(peer.address, peer.relation) for peer in peers([standby])] == [("10.0.0.1", "upstream")]
    second = host("pg2", replace(DEBIAN, role="standby"), addresses=("10.0.0.2",))
    assert peers([primary, second]) == []


@pytest.mark.parametrize(
    "postgres",
    [
        replace(DEBIAN, receiver=WalReceiver("streaming", "db1.example", 5433)),
        replace(DEBIAN, recovery_text="standby_mode = 'on'\nprimary_conninfo = 'host=db1.example port=5433 user=rep'\n"),
        replace(DEBIAN, settings={"primary_conninfo": Setting("user=rep host=db1.example port=5433")}),
    ],
)
def test_what_a_standby_follows_is_read_from_its_receiver_or_its_configuration(postgres):
    assert upstream_of(postgres) == ("db1.example", 5433)


def said(*seen: Seen, is_import: bool = False) -> list[tuple[str, str]]:
    return [(problem.name, problem.level) for problem in problems(seen, is_import=is_import)]


def test_a_good_pair_has_no_problem():
    assert said(replace(host("pg1", DEBIAN), is_primary=True), host("pg2")) == []


def test_each_thing_in_the_way_names_its_host():
    primary = replace(host("pg1", DEBIAN), is_primary=True)
    assert said(primary, host("pg2", installations=())) == [("pg2", "refused")]
    assert said(primary, host("pg2", mounts=(Mount("/", "d", "ext4", 1 << 30, 1 << 20),))) == [("pg2", "refused")]
    assert said(primary, host("pg2", become_error="sudo asks for a password")) == [("pg2", "refused")]
    assert said(primary, host("pg2", clock_skew_seconds=-30.0)) == [("pg2", "warning")]
    assert said(replace(primary, is_primary=False), host("pg2")) == [("pg1", "refused")]
    stopped = replace(host("pg1", replace(DEBIAN, is_running=False)), is_primary=True)
    assert said(stopped, host("pg2")) == [("pg1", "refused")]
    follows = replace(host("pg1", replace(DEBIAN, role="standby")), is_primary=True)
    assert said(follows, host("pg2")) == [("pg1", "refused")]


def test_an_imported_standby_must_be_of_the_same_origin():
    primary = replace(host("pg1", DEBIAN), is_primary=True)
    other = replace(DEBIAN, role="standby", control=Control("88", "in archive recovery", 1, 1, 1, "0"))
    assert said(primary, host("pg2", other), is_import=True) == [("pg2", "refused")]
    assert said(primary, host("pg2", DEBIAN), is_import=True) == [("pg2", "warning")]  # two writable copies
    assert said(primary, host("pg2", replace(DEBIAN, role="standby")), is_import=True) == []
