"""The wizard's first two pages, over hosts that answer without being there."""

from datetime import timedelta

import pytest
from cluster_world import HOST_KEYS, Hosts, facts_of, pair, person, postgres, standby, streaming
from django.utils import timezone

from clusters import looks, tasks
from clusters.models import Cluster, Credential, Draft, DraftHost
from clusters.secrets import open_sealed
from remote.facts import Unreachable

pytestmark = pytest.mark.django_db


@pytest.fixture
def hosts(monkeypatch, django_capture_on_commit_callbacks):
    """Two hosts; a look that a page starts is made at once instead of by a worker."""
    found = pair()
    monkeypatch.setattr(looks, "look_at", found)
    monkeypatch.setattr(tasks, "start_look_at_draft", lambda draft: tasks.look_at_draft(draft.pk))
    return found


@pytest.fixture
def browser(client):
    client.force_login(person("alice", "administrator"))
    return client


def rows(*hosts, **more):
    posted = {
        "hosts-TOTAL_FORMS": len(hosts),
        "hosts-INITIAL_FORMS": len(hosts),
        "do": "next",
        "cluster_name": "registry",
        "access": "made-key",
    }
    for number, host in enumerate(hosts):
        values = {"ssh_port": "22", "ssh_user": "root", "postgres_port": "5432", "jump_port": "22"} | host
        posted |= {f"hosts-{number}-{name}": value for name, value in values.items()}
    return posted | more


PG1, PG2 = {"name": "pg1", "ssh_host": "10.0.0.1"}, {"name": "pg2", "ssh_host": "10.0.0.2"}


def begun(browser, kind="new"):
    return browser.get(f"/{kind}/")["Location"]


def accept_all(browser, draft):
    fingerprints = {f"fingerprint-{host.pk}": host.offered_fingerprint for host in draft.hosts.all()}
    return browser.post(f"/new/{draft.uuid}/found/", {"do": "accept", **fingerprints})


def choice(draft, primary="pg1", **more):
    posted = {"do": "next", "primary": primary}
    for host in draft.hosts.all():
        posted |= {f"h{host.pk}-layout": "debian", f"h{host.pk}-data_directory": host.data_directory or "none"}
    return posted | more


def test_page_one_shows_the_line_to_paste_and_never_a_private_key(browser):
    page = browser.get(begun(browser)).content.decode()
    key = Draft.objects.get().made_key
    assert key.public_part in page
    assert "PRIVATE" not in page
    assert "authorized_keys" in page


def test_a_row_more_and_a_row_less_keep_what_was_typed_valid_or_not(browser):
    there = begun(browser)
    browser.post(there, rows(PG1, PG2 | {"ssh_port": "not a port"}, do="add", cluster_name="Not A Name"))
    page = browser.get(there).content.decode()
    assert 'value="10.0.0.2"' in page
    assert 'value="not a port"' in page
    assert 'value="Not A Name"' in page
    assert 'name="hosts-2-ssh_host"' in page
    assert 'value="pg3"' in page
    browser.post(there, rows(PG1, PG2, {"name": "pg3", "ssh_host": "10.0.0.3"}, do="remove-1"))
    page = browser.get(there).content.decode()
    assert 'value="10.0.0.3"' in page
    assert 'value="10.0.0.2"' not in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hosts-1-name": "pg1"}, "Another host has this name already."),
        ({"hosts-1-ssh_host": "10.0.0.1"}, "Another host has this address and port already."),
        ({"hosts-0-ssh_host": "-oProxyCommand=x"}, "A host name or an IP address."),
        ({"cluster_name": ""}, "This field is required."),
        ({"access": "pasted-key", "key_text": "ssh-ed25519 AAAA"}, "This is a public key."),
        ({"access": "password-once"}, "Nothing is stored yet"),
    ],
)
def test_page_one_says_what_is_wrong_beside_the_field(browser, hosts, change, words):
    answer = browser.post(begun(browser), rows(PG1, PG2) | change)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not DraftHost.objects.exists()


def test_from_two_hosts_to_the_settings_page(browser, hosts):
    browser.post(begun(browser), rows(PG1, PG2))
    draft = Draft.objects.exclude(page="done").get()
    page = browser.get(f"/new/{draft.uuid}/found/").content.decode()
    assert HOST_KEYS["10.0.0.1"].fingerprint in page
    assert "Is this really your host?" in page
    accept_all(browser, draft)
    page = browser.get(f"/new/{draft.uuid}/found/").content.decode()
    assert "/var/lib/postgresql/15/main" in page
    assert draft.hosts.get(name="pg1").is_primary
    answer = browser.post(f"/new/{draft.uuid}/found/", choice(draft))
    assert answer["Location"] == "/jobs/new/setup/?cluster=registry&primary=pg1&standbys=pg2"
    cluster = Cluster.objects.get()
    first, second = cluster.nodes.all()
    assert (first.host_key, second.host_key) == tuple(HOST_KEYS[address].line for address in ("10.0.0.1", "10.0.0.2"))
    assert (first.state.role, second.state.role) == ("primary", "unknown")
    assert (second.layout, second.postgres_major, second.overrides) == ("debian", "15", {})
    assert first.credential == second.credential
    assert first.credential.cluster == cluster
    back = browser.get(f"/new/{draft.uuid}/found/", follow=True)
    assert back.redirect_chain[-1][0] == "/c/registry/"
    assert "These hosts are nodes of registry now" in back.content.decode()
    assert "Begun and not finished" not in browser.get("/").content.decode()


def test_a_draft_left_is_offered_on_the_fleet_page_and_taken_up_where_it_was(browser, hosts):
    there = begun(browser)
    assert "Begun and not finished" not in browser.get("/").content.decode()
    browser.post(there, rows(PG1, PG2))
    page = browser.get("/").content.decode()
    assert "Begun and not finished" in page
    assert f"/new/{Draft.objects.get().uuid}/found/" in page
    assert 'value="10.0.0.1"' in browser.get(there).content.decode()
    assert begun(browser) != there


def test_going_back_keeps_the_accepted_key_unless_the_address_changes(browser, hosts):
    there = begun(browser)
    browser.post(there, rows(PG1, PG2))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    hosts.facts["10.0.0.2"] = facts_of("h2")
    browser.post(there, rows(PG1 | {"ssh_port": "2222"}, PG2))
    assert draft.hosts.get(name="pg2").host_key
    assert draft.hosts.get(name="pg1").status == "host-key"


def test_a_key_that_changed_between_reading_and_accepting_is_not_accepted(browser, hosts):
    browser.post(begun(browser), rows(PG1))
    draft = Draft.objects.exclude(page="done").get()
    host = draft.hosts.get()
    answer = browser.post(
        f"/new/{draft.uuid}/found/", {"do": f"accept-{host.pk}", f"fingerprint-{host.pk}": "SHA256:other"}, follow=True
    )
    assert "another key than the one you accepted" in answer.content.decode()
    host.refresh_from_db()
    assert host.host_key == ""


def test_a_password_used_once_installs_the_key_and_is_forgotten(browser, hosts):
    browser.post(begun(browser), rows(PG1, PG2, access="password-once", password="geheim-geheim"))
    draft = Draft.objects.exclude(page="done").get()
    assert draft.data["hosts_form"].keys() == {"rows", "cluster_name"}
    assert open_sealed(draft.typed.sealed, "x").value == "geheim-geheim"
    accept_all(browser, draft)
    draft.refresh_from_db()
    assert hosts.passwords_seen == ["geheim-geheim"] * 2
    assert draft.typed is None
    assert not Credential.objects.filter(kind="ssh-password").exists()
    browser.post(f"/new/{draft.uuid}/found/", choice(draft))
    assert {node.credential.kind for node in Cluster.objects.get().nodes.all()} == {"ssh-key"}


def test_a_password_to_be_used_once_does_not_outlive_a_draft_that_nobody_finishes(browser, hosts):
    browser.post(begun(browser), rows(PG1, access="password-once", password="geheim-geheim"))
    tasks.forget_typed_passwords()
    assert Draft.objects.get().typed
    Draft.objects.update(changed_at=timezone.now() - timedelta(days=2))
    tasks.forget_typed_passwords()
    assert Draft.objects.get().typed is None
    assert not Credential.objects.filter(kind="ssh-password").exists()


def test_a_secret_typed_into_the_wizard_is_on_no_page(browser, hosts):
    there = begun(browser)
    browser.post(there, rows(PG1, do="save", access="password-kept", password="geheim-geheim"))
    page = browser.get(there).content.decode()
    assert "geheim" not in page
    assert "A password is stored." in page


def test_an_unreachable_host_is_named_with_reason_and_mend_and_stops_the_draft(browser, hosts):
    hosts.facts["10.0.0.2"] = Unreachable("refused", "pg2 (10.0.0.2:22) refuses the connection", "Start sshd on it.")
    browser.post(begun(browser), rows(PG1, PG2))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    page = browser.get(f"/new/{draft.uuid}/found/").content.decode()
    assert "refuses the connection" in page
    assert "Start sshd on it." in page
    browser.post(f"/new/{draft.uuid}/found/", choice(draft))
    assert not Cluster.objects.exists()


def test_the_same_machine_twice_cannot_become_a_pair(browser, hosts):
    hosts.facts["10.0.0.2"] = hosts.facts["10.0.0.1"]
    browser.post(begun(browser), rows(PG1, PG2))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    answer = browser.post(f"/new/{draft.uuid}/found/", choice(draft), follow=True)
    assert "It is the same machine as pg1." in answer.content.decode()
    assert not Cluster.objects.exists()


def test_while_hosts_are_looked_at_the_page_asks_again_and_shows_no_form(browser, hosts, monkeypatch):
    monkeypatch.setattr(tasks, "start_look_at_draft", lambda draft: None)
    browser.post(begun(browser), rows(PG1))
    draft = Draft.objects.exclude(page="done").get()
    part = browser.get(f"/new/{draft.uuid}/found/?part=1").content.decode()
    assert 'hx-trigger="every 1s"' in part
    assert "<html" not in part
    assert 'name="primary"' not in part


def test_an_import_finds_the_standby_that_streams_and_asks_for_it(browser, hosts):
    hosts.facts = {"10.0.0.1": streaming(), "10.0.0.2": standby()}
    browser.post(begun(browser, "import"), rows(PG1))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    page = browser.get(f"/new/{draft.uuid}/found/").content.decode()
    assert "streams from pg1 as “pg2”" in page
    browser.post(f"/new/{draft.uuid}/found/", {"do": "peer-10.0.0.2"})
    assert draft.hosts.get(name="pg2").ssh_host == "10.0.0.2"
    accept_all(browser, draft)
    answer = browser.post(f"/new/{draft.uuid}/found/", choice(draft))
    assert answer["Location"] == "/c/registry/"
    assert {node.name: node.state.role for node in Cluster.objects.get().nodes.all()} == {"pg1": "primary", "pg2": "standby"}
    assert "registry" in browser.get("/c/registry/").content.decode()


def test_a_standby_is_added_to_a_cluster_that_is_there(browser, hosts):
    browser.post(begun(browser), rows(PG1))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    browser.post(f"/new/{draft.uuid}/found/", choice(draft))
    there = browser.get("/c/registry/add/")["Location"]
    page = browser.get(there).content.decode()
    assert 'value="pg2"' in page
    assert 'name="cluster_name"' not in page
    browser.post(there, rows(PG2))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    answer = browser.post(f"/new/{draft.uuid}/found/", choice(draft, primary=""))
    assert answer["Location"] == "/jobs/new/setup/?cluster=registry&primary=pg1&standbys=pg2"


def test_a_new_standby_needs_a_name_and_programs_that_fit_the_cluster(browser, hosts):
    browser.post(begun(browser), rows(PG1))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    browser.post(f"/new/{draft.uuid}/found/", choice(draft))
    there = browser.get("/c/registry/add/")["Location"]
    answer = browser.post(there, rows(PG2 | {"name": "pg1"}))
    assert "A node of the cluster has this name already." in answer.content.decode()
    hosts.facts["10.0.0.2"] = facts_of("h2", installations=())
    browser.post(there, rows(PG2))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    page = browser.get(f"/new/{draft.uuid}/found/").content.decode()
    assert "PostgreSQL 15, the primary&#x27;s version, is not installed there" in page
    assert "apt-get install postgresql-15" in page
    assert "On to the settings" not in page


def test_a_cluster_found_elsewhere_than_its_layout_says_keeps_its_own_paths(browser, hosts):
    own = postgres(data_directory="/srv/pg data/15", config_file="/srv/pg data/15/postgresql.conf", debian_cluster="", port=5499)
    hosts.facts["10.0.0.1"] = facts_of("h1", own)
    browser.post(begun(browser), rows(PG1))
    draft = Draft.objects.exclude(page="done").get()
    accept_all(browser, draft)
    host = draft.hosts.get()
    browser.post(
        f"/new/{draft.uuid}/found/",
        {"do": "next", "primary": "pg1", f"h{host.pk}-layout": "custom", f"h{host.pk}-data_directory": "/srv/pg data/15"},
    )
    node = Cluster.objects.get().nodes.get()
    assert node.layout == "custom"
    assert node.postgres_port == 5499
    assert node.overrides["data_directory"] == "/srv/pg data/15"
    assert node.state.role == "primary"


def test_hosts_are_not_looked_at_inside_a_request(browser, monkeypatch):
    monkeypatch.setattr(looks, "look_at", Hosts())
    started = []
    monkeypatch.setattr(tasks.look_at_draft, "delay", started.append)
    browser.post(begun(browser), rows(PG1))
    assert set(Draft.objects.get().hosts.values_list("status", flat=True)) == {"asking"}
