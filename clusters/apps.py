from django.apps import AppConfig

from pgpanel import keyring


class ClustersConfig(AppConfig):
    name = "clusters"
    verbose_name = "What we have"

    def ready(self) -> None:
        from clusters import credentials, factors  # noqa: PLC0415 — models must be loaded

        keyring.register("credentials", credentials.kept)
        keyring.register("second factors", factors.kept)
