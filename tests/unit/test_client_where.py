"""Where the client finds its panel and its token, and what it refuses."""

import pytest

from client.refusals import NotSetUp
from client.where import where


def environment(tmp_path, **more):
    return {"PGPANEL_CONFIG": str(tmp_path / "client.toml")} | more


def kept(tmp_path, mode=0o600, text='url = "https://panel.example.net/"\ntoken = "pgp_kept"\n'):
    file = tmp_path / "client.toml"
    file.write_text(text)
    file.chmod(mode)


def test_from_a_file_that_only_its_owner_reads(tmp_path):
    kept(tmp_path)
    found = where(environment(tmp_path))
    assert (found.url, found.token, found.ca) == ("https://panel.example.net", "pgp_kept", "")
    assert "pgp_kept" not in repr(found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_may_read_is_refused_with_the_mend(tmp_path, mode):
    kept(tmp_path, mode)
    with pytest.raises(NotSetUp, match="chmod 600"):
        where(environment(tmp_path))


def test_the_environment_comes_first(tmp_path):
    kept(tmp_path)
    found = where(environment(tmp_path, PGPANEL_URL="https://other.example.net", PGPANEL_TOKEN="pgp_set", PGPANEL_CA="/ca.pem"))
    assert (found.url, found.token, found.ca) == ("https://other.example.net", "pgp_set", "/ca.pem")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(NotSetUp, match="PGPANEL_TOKEN not set"):
        where(environment(tmp_path, PGPANEL_URL="https://panel.example.net"))


@pytest.mark.parametrize("url", ["http://panel.example.net", "panel.example.net", "ftp://panel.example.net", "https://"])
def test_a_token_is_never_sent_in_the_clear(tmp_path, url):
    with pytest.raises(NotSetUp):
        where(environment(tmp_path, PGPANEL_URL=url, PGPANEL_TOKEN="x"))


def test_but_to_ones_own_machine_it_may_be(tmp_path):
    assert where(environment(tmp_path, PGPANEL_URL="http://127.0.0.1:8000", PGPANEL_TOKEN="x")).url == "http://127.0.0.1:8000"


def test_a_file_that_is_no_toml_is_said(tmp_path):
    kept(tmp_path, text="url: x")
    with pytest.raises(NotSetUp, match=r"client\.toml"):
        where(environment(tmp_path))
