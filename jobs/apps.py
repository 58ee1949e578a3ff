from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "What we do"

    def ready(self) -> None:
        from jobs import stream  # noqa: PLC0415 (models are not loaded before)
        from pgpanel import live  # noqa: PLC0415

        live.register("job", stream.may_hear, stream.replay)
