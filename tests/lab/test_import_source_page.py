"""The pair of the source page, built by hand: imported, its dangers named, and nothing on its hosts changed."""

import pytest
from django.core.management import CommandError, call_command

from clusters import dangers, drafts, services
from clusters.condition import seen_of
from clusters.looks import Target, look_at
from clusters.models import Cluster, Credential, Draft, DraftHost
from lab import Lab
from lab.host import Host
from lab.source_page import SourcePagePair

pytestmark = [pytest.mark.lab, pytest.mark.django_db]

WATCHED = "/opt/cocca-8 /root /etc /home /tmp /var/lib/postgresql"
# what a running server writes by itself, whoever looks
OWN_LIFE = r"/data/\(base\|global\|pg_wal\|pg_xact\|pg_stat\|pg_stat_tmp\|pg_logical\|pg_subtrans\|pg_notify\|pg_multixact\)/"
FINGERPRINT = f"""find {WATCHED} -xdev -type f 2>/dev/null | grep -v '{OWN_LIFE}' | grep -v '/wals/\\|\\.log$' | sort |
while read -r file; do stat -c '%n %Y %a %U %s' "$file"; sha256sum < "$file"; done"""


@pytest.fixture(scope="module")
def pair(lab: Lab) -> SourcePagePair:
    return lab.source_page_pair(postgres="11")


@pytest.fixture(autouse=True)
def own_key(settings, tmp_path) -> None:
    settings.ENCRYPTION_KEY_FILE = tmp_path / "encryption.key"


def fingerprint_of(host: Host) -> str:
    return host.run(["sh", "-c", FINGERPRINT]).stdout


def catalog_of(host: Host) -> list[list[str]]:
    return host.sql(
        "SELECT rolname::text FROM pg_roles UNION ALL SELECT slot_name::text FROM pg_replication_slots "
        "UNION ALL SELECT pg_postmaster_start_time()::text"
    )


def node_words(lab: Lab, host: Host, name: str) -> str:
    return f"name={name},ssh={host.ip},port={host.ssh_port},user=root,key-file={lab.key_path}"


def test_the_pair_is_imported_from_its_primary_alone_and_nothing_on_the_hosts_changes(
    lab: Lab, pair: SourcePagePair, capsys
) -> None:
    before = [(fingerprint_of(host), catalog_of(host)) for host in (pair.primary, pair.standby)]
    call_command("cluster", "import", "registry", "--node", node_words(lab, pair.primary, "p1"), "--accept-host-keys")
    assert [(fingerprint_of(host), catalog_of(host)) for host in (pair.primary, pair.standby)] == before

    said = capsys.readouterr().out
    assert f"p1 names {pair.standby.ip} as standby" in said
    assert pair.replicator_password not in said
    cluster = Cluster.objects.get(name="registry")
    primary, standby = cluster.nodes.select_related("state")
    assert (primary.state.role, standby.state.role) == ("primary", "standby")
    assert cluster.system_identifier == pair.primary.sql("SELECT system_identifier FROM pg_control_system()")[0][0]
    for node in (primary, standby):
        assert (node.layout, node.postgres_major, node.overrides) == ("cocca", "11", {})
        assert node.host_key.startswith("ssh-")
        assert pair.replicator_password not in str(node.state.facts)
    assert not Draft.objects.exists()


def test_the_pages_own_dangers_are_named(lab: Lab, pair: SourcePagePair) -> None:
    call_command("cluster", "import", "registry", "--node", node_words(lab, pair.primary, "p1"), "--accept-host-keys")
    nodes = list(Cluster.objects.get().nodes.select_related("state"))
    found = {(danger.name, danger.key) for danger in dangers.dangers(seen_of(nodes))}
    primary, standby = (node.name for node in nodes)
    assert {
        (primary, "archive.one_target"), (primary, "archive.overwrites"), (primary, "rewind.impossible"), (primary, "hba.md5"),
        (standby, "trigger.tmp"), (standby, "standby.old_timeline")
    } <= found  # fmt: skip


def test_a_standby_named_alone_leads_to_its_primary(lab: Lab, pair: SourcePagePair) -> None:
    call_command("cluster", "import", "registry", "--node", node_words(lab, pair.standby, "p2"), "--accept-host-keys")
    roles = {node.node_address: node.state.role for node in Cluster.objects.get().nodes.select_related("state")}
    assert roles == {pair.primary.ip: "primary", pair.standby.ip: "standby"}


def test_without_accepting_the_host_key_nothing_is_stored(lab: Lab, pair: SourcePagePair) -> None:
    with pytest.raises(CommandError, match="was not accepted"):
        call_command("cluster", "import", "registry", "--node", node_words(lab, pair.primary, "p1"))
    assert not Cluster.objects.exists()
    assert not Credential.objects.exists()


def test_a_changed_host_key_stops_the_look_with_a_plain_warning(lab: Lab, pair: SourcePagePair) -> None:
    call_command("cluster", "import", "registry", "--node", node_words(lab, pair.primary, "p1"), "--accept-host-keys")
    first, second = Cluster.objects.get().nodes.all()
    services.accept_host_key(first, second.host_key)
    looked = look_at(Target(first.name, services.access_of(first), services.facts_request_of(first)))
    assert looked.facts is not None
    services.remember_facts(first, looked.facts)
    first.state.refresh_from_db()
    assert not first.state.is_reachable
    assert "shows another host key than the accepted one" in first.state.error
    assert first.state.role == "primary"  # stale is not down


@pytest.fixture(scope="module")
def by_password(lab: Lab) -> Host:
    """A host whose account `ops` logs in by password and may become others by sudo."""
    return lab.up("p3", password_login=True)


def looked_at(draft: Draft) -> DraftHost:
    """Look, accept each key as a person would (a jump host's comes first), look again."""
    for _round in range(3):
        drafts.hosts_asking(draft)
        drafts.draft_look(draft)
        host = draft.hosts.get()
        if host.status == DraftHost.Status.HOST_KEY:
            drafts.draft_accept(host, host.offered_fingerprint)
    draft.refresh_from_db()
    return draft.hosts.get()


def draft_for(host: Host, password: str, access: str) -> Draft:
    draft = drafts.draft_start(None)
    drafts.draft_access(draft, access, password=password)
    row = {"name": "pg3", "ssh_host": host.ip, "ssh_port": host.ssh_port, "ssh_user": "ops", "postgres_port": host.pg_port}
    drafts.draft_hosts(draft, [row])
    return draft


def test_a_password_used_once_puts_the_panels_key_there_and_is_forgotten(lab: Lab, by_password: Host) -> None:
    draft = draft_for(by_password, lab.keys.password, Draft.Access.PASSWORD_ONCE)
    host = looked_at(draft)
    assert host.error == ""
    assert (host.status, host.key_installed) == (DraftHost.Status.SEEN, True)
    assert draft.typed is None
    assert not Credential.objects.filter(kind=Credential.Kind.SSH_PASSWORD).exists()
    assert draft.made_key is not None
    line = draft.made_key.public_part
    keys = by_password.run(["cat", "/home/ops/.ssh/authorized_keys"]).stdout
    assert keys.count(line) == 1
    host = looked_at(draft)  # once more, now by the key alone
    assert host.status == DraftHost.Status.SEEN
    assert by_password.run(["cat", "/home/ops/.ssh/authorized_keys"]).stdout == keys


def test_a_wrong_password_is_refused_in_words_without_it(by_password: Host) -> None:
    draft = draft_for(by_password, "wrong-geheim", Draft.Access.PASSWORD_KEPT)
    host = looked_at(draft)
    assert host.status == DraftHost.Status.REFUSED
    assert host.error
    assert host.mend
    assert "geheim" not in host.error + host.mend


def test_through_a_jump_host_both_keys_are_shown_and_accepted(lab: Lab, pair: SourcePagePair) -> None:
    draft = drafts.draft_start(None)
    drafts.draft_access(draft, Draft.Access.PASTED_KEY, key_text=lab.key_path.read_text())
    there = {"name": "pg2", "ssh_host": pair.standby.ip, "ssh_port": pair.standby.ssh_port, "ssh_user": "root"}
    through = {"jump_host": pair.primary.ip, "jump_port": pair.primary.ssh_port, "jump_user": "root"}
    drafts.draft_hosts(draft, [there | through | {"postgres_port": pair.standby.pg_port}])
    host = looked_at(draft)
    assert host.error == ""
    assert host.status == DraftHost.Status.SEEN
    facts = drafts.facts_of(host)
    assert facts is not None
    assert facts.hostname == pair.standby.name
    assert host.host_key.startswith("ssh-")
    assert host.jump_host_key.startswith("ssh-")
    assert host.host_key != host.jump_host_key


def test_hosts_are_looked_at_side_by_side_and_one_that_is_away_holds_nobody_up(lab: Lab, pair: SourcePagePair) -> None:
    draft = drafts.draft_start(None)
    drafts.draft_access(draft, Draft.Access.PASTED_KEY, key_text=lab.key_path.read_text())
    away = pair.primary.ip.rsplit(".", 1)[0] + ".250"
    rows = [
        {"name": name, "ssh_host": address, "ssh_port": pair.primary.ssh_port, "ssh_user": "root"}
        for name, address in (("p1", pair.primary.ip), ("p2", pair.standby.ip), ("gone", away))
    ]
    drafts.draft_hosts(draft, rows)
    drafts.hosts_asking(draft)
    drafts.draft_look(draft)
    status = {host.name: host.status for host in draft.hosts.all()}
    assert status == {"p1": "host-key", "p2": "host-key", "gone": "refused"}
    gone = draft.hosts.get(name="gone")
    assert away in gone.error
    assert gone.mend
