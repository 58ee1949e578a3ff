from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "What we do"

    def ready(self) -> None:
        from clusters.offers import register  # noqa: PLC0415 (models are not loaded before)
        from jobs import offers, stream  # noqa: PLC0415
        from pgpanel import live  # noqa: PLC0415

        live.register("job", stream.may_hear, stream.replay)
        register(offers.offers)
