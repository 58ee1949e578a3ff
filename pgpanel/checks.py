"""Numbered system checks: an unsafe production start is refused, with the mend. Registered by `pgpanel.apps`.

E-numbers count with PGPANEL_PRODUCTION only; on one machine the defaults are meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 — Django's own name
from django.db import connection

from pgpanel import keyring

MIN_SECRET_KEY_LENGTH = 50


def safe_production(app_configs: Sequence[AppConfig] | None, **_options: Any) -> list[CheckMessage]:  # noqa: ARG001
    in_production = [*_errors(), *_warnings()] if settings.PRODUCTION else []
    return [*_keys_are_keys(), *_networks_are_networks(), *in_production]


def refuse_unsafe_start() -> None:
    """For the processes that no management command starts (uvicorn, celery): the same errors end them at once."""
    errors = [message for message in safe_production(None) if message.is_serious()]
    if errors:
        raise SystemExit("\n".join(f"{error.id}: {error.msg}\n  {error.hint}" for error in errors))


def _errors() -> Iterator[CheckMessage]:
    if settings.SECRET_KEY == settings.INSECURE_SECRET_KEY or len(settings.SECRET_KEY) < MIN_SECRET_KEY_LENGTH:
        yield Error(
            "SECRET_KEY is the default or shorter than 50 characters: anyone could forge a session.",
            hint="Set SECRET_KEY, for example to what `openssl rand -base64 48` prints.", id="pgpanel.E001",
        )  # fmt: skip
    if not settings.ENCRYPTION_KEYS:
        yield Error(
            "PGPANEL_ENCRYPTION_KEYS is empty: SSH keys and passwords could not be kept.",
            hint="Set it to what `python manage.py keys make` prints, and keep a copy elsewhere.",
            id="pgpanel.E002",
        )  # fmt: skip
    if settings.DEBUG:
        yield Error("DEBUG is on: error pages would show settings and data.", hint="Unset DEBUG.", id="pgpanel.E003")
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Error(
            "The database is SQLite: workers on other machines cannot share it.",
            hint="Set DATABASE_URL=postgres://user:password@host/name.", id="pgpanel.E004",
        )  # fmt: skip
    if "*" in settings.ALLOWED_HOSTS:
        yield Error("ALLOWED_HOSTS is “*”.", hint="Name the host names by which people reach the panel.", id="pgpanel.E005")
    yield from _single_sign_on_errors()


def _single_sign_on_errors() -> Iterator[CheckMessage]:
    if settings.OIDC_ISSUER and not settings.OIDC_ISSUER.startswith("https://"):
        yield Error(
            "PGPANEL_OIDC_ISSUER is not https: whoever stands between could sign in as anybody.",
            hint="Name the issuer by its https address.", id="pgpanel.E010",
        )  # fmt: skip
    if settings.OIDC_ISSUER and not (settings.OIDC_APP["client_id"] and settings.OIDC_APP["secret"]):
        yield Error(
            "PGPANEL_OIDC_ISSUER is set, but not who this panel is there.",
            hint="Set PGPANEL_OIDC_CLIENT_ID and PGPANEL_OIDC_CLIENT_SECRET.", id="pgpanel.E011",
        )  # fmt: skip


def _warnings() -> Iterator[CheckMessage]:
    if not settings.BEHIND_TLS:
        yield Warning(
            "Cookies are sent without TLS: whoever listens on the network can take a session over.",
            hint="Put the panel behind TLS and set PGPANEL_BEHIND_TLS=1.", id="pgpanel.W001",
        )  # fmt: skip
    if set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        yield Warning("ALLOWED_HOSTS names this machine only.", hint="Set ALLOWED_HOSTS=panel.example.net.", id="pgpanel.W002")


def _keys_are_keys() -> Iterator[CheckMessage]:
    for position, key in enumerate(settings.ENCRYPTION_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            yield Error(
                f"Key {position} of PGPANEL_ENCRYPTION_KEYS is not a Fernet key (32 bytes in url-safe base64).",
                hint="`python manage.py keys make` prints one.", id="pgpanel.E006",
            )  # fmt: skip


def _networks_are_networks() -> Iterator[CheckMessage]:
    for text in settings.WEBHOOK_NETWORKS:
        try:
            ip_network(text)
        except ValueError as error:
            yield Error(
                f"PGPANEL_WEBHOOK_NETWORKS: {error}.",
                hint="Networks separated by commas: 10.20.0.0/16,fd12::/48.", id="pgpanel.E020",
            )  # fmt: skip


def keys_open_what_is_sealed(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001
    databases: Sequence[str] | None = None,
    **_options: Any,
) -> list[CheckMessage]:
    """With the database only (`check --database default`, `migrate`, `run_panel`): what no key opens. Nothing stops for it."""
    if not databases or not _is_migrated():
        return []
    lost = [kept for kept in keyring.everything() if keyring.is_sealed(kept.sealed) and not keyring.opens(kept.sealed)]
    if not lost:
        return []
    names = ", ".join(kept.name for kept in lost[:5]) + (", …" if len(lost) > 5 else "")
    return [
        Warning(
            f"No key at hand opens {len(lost)} of the stored secrets: {names}.",
            hint="Put the key back that sealed them; `python manage.py keys check` says what to do about each if it is gone.",
            id="pgpanel.W003",
        )
    ]


def _is_migrated() -> bool:
    return {"clusters_credential", "mfa_authenticator"} <= set(connection.introspection.table_names())
