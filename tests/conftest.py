"""For all tests: the test database is a file, because threads (heartbeat, log) need connections of their own to it."""

import sys
from pathlib import Path

import pytest

# tests/web/redis_server.py, small_kind.py and the like serve the tests on real hosts too
sys.path.insert(0, str(Path(__file__).parent / "web"))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings, tmp_path_factory):
    from django.db import connections

    settings = connections["default"].settings_dict
    if settings["ENGINE"].endswith("sqlite3"):
        settings["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(autouse=True)
def nobody_has_called_before(monkeypatch):
    """How often the API may be called is counted in the process and by address: not from one test to the next."""
    from django.conf import settings
    from django.core.cache import caches

    caches["process"].clear()
    for rate in ("API_RATE", "API_RATE_PER_ADDRESS"):
        monkeypatch.setattr(settings, rate, "100000/m")
