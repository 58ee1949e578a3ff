"""Secrets with the database: the first key of one machine, rotation, credentials that no page gives back."""

import stat

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from cluster_world import cluster_of_two, person
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from django.core.management import CommandError, call_command

from clusters import credentials, secrets, services
from clusters.credentials import KeyUnreadable
from clusters.models import Credential
from clusters.secrets import EncryptionKeyLost
from pgpanel import keyring

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key_file(settings, tmp_path):
    settings.ENCRYPTION_KEYS = []
    settings.ENCRYPTION_KEY_FILE = tmp_path / "encryption.key"
    return settings.ENCRYPTION_KEY_FILE


def test_one_machine_makes_its_key_with_the_first_secret_for_its_owner_only(key_file):
    assert not key_file.exists()
    credential = credentials.password_keep("geheim", "login", "root")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert credentials.secret_of(credential).value == "geheim"


def test_in_production_no_key_is_made_up(settings):
    settings.PRODUCTION = True
    with pytest.raises(EncryptionKeyLost, match="PGPANEL_ENCRYPTION_KEYS is empty"):
        credentials.password_keep("geheim", "login", "root")


def test_a_key_file_that_is_gone_is_not_papered_over_with_a_new_one(key_file):
    credentials.password_keep("geheim", "login", "root")
    key_file.unlink()
    with pytest.raises(EncryptionKeyLost, match="is gone"):
        credentials.password_keep("other", "login", "root")
    assert not key_file.exists()


def test_a_sealed_second_factor_alone_forbids_a_new_key_too(key_file):
    Authenticator.objects.create(
        user=person("ana"), type=Authenticator.Type.TOTP, data={"secret": get_adapter().encrypt("JBSWY3DPEHPK3PXP")}
    )
    key_file.unlink()
    with pytest.raises(EncryptionKeyLost, match="is gone"):
        credentials.password_keep("geheim", "login", "root")
    assert not key_file.exists()


def test_rotation_reseals_everything_and_may_be_stopped_and_started_again(key_file, capsys):
    kept = [credentials.password_keep(f"geheim {number}", "login", "root") for number in range(3)]
    keyring.add_key_to_file()
    Credential.objects.filter(pk=kept[0].pk).update(sealed=secrets.seal("geheim 0"))  # an earlier run came this far
    call_command("keys", "rotate")
    assert "2 encrypted anew, 1 had the newest key already" in capsys.readouterr().out
    keyring.drop_old_keys_of_file()
    opened = [credentials.secret_of(Credential.objects.get(pk=each.pk)).value for each in kept]
    assert opened == ["geheim 0", "geheim 1", "geheim 2"]
    call_command("keys", "rotate", "--new-key")
    assert len(key_file.read_text().split()) == 1


def test_rotation_with_a_lost_key_changes_nothing_and_says_so(key_file):
    credential = credentials.password_keep("geheim", "login", "root")
    key_file.unlink()
    call_command("keys", "make")
    keyring.add_key_to_file()
    with pytest.raises(CommandError, match="1 left as they are"):
        call_command("keys", "rotate")
    assert Credential.objects.get().sealed == credential.sealed


def test_a_role_password_is_made_once_and_stays(key_file):
    cluster, *_nodes = cluster_of_two()
    name, password = services.role_password(cluster, "replication")
    assert name == "pgpanel_replication"
    assert len(password.value) == 32
    assert services.role_password(cluster, "replication")[1].value == password.value
    assert services.role_password(cluster, "monitoring", "watcher")[0] == "watcher"


def test_each_node_has_an_archive_key_of_its_own(key_file):
    _cluster, first, second = cluster_of_two()
    private, public = services.archive_key(first)
    assert services.archive_key(first) == (private, public)
    assert services.archive_key(second)[1] != public
    assert "PRIVATE KEY" in private.value


RSA = rsa.generate_private_key(65537, 2048)


def pem(key, encryption=serialization.NoEncryption(), form=serialization.PrivateFormat.OpenSSH) -> str:  # noqa: B008
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


@pytest.mark.parametrize(
    "text",
    [
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ed25519.Ed25519PrivateKey.generate()).replace("\n", "\r\n").strip(),
        pem(RSA, form=serialization.PrivateFormat.TraditionalOpenSSL),
    ],
    ids=["openssh", "pasted from Windows", "old PEM"],
)
def test_a_pasted_key_is_taken_with_its_public_part(text):
    credential = credentials.key_from_text(text, "pasted")
    assert credential.public_part.startswith("ssh-")
    assert credentials.fingerprint(credential.public_part).startswith("SHA256:")
    assert credentials.secret_of(credential).value.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh-ed25519 AAAA me@here", "public key"),
        ("hello", "not a private SSH key"),
        (pem(ed25519.Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b"x")), "passphrase"),
        (pem(RSA, serialization.BestAvailableEncryption(b"x"), serialization.PrivateFormat.PKCS8), "passphrase"),
    ],
    ids=["public", "no key", "passphrase", "passphrase, PEM"],
)  # fmt: skip
def test_a_text_that_is_no_usable_key_is_refused_with_the_reason(text, words):
    with pytest.raises(KeyUnreadable, match=words):
        credentials.key_from_text(text, "pasted")
    assert not Credential.objects.exists()


def test_the_credentials_page_shows_fingerprints_and_no_secret(client):
    cluster, *_nodes = cluster_of_two()
    _name, password = services.role_password(cluster, "replication")
    client.force_login(person("a", "administrator", cluster))
    page = client.get("/c/registry/credentials/").content.decode()
    login = cluster.credentials.get(purpose="login")
    assert credentials.fingerprint(login.public_part) in page
    assert password.value not in page
    assert login.sealed not in page
    assert "PRIVATE" not in page


def test_a_replaced_secret_is_used_from_then_on_and_never_shown(client):
    cluster, first, _second = cluster_of_two()
    client.force_login(person("a", "administrator", cluster))
    there = f"/c/registry/credentials/{first.credential_id}/"
    both = client.post(there, {"password": "x", "key_text": "y"})
    assert "either a private key or a password" in both.content.decode()
    assert client.post(there, {"password": "neu und geheim"}).status_code == 302
    first.refresh_from_db()
    access = services.access_of(first)
    assert access.private_key is None
    assert access.password.value == "neu und geheim"
    assert "geheim" not in client.get(there).content.decode()


def test_a_role_password_cannot_be_replaced_from_the_page(client):
    """It would no longer be the one that the server knows."""
    cluster, *_nodes = cluster_of_two()
    services.role_password(cluster, "replication")
    role = cluster.credentials.get(purpose="replication")
    client.force_login(person("a", "administrator", cluster))
    assert client.get(f"/c/registry/credentials/{role.pk}/").status_code == 404


@pytest.mark.parametrize("password", ["Käse-Brot-12", "one\nline", "tab\there", "\x1b[2J"])
def test_a_roles_password_is_one_that_a_server_and_a_password_file_take(client, settings, password):
    cluster, *_nodes = cluster_of_two()
    services.role_password(cluster, "replication")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]  # the old one is lost: it is typed again
    role = cluster.credentials.get(purpose="replication")
    client.force_login(person("ana", "administrator", cluster))
    page = client.post(f"/c/registry/credentials/{role.pk}/", {"password": password})
    assert page.status_code == 200
    assert "Letters without accents, digits and signs only" in page.content.decode()
    assert client.post(f"/c/registry/credentials/{role.pk}/", {"password": r"""it's \ "a" : $1 %s"""}).status_code == 302
    assert services.role_password(cluster, "replication")[1].value == r"""it's \ "a" : $1 %s"""
