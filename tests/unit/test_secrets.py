"""Secrets at rest, with keys from the environment (no database)."""

import pytest
from cryptography.fernet import Fernet

from clusters import secrets
from clusters.secrets import EncryptionKeyLost
from pgpanel import keyring

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def with_keys(settings):
    def use(*keys: str) -> None:
        settings.ENCRYPTION_KEYS = list(keys)

    return use


def test_a_sealed_secret_opens_again_and_is_not_readable_in_between(with_keys):
    with_keys(OLD)
    sealed = secrets.seal("geheim")
    assert "geheim" not in sealed
    assert secrets.open_sealed(sealed, "password").value == "geheim"


def test_an_opened_secret_shows_its_name_only(with_keys):
    with_keys(OLD)
    opened = secrets.open_sealed(secrets.seal("geheim"), "login")
    assert f"{opened} {opened!r}".count("geheim") == 0


def test_the_newest_key_seals_and_every_known_one_opens(with_keys):
    with_keys(OLD)
    sealed = secrets.seal("geheim")
    with_keys(NEW, OLD)
    assert not keyring.is_sealed_with_newest(sealed)
    renewed = secrets.seal(secrets.open_sealed(sealed, "x").value)
    assert keyring.is_sealed_with_newest(renewed)
    with_keys(NEW)
    assert secrets.open_sealed(renewed, "x").value == "geheim"


def test_a_lost_key_is_said_plainly_without_the_secret(with_keys):
    with_keys(OLD)
    sealed = secrets.seal("geheim")
    with_keys(NEW)
    with pytest.raises(EncryptionKeyLost, match="none of the 1 known keys opens “login of pg1”") as caught:
        secrets.open_sealed(sealed, "login of pg1")
    assert sealed not in str(caught.value)


def test_without_any_key_opening_says_where_keys_are_looked_for(with_keys, settings, tmp_path):
    with_keys()
    settings.ENCRYPTION_KEY_FILE = tmp_path / "encryption.key"
    with pytest.raises(EncryptionKeyLost, match=r"PGPANEL_ENCRYPTION_KEYS and no .*encryption\.key"):
        secrets.open_sealed("x", "login")


def test_a_key_that_is_none_is_named(with_keys):
    with_keys("not a key")
    with pytest.raises(EncryptionKeyLost, match="not a Fernet key"):
        secrets.seal("geheim")
