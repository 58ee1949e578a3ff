"""`manage.py cluster …`: the same services as the pages, over hosts that answer without being there."""

import pytest
from cluster_world import HOST_KEYS, cluster_of_two, facts_of, pair, postgres, standby, streaming
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from django.core.management import CommandError, call_command

from clusters import looks
from clusters.models import Cluster, Credential, Draft
from remote.facts import Control, Unreachable

pytestmark = pytest.mark.django_db


@pytest.fixture
def hosts(monkeypatch):
    found = pair()
    monkeypatch.setattr(looks, "look_at", found)
    return found


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "id_ed25519"
    key = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return file


def node(name: str, address: str, key_file, *more: str) -> list[str]:
    return ["--node", ",".join([f"name={name}", f"ssh={address}", f"key-file={key_file}", *more])]


def added(*words: str) -> None:
    call_command("cluster", *words, "--accept-host-keys")


def test_two_hosts_become_a_cluster(hosts, key_file, capsys):
    added("add", "registry", *node("pg1", "10.0.0.1", key_file), *node("pg2", "10.0.0.2", key_file, "address=10.1.0.2"))
    said = capsys.readouterr().out
    assert HOST_KEYS["10.0.0.1"].fingerprint in said
    assert "PRIVATE" not in said
    first, second = Cluster.objects.get(name="registry").nodes.select_related("state")
    assert (first.state.role, second.state.role) == ("primary", "unknown")
    assert (second.node_address, second.postgres_major) == ("10.1.0.2", "15")
    assert not Draft.objects.exists()
    call_command("cluster", "list")
    assert "registry\tpg1 (primary), pg2 (unknown)" in capsys.readouterr().out


def test_given_layout_and_paths_win_over_what_is_proposed(hosts, key_file):
    own = ("layout=custom", "data=/srv/pg data", "bin=/opt/pg/bin", "pg-port=5499")
    added("add", "registry", *node("pg1", "10.0.0.1", key_file), *node("pg2", "10.0.0.2", key_file, *own))
    second = Cluster.objects.get().nodes.get(name="pg2")
    assert (second.layout, second.postgres_port) == ("custom", 5499)
    assert second.overrides["data_directory"] == "/srv/pg data"
    assert second.overrides["bin_directory"] == "/opt/pg/bin"


def test_the_primary_can_be_named(hosts, key_file):
    small, big = (Control(identifier, "in production", 1, 1, 1, "0") for identifier in ("77", "88"))
    hosts.facts["10.0.0.1"] = facts_of("h1", postgres(control=small))
    hosts.facts["10.0.0.2"] = facts_of("h2", postgres(control=big, size_bytes=1 << 40))
    added("add", "registry", *node("pg1", "10.0.0.1", key_file), *node("pg2", "10.0.0.2", key_file), "--primary", "pg1")
    assert Cluster.objects.get().system_identifier == "77"
    assert [each.state.role for each in Cluster.objects.get().nodes.select_related("state")] == ["primary", "unknown"]
    with pytest.raises(CommandError, match="there is no such node"):
        added("add", "other", *node("pg1", "10.0.0.1", key_file), "--primary", "pg9")


def test_a_standby_is_added_and_an_import_follows_what_a_server_names(hosts, key_file):
    hosts.facts = {"10.0.0.1": streaming(), "10.0.0.2": standby()}
    added("import", "registry", *node("pg1", "10.0.0.1", key_file))
    cluster = Cluster.objects.get()
    assert [each.state.role for each in cluster.nodes.select_related("state")] == ["primary", "standby"]
    cluster.nodes.get(name="pg2").delete()
    hosts.facts["10.0.0.2"] = facts_of("h2")
    added("add-node", "registry", *node("pg2", "10.0.0.2", key_file))
    assert [(each.name, each.state.role) for each in cluster.nodes.select_related("state")] == [
        ("pg1", "primary"),
        ("pg2", "unknown"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "registry", "--node", "name=pg1"], "at least name=… and ssh=…"),
        (["add", "registry", "--node", "name=pg1,ssh=10.0.0.1,pasword=x"], "'pasword' is not known"),
        (["add", "Registry", "--node", "name=pg1,ssh=10.0.0.1"], "Small letters, digits and hyphens"),
        (["add", "taken", "--node", "name=pg1,ssh=10.0.0.1"], "There is a cluster of this name already."),
        (["add-node", "nowhere", "--node", "name=pg1,ssh=10.0.0.1"], "There is no cluster nowhere."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left_behind(hosts, words, said):
    cluster_of_two("taken")
    before = Credential.objects.count()
    with pytest.raises(CommandError, match=said):
        added(*words)
    assert Cluster.objects.count() == 1
    assert Credential.objects.count() == before
    assert not Draft.objects.exists()


def test_an_unreachable_host_stops_the_command_with_reason_and_mend(hosts, key_file):
    hosts.facts["10.0.0.2"] = Unreachable("refused", "pg2 (10.0.0.2:22) refuses the connection", "Start sshd on it.")
    with pytest.raises(CommandError, match=r"^pg2 \(10.0.0.2:22\) refuses the connection. Start sshd on it."):
        added("add", "registry", *node("pg1", "10.0.0.1", key_file), *node("pg2", "10.0.0.2", key_file))
    assert not Cluster.objects.exists()
    assert not Credential.objects.exists()
