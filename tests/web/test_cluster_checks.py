"""An unsafe production start is refused by number."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks

from pgpanel.checks import refuse_unsafe_start, safe_production

SAFE = {
    "PRODUCTION": True,
    "SECRET_KEY": "k" * 64,
    "ENCRYPTION_KEYS": [Fernet.generate_key().decode()],
    "DEBUG": False,
    "ALLOWED_HOSTS": ["panel.example.net"],
    "BEHIND_TLS": True,
}


@pytest.fixture
def production(settings, monkeypatch):
    def use(engine="django.db.backends.postgresql", **changed):
        monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", engine)
        for name, value in (SAFE | changed).items():
            setattr(settings, name, value)
        return [message.id for message in safe_production(None)]

    return use


def test_a_safe_production_has_nothing_to_say(production):
    assert production() == []


def test_a_network_for_webhooks_that_is_none_is_refused_everywhere(settings):
    settings.WEBHOOK_NETWORKS = ["10.0.0.0/8", "10.1.2.3/8"]
    assert [message.id for message in safe_production(None)] == ["pgpanel.E020"]


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({"SECRET_KEY": "insecure-only-for-one-machine-without-PGPANEL_PRODUCTION"}, ["pgpanel.E001"]),
        ({"SECRET_KEY": "short"}, ["pgpanel.E001"]),
        ({"ENCRYPTION_KEYS": []}, ["pgpanel.E002"]),
        ({"DEBUG": True}, ["pgpanel.E003"]),
        ({"engine": "django.db.backends.sqlite3"}, ["pgpanel.E004"]),
        ({"ALLOWED_HOSTS": ["*"]}, ["pgpanel.E005"]),
        ({"OIDC_ISSUER": "http://login.example.net", "OIDC_APP": {"client_id": "a", "secret": "b"}}, ["pgpanel.E010"]),
        ({"OIDC_ISSUER": "https://login.example.net"}, ["pgpanel.E011"]),
        ({"ENCRYPTION_KEYS": ["nonsense"]}, ["pgpanel.E006"]),
        ({"BEHIND_TLS": False}, ["pgpanel.W001"]),
        ({"ALLOWED_HOSTS": ["localhost"]}, ["pgpanel.W002"]),
    ],
)
def test_each_unsafe_setting_has_its_number(production, changed, ids):
    assert production(**changed) == ids


def test_one_machine_without_production_may_keep_the_defaults(production):
    assert production(PRODUCTION=False, SECRET_KEY="x", ENCRYPTION_KEYS=[], DEBUG=True, ALLOWED_HOSTS=["*"]) == []


def test_processes_that_no_management_command_starts_end_at_once_with_reason_and_mend(production):
    production(DEBUG=True)
    with pytest.raises(SystemExit, match=r"pgpanel\.E003: DEBUG is on.*\n  Unset DEBUG"):
        refuse_unsafe_start()


def test_warnings_do_not_stop_a_start(production):
    production(BEHIND_TLS=False)
    refuse_unsafe_start()


def test_the_checks_are_registered_with_django(production):
    production(ALLOWED_HOSTS=["*"])
    assert "pgpanel.E005" in {message.id for message in run_checks(tags=["security"])}


def test_every_variable_that_the_settings_read_is_explained():
    root = Path(__file__).parents[2]
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (root / "pgpanel/settings.py").read_text()))
    explained = set(re.findall(r"^#?([A-Z_]+)=", (root / ".env.example").read_text(), re.MULTILINE))
    assert read == explained


def test_a_first_key_can_be_made_on_a_production_machine_that_has_none():
    environment = {"PATH": os.environ["PATH"], "PGPANEL_PRODUCTION": "1", "PGPANEL_VAR": os.environ.get("TMPDIR", "/tmp")}
    root = Path(__file__).parents[2]
    command = [sys.executable, "manage.py", "keys", "make"]
    made = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=True)
    Fernet(made.stdout.strip())
