"""The pair that somebody built by hand, line by line from the source page: imported, refused what may not be, watched, joined."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from host_reach import needs_own_machines
from panel_person import Page, Person
from panel_real import RealPanel, has_plan, looked, plan, real_panel, start, wait_for
from redis_server import RedisServer

from lab import Host, Lab
from lab.source_page import SourcePagePair

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]

OWN_LIFE = r"/data/\(base\|global\|pg_[a-z_]*\)/\|/wals/"
LISTING = f"""find /etc /root /home /tmp /opt/cocca-8 /var/lib/postgresql -xdev ! -type d ! -name '*.log' \\
-printf '%p %s %m %u %T@ %l\\n' 2>/dev/null | grep -v '{OWN_LIFE}' |
sort
find /opt/cocca-8 -xdev -type f \\( -name '*.conf' -o -name '*.signal' \\) 2>/dev/null | sort | xargs -r sha256sum"""
CATALOG = """SELECT rolname::text FROM pg_roles UNION ALL SELECT slot_name::text FROM pg_replication_slots
UNION ALL SELECT pg_postmaster_start_time()::text ORDER BY 1"""


def state_of(host: Host) -> str:
    """All that the panel could have changed on a host, and what the server itself says of it."""
    catalog = host.sql(CATALOG) if host.is_postgres_running() else []
    return host.run(LISTING).stdout + str(catalog)


@dataclass
class Stage:
    panel: RealPanel
    person: Person
    lab: Lab
    pairs: dict[str, SourcePagePair] = field(default_factory=dict)

    def pair(self, major: str) -> SourcePagePair:
        """Imported into the panel by its pages, as cluster `by-hand-15`."""
        if major not in self.pairs:
            made = self.lab.source_page_pair(f"p{major}a", f"p{major}b", postgres=major, registry_rows=200)
            self.pairs[major] = made
            imported(self, f"by-hand-{major}", made)
        return self.pairs[major]

    def add_node(self, cluster: str, name: str, host: Host, *, user: str = "root", secret: str = "") -> str:
        """`cluster add-node`: what it said, whether it was refused or not."""
        given = f"name={name},ssh={host.ip},port={host.ssh_port},user={user},pg-port={host.pg_port},layout={host.layout}"
        words = ["--node", f"{given},{secret or f'key-file={self.lab.key_path}'}", "--accept-host-keys"]
        return self.panel.try_manage("cluster", "add-node", cluster, *words).stdout

    def planned(self, cluster: str, primary: str, standby: str) -> str:
        """`job plan setup`: what it said; it must have been refused."""
        wanted = ["--set", f"primary={primary}", "--set", f"standbys={standby}"]
        done = self.panel.try_manage("job", "plan", "setup", "--cluster", cluster, *wanted)
        assert done.returncode == 1, done.stdout
        assert "is refused" in done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def stage(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    needs_own_machines(lab)
    with real_panel(tmp_path_factory.mktemp("panel")) as panel:
        yield Stage(panel, panel.person(), lab)


def imported(stage: Stage, name: str, pair: SourcePagePair) -> Page:
    """By the pages: one server is named, the other is found, both keys are accepted."""
    person = stage.person
    key = stage.lab.key_path.read_text()
    page = person.press(
        person.get("/import/"), "Look at the hosts", cluster_name=name, access="pasted-key", key_text=key,
        **{"hosts-0-name": pair.primary.name, "hosts-0-ssh_host": pair.primary.ip, "hosts-0-ssh_user": "root"},
    )  # fmt: skip
    page = looked(person, page)
    page = looked(person, person.press(page, f"Accept the key of {pair.primary.name}"))
    assert pair.standby.ip in page.text
    page = looked(person, person.press(page, f"Look at {pair.standby.ip}, too"))
    page = looked(person, person.press(page, "Accept the key of"))
    page = person.press(page, f"Import {name}")
    assert page.url.endswith(f"/c/{name}/"), page.text
    return page


def node_names(stage: Stage, cluster: str) -> dict[str, str]:
    """address → name of the panel's nodes."""
    query = "SELECT node_address, n.name FROM clusters_node n JOIN clusters_cluster c ON c.id = n.cluster_id WHERE c.name = ?"
    return {row["node_address"]: row["name"] for row in stage.panel.rows(query, cluster)}


@pytest.mark.parametrize("major", ["11", "15"])
def test_a_pair_built_by_hand_is_imported_and_watched_without_a_change_on_it(stage: Stage, major: str) -> None:
    pair = stage.lab.source_page_pair(f"p{major}a", f"p{major}b", postgres=major, registry_rows=200)
    stage.pairs[major] = pair
    before = [state_of(host) for host in (pair.primary, pair.standby)]
    assert "/data/postgresql.conf" in before[0]
    imported(stage, f"by-hand-{major}", pair)
    standby = node_names(stage, f"by-hand-{major}")[pair.standby.ip]

    def sample() -> dict[str, Any]:
        query = """SELECT s.sample FROM clusters_nodestate s JOIN clusters_node n ON n.id = s.node_id
        JOIN clusters_cluster c ON c.id = n.cluster_id WHERE c.name = ? AND n.name = ?"""
        return json.loads(stage.panel.rows(query, f"by-hand-{major}", standby)[0]["sample"] or "{}")

    wait_for(lambda: sample().get("state") in ("streaming", "idle"), "its standby is seen streaming", 40, lambda: str(sample()))
    assert sample()["replay_bytes"] is not None
    page = stage.person.get(f"/monitor/c/by-hand-{major}/nodes/")
    assert "streaming" in page.text or "idle" in page.text, page.text
    assert [state_of(host) for host in (pair.primary, pair.standby)] == before


# -- refused before any change ---------------------------------------------------------------------------------------------------


@pytest.fixture
def unchanged(stage: Stage) -> Iterator[dict[str, Host]]:
    """Hosts that a refusal must leave as they are: the pair, and those that a test adds."""
    pair = stage.pair("15")
    watched = {"primary": pair.primary, "standby": pair.standby}
    before = {name: state_of(host) for name, host in watched.items()}
    yield watched
    assert {name: state_of(host) for name, host in watched.items() if name in before} == before


def spare(stage: Stage, name: str, **wishes: Any) -> Host:
    stage.pair("15")
    return stage.lab.up(name, postgres="15", layout="cocca", **wishes)


def test_a_foreign_data_directory_is_refused_on_its_page_and_in_the_shell(stage: Stage, unchanged: dict[str, Host]) -> None:
    foreign = spare(stage, "foreign")
    foreign.sql("CREATE TABLE mine (id int)")
    before = state_of(foreign)
    assert "foreign" in stage.add_node("by-hand-15", "foreign", foreign)
    said = stage.planned("by-hand-15", "p15a", "foreign")
    assert "REFUSED foreign" in said
    assert "holds another database cluster" in said
    page = plan(stage.person, "by-hand-15", "setup", primary="p15a", standbys=["foreign"])
    assert not has_plan(page)
    for words in ("Not possible as things are", "foreign", "holds another database cluster", "Nothing was changed"):
        assert words in page.text
    assert state_of(foreign) == before


def test_a_full_disk_is_refused(stage: Stage, unchanged: dict[str, Host]) -> None:
    full = spare(stage, "full", create=False, disk_mb=400)
    stage.add_node("by-hand-15", "full", full)
    full.fill_disk(8 * 1024**2)
    before = state_of(full)
    said = stage.planned("by-hand-15", "p15a", "full")
    assert "REFUSED full" in said
    assert "MB free" in said
    assert "free some space on full" in said
    assert state_of(full) == before


def test_a_primary_that_is_a_standby_is_refused(stage: Stage, unchanged: dict[str, Host]) -> None:
    standby = node_names(stage, "by-hand-15")[unchanged["standby"].ip]
    said = stage.planned("by-hand-15", standby, "p15a")
    assert f"REFUSED {standby}" in said
    assert "is a standby" in said


def test_a_changed_host_key_stops_everything(stage: Stage, unchanged: dict[str, Host]) -> None:
    other = spare(stage, "rekeyed", create=False)
    stage.add_node("by-hand-15", "rekeyed", other)
    other.run(
        "rm /etc/ssh/ssh_host_*; ssh-keygen -q -N '' -t ed25519 -f /etc/ssh/ssh_host_ed25519_key; kill -HUP $(cat /run/sshd.pid)"
    )
    other.wait_ssh()
    before = state_of(other)
    said = stage.planned("by-hand-15", "p15a", "rekeyed")
    assert "rekeyed" in said
    assert "another host key than the accepted one" in said
    assert "→" in said
    assert state_of(other) == before
    removed(stage, "by-hand-15", "rekeyed")  # as long as it is there, it stops everything


def removed(stage: Stage, cluster: str, *names: str) -> None:
    for name in set(names) & set(node_names(stage, cluster).values()):
        stage.person.press(stage.person.get(f"/c/{cluster}/n/{name}/remove/"), "Remove", name=name)


def test_a_host_that_does_not_answer_is_refused(stage: Stage, unchanged: dict[str, Host]) -> None:
    away = spare(stage, "away", create=False)
    stage.add_node("by-hand-15", "away", away)
    away.kill()
    said = stage.planned("by-hand-15", "p15a", "away")
    assert "REFUSED away" in said
    assert "does not answer" in said or "cannot be reached" in said
    assert f"nc -vz {away.ip} {away.ssh_port}" in said
    assert "remove away" not in said
    # a third node is not held up by one that is dead: it is warned of, with the way out
    bystander = spare(stage, "waiting", create=False)
    stage.add_node("by-hand-15", "waiting", bystander)
    page = plan(stage.person, "by-hand-15", "add_standby", primary="p15a", standbys=["waiting"])
    assert has_plan(page), page.text
    for words in ("The panel has not made it follow yet", "if it is gone for good, remove away from the panel"):
        assert words in page.text


def test_a_wrong_password_is_refused_without_being_repeated(stage: Stage, unchanged: dict[str, Host], tmp_path: Any) -> None:
    locked = spare(stage, "locked", create=False, password_login=True)
    (tmp_path / "password").write_text("wrong-geheim-4711\n")
    before = state_of(locked)
    said = stage.add_node("by-hand-15", "locked", locked, user="ops", secret=f"password-file={tmp_path / 'password'}")
    assert "locked" in said
    assert "password" in said
    assert "geheim" not in said
    assert locked.ip not in node_names(stage, "by-hand-15")
    assert state_of(locked) == before


# -- a third node ----------------------------------------------------------------------------------------------------------------


def started_at(host: Host) -> str:
    return host.sql("SELECT pg_postmaster_start_time()")[0][0]


@pytest.mark.parametrize(("major", "rewind_ready"), [("11", "on"), ("15", None)])
def test_a_third_node_joins_and_the_primary_restarts_only_if_the_plan_said_so(stage: Stage, major: str, rewind_ready: Any) -> None:
    pair, cluster = stage.pair(major), f"by-hand-{major}"
    removed(stage, cluster, "foreign", "full", "away", "waiting")  # a job looks at every node of its cluster
    third = stage.lab.up(f"p{major}c", postgres=major, layout="cocca", create=False)
    assert third.name in stage.add_node(cluster, third.name, third)
    before = started_at(pair.primary)
    page = plan(stage.person, cluster, "setup", primary=pair.primary.name, standbys=[third.name], rewind_ready=rewind_ready)
    announced = f"{pair.primary.name}, the primary, is restarted once" in page.text
    assert announced or f"{pair.primary.name}, the primary, is not restarted" in page.text, page.text
    assert announced is (rewind_ready is not None)
    stage.panel.succeeded(start(stage.person, page))
    assert (started_at(pair.primary) != before) is announced
    streams = pair.primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
    assert streams == [["2"]]
    assert third.sql("SELECT pg_is_in_recovery()") == [["t"]]
