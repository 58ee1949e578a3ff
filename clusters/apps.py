from django.apps import AppConfig

from pgpanel import keyring


class ClustersConfig(AppConfig):
    name = "clusters"
    verbose_name = "What we have"

    def ready(self) -> None:
        from clusters import credentials, factors, restored  # noqa: PLC0415 — models must be loaded
        from pgpanel import backup  # noqa: PLC0415

        keyring.register("credentials", credentials.kept)
        keyring.register("second factors", factors.kept)
        backup.restored.connect(restored.settle, dispatch_uid="clusters-restored")
