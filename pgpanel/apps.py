from django.apps import AppConfig
from django.core.checks import Tags, register


class PgpanelConfig(AppConfig):
    name = "pgpanel"

    def ready(self) -> None:
        from pgpanel.checks import keys_open_what_is_sealed, safe_production  # noqa: PLC0415 — settings must be loaded

        register(safe_production, Tags.security)
        register(keys_open_what_is_sealed, Tags.database)
